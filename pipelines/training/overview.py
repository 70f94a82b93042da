"""Training pairs of the locator: whole fields of view on its coarse grid. Synthetic throughout.

Knows nothing of the network.
"""

from __future__ import annotations

import numpy as np
from bedrest.anatomy.structures import Structure
from bedrest.phantom.paint import Painting
from bedrest.phantom.tissues import STRUCTURE_OF_TISSUE, Tissue
from bedrest.segmentation.training.sampling import Float, Sampling, draw_tissue_signals, scanned_pair, with_opposed
from bedrest.vocabulary import Contrast
from numpy.typing import NDArray

COARSE = (4, 4, 4)  # sub-voxels of the painting in a voxel of the locator's grid, along each axis


def draw_overview(shares: NDArray[np.uint8], rng: np.random.Generator, sampling: Sampling) -> tuple[Float, Float]:
    """One training pair of the locator: most of a field of view on its coarse grid.

    Parameters
    ----------
    shares : uint8, (tissues, I, J, K)
        Sub-voxels of each tissue, out of prod(COARSE), from `coarse_shares`.
    """
    where = []
    for n, p in zip(shares.shape[1:], sampling.locator_patch, strict=True):
        stretch = 1 + rng.uniform(-0.25, 0.25)
        span = min(n, round(p * stretch))
        start = rng.integers(0, n - span + 1)
        where.append(np.clip((start + (np.arange(p) + 0.5) * span / p).astype(int), 0, n - 1))
    view = shares[(slice(None), *np.ix_(*where))].astype(np.float32) / np.prod(COARSE)
    target = np.stack([view[s == STRUCTURE_OF_TISSUE].sum(axis=0) for s in Structure])
    tables = draw_tissue_signals(rng, sampling)
    signals: dict[Contrast, Float] = {c: np.tensordot(t, view, axes=1).astype(np.float32) for c, t in tables.items()}
    return scanned_pair(with_opposed(signals), target, rng, slice_mm=4.0, voxel_mm=4.0)


def coarse_shares(painting: Painting) -> NDArray[np.uint8]:
    """Number of sub-voxels of each tissue in each voxel of the locator's grid, (tissues, I, J, K)."""
    i, j, k = (n // c for n, c in zip(painting.tissue.shape, COARSE, strict=True))
    voxel = np.arange(j * k, dtype=np.int32).reshape(j, 1, k, 1) * len(Tissue)
    out = np.empty((i, j * k, len(Tissue)), np.uint8)
    for slab in range(i):
        part = painting.tissue[slab * COARSE[0] : (slab + 1) * COARSE[0], : j * COARSE[1], : k * COARSE[2]]
        key = part.reshape(COARSE[0], j, COARSE[1], k, COARSE[2]) + voxel
        out[slab] = np.bincount(key.ravel(), minlength=out[0].size).reshape(out[0].shape)
    return np.ascontiguousarray(np.moveaxis(out, -1, 0)).reshape(len(Tissue), i, j, k)
