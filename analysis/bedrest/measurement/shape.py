"""Measures of a disc's shape: of its geometry and of its mid-sagittal section.

How both are taken from voxels is in `geometry` and `sagittal`, which know no measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from bedrest.measurement.definition import Measure, Scale

if TYPE_CHECKING:
    from bedrest.measurement.context import DiscInScan


def _geometry(field: str) -> Callable[[DiscInScan], float]:
    return lambda disc: math.nan if disc.geometry is None else float(getattr(disc.geometry, field))


def _section(field: str) -> Callable[[DiscInScan], float]:
    return lambda disc: float(getattr(disc.profile, field))


_SHALLOW = "where the mid-sagittal section is less than 10 mm deep"
MEASURES: tuple[Measure[DiscInScan], ...] = (
    *(Measure(name, "mm", Scale.RATIO, meaning, _geometry(name), minimum=0, title=title) for name, meaning, title in (
        ("height_mean_mm", "volume over the area projected along the disc normal", "height mean"),
        ("diameter_ap_mm", "largest antero-posterior extent in the disc plane", "diameter AP"),
        ("diameter_transverse_mm", "largest left-right extent in the disc plane", "diameter transverse"))),
    Measure("height_anterior_mm", "mm", Scale.RATIO,
            "thickness from 10 to 25 % of the depth behind the front end, mid-sagittal",
            _section("height_anterior_mm"), _SHALLOW, minimum=0, title="height anterior"),
    Measure("height_posterior_mm", "mm", Scale.RATIO,
            "thickness from 10 to 25 % of the depth before the back end, mid-sagittal",
            _section("height_posterior_mm"), _SHALLOW, minimum=0, title="height posterior"),
    Measure("wedge_deg", "degree", Scale.DIFFERENCE,
            "angle between the end plates, mid-sagittal; positive = open to the front",
            _section("wedge_deg"), _SHALLOW, title="wedge"),
    Measure("area_midsagittal_mm2", "mm2", Scale.RATIO, "area of the mid-sagittal section",
            _section("area_midsagittal_mm2"), _SHALLOW, minimum=0, title="area mid-sagittal"),
)
