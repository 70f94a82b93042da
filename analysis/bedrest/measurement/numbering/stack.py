"""The labels of a mask as bodies in the world: where each lies along the spine, how thick it is, what it is made of.

Knows no names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bedrest.measurement.geometry import bounding_box
from bedrest.measurement.quality import spacing_looks_permuted
from bedrest.types import LabelMap

# Thickness over the distance of neighbours: 0.11 to 0.47 in 256 discs of 36 SPIDER masks, with a median of 0.17 to 0.34
# in a mask; 0.58 to 0.79 in vertebral bodies (Berlin, Munich, Siegen) and more in whole vertebrae.
THICKEST = 0.53
# Whatever the distance of neighbours: 15.1 at most in those discs, 18.6 and more in the bodies.
THICKEST_MM = (12.0, 20.0)
# Cosine between the short axis of a label and the spine: 0.45 to 1 in those discs, a median of 0.97 and more in a mask.
LEAST_ACROSS = 0.5
_SMALLEST_MM3 = 100.0  # discs have 1700 and more
_PIECE_SHARE, _PIECES_APART_MM = 0.1, 15.0
_LEAST_UPRIGHT = 0.5  # cosine between the spine and the head-foot axis of the header
_STEP_MM = (15.0, 60.0)  # from disc to disc: 18 to 46 in those masks
_WIDE_MM = 25.0  # from front to back; a disc has more, the spinal cord less


@dataclass(frozen=True, eq=False)
class Body:
    """All voxels of one label, as one body in the world frame (RAS+, mm)."""

    label: int
    voxels: int
    volume_mm3: float
    centre_mm: NDArray[np.float64]  # (3,)
    covariance_mm2: NDArray[np.float64]  # (3, 3)


def bodies_of(mask: LabelMap) -> dict[int, Body]:
    """Every label of a mask but 0."""
    ijk = np.argwhere(mask.data)
    labels, place, counts = np.unique(mask.data[tuple(ijk.T)], return_inverse=True, return_counts=True)
    affine = mask.grid.affine_ras_mm
    xyz = ijk @ affine[:3, :3].T + affine[:3, 3]
    first = xyz.mean(axis=0) if len(xyz) else np.zeros(3)
    xyz -= first
    mean = np.stack([np.bincount(place, xyz[:, a]) for a in range(3)], axis=1) / counts[:, None]
    square = np.empty((len(labels), 3, 3))
    for a in range(3):
        for b in range(3):
            square[:, a, b] = np.bincount(place, xyz[:, a] * xyz[:, b]) / counts - mean[:, a] * mean[:, b]
    return {int(label): Body(int(label), int(n), float(n) * mask.grid.voxel_volume_mm3, centre + first, covariance)
            for label, n, centre, covariance in zip(labels, counts, mean, square, strict=True)}


class Stack:
    """Labels that should be the discs of one spine, among all labels of a mask.

    Attributes
    ----------
    upright : whether they are stacked along the head-foot axis, as the header has it
    spacing_mm : median distance of neighbours along the spine; NaN for one label alone
    """

    def __init__(self, mask: LabelMap, bodies: Mapping[int, Body], labels: Collection[int]) -> None:
        self.mask, self.bodies, self.labels = mask, bodies, [label for label in labels if label in bodies]
        centres = np.array([bodies[label].centre_mm for label in self.labels])
        self.axis = np.array([0.0, 0.0, 1.0])
        if len(centres) > 1:
            axis = np.linalg.svd(centres - centres.mean(axis=0))[2][0]
            self.axis = axis if axis[2] >= 0 else -axis
        self.upright = bool(self.axis[2] >= _LEAST_UPRIGHT)
        self.spacing_mm = float(np.median(np.diff(np.sort(centres @ self.axis)))) if len(centres) > 1 else float("nan")

    def height_mm(self, label: int) -> float:
        """Where the label lies along the spine, from the foot up."""
        return float(self.bodies[label].centre_mm @ self.axis)

    def bottom_up(self, labels: Iterable[int]) -> list[int]:
        return sorted(labels, key=self.height_mm)

    def shape(self, label: int) -> tuple[float, float, float]:
        """Of the section from front to back: thickness and length in mm, and the cosine of its short axis to the spine.

        The thickness is that of a box with this spread.
        """
        lateral = np.array([1.0, 0.0, 0.0]) - self.axis[0] * self.axis
        across = float(np.linalg.norm(lateral))  # 0 where the labels lie side by side
        lateral = lateral / across if across > 1e-6 else np.array([0.0, 1.0, 0.0])
        plane = np.stack([self.axis, np.cross(self.axis, lateral)])
        values, vectors = np.linalg.eigh(plane @ self.bodies[label].covariance_mm2 @ plane.T)
        short, long = np.sqrt(12 * np.clip(values, 0, None))
        return float(short), float(long), float(abs(vectors[0, 0]))

    def is_flat(self, label: int) -> bool:
        """Whether a label has the shape of a disc: thin along the spine."""
        short, long, across = self.shape(label)
        return (self._thickness(short) <= 1 and across >= LEAST_ACROSS and long >= short
                and self.bodies[label].volume_mm3 >= _SMALLEST_MM3)

    def discs_among(self, labels: Iterable[int]) -> list[int]:
        """The labels that are flat, from the bottom up, if they are stacked as discs are; else none."""
        flat = [] if spacing_looks_permuted(self.mask.grid) else self.bottom_up(b for b in labels if self.is_flat(b))
        steps = np.diff([self.height_mm(label) for label in flat])
        return flat if ((steps >= _STEP_MM[0]) & (steps <= _STEP_MM[1])).all() else []

    def _thickness(self, short_mm: float) -> float:
        """In units of the largest one that a disc may have."""
        low, high = THICKEST_MM
        return short_mm / (min(max(THICKEST * self.spacing_mm, low), high) if len(self.labels) > 1 else high)

    @cached_property
    def what(self) -> str:
        """What the labels are where they cannot be discs, most of them counting; else empty."""
        if not self.labels:
            return ""
        shapes = [self.shape(label) for label in self.labels]
        if max(self.bodies[label].volume_mm3 for label in self.labels) < _SMALLEST_MM3:
            return "points"
        thick = float(np.median([self._thickness(short) for short, _, _ in shapes]))
        across = float(np.median([c for _, _, c in shapes]))
        if thick > 1:
            return "vertebrae"
        along = [short for short, long, c in shapes if c < LEAST_ACROSS and long > short]
        return "cord" if across < LEAST_ACROSS and np.median(along) < _WIDE_MM else ""

    def background(self) -> int:
        """The label that surrounds everything else: most voxels, all corners of the image. 0: as it should be."""
        corners = np.unique(self.mask.data[np.ix_(*[(0, n - 1) for n in self.mask.grid.shape])])
        label = int(corners[0])
        most = label in self.bodies and 2 * self.bodies[label].voxels > self.mask.data.size
        return label if len(corners) == 1 and most else 0

    def pieces_along(self, label: int) -> int:
        """How many separate parts one above the other a label has; specks do not count."""
        from scipy.ndimage import center_of_mass
        from scipy.ndimage import label as connected

        region = self.mask.data == label
        box = bounding_box(region)
        if box is None:
            return 0
        pieces, n = connected(region[box], structure=np.ones((3, 3, 3)))
        sizes = np.bincount(pieces.ravel())
        large = [p for p in range(1, n + 1) if sizes[p] >= _PIECE_SHARE * self.bodies[label].voxels]
        if len(large) < 2:
            return len(large)
        centres = np.array(center_of_mass(region[box], pieces, large)) @ self.mask.grid.affine_ras_mm[:3, :3].T
        heights = np.sort(centres @ self.axis)
        return 1 + int((np.diff(heights) > _PIECES_APART_MM).sum())
