"""The disc's shape, with its volume in closed form, and places in the world.

Coordinates are those of the disc: x to the right, y to the front, z along the spine to the head, origin at its centre.
Its outline is a superellipse, bent into a kidney by a shear that keeps area; its half thickness is highest in the
middle and wedges from back to front. Every choice keeps the volume analytic. Knows nothing of tissues.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma

import numpy as np
from numpy.typing import NDArray

from bedrest.types import Grid

Float = NDArray[np.floating]
Axes = tuple[NDArray[np.float32], ...]  # world coordinates along right, front and head


@dataclass(frozen=True)
class DiscShape:
    """One disc."""

    half_width_mm: float  # semi-axes of the outline, left-right and antero-posterior
    half_depth_mm: float
    height_mm: float  # full thickness at the centre
    wedge: float  # relative extra thickness at the front, missing at the back; below 1
    dome: float  # share of the thickness lost from centre to rim; below 1
    kidney_mm: float  # distance by which the sides lie behind the middle
    outline_power: float = 2.4  # exponent of the superellipse
    dome_power: float = 3.0  # exponent of the loss of thickness

    @property
    def volume_mm3(self) -> float:
        """Exact volume: the wedge is odd in y and integrates to nothing, the shear keeps area."""
        n, m = self.outline_power, self.dome_power
        area = 4 * self.half_width_mm * self.half_depth_mm * gamma(1 + 1 / n) ** 2 / gamma(1 + 2 / n)
        return self.height_mm * area * (1 - self.dome * 2 / (m + 2))

    def outline(self, x_mm: Float, y_mm: Float, *, scale: Float | float = 1.0) -> tuple[Float, Float]:
        """Radius (1 on the rim) and sheared depth y/half_depth of points of the disc plane."""
        u = x_mm / (self.half_width_mm * scale)
        v = (y_mm + self.kidney_mm * u * u) / (self.half_depth_mm * scale)
        n = self.outline_power
        return ((np.abs(u) ** n + np.abs(v) ** n) ** (1 / n)).astype(np.float32), v

    def half_thickness_mm(self, radius: Float, v: Float) -> Float:
        """Half thickness; beyond the rim it goes on as at the rim, so that end plates can be drawn."""
        r = np.minimum(radius, 1)
        return self.height_mm / 2 * (1 + self.wedge * np.clip(v, -1.2, 1.2)) * (1 - self.dome * r**self.dome_power)


@dataclass(frozen=True, eq=False)
class Frame:
    """Position and direction of a disc."""

    centre_mm: NDArray[np.float64]  # (3,) world RAS+
    axes: NDArray[np.float64]  # (3, 3); columns are the disc's x, y, z directions in the world; a rotation

    def local(self, points_mm: Float) -> tuple[Float, Float, Float]:
        """World points, shape (3, N), as x, y, z in this frame."""
        x, y, z = self.axes.T.astype(np.float32) @ (points_mm - self.centre_mm.astype(np.float32)[:, None])
        return x, y, z


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
