"""What networks of the papers share: how weights begin, images of any size, whole volumes at once, by slices or tiles.

Knows no method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bedrest.methods.losses import probability_of_disc
from bedrest.methods.method import Float, Size, Trained

AT_ONCE = 8  # slices that go through a network together
_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def initialised(network: nn.Module, *, gaussian: bool = False) -> nn.Module:
    """Kernels by He et al. 2015 (Wang et al. 2020), or with an SD of 0.01 (Li et al. 2018, Chen et al. 2016); biases 0.

    From the latter, networks of many layers without normalisation take thousands of steps to begin learning.
    """
    for layer in network.modules():
        if isinstance(layer, _CONVOLUTIONS):
            if gaussian:
                nn.init.normal_(layer.weight, 0.0, 0.01)
            else:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def at_multiple(network: Callable[[Tensor], Tensor], image: Tensor, multiple: int) -> Tensor:
    """Logits of an image whose edge is repeated until every side is a multiple, cut back to the size of the image."""
    shape = image.shape[2:]
    pad = [side for n in reversed(shape) for side in (0, (-n) % multiple)]
    logits = network(functional.pad(image, pad, mode="replicate"))
    inside: tuple[slice, ...] = (slice(None), slice(None), *(slice(n) for n in shape))
    return logits[inside]


def standardised(image: Float, trained: Trained) -> Float:
    """Less the mean of each contrast over the training cases, over its standard deviation there."""
    axes = (slice(None), *(None,) * (image.ndim - 1))
    result: Float = (image - trained.learnt["mean"][axes]) / trained.learnt["sd"][axes]
    return result


def logits_of(network: nn.Module, image: Float, device: str) -> Tensor:
    """Output of a network in evaluation mode for one image, (C, ...) -> (S, ...), on the CPU."""
    with torch.inference_mode():
        result: Tensor = network.to(device).eval()(torch.from_numpy(np.ascontiguousarray(image))[None].to(device))
    return result[0].float().cpu()


def disc_probability(logits: Tensor) -> Float:
    """Of one image: (S, ...) -> float32, (...)."""
    result: Float = probability_of_disc(logits[None])[0].numpy()
    return result


def slicewise_probability(network: nn.Module, image: Float, device: str, *, axis: int = 0) -> Float:
    """Probability of disc, (C, I, J, K) -> (I, J, K), each slice across `axis` for itself.

    `network` takes (B, C, H, W) and gives logits (B, S, H, W).
    """
    slices = np.moveaxis(image, axis + 1, 0)
    network = network.to(device).eval()
    parts = []
    with torch.inference_mode():
        for at in range(0, len(slices), AT_ONCE):
            batch = torch.from_numpy(np.ascontiguousarray(slices[at : at + AT_ONCE])).to(device)
            parts.append(probability_of_disc(network(batch).float()).cpu().numpy())
    result: Float = np.ascontiguousarray(np.moveaxis(np.concatenate(parts), 0, axis))
    return result


def overlap_tile(network: nn.Module, image: Float, device: str, *, inside: Size, outside: Size,
                 trim: Sequence[int] = (0, 0, 0)) -> Float:
    """Logits of a whole image, (C, I, J, K) -> (S, I, J, K), tile by tile (Ronneberger et al. 2015).

    `network` takes (B, C, *outside) and gives (B, S, *inside); `trim` voxels at each face of a tile's output are thrown
    away, as the tiles' zero padding spoils them.
    """
    shape, kept = image.shape[1:], tuple(n - 2 * t for n, t in zip(inside, trim, strict=True))
    margin = [(o - i) // 2 + t for o, i, t in zip(outside, inside, trim, strict=True)]
    last = [max(n, k) for n, k in zip(shape, kept, strict=True)]
    pad = [(0, 0), *((m, m + end - n) for m, end, n in zip(margin, last, shape, strict=True))]
    wide = np.pad(image, pad, mode="edge")
    starts = [sorted({min(s, end - k) for s in range(0, end, k)}) for end, k in zip(last, kept, strict=True)]
    result: Float | None = None
    for at in product(*starts):
        tile = wide[(slice(None), *(slice(a, a + n) for a, n in zip(at, outside, strict=True)))]
        part = logits_of(network, tile, device).numpy()[(slice(None), *(
            slice(t, t + k) for t, k in zip(trim, kept, strict=True)))]
        if result is None:
            result = np.empty((len(part), *last), dtype=np.float32)
        result[(slice(None), *(slice(a, a + k) for a, k in zip(at, kept, strict=True)))] = part
    assert result is not None  # there is a tile at least
    return result[:, : shape[0], : shape[1], : shape[2]]
