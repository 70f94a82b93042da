"""What a measure is: one number of a disc (or spine) with its name, unit, scale and the function that computes it.

Knows no measure: each module of this folder defines its own, and `registry` lists them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from bedrest.findings import Finding, FindingCode, render_all

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
    findings : why; without any it is said where the measure has no value, in general
    """

    def __init__(self, *findings: Finding) -> None:
        self.findings = findings
        super().__init__(render_all(findings))


@dataclass(frozen=True, eq=False)
class Measure(Generic[Source]):
    """One measure.

    Attributes
    ----------
    name : column that holds it, with its unit: ``height_mean_mm``
    unit : for readers; "1" for a number without
    scale : Scale
    meaning : for readers
    compute : the value, from what is measured; NaN where what it needs was not given
        Raises Undefined where it was given, and the value cannot be told all the same.
    undefined : where a disc has no value though what it needs is there, for readers
    needs : Needs
    minimum : no value lies below
    title : name in figures of all measures; a measure without is not drawn there
    whole : is it a count
    """

    name: str
    unit: str
    scale: Scale
    meaning: str
    compute: Callable[[Source], float]
    undefined: str = ""
    needs: Needs = Needs.MASK
    minimum: float | None = None
    title: str = ""
    whole: bool = False


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
