"""Crops for training, and a whole image by overlapping tiles: for networks whose output is smaller than their input."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bedrest.methods.method import Case, Float, Labels

Size = tuple[int, int, int]


def draw_crop(case: Case, rng: np.random.Generator, *, inside: Size, outside: Size,
              on_discs: float = 0.5) -> tuple[Float, Labels]:
    """Image of a box, labels of a smaller one about the same middle; edges of the image are repeated where it ends.

    `inside, outside`: voxels of the labels and of the image, their differences even; `on_discs`: share of crops with a
    voxel of a disc in the middle, where there are discs; the others lie anywhere.
    """
    image, labels = case.image, case.labels
    spots = np.argwhere(labels > 0) if rng.random() < on_discs else np.empty((0, 3), dtype=int)
    middle = spots[rng.integers(len(spots))] if len(spots) else rng.integers(labels.shape)
    # the labels' box stays inside the image where that is large enough, else about its middle.
    size = np.array(labels.shape)
    low = np.clip(middle - np.array(inside) // 2, np.minimum(0, (size - inside) // 2),
                  np.maximum(size - inside, (size - inside) // 2))
    drawn = _box(labels[None], low, inside)[0]
    at = low - (np.array(outside) - inside) // 2
    cut: Float = _box(image, at, outside, edge=True)
    return cut, drawn


def _box(array: NDArray[Any], low: NDArray[np.integer], size: Size, *, edge: bool = False) -> NDArray[Any]:
    """A box of (C, I, J, K) that may reach beyond it."""
    ranges = [np.arange(a, a + n) for a, n in zip(low, size, strict=True)]
    clipped = [np.clip(r, 0, n - 1) for r, n in zip(ranges, array.shape[1:], strict=True)]
    i, j, k = np.ix_(*clipped)
    result: NDArray[Any] = array[:, i, j, k].copy()
    if not edge:
        for axis, (r, n) in enumerate(zip(ranges, array.shape[1:], strict=True)):
            outside = (r < 0) | (r >= n)
            np.moveaxis(result, axis + 1, 0)[outside] = 0
    return result


def overlap_tile(network: nn.Module, image: Float, device: str, *, inside: Size, outside: Size,
                 trim: Size = (0, 0, 0)) -> Float:
    """Logits of a whole image, tile by tile (Ronneberger et al. 2015).

    `network`: takes (B, C, *outside), gives (B, S, *inside); `image`: float32, (C, I, J, K); `inside, outside`: as
    above; `trim`: voxels at each face of a tile's output that are thrown away, as the tiles' zero padding spoils them.
    Returns float32, (S, I, J, K).
    """
    shape, kept = image.shape[1:], tuple(n - 2 * t for n, t in zip(inside, trim, strict=True))
    margin = [(o - i) // 2 + t for o, i, t in zip(outside, inside, trim, strict=True)]
    last = [max(n, k) for n, k in zip(shape, kept, strict=True)]
    pad = [(0, 0), *((m, m + end - n) for m, end, n in zip(margin, last, shape, strict=True))]
    wide = np.pad(image, pad, mode="edge")
    starts = [sorted({min(s, end - k) for s in range(0, end, k)}) for end, k in zip(last, kept, strict=True)]
    network = network.to(device).eval()
    result: Float | None = None
    with torch.inference_mode():
        for at in product(*starts):
            tile = wide[(slice(None), *(slice(a, a + n) for a, n in zip(at, outside, strict=True)))]
            logits = network(torch.from_numpy(np.ascontiguousarray(tile))[None].to(device))[0].float().cpu().numpy()
            part = logits[(slice(None), *(slice(t, t + k) for t, k in zip(trim, kept, strict=True)))]
            if result is None:
                result = np.empty((len(part), *last), dtype=np.float32)
            result[(slice(None), *(slice(a, a + k) for a, k in zip(at, kept, strict=True)))] = part
    assert result is not None  # there is a tile at least
    return result[:, : shape[0], : shape[1], : shape[2]]
