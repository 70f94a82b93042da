"""Reorders and flips array axes to right, front, head (RAS+), and back again. Never interpolates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from bedrest.types import Grid


@dataclass(frozen=True, eq=False)
class Reorientation:
    """A permutation and flips of array axes between a grid as stored and the nearest RAS+ order."""

    stored: Grid  # the grid before and after; both describe the same voxels
    ras: Grid
    _to_ras: NDArray[np.float64]

    def apply(self, data: NDArray[Any]) -> NDArray[Any]:
        """Array in stored order -> array in RAS+ order (a view where possible)."""
        return np.asarray(nib.orientations.apply_orientation(data, self._to_ras))

    def undo(self, data: NDArray[Any]) -> NDArray[Any]:
        """Array in RAS+ order -> array in stored order."""
        ras = nib.orientations.axcodes2ornt(("R", "A", "S"))
        stored = nib.orientations.axcodes2ornt(nib.orientations.aff2axcodes(self.stored.affine_ras_mm))
        return np.asarray(nib.orientations.apply_orientation(data, nib.orientations.ornt_transform(ras, stored)))


def reorient_to_ras(grid: Grid) -> Reorientation:
    """The reorientation that brings the axes of a grid nearest to right, front, head."""
    ornt = nib.orientations.io_orientation(grid.affine_ras_mm)
    affine = grid.affine_ras_mm @ nib.orientations.inv_ornt_aff(ornt, grid.shape)
    shape = [0, 0, 0]
    for axis, (new, _) in enumerate(ornt):
        shape[int(new)] = grid.shape[axis]
    return Reorientation(grid, Grid((shape[0], shape[1], shape[2]), affine), ornt)
