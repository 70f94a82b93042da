"""One disc among its neighbours: bulge, canal width, distance of the vertebral bodies.

bulge_posterior_mm
    How far the disc's back stands behind the line that joins the posterior-inferior corner of the body above with the
    posterior-superior corner of the body (or sacrum) below, as radiologists draw it (Fardon et al., Spine J
    2014;14:2525: displacement is judged against the edges of the bodies); negative where the disc stays in front of
    that line. It is the largest mean over a quarter of the disc's height: a single row would pick whichever voxel was
    rounded outwards (+0.37 mm for no bulge at all at 2 x 1.25 x 1.25 mm). A corner is where the back wall, a straight
    line through its first 1 to 9 mm, meets the disc's end plate: the corner itself is rounded off in a mask of voxels.
canal_width_mm
    Antero-posterior width of the spinal canal in the disc's plane, as on an axial slice laid through the disc: median
    over 5 mm along the disc's normal.
intervertebral_length_mm
    Distance of the centres of mass of the two bodies. S1 has no separate border within the sacrum: below L5-S1
    stands the centre of its upper end plate in the mid-sagittal plane, so this length is shorter there and must not be
    compared with those of other levels. (Belavy et al., J Appl Physiol 2011;111:1304 report an intervertebral length
    in bed rest; their landmarks were not at hand.)

On solids with straight walls, at 2 x 1.25 x 1.25 mm: bulge off by 0.1 mm on average (SD 0.3), canal 0.1 (0.3), length
less than 0.1 (0.1). A wall that is hollow puts the corner too far to the front: synthetic bodies waisted by a tenth of
their depth make the bulge 0.8 mm too large. Within one subject that is constant.

Needs a map of the tissues, which is a network's output and may be partly wrong: every value is missing, with a reason,
where the structure beside the disc cannot be its neighbour. Knows nothing of contrasts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bedrest.findings import Finding, FindingCode
from bedrest.measurement.bones import Bone, largest_piece
from bedrest.measurement.definition import Measure, Needs, Scale, Undefined
from bedrest.measurement.geometry import centre_of_mass_mm
from bedrest.measurement.sagittal import Band, Part, SagittalProfile
from bedrest.types import LabelMap
from bedrest.vocabulary import BONES_OF_DISC, CANAL_LABEL, LABEL_OF_LEVEL, SACRUM_LABEL, TISSUE_OF_LABEL

if TYPE_CHECKING:
    from bedrest.measurement.context import DiscInScan

Float = NDArray[np.floating]

_STEP_MM = 0.25
_INTO_DISC_MM = 6.0  # rows start this far in front of the disc's back end ...
_BEHIND_MM = 14.0  # ... and end this far behind it
_WALL_MM = np.arange(1.0, 9.01, 0.5)  # rows of a body that show its back wall, counted from the disc's end plate
_HEIGHT_ROWS, _PEAK_ROWS = 25, 11  # the middle 60 % of the disc's height, and the quarter of it that stands out most
_CANAL_REACH_MM = 45.0
_CANAL_SLAB_MM = 5.0
_MOST_ROWS = 0.8
_CANAL_MM = (5.0, 40.0)
_CORNER_OFF_MM = 8.0
_CENTRE_AWAY_MM, _CENTRE_ASIDE_MM = (8.0, 40.0), 15.0


@dataclass(frozen=True, eq=False)
class _Section:
    """One disc in its mid-sagittal band, between its two bones."""

    disc: Part
    band: Band
    profile: SagittalProfile
    above: Bone
    below: Bone
    tissues: LabelMap


class _NoValue(Exception):
    """A value cannot be measured, and why."""

    def __init__(self, code: FindingCode, **values: object) -> None:
        self.code, self.values = code, values
        super().__init__(code)


def _between_bones(what: str, measure: Callable[[_Section], float]) -> Callable[[DiscInScan], float]:
    """A measure of a disc from one of its section; NaN without tissues, or where the header cannot be trusted."""
    def compute(disc: DiscInScan) -> float:
        tissues, bones, band = disc.scan.tissues, disc.scan.bones, disc.band
        if tissues is None or bones is None or band is None:
            return math.nan
        if disc.level not in LABEL_OF_LEVEL or not disc.profile.measured:
            raise Undefined(Finding(FindingCode.NO_SECTION))
        below, above = (bones[label] for label in BONES_OF_DISC[LABEL_OF_LEVEL[disc.level]])
        try:
            return measure(_Section(disc.part, band, disc.profile, above, below, tissues))
        except _NoValue as why:
            raise Undefined(Finding(why.code, {"measure": what, **why.values})) from why
    return compute


def _bulge_mm(section: _Section) -> float:
    band, profile = section.band, section.profile
    start = profile.back_mm + _INTO_DISC_MM
    y = start - _STEP_MM * (np.arange((_INTO_DISC_MM + _BEHIND_MM) / _STEP_MM) + 0.5)
    corners = []
    for bone, plate, out in ((section.above, profile.upper, 1), (section.below, profile.lower, -1)):
        z = plate[0] + plate[1] * y + out * _WALL_MM[:, None]  # rows along the end plate, ever deeper into the bone
        rows = band.occupancy(_solid(bone), y, z)
        bony = rows[:, :4].mean(axis=1) > 0.5
        if bony.mean() < _MOST_ROWS:
            raise _NoValue(FindingCode.BONE_OFF_END_PLATE, bone=bone.name)
        wall = np.polyfit(_WALL_MM[bony], start - rows[bony].sum(axis=1) * _STEP_MM, 1)[1]
        if (off_mm := abs(wall - profile.back_mm)) > _CORNER_OFF_MM:
            raise _NoValue(FindingCode.BONE_BACK_OFF, bone=bone.name, distance_mm=off_mm)
        corners.append((wall, plate[0] + plate[1] * wall))
    (y_up, z_up), (y_low, z_low) = corners
    z = z_low + (z_up - z_low) * np.linspace(0.2, 0.8, _HEIGHT_ROWS)
    back = start - band.occupancy(section.disc, y, z[:, None]).sum(axis=1) * _STEP_MM
    line = y_low + (y_up - y_low) * (z - z_low) / (z_up - z_low)
    beyond = np.convolve(line - back, np.full(_PEAK_ROWS, 1 / _PEAK_ROWS), mode="valid")
    return float(beyond.max() * math.cos(math.atan2(y_up - y_low, z_up - z_low)))


def _canal_width_mm(section: _Section) -> float:
    tissues, band, profile = section.tissues, section.band, section.profile
    # Only what lies near the disc: the canal is long, and may be torn elsewhere.
    to_index = np.linalg.inv(band.affine_ras_mm)
    middle = to_index[:3, :3] @ band.centre_mm + to_index[:3, 3]
    reach = np.linalg.norm(to_index[:3, :3], axis=1) * (_CANAL_REACH_MM - profile.back_mm)
    shape = np.array(tissues.data.shape)
    low, high = (np.clip(middle + s * reach, 0, shape).astype(int) for s in (-1, 1))
    first, second, third = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    near = tissues.data[first, second, third] == CANAL_LABEL
    if not near.any():
        raise _NoValue(FindingCode.CANAL_ABSENT)
    canal, _ = largest_piece(near, (first, second, third))
    y = profile.back_mm + 3 - _STEP_MM * (np.arange((_CANAL_REACH_MM + 3) / _STEP_MM) + 0.5)
    z = np.arange(-_CANAL_SLAB_MM / 2, _CANAL_SLAB_MM / 2 + 1e-6, 0.5)
    widths = band.occupancy(canal, y, z[:, None]).sum(axis=1) * _STEP_MM
    if (widths >= _CANAL_MM[0]).mean() < _MOST_ROWS or np.median(widths) > _CANAL_MM[1]:
        raise _NoValue(FindingCode.CANAL_IMPLAUSIBLE, narrowest_mm=widths.min(), widest_mm=widths.max())
    return float(np.median(widths))


def _length_mm(section: _Section) -> float:
    band, profile, below = section.band, section.profile, section.below
    top = _centre_mm(band, section.above, out=1)
    if below.name != TISSUE_OF_LABEL[SACRUM_LABEL]:
        return float(np.linalg.norm(top - _centre_mm(band, below, out=-1)))
    y = (profile.front_mm + profile.back_mm) / 2
    z = profile.lower[0] + profile.lower[1] * y
    if band.occupancy(_solid(below), np.full(7, y), z - np.arange(2, 5.1, 0.5)).mean() < 0.5:
        raise _NoValue(FindingCode.BONE_OFF_END_PLATE, bone=below.name)
    return float(np.linalg.norm(top - band.world_mm(y, z)))


def _centre_mm(band: Band, bone: Bone, *, out: int) -> Float:
    part = _solid(bone)
    if bone.cut_off:
        raise _NoValue(FindingCode.BONE_CUT_OFF, bone=bone.name)
    centre = centre_of_mass_mm(part.mask, part.box, band.affine_ras_mm)
    right, front, head = band.offset_mm(centre)
    away, aside = out * head, math.hypot(right, front)
    if not _CENTRE_AWAY_MM[0] <= away <= _CENTRE_AWAY_MM[1] or aside > _CENTRE_ASIDE_MM:
        raise _NoValue(FindingCode.BONE_MISPLACED, bone=bone.name, away_mm=away, aside_mm=aside)
    return centre


def _solid(bone: Bone) -> Part:
    if bone.part is None:
        raise _NoValue(bone.absent or FindingCode.BONE_ABSENT, bone=bone.name, largest_percent=bone.largest_percent)
    return bone.part


_UNDEFINED = "without a level, or where what lies beside the disc cannot be its neighbour"
MEASURES: tuple[Measure[DiscInScan], ...] = (
    Measure("bulge_posterior_mm", "mm", Scale.DIFFERENCE,
            "how far the back stands behind the line joining the bodies' posterior corners; negative: in front of it",
            _between_bones("bulge", _bulge_mm), _UNDEFINED, needs=Needs.TISSUES, title="bulge posterior"),
    Measure("canal_width_mm", "mm", Scale.RATIO,
            "antero-posterior width of the spinal canal in the disc plane",
            _between_bones("canal width", _canal_width_mm), _UNDEFINED, needs=Needs.TISSUES, minimum=0,
            title="canal width"),
    Measure("intervertebral_length_mm", "mm", Scale.RATIO,
            "distance of the two bodies' centres; of L5-S1 from L5's centre to that of S1's upper end plate",
            _between_bones("intervertebral length", _length_mm), _UNDEFINED, needs=Needs.TISSUES, minimum=0,
            title="intervertebral length"),
)
