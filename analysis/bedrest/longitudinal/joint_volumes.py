"""Volumes of one disc at all visits of a subject, measured jointly in one common place.

Each visit's image around a disc is moved rigidly to the mean of the visits' poses of that disc (`poses`), so that the
disc lies on the grid in the same way at every visit. The network then segments it several times, each time with the
grid shifted, and the probabilities are summed over one region for all visits. What the network gets wrong about this
disc at this place on the grid is then the same at every visit and cancels in the change. Knows nothing of tables and
files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation
from skimage.segmentation import expand_labels

from bedrest.anatomy.structures import Structure
from bedrest.imaging.crop import crop_grid
from bedrest.imaging.orientation import reorient_to_ras
from bedrest.imaging.resample import grid_with_spacing
from bedrest.longitudinal.error_model import ErrorModel
from bedrest.longitudinal.poses import Pose, mean_pose, pose_of, rigid, rotation_deg
from bedrest.measurement.volumes import REACH_MM
from bedrest.segmentation.forward import forward
from bedrest.segmentation.network import WORKING_SPACING_MM
from bedrest.segmentation.predict import calibrated, network_input, shifted
from bedrest.segmentation.weights import TrainedNetwork, key_of
from bedrest.types import Affine, Grid, LabelMap, Scan, Volume
from bedrest.vocabulary import LEVEL_OF_LABEL, Contrast, VolumeMethod

BOX = (36, 64, 64)  # voxels around a disc: 72 x 80 x 80 mm, what the network needs to see of its neighbours
GridShift = tuple[tuple[float, float, float], bool]
# Shift in voxels, and whether mirrored: fractions move the grid, whole voxels the network's strides.
GRID_SHIFTS: tuple[GridShift, ...] = (
    ((0.0, 0.0, 0.0), False), ((1.5, 4.5, 8.25), True), ((-0.75, -3.75, 4.5), False), ((-1.25, 8.25, -4.25), True))
SPLINE = 10  # voxels beyond which a cubic spline no longer depends on a value


@dataclass(frozen=True, eq=False)
class PreparedVisit:
    """What the joint measurement keeps of one visit."""

    image: NDArray[np.float32]  # (contrasts, I, J, K), normalised, axes right, front, head
    grid: Grid  # grid of `image`
    contrasts: frozenset[Contrast]  # those that the visit has
    poses: dict[int, Pose]  # label to Pose, of the discs that were named


@dataclass(frozen=True)
class JointVolume:
    """One disc at one visit, from all visits together."""

    label: int
    session: str
    contrasts: frozenset[Contrast]  # those that every visit has; no others were used
    shift_volumes_mm3: tuple[float, ...]  # volume from each grid shift
    # undecided share of the volume, sum of p (1 - p) over sum of p; mean over the grid shifts
    boundary_uncertainty: float
    rotation_deg: float  # angle by which the visit was rotated to the mean pose

    @property
    def volume_mm3(self) -> float:
        """Mean over the grid shifts."""
        return float(np.mean(self.shift_volumes_mm3))

    @property
    def grid_shifts_sd_mm3(self) -> float:
        """SD over the grid shifts."""
        return float(np.std(self.shift_volumes_mm3, ddof=1))


def prepare_visit(scan: Scan, poses: Mapping[int, Pose]) -> PreparedVisit:
    """What the joint measurement needs of one visit: its image on the working grid and the poses of its discs."""
    reorientation = reorient_to_ras(scan.grid)
    working = grid_with_spacing(reorientation.ras, WORKING_SPACING_MM)
    contrasts = {c: reorientation.apply(v.data) for c, v in scan.contrasts.items()}
    image = network_input(contrasts, reorientation.ras, working)
    return PreparedVisit(image, working, frozenset(scan.contrasts), dict(poses))


def poses_of(discs: LabelMap, probability: Volume) -> dict[int, Pose]:
    """Where the discs of one visit lie, by label, from its mask and its calibrated probability of disc on one grid."""
    poses = {}
    for label, box in enumerate(ndimage.find_objects(discs.data), start=1):
        if box is not None:
            i, j, k = (slice(max(s.start - 2, 0), s.stop + 2) for s in box)
            near = expand_labels(discs.data[i, j, k], 2) == label
            share = np.where(near, probability.data[i, j, k], 0)
            poses[label] = pose_of(share, crop_grid(discs.grid, (i, j, k)).affine_ras_mm)
    return poses


def joint_volumes(trained: TrainedNetwork, visits: Mapping[str, PreparedVisit], label: int, *, device: str,
                  errors: ErrorModel | None = None,
                  grid_shifts: Sequence[GridShift] = GRID_SHIFTS) -> list[JointVolume]:
    """Volumes of one disc at every visit that has it; none where the visits share no contrast.

    `visits`: by session, whose order the result has. `errors`: error model of these weights, by whose bias of the level
    volumes are corrected. `grid_shifts`: shift in voxels, and whether mirrored.
    """
    having = {s: v for s, v in visits.items() if label in v.poses}
    common = frozenset.intersection(*(v.contrasts for v in having.values())) if having else frozenset()
    common &= frozenset(trained.contrasts)
    if not common:
        return []
    middle = mean_pose([v.poses[label] for v in having.values()])
    level = LEVEL_OF_LABEL[label]
    shift_by_level = trained.calibration.given(common).by_level.get(level, 0.0)
    known = errors.given(key_of(common), VolumeMethod.JOINT) if errors else None
    unbiased = 1 / (1 + known.bias.get(level, 0.0)) if known else 1.0
    motions = {s: rigid(middle, v.poses[label]) for s, v in having.items()}
    axes = Rotation.from_matrix([v.grid.affine_ras_mm[:3, :3] / v.grid.spacing_mm for v in having.values()]).mean()
    volumes: dict[str, list[float]] = {s: [] for s in having}
    boundary_uncertainty: dict[str, list[float]] = {s: [] for s in having}
    for shift, mirrored in grid_shifts:
        affine = np.eye(4)
        affine[:3, :3] = axes.as_matrix() * WORKING_SPACING_MM
        affine[:3, 3] = middle.centre_mm - affine[:3, :3] @ ((np.array(BOX) - 1) / 2 + shift)
        grid = Grid(BOX, affine)
        probabilities = {s: _disc_probability(trained, v, motions[s], grid, common, mirrored=mirrored, device=device)
                         for s, v in having.items()}
        region = _region(np.mean(list(probabilities.values()), axis=0), grid, middle.centre_mm)
        for session, probability in probabilities.items():
            inside = shifted(probability[region].astype(np.float64), shift_by_level)
            total = float(inside.sum())
            volumes[session].append(unbiased * total * grid.voxel_volume_mm3)
            boundary_uncertainty[session].append(float((inside * (1 - inside)).sum()) / total if total else np.nan)
    return [JointVolume(label, s, common, tuple(v), float(np.mean(boundary_uncertainty[s])), rotation_deg(motions[s]))
            for s, v in volumes.items()]


def _disc_probability(trained: TrainedNetwork, visit: PreparedVisit, motion: Affine, grid: Grid,
                      contrasts: frozenset[Contrast], *, mirrored: bool, device: str) -> NDArray[np.float32]:
    """Probability of disc in `grid`, to the middle of which the visit's disc has been moved."""
    to_visit = np.linalg.inv(visit.grid.affine_ras_mm) @ motion @ grid.affine_ras_mm
    part = _part(to_visit, visit.grid.shape)
    offset = to_visit[:3, 3] - [s.start for s in part]
    image = np.zeros((len(Contrast), *grid.shape), np.float32)
    for channel, contrast in enumerate(Contrast):
        if contrast in contrasts:
            image[channel] = np.maximum(ndimage.affine_transform(
                visit.image[channel][part], to_visit[:3, :3], offset, grid.shape, order=3, mode="nearest"), 0)
    if mirrored:
        image = np.ascontiguousarray(image[:, ::-1])
    logits = forward(trained.network, image, device)
    disc = calibrated(logits.data, trained.calibration.given(contrasts))[Structure.DISC]
    return np.asarray(disc[::-1] if mirrored else disc)


