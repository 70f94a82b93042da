"""World coordinates of a grid's voxels, and the voxels around a point. Knows nothing of tissues."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bedrest.types import Grid

Axes = tuple[NDArray[np.float32], ...]  # world coordinates along right, front and head


def axes_mm(grid: Grid, *, fine: int = 1) -> Axes:
    """World coordinates along each axis of the centres of `fine` sub-voxels per voxel; `grid` is RAS+, not oblique."""
    axes = []
    for k in range(3):
        step = grid.affine_ras_mm[k, k]
        index = (np.arange(grid.shape[k] * fine) + 0.5) / fine - 0.5
        axes.append((grid.affine_ras_mm[k, 3] + step * index).astype(np.float32))
    return tuple(axes)


def around(axes: Axes, centre_mm: NDArray[np.float64], half_mm: tuple[float, float, float]
           ) -> tuple[tuple[slice, ...], NDArray[np.float32]] | None:
    """Index box around a point and the world points in it, shape (3, N); None where it lies outside."""
    box = []
    for axis, centre, half in zip(axes, centre_mm, half_mm, strict=True):
        inside = np.flatnonzero(np.abs(axis - centre) <= half)
        if inside.size == 0:
            return None
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    points = np.stack(np.meshgrid(*[a[b] for a, b in zip(axes, box, strict=True)], indexing="ij")).reshape(3, -1)
    return tuple(box), points
