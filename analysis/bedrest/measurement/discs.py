"""One mask -> the measures of every disc in it.

Knows nothing of the network that may have made the mask, nor of files, and no measure by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bedrest.findings import Finding, FindingCode
from bedrest.measurement.bones import find_bones
from bedrest.measurement.context import DiscInScan, MeasuredScan
from bedrest.measurement.definition import DiscMeasure, DiscPosition, compute_all
from bedrest.measurement.geometry import bounding_box
from bedrest.measurement.quality import check_disc, spacing_looks_permuted
from bedrest.measurement.registry import DISC_MEASURES
from bedrest.types import LabelMap, Volume, require_same_grid
from bedrest.vocabulary import Contrast, VolumeMethod


def measure_discs(
    discs: LabelMap, levels: Mapping[int, str], images: Mapping[Contrast, Volume], tissues: LabelMap | None = None, *,
    volumes_mm3: Mapping[int, float] = MappingProxyType({}),
) -> list[DiscMeasure]:
    """Measure every disc of a mask.

    Raises GeometryError if an image or the tissue map lies on another grid than the mask.

    Where the header's spacings look permuted, heights, diameters and positions are NaN and the disc is flagged: the
    volume alone does not depend on the order of the axes.

    Parameters
    ----------
    discs : one mask, shape (I, J, K), world frame RAS+, spacing in mm; any axis order and direction
    levels : label to level. One result for each entry, in its order; a label that is not in the mask gives a failed
        one.
    images : contrasts to take the mean signal from, on the grid of `discs`; may be empty
    tissues : the discs with their neighbours, numbered as in `vocabulary.TISSUE_OF_LABEL`, on the grid of `discs`;
        without it bulge, canal width, intervertebral length and normalised signals are missing
    volumes_mm3 : by label, as `volumes_from_probability` gives them; of discs without an entry voxels are counted
    """
    for contrast, image in images.items():
        require_same_grid(image.grid, discs.grid, names=(f"{contrast.value} image", "mask"))
    if tissues is not None:
        require_same_grid(tissues.grid, discs.grid, names=("tissue map", "mask"))
    permuted = spacing_looks_permuted(discs.grid)
    bones = find_bones(tissues) if tissues is not None and not permuted else None
    scan = MeasuredScan(discs, images, volumes_mm3, tissues, bones, permuted)
    return [_measure(scan, label, level) for label, level in levels.items()]


def _measure(scan: MeasuredScan, label: int, level: str) -> DiscMeasure:
    mask = scan.discs.data == label
    box = bounding_box(mask)
    if box is None:
        return DiscMeasure(level, label, findings=(Finding(FindingCode.NOT_IN_MASK, {"label": label, "name": level}),))
    disc = DiscInScan(level, label, mask[box], box, scan)
    doubts = check_disc(disc.mask, box, scan.discs.grid, disc.geometry)
    if scan.permuted:
        doubts.append(Finding(FindingCode.SPACING_PERMUTED))
    values, missing = compute_all(DISC_MEASURES, disc)
    return DiscMeasure(
        level, label, values, DiscPosition(disc.centre_mm, disc.profile.lower_plate_deg),
        volume_method=VolumeMethod.SINGLE if label in scan.volumes_mm3 else VolumeMethod.VOXELS,
        findings=(*doubts, *missing),
    )
