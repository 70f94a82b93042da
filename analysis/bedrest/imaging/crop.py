"""Cuts boxes out of grids. Never interpolates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bedrest.types import Grid

Box = tuple[slice, slice, slice]


def crop_grid(grid: Grid, box: Box) -> Grid:
    """The grid of the voxels inside an index box."""
    affine = grid.affine_ras_mm.copy()
    affine[:3, 3] = (grid.affine_ras_mm @ [*(s.start for s in box), 1])[:3]
    i, j, k = (s.stop - s.start for s in box)
    return Grid((i, j, k), affine)


def box_of(part: Grid, whole: Grid, *, margin_mm: float = 0.0) -> Box:
    """Index box of `whole` whose voxel centres lie in the field of view of `part`, widened by a margin.

    `part`, `whole`: axes in the same directions; at least one voxel is kept along each axis. `margin_mm`: added on
    every side, as far as `whole` reaches.
    """
    edges = np.array([[-0.5] * 3, np.array(part.shape) - 0.5])
    to_whole = np.linalg.inv(whole.affine_ras_mm) @ part.affine_ras_mm
    ends = np.sort(edges @ to_whole[:3, :3].T + to_whole[:3, 3], axis=0)
    margin = margin_mm / whole.spacing_mm
    first = np.clip(np.ceil(ends[0] - margin - 1e-6), 0, np.array(whole.shape) - 1).astype(int)
    last = np.clip(np.floor(ends[1] + margin + 1e-6), first, np.array(whole.shape) - 1).astype(int)
    i, j, k = (slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
    return i, j, k


def box_around(inside: NDArray[np.bool_]) -> Box:
    """Smallest index box that holds every true voxel of `inside`, (I, J, K), which must have one."""
    spans = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    i, j, k = (slice(int(s[0]), int(s[-1]) + 1) for s in spans)
    return i, j, k
