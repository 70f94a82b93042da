"""Crops for training, of networks whose output is smaller than their input too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedrest.methods.method import Case, Float, Pair, Size


def draw_crop(case: Case, rng: np.random.Generator, *, inside: Size, outside: Size) -> Pair:
    """Image of a box, labels of a smaller one about the same middle; edges of the image are repeated where it ends.

    `inside, outside`: voxels of the labels and of the image, their differences even. Half of the crops have a voxel of
    a disc in the middle, where there are discs; the others lie anywhere.
    """
    image, labels = case.image, case.labels
    spots = np.argwhere(labels > 0) if rng.random() < 0.5 else np.empty((0, 3), dtype=int)
    middle = spots[rng.integers(len(spots))] if len(spots) else rng.integers(labels.shape)
    # The labels' box stays inside the image where that is large enough, else about its middle.
    size = np.array(labels.shape)
    low = np.clip(middle - np.array(inside) // 2, np.minimum(0, (size - inside) // 2),
                  np.maximum(size - inside, (size - inside) // 2))
    target = _box(labels[None], low, inside)[0]
    at = low - (np.array(outside) - inside) // 2
    cut: Float = _box(image, at, outside, edge=True)
    return cut, target


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
