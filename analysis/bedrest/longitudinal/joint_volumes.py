"""Volumes of one disc at all visits of a subject, measured jointly in one common place.

Each visit's image around a disc is moved rigidly so that the disc lies on the grid in the same way at every visit
(`poses`, made better by `alignment`). The network then segments it several times, each time with the grid shifted, and
the probabilities are summed over one region for all visits. What the network gets wrong about this disc at this place
on the grid is then the same at every visit and cancels in the change. Only what every visit shows is segmented and
summed: of a disc that a stack cuts off, the part that all visits have. Knows nothing of tables and files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation
from skimage.segmentation import expand_labels

from bedrest.anatomy.structures import Structure
from bedrest.imaging.crop import crop_grid
from bedrest.longitudinal.alignment import aligned
from bedrest.longitudinal.boxes import PreparedVisit, VisitInBox, box_around, cropped, visit_in_box
from bedrest.longitudinal.deformation import DiscDeformation, VisitImage, disc_deformations
from bedrest.longitudinal.error_model import MOST_SHIFTS_SD, ErrorModel
from bedrest.longitudinal.poses import Pose, mean_pose, part_at, pose_of, rigid, rotation_deg
from bedrest.measurement.coverage import covered_share
from bedrest.measurement.volumes import REACH_MM
from bedrest.segmentation.forward import forward
from bedrest.segmentation.predict import calibrated, shifted
from bedrest.segmentation.weights import Calibration, TrainedNetwork, key_of
from bedrest.types import Affine, Grid, LabelMap, Volume
from bedrest.vocabulary import LEVEL_OF_LABEL, Contrast, VolumeMethod

MIN_COVERED_BY_DEFORMATION = 0.9  # of a disc: of less, its rim is not seen, nor what holds its bones in place
GridShift = tuple[tuple[float, float, float], bool]
# Shift in voxels, and whether mirrored: fractions move the grid, whole voxels the network's strides.
GRID_SHIFTS: tuple[GridShift, ...] = (
    ((0.0, 0.0, 0.0), False), ((1.5, 4.5, 8.25), True), ((-0.75, -3.75, 4.5), False), ((-1.25, 8.25, -4.25), True))


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
    covered: float = 1.0  # share of the disc that every visit shows and that was summed, 0 to 1
    deformation: DiscDeformation | None = None  # its change straight from the images, where there is one
    by_deformation_mm3: float | None = None  # the visits' mean volume, changed by deformation; where it can be trusted

    @property
    def volume_mm3(self) -> float:
        """Mean over the grid shifts."""
        return float(np.mean(self.shift_volumes_mm3))

    @property
    def grid_shifts_sd_mm3(self) -> float:
        """SD over the grid shifts."""
        return float(np.std(self.shift_volumes_mm3, ddof=1))


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
    axes = Rotation.from_matrix([v.grid.affine_ras_mm[:3, :3] / v.grid.spacing_mm
                                 for v in having.values()]).mean().as_matrix()
    motions = aligned(having, {s: rigid(middle, v.poses[label]) for s, v in having.items()}, middle, axes, common)
    volumes: dict[str, list[float]] = {s: [] for s in having}
    boundary_uncertainty: dict[str, list[float]] = {s: [] for s in having}
    covered, deformations = [], None
    for shift, mirrored in grid_shifts:
        grid = box_around(middle.centre_mm, axes, shift)
        boxes = {s: visit_in_box(v, motions[s], grid, common) for s, v in having.items()}
        inside = np.all([b.inside for b in boxes.values()], axis=0)
        both = _disc_and_bone(trained, boxes, inside, trained.calibration.given(common), mirrored=mirrored,
                              device=device)
        probabilities = {s: disc for s, (disc, _) in both.items()}
        mean, bone = np.mean(list(both.values()), axis=0)
        if deformations is None:
            deformations = disc_deformations({s: _image(v, motions[s], common) for s, v in having.items()}, mean, bone,
                                             grid, middle.axes[:, 2])
        region = _region(mean, grid, middle.centre_mm) & inside
        covered.append(_covered(mean * region, inside, grid))
        for session, probability in probabilities.items():
            share = shifted(probability[region].astype(np.float64), shift_by_level)
            total = float(share.sum())
            volumes[session].append(unbiased * total * grid.voxel_volume_mm3)
            boundary_uncertainty[session].append(float((share * (1 - share)).sum()) / total if total else np.nan)
    deformed = {d.session: d for d in deformations} if isinstance(deformations, list) else {}
    return _changed_by_deformation([
        JointVolume(label, s, common, tuple(v), float(np.mean(boundary_uncertainty[s])), rotation_deg(motions[s]),
                    float(np.mean(covered)), deformed.get(s)) for s, v in volumes.items()])


def _changed_by_deformation(volumes: list[JointVolume]) -> list[JointVolume]:
    """One disc at all its visits, with volumes that have the mean of the joint ones and differ as by deformation.

    Unchanged where deformation knows no change, or where segmentation is so unsure that neither can be trusted: then
    the places of disc and bones, from which deformation starts, are not known either.
    """
    if any(v.deformation is None or v.volume_mm3 <= 0 or v.covered < MIN_COVERED_BY_DEFORMATION
           or v.grid_shifts_sd_mm3 > MOST_SHIFTS_SD * v.volume_mm3 for v in volumes):
        return volumes
    mean = np.mean([np.log(v.volume_mm3) for v in volumes])
    return [replace(v, by_deformation_mm3=float(np.exp(mean + v.deformation.ln_ratio))) if v.deformation else v
            for v in volumes]


def _image(visit: PreparedVisit, motion: Affine, contrasts: frozenset[Contrast]) -> VisitImage:
    """What deformation compares of a visit: the contrasts that all visits have, where it shows them."""
    outside = [visit.outside[c] for c in contrasts if c in visit.outside]
    return VisitImage(visit.image[[k for k, c in enumerate(Contrast) if c in contrasts]], visit.grid, motion,
                      ~np.logical_or.reduce(outside) if outside else None)


def _disc_and_bone(trained: TrainedNetwork, boxes: Mapping[str, VisitInBox], inside: NDArray[np.bool_],
                   calibration: Calibration, *, mirrored: bool, device: str) -> dict[str, NDArray[np.float32]]:
    """Probabilities of disc and of bone, (2, I, J, K), in a box at every visit, 0 outside the part that all show.

    The network sees that part alone, as it saw patches in training. Repeated edges instead made stripes of tissue that
    it took for disc or bone.
    """
    probabilities = {s: np.zeros((2, *inside.shape), np.float32) for s in boxes}
    part = cropped(inside)
    if part is None:
        return probabilities
    i, j, k = part
    for session, box in boxes.items():
        image = box.image[:, i, j, k]
        logits = forward(trained.network, np.ascontiguousarray(image[:, ::-1] if mirrored else image), device)
        shares = calibrated(logits.data, calibration)
        both = np.stack([shares[Structure.DISC], shares[Structure.VERTEBRA] + shares[Structure.SACRUM]])
        probabilities[session][:, i, j, k] = both[:, ::-1] if mirrored else both
    return probabilities


def _covered(disc: NDArray[np.floating], inside: NDArray[np.bool_], grid: Grid) -> float:
    """Share of the disc in the sagittal slices that lie inside where it does. `disc`: its probability, 0 elsewhere."""
    profile = disc.any(axis=0)
    whole = inside[:, profile].mean(axis=1) > 0.9 if profile.any() else np.zeros(len(disc), bool)
    return covered_share(disc.sum(axis=(1, 2))[whole], float(grid.spacing_mm[0]))


def _region(probability: NDArray[np.floating], grid: Grid, centre_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The disc at `centre_mm` with its rim; other discs in the box keep theirs."""
    discs, n = ndimage.label(probability >= 0.5)
    if n == 0:
        return np.zeros(grid.shape, bool)
    wide = expand_labels(discs, REACH_MM, spacing=tuple(grid.spacing_mm))
    return np.asarray(wide == (part_at(discs, grid, centre_mm) or 1))
