"""One disc with everything it can be measured from; what several measures share is computed once, on first use.

Knows no measure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bedrest.findings import Finding
from bedrest.measurement.bones import Bones
from bedrest.measurement.geometry import Box, DiscGeometry, disc_geometry
from bedrest.measurement.reference_tissue import reference_signals
from bedrest.measurement.sagittal import Band, Part, SagittalProfile, sagittal_profile
from bedrest.types import LabelMap, Volume
from bedrest.vocabulary import Contrast

NOWHERE = (math.nan, math.nan, math.nan)


@dataclass(frozen=True, eq=False)
class MeasuredScan:
    """What every disc of one mask is measured with."""

    discs: LabelMap  # the mask
    images: Mapping[Contrast, Volume]  # contrasts on its grid; may be empty
    volumes_mm3: Mapping[int, float]  # from probabilities, by label; empty where there are none
    tissues: LabelMap | None  # the discs with their neighbours on its grid, or None
    bones: Bones | None  # as `bones.find_bones` gives them; None without tissues, or where the header cannot be trusted
    permuted: bool  # whether the header's spacings look permuted: then shape and position are not known


@dataclass(frozen=True, eq=False)
class DiscInScan:
    """One disc of a mask.

    Attributes
    ----------
    level, label : disc level and its number in the mask
    """

    level: str
    label: int
    mask: NDArray[np.bool_]  # the disc cropped to `box`, at least one voxel
    box: Box  # where the crop lies in the scan's grid
    scan: MeasuredScan

    @cached_property
    def geometry(self) -> DiscGeometry | None:
        """Shape in the world; None where the header cannot be trusted."""
        return None if self.scan.permuted else disc_geometry(self.mask, self.box, self.scan.discs.grid.affine_ras_mm)

    @cached_property
    def centre_mm(self) -> tuple[float, float, float]:
        """Centre of mass, world frame RAS+; NaN where the header cannot be trusted."""
        return self.geometry.centre_mm if self.geometry is not None else NOWHERE

    @cached_property
    def part(self) -> Part:
        return Part(self.mask, self.box)

    @cached_property
    def band(self) -> Band | None:
        """The mid-sagittal band; None where the header cannot be trusted."""
        return None if self.geometry is None else Band.of(self.part, self.geometry, self.scan.discs.grid.affine_ras_mm)

    @cached_property
    def profile(self) -> SagittalProfile:
        """The mid-sagittal section; every value NaN where it could not be measured."""
        return SagittalProfile() if self.band is None else sagittal_profile(self.part, self.band)

    @cached_property
    def references(self) -> tuple[dict[Contrast, float], list[Finding]]:
        """Signal of the reference tissue by contrast, and why some have none."""
        return reference_signals(self.level, self.centre_mm, self.scan.images, self.scan.tissues)

    def signal(self, contrast: Contrast) -> float:
        """Mean intensity inside the disc, arbitrary units; NaN without the contrast."""
        image = self.scan.images.get(contrast)
        return math.nan if image is None else float(image.data[self.box][self.mask].mean(dtype=np.float64))
