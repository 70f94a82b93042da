"""Position and direction of a disc at each visit, and their mean over the visits.

No visit is the template: all are moved to their mean, as in Reuter and Fischl, NeuroImage 2011;57:19, who show that
treating one visit differently biases change. Knows nothing of images and networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from bedrest.types import Affine, Grid

Vector = NDArray[np.float64]

MIN_VOXELS = 8
MAX_SPECK_VOXELS = 20  # a connected part of no more is no disc


@dataclass(frozen=True, eq=False)
class Pose:
    """Position and direction of one disc."""

    centre_mm: Vector  # (3,) world RAS+
    # (3, 3) orthonormal, columns to the side (right), the front and along the disc's normal (head)
    axes: NDArray[np.float64]


def pose_of(share: NDArray[np.floating], affine_ras_mm: Affine) -> Pose:
    """Pose of a disc from its first and second moments.

    `share`: (I, J, K), how much of each voxel is the disc, 0 to 1; some of it above 0. Moments weigh every voxel, so
    the pose moves by far less than a voxel when the boundary does. Fewer than `MIN_VOXELS` voxels have a position but
    no direction: they take the axes of the world.
    """
    index = np.argwhere(share > 0)
    weight = share[tuple(index.T)].astype(np.float64)
    points = index @ affine_ras_mm[:3, :3].T + affine_ras_mm[:3, 3]
    centre = np.average(points, axis=0, weights=weight)
    if len(points) < MIN_VOXELS:
        return Pose(centre, np.eye(3))
    covariance = np.cov((points - centre).T, aweights=weight)
    axes = np.linalg.eigh(covariance)[1]  # from the least spread (normal) to the largest
    normal, plane = axes[:, 0], axes[:, 1:]
    side = plane[:, int(np.argmax(np.abs(plane[0])))]
    normal = normal * np.copysign(1.0, normal[2])
    side = side * np.copysign(1.0, side[0])
    return Pose(centre, np.column_stack([side, np.cross(normal, side), normal]))


def mean_pose(poses: Sequence[Pose]) -> Pose:
    """Mean centre and mean rotation of `poses`."""
    rotation = Rotation.from_matrix(np.array([p.axes for p in poses])).mean()
    return Pose(np.mean([p.centre_mm for p in poses], axis=0), rotation.as_matrix())


def rigid(source: Pose, target: Pose) -> Affine:
    """(4, 4) rigid motion, world to world, that takes a disc at `source` to `target`."""
    return motion_about(source.centre_mm, target.axes @ source.axes.T, target.centre_mm - source.centre_mm)


def motion_about(centre_mm: Vector, rotation: NDArray[np.float64], shift_mm: Vector) -> Affine:
    """(4, 4) rigid motion: a rotation (3, 3) about a point, then a shift."""
    motion = np.eye(4)
    motion[:3, :3] = rotation
    motion[:3, 3] = centre_mm + shift_mm - rotation @ centre_mm
    return motion


def rotation_deg(motion: Affine) -> float:
    """Angle of a rigid motion, degrees."""
    return float(np.rad2deg(Rotation.from_matrix(motion[:3, :3]).magnitude()))


def part_at(parts: NDArray[np.integer], grid: Grid, centre_mm: NDArray[np.floating]) -> int | None:
    """Number of the connected part whose middle lies nearest to a point; None where all have 20 voxels or fewer.

    `parts`: (I, J, K) numbers of connected parts, 0 elsewhere, as `scipy.ndimage.label` gives them.
    """
    centre = (np.linalg.inv(grid.affine_ras_mm) @ np.append(centre_mm, 1))[:3]
    large = [k for k, size in enumerate(np.bincount(parts.ravel())) if k and size > MAX_SPECK_VOXELS]
    away = {k: np.linalg.norm((np.argwhere(parts == k).mean(axis=0) - centre) * grid.spacing_mm) for k in large}
    return min(away, key=away.__getitem__, default=None)
