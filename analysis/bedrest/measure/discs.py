"""One mask -> the measures of every disc in it.

Knows nothing of the network that may have made the mask, nor of files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bedrest.findings import Finding, FindingCode, worst_status
from bedrest.measure.bones import Bones, find_bones
from bedrest.measure.geometry import DiscGeometry, bounding_box, disc_geometry
from bedrest.measure.neighbours import NeighbourMeasure, measure_neighbours
from bedrest.measure.quality import check_disc, spacing_looks_permuted
from bedrest.measure.sagittal import Band, Part, SagittalProfile, sagittal_profile
from bedrest.measure.signals import disc_signals
from bedrest.measure.volumes import volumes_from_probability
from bedrest.types import LabelMap, Volume, require_same_grid
from bedrest.vocabulary import Contrast, Status, VolumeMethod

_NAN3 = (math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class DiscMeasure:
    """Measures of one disc at one visit; NaN (None for the count) where not measured, never 0.

    Attributes
    ----------
    level : disc level
    label : its number in the mask
    volume_mm3 : from probabilities where they were given, else the same as volume_voxels_mm3
    volume_method : which of the two, see `vocabulary.VolumeMethod`; empty where not measured
    n_voxels : voxel count, None when the disc is absent
    volume_voxels_mm3 : voxel count times voxel volume
    height_mean_mm, diameter_ap_mm, diameter_transverse_mm : see `geometry.DiscGeometry`
    sagittal : heights, wedge and area of the mid-sagittal section
    neighbours : bulge, canal width and intervertebral length; missing without a tissue map
    centre_mm : centre of mass (x, y, z), world frame RAS+
    signals : mean intensity inside the disc of every contrast that was given, arbitrary units
    normalised, fat_fraction : see `signals.DiscSignals`
    findings : doubts about the disc, and why a value is missing. That a neighbour or a signal could not be measured is
        no doubt about the disc: alone, it leaves the status ok
    """

    level: str
    label: int
    volume_mm3: float = math.nan
    n_voxels: int | None = None
    volume_voxels_mm3: float = math.nan
    height_mean_mm: float = math.nan
    diameter_ap_mm: float = math.nan
    diameter_transverse_mm: float = math.nan
    sagittal: SagittalProfile = field(default_factory=SagittalProfile)
    neighbours: NeighbourMeasure = field(default_factory=NeighbourMeasure)
    centre_mm: tuple[float, float, float] = _NAN3
    signals: Mapping[Contrast, float] = field(default_factory=dict)
    normalised: Mapping[Contrast, float] = field(default_factory=dict)
    fat_fraction: float = math.nan
    volume_method: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def status(self) -> Status:
        """See `vocabulary.Status`."""
        return worst_status(self.findings)


def measure_discs(
    discs: LabelMap, levels: Mapping[int, str], images: Mapping[Contrast, Volume], tissues: LabelMap | None = None, *,
    probability: Volume | None = None,
) -> list[DiscMeasure]:
    """Measure every disc of a mask.

    Parameters
    ----------
    discs : LabelMap
        One mask, shape (I, J, K), world frame RAS+, spacing in mm; any axis order and direction.
    levels : mapping
        Label to level. One result for each entry, in its order; a label that is not in the mask gives a failed one.
    images : mapping
        Contrasts to take the mean signal from, on the grid of `discs`; may be empty.
    tissues : LabelMap, optional
        The discs with their neighbours, numbered as in `vocabulary.TISSUE_OF_LABEL`, on the grid of `discs`; without
        it bulge, canal width, intervertebral length and normalised signals are missing.
    probability : Volume, optional
        Calibrated probability of disc from which the mask was made, on its grid: then volumes are measured from it.

    Returns
    -------
    list of DiscMeasure

    Raises
    ------
    GeometryError
        If an image, the tissue map or the probability lies on another grid than the mask.

    Notes
    -----
    Where the header's spacings look permuted, heights, diameters and positions are NaN and the disc is flagged: the
    volume alone does not depend on the order of the axes.
    """
    for contrast, image in images.items():
        require_same_grid(image.grid, discs.grid, names=(f"{contrast.value} image", "mask"))
    if tissues is not None:
        require_same_grid(tissues.grid, discs.grid, names=("tissue map", "mask"))
    volumes: dict[int, float] = {}
    if probability is not None:
        require_same_grid(probability.grid, discs.grid, names=("probability", "mask"))
        volumes = volumes_from_probability(probability, discs)
    permuted = spacing_looks_permuted(discs.grid)
    bones = find_bones(tissues) if tissues is not None and not permuted else None
    given = _Given(discs, images, volumes, tissues, bones, permuted)
    return [_measure(given, label, level) for label, level in levels.items()]


@dataclass(frozen=True, eq=False)
class _Given:
    """What every disc of one mask is measured with."""

    discs: LabelMap
    images: Mapping[Contrast, Volume]
    volumes_mm3: Mapping[int, float]  # by label; empty where voxels are counted
    tissues: LabelMap | None
    bones: Bones | None
    permuted: bool


def _measure(given: _Given, label: int, level: str) -> DiscMeasure:
    discs = given.discs
    mask = discs.data == label
    box = bounding_box(mask)
    if box is None:
        return DiscMeasure(level, label, findings=(Finding(FindingCode.NOT_IN_MASK, {"label": label, "name": level}),))
    disc = mask[box]
    shape: DiscGeometry | None = None if given.permuted else disc_geometry(disc, box, discs.grid.affine_ras_mm)
    doubts = check_disc(disc, box, discs.grid, shape)
    if given.permuted:
        doubts.append(Finding(FindingCode.SPACING_PERMUTED))
    profile, neighbours = SagittalProfile(), NeighbourMeasure()
    if shape is not None:
        part = Part(disc, box)
        band = Band.of(part, shape, discs.grid.affine_ras_mm)
        profile = sagittal_profile(part, band)
        if given.tissues is not None and given.bones is not None:
            neighbours = measure_neighbours(level, part, band, profile, tissues=given.tissues, bones=given.bones)
    n_voxels = int(np.count_nonzero(disc))
    counted_mm3 = n_voxels * discs.grid.voxel_volume_mm3
    centre_mm = shape.centre_mm if shape else _NAN3
    signals = disc_signals(disc, box, level=level, centre_mm=centre_mm, images=given.images, tissues=given.tissues)
    return DiscMeasure(
        level=level,
        label=label,
        volume_mm3=given.volumes_mm3.get(label, counted_mm3),
        n_voxels=n_voxels,
        volume_voxels_mm3=counted_mm3,
        height_mean_mm=shape.height_mean_mm if shape else math.nan,
        diameter_ap_mm=shape.diameter_ap_mm if shape else math.nan,
        diameter_transverse_mm=shape.diameter_transverse_mm if shape else math.nan,
        sagittal=profile,
        neighbours=neighbours,
        centre_mm=centre_mm,
        signals={c: float(image.data[box][disc].mean(dtype=np.float64)) for c, image in given.images.items()},
        normalised=signals.normalised,
        fat_fraction=signals.fat_fraction,
        volume_method=VolumeMethod.SINGLE if label in given.volumes_mm3 else VolumeMethod.VOXELS,
        findings=(*doubts, *neighbours.findings, *signals.findings),
    )
