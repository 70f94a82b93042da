"""Moves volumes between grids. Intensities linearly, labels by nearest neighbour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bedrest.types import Grid

# Spacings that differ by a smaller share count as one: interpolating would only blur.
SAME_SPACING = 0.02


def grid_with_spacing(grid: Grid, spacing_mm: tuple[float, float, float]) -> Grid:
    """The grid with the same axes and field of view at another spacing; axes already near it keep theirs."""
    old = grid.spacing_mm
    new = np.where(np.abs(old / spacing_mm - 1) <= SAME_SPACING, old, spacing_mm)
    extent = old * grid.shape
    shape = np.maximum(np.round(extent / new), 1).astype(int)
    directions = grid.affine_ras_mm[:3, :3] / old
    affine = np.eye(4)
    affine[:3, :3] = directions * new
    centre = grid.affine_ras_mm @ np.append((np.array(grid.shape) - 1) / 2, 1)
    affine[:3, 3] = centre[:3] - affine[:3, :3] @ ((shape - 1) / 2)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def resample(data: NDArray[Any], source: Grid, target: Grid, *, order: int) -> NDArray[Any]:
    """Values of `data` at the voxel centres of `target`; smoothed first where the target is coarser (order 1).

    `data`: (I, J, K) on `source`. `order`: 1 for intensities and probabilities, 0 for labels.
    """
    if source.max_corner_distance_mm(target) < 1e-3:
        return data
    matrix = np.linalg.inv(source.affine_ras_mm) @ target.affine_ras_mm
    if order > 0:
        # along each axis of the source, the longest step that the target takes in voxels
        coarser = np.maximum(np.abs(matrix[:3, :3]).max(axis=1), 1.0)
        sigma = 0.5 * np.sqrt(coarser**2 - 1)
        if sigma.max() > 0.05:
            data = ndimage.gaussian_filter(data, sigma)
    return np.asarray(ndimage.affine_transform(data, matrix[:3, :3], offset=matrix[:3, 3], output_shape=target.shape,
                                               order=order, mode="nearest"))
