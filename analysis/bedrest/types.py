"""What passes between the stages: grids, images, label maps, scans, segmentations.

`Volume` holds measured intensities and may be interpolated; `LabelMap` holds labels and may not. They are different
types so that no function can mix them up. Knows nothing of files.

Frame: `affine_ras_mm` maps array indices (i, j, k) of voxel centres to world millimetres, x to the right,
y to the front (anterior), z to the head (superior), as in NIfTI.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bedrest.errors import GeometryError
from bedrest.findings import Finding, worst_status
from bedrest.vocabulary import Contrast, Status

FloatIJK = NDArray[np.float32]
LabelIJK = NDArray[np.int32]
Affine = NDArray[np.float64]

SAME_GRID_MM = 0.1  # grids whose corners lie nearer than this are one grid


@dataclass(frozen=True, eq=False)
class Grid:
    """A voxel grid in the world."""

    shape: tuple[int, int, int]  # (I, J, K)
    affine_ras_mm: Affine  # (4, 4) float64, voxel index to RAS+ millimetres, voxel centres

    @property
    def spacing_mm(self) -> NDArray[np.float64]:
        """(3,) distance between neighbouring voxel centres along each array axis."""
        return np.asarray(np.linalg.norm(self.affine_ras_mm[:3, :3], axis=0))

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel, right for oblique and sheared affines too."""
        return float(abs(np.linalg.det(self.affine_ras_mm[:3, :3])))

    def max_corner_distance_mm(self, other: Grid) -> float:
        """Largest distance between matching corners of two grids of one shape; inf if the shapes differ."""
        if self.shape != other.shape:
            return float("inf")
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij")).reshape(3, -1)
        corners = np.vstack([corners, np.ones(corners.shape[1])])
        gap = (self.affine_ras_mm - other.affine_ras_mm) @ corners
        return float(np.linalg.norm(gap[:3], axis=0).max())

    def outside(self, other: Grid) -> NDArray[np.bool_]:
        """(I, J, K) mask of the voxel centres of this grid that lie outside the field of view of another one."""
        to_other = np.linalg.inv(other.affine_ras_mm) @ self.affine_ras_mm
        i, j, k = np.ogrid[tuple(slice(0, n) for n in self.shape)]
        out = np.zeros(self.shape, dtype=bool)
        for axis, n in enumerate(other.shape):
            a, b, c, start = to_other[axis]
            place = (a * i + start) + b * j + c * k
            out |= (place < -0.5 - 1e-6) | (place > n - 0.5 + 1e-6)
        return out


def same_grid(one: Grid, other: Grid) -> bool:
    """Whether two grids agree in shape and, to `SAME_GRID_MM`, in every corner."""
    return one.max_corner_distance_mm(other) <= SAME_GRID_MM


def require_same_grid(one: Grid, other: Grid, *, names: tuple[str, str], where: str = "",
                      remedy: str = "Check both headers; if both show one place, resample one onto the other's grid."
                      ) -> None:
    """Raise GeometryError if two grids differ in shape or, by more than `SAME_GRID_MM`, in a corner.

    `names`: what lies on them, for the message. `where`: subject, session or file; default: the first name.
    """
    if same_grid(one, other):
        return
    difference = f"shapes {one.shape} and {other.shape}" if one.shape != other.shape else (
        f"corners up to {one.max_corner_distance_mm(other):.1f} mm apart")
    raise GeometryError(f"{names[0]} and {names[1]} on one grid", difference, where or names[0], remedy)


@dataclass(frozen=True, eq=False)
class Volume:
    """Measured intensities: finite float32, shape (I, J, K), arbitrary units."""

    data: FloatIJK
    grid: Grid


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Named regions: int32, shape (I, J, K), 0 = background. Never interpolated linearly."""

    data: LabelIJK
    grid: Grid


@dataclass(frozen=True, eq=False)
class Scan:
    """All contrasts of one subject at one session, on one grid."""

    contrasts: Mapping[Contrast, Volume]
    # (I, J, K) voxels outside the field of view of a resampled contrast, where its value is 0; others have no entry
    outside_fov: Mapping[Contrast, NDArray[np.bool_]] = field(default_factory=dict)
    notes: tuple[Finding, ...] = ()  # what a reader should know about how the scan was put together

    @property
    def grid(self) -> Grid:
        return next(iter(self.contrasts.values())).grid


@dataclass(frozen=True)
class SegmentedDisc:
    """One disc as segmentation found and named it, or a level that it did not find."""

    label: int  # number in the mask
    name: str  # level, or ``unnamed-1`` ... from the bottom up where the levels are not known
    findings: tuple[Finding, ...] = ()  # all remarks on the disc
    mean_probability: float = float("nan")  # mean network probability inside the disc, 0 to 1
    # probability that the level is right, as far as the image shows, 0 to 1; missing without a name
    level_confidence: float = float("nan")

    @property
    def status(self) -> Status:
        """Failed where it was not found, flagged where it is doubtful, see `vocabulary.Status`."""
        return worst_status(self.findings)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Discs of one scan on its grid."""

    discs: LabelMap  # 1 = L5-S1 ... 7 = T11-T12; 101, 102, ... for discs that could not be named
    disc_probability: Volume  # calibrated probability of disc, 0 to 1, on the same grid
    # one per level (``failed`` where the level was not found), then one per unnamed disc
    segmented: tuple[SegmentedDisc, ...]
    warnings: tuple[Finding, ...] = ()  # of the scan as a whole
    # the discs with their neighbours, numbered as in `vocabulary.TISSUE_OF_LABEL`; None where not requested
    tissues: LabelMap | None = None