def _part(to_visit: Affine, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The part of a visit's grid that interpolation depends on."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in BOX], indexing="ij")).reshape(3, -1)
    reached = to_visit[:3, :3] @ corners + to_visit[:3, 3:]
    first = np.clip(np.floor(reached.min(axis=1)) - SPLINE, 0, np.maximum(np.array(shape) - 2, 0)).astype(int)
    last = np.clip(np.ceil(reached.max(axis=1)) + SPLINE, first, np.array(shape) - 1).astype(int)
    return tuple(slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))


def _region(probability: NDArray[np.float32], grid: Grid, centre_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The disc at `centre_mm` with its rim; other discs in the box keep theirs."""
    discs, n = ndimage.label(probability >= 0.5)
    if n == 0:
        return np.zeros(grid.shape, bool)
    centre = np.linalg.inv(grid.affine_ras_mm) @ np.append(centre_mm, 1)
    sizes = np.bincount(discs.ravel(), minlength=n + 1)
    near = [np.linalg.norm((np.argwhere(discs == k).mean(axis=0) - centre[:3]) * grid.spacing_mm)
            if sizes[k] > 20 else float("inf") for k in range(1, n + 1)]
    wide = expand_labels(discs, REACH_MM, spacing=tuple(grid.spacing_mm))
    return np.asarray(wide == 1 + near.index(min(near)))
