"""What a measure is: one number of a disc (or spine) with its name, unit, scale and the function that computes it.

Knows no measure: modules of this folder define them, and `registry` lists them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from bedrest.findings import Finding, FindingCode, render_all, worst_status
from bedrest.vocabulary import Status

_NOWHERE = (math.nan, math.nan, math.nan)
Source = TypeVar("Source")  # what a measure is computed from: one disc, or all discs of a visit


class Scale(StrEnum):
    """How two values of a measure are compared."""

    RATIO = "ratio"  # 0 means none of it: a change is per cent of the value before
    DIFFERENCE = "difference"  # 0 is a point among others: a change is counted in the unit


class Needs(StrEnum):
    """What a measure needs beside the mask."""

    MASK = "mask"
    PROBABILITY = "probability"
    TISSUES = "tissues"
    IMAGES = "images"


class Undefined(Exception):
    """A measure has no value here.

    Parameters
    ----------
    findings : why; without any, the general `Measure.undefined` is given
    """

    def __init__(self, *findings: Finding) -> None:
        self.findings = findings
        super().__init__(render_all(findings))


@dataclass(frozen=True, eq=False)
class Measure(Generic[Source]):
    """One measure.

    Attributes
    ----------
    compute : the value, from what is measured; NaN where what it needs was not given Raises Undefined where it was
        given and there is still no value
    """

    name: str  # column that holds it, with its unit: ``height_mean_mm``
    unit: str  # for readers; "1" for a number without
    scale: Scale
    meaning: str  # for readers
    compute: Callable[[Source], float]
    undefined: str = ""  # where a disc has no value though what it needs is there, for readers
    needs: Needs = Needs.MASK
    minimum: float | None = None  # no value lies below
    title: str = ""  # name in figures of all measures; measures without one are left out there
    whole: bool = False  # is it a count


def compute_all(measures: Iterable[Measure[Source]], source: Source) -> tuple[dict[str, float], tuple[Finding, ...]]:
    """Values by name, NaN where there is none, and why, each finding once."""
    values: dict[str, float] = {}
    findings: list[Finding] = []
    for measure in measures:
        try:
            values[measure.name] = measure.compute(source)
        except Undefined as why:
            values[measure.name] = math.nan
            findings += why.findings or (_undefined(measure),)
    return values, tuple(dict.fromkeys(findings))


def _undefined(measure: Measure[Source]) -> Finding:
    return Finding(FindingCode.MEASURE_UNDEFINED, {"measure": measure.title or measure.name,
                                                   "where": measure.undefined})


@dataclass(frozen=True)
class DiscPosition:
    """Where a disc lies, world frame RAS+; NaN where not known.

    Attributes
    ----------
    lower_plate_deg : angle of the lower end plate with the horizontal in the sagittal plane, see `sagittal`
    """

    centre_mm: tuple[float, float, float] = _NOWHERE  # centre of mass (x, y, z)
    lower_plate_deg: float = math.nan


@dataclass(frozen=True)
class DiscMeasure:
    """Measures of one disc at one visit.

    Attributes
    ----------
    values : by measure, see `registry.DISC_MEASURES`; NaN where not measured, never 0
    findings : doubts about the disc, and why a value is missing. That a neighbour or a signal could not be measured is
        no doubt about the disc: alone, it leaves the status ok
    """

    level: str  # disc level
    label: int  # its number in the mask
    values: Mapping[str, float] = field(default_factory=dict)
    position: DiscPosition = DiscPosition()
    volume_method: str = ""  # how the volume was measured, see `vocabulary.VolumeMethod`; empty where it was not
    findings: tuple[Finding, ...] = ()

    @property
    def status(self) -> Status:
        """See `vocabulary.Status`."""
        return worst_status(self.findings)

    def __getitem__(self, name: str) -> float:
        """Value of a measure; NaN where it was not measured."""
        return self.values.get(name, math.nan)
