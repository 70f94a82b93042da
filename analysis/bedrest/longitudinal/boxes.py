"""A box of voxels around one disc, and what each visit shows there: the image, and which voxels lie inside it.

Nothing outside an image counts as seen. Knows nothing of networks and volumes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bedrest.imaging.orientation import reorient_to_ras
from bedrest.imaging.resample import grid_with_spacing
from bedrest.longitudinal.poses import Pose
from bedrest.segmentation.network import WORKING_SPACING_MM
from bedrest.segmentation.predict import network_input
from bedrest.types import Affine, Grid, Scan
from bedrest.vocabulary import Contrast

BOX = (36, 64, 64)  # voxels around a disc: 72 x 80 x 80 mm, what the network needs to see of its neighbours
SPLINE = 10  # voxels beyond which a cubic spline no longer depends on a value


@dataclass(frozen=True, eq=False)
class PreparedVisit:
    """What the joint measurement keeps of one visit."""

    image: NDArray[np.float32]  # (C, I, J, K), normalised, axes right, front, head
    grid: Grid  # grid of `image`
    contrasts: frozenset[Contrast]  # those that the visit has
    poses: dict[int, Pose]  # label to Pose, of the discs that were named
    # (I, J, K) voxels of `grid` outside the field of view, by contrast; one without an entry shows them all
    outside: Mapping[Contrast, NDArray[np.bool_]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class VisitInBox:
    """What one visit shows in a box."""

    image: NDArray[np.float32]  # (C, I, J, K); edges repeated where the visit shows nothing
    inside: NDArray[np.bool_]  # (I, J, K) whether the visit shows the voxel in all the contrasts used


def prepare_visit(scan: Scan, poses: Mapping[int, Pose]) -> PreparedVisit:
    """What the joint measurement needs of one visit: its image on the working grid and the poses of its discs."""
    reorientation = reorient_to_ras(scan.grid)
    working = grid_with_spacing(reorientation.ras, WORKING_SPACING_MM)
    contrasts = {c: reorientation.apply(v.data) for c, v in scan.contrasts.items()}
    to_stored = np.linalg.inv(reorientation.ras.affine_ras_mm) @ working.affine_ras_mm
    outside = {c: ndimage.affine_transform(reorientation.apply(o).astype(np.uint8), to_stored[:3, :3], to_stored[:3, 3],
                                           working.shape, order=0, mode="nearest").astype(bool)
               for c, o in scan.outside_fov.items()}
    return PreparedVisit(network_input(contrasts, reorientation.ras, working), working, frozenset(scan.contrasts),
                         dict(poses), outside)


def box_around(centre_mm: NDArray[np.float64], axes: NDArray[np.float64],
               shift: Sequence[float] = (0.0, 0.0, 0.0)) -> Grid:
    """The grid of a box around a point, moved by `shift` voxels. `axes`: (3, 3) rotation, its columns the grid's."""
    affine = np.eye(4)
    affine[:3, :3] = axes * WORKING_SPACING_MM
    affine[:3, 3] = centre_mm - affine[:3, :3] @ ((np.array(BOX) - 1) / 2 + shift)
    return Grid(BOX, affine)


def visit_in_box(visit: PreparedVisit, motion: Affine, grid: Grid, contrasts: Collection[Contrast], *,
                 order: int = 3) -> VisitInBox:
    """What a visit shows in a box, moved there by `motion` (box to visit, world to world). `order`: of the spline."""
    to_visit = np.linalg.inv(visit.grid.affine_ras_mm) @ motion @ grid.affine_ras_mm
    part = _part(to_visit, visit.grid.shape)
    offset = to_visit[:3, 3] - [s.start for s in part]
    image = np.zeros((len(Contrast), *grid.shape), np.float32)
    inside = ~grid.outside(Grid(visit.grid.shape, np.linalg.inv(motion) @ visit.grid.affine_ras_mm))
    for channel, contrast in enumerate(Contrast):
        if contrast in contrasts:
            image[channel] = np.maximum(ndimage.affine_transform(
                visit.image[channel][part], to_visit[:3, :3], offset, grid.shape, order=order, mode="nearest"), 0)
            if contrast in visit.outside:
                inside &= ndimage.affine_transform(visit.outside[contrast][part].astype(np.uint8), to_visit[:3, :3],
                                                   offset, grid.shape, order=0, mode="nearest") == 0
    return VisitInBox(image, inside)


def _part(to_visit: Affine, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The part of a visit's grid that interpolation depends on."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in BOX], indexing="ij")).reshape(3, -1)
    reached = to_visit[:3, :3] @ corners + to_visit[:3, 3:]
    first = np.clip(np.floor(reached.min(axis=1)) - SPLINE, 0, np.maximum(np.array(shape) - 2, 0)).astype(int)
    last = np.clip(np.ceil(reached.max(axis=1)) + SPLINE, first, np.array(shape) - 1).astype(int)
    return tuple(slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))


def cropped(inside: NDArray[np.bool_]) -> tuple[slice, slice, slice] | None:
    """The part of a box that is inside, up to slices that are so in less than half as many voxels as the fullest one.

    None where nothing is inside.
    """
    if not inside.any():
        return None
    spans = []
    for axis in range(3):
        share = inside.mean(axis=tuple(a for a in range(3) if a != axis))
        kept = np.flatnonzero(share >= 0.5 * share.max())
        spans.append(slice(int(kept[0]), int(kept[-1]) + 1))
    i, j, k = spans
    return i, j, k
