"""The disc's shape, with its volume in closed form.

Coordinates are those of the disc: x to the right, y to the front, z along the spine to the head, origin at its centre.
Its outline is a superellipse, bent into a kidney by a shear that keeps area; its half thickness is highest in the
middle and wedges from back to front. Every choice keeps the volume analytic. Knows nothing of voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.floating]


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
