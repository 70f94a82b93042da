"""Every measure, in the order of the tables' columns. Schemas, tables, pages and figures follow from here.

A new measure of discs: its own module, one line here, its test. Importing this loads none of the libraries that
compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bedrest.measurement import coverage, neighbours, shape, signals, spine, volumes
from bedrest.measurement.definition import Measure

if TYPE_CHECKING:
    from bedrest.measurement.context import DiscInScan
    from bedrest.measurement.definition import DiscMeasure

DISC_MEASURES: tuple[Measure[DiscInScan], ...] = (
    *volumes.MEASURES,
    *coverage.MEASURES,
    *shape.MEASURES,
    *neighbours.MEASURES,
    *signals.MEASURES,
)
SPINE_MEASURES: tuple[Measure[Mapping[str, DiscMeasure]], ...] = spine.MEASURES

VOLUME = volumes.VOLUME  # the primary measure: of change, models and tests
