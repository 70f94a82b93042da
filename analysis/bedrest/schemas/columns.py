"""Columns of many tables, and what builds others: a number, a number with its interval."""

from __future__ import annotations

from bedrest.measurement.registry import DISC_MEASURES
from bedrest.schemas.table import Col
from bedrest.vocabulary import ALL_LEVELS, LEVELS, MaskOrigin, Phase, Source, Status

SUBJECT = Col("subject", "str", "subject identifier as in the dataset, for example sub-01")
SESSION = Col("session", "str", "session identifier, for example ses-1")
STUDY_DAY = Col("study_day", "float", "day of the study; day 1 is the first day in bed, negative before", "day")
GROUP = Col("group", "str", "study arm")
PHASE = Col("phase", "str", "phase of the study", values=tuple(Phase))
LEVEL = Col("level", "str", "disc level, or unnamed-N where levels are not known")
LEVEL_OR_ALL = Col("level", "str", "disc level, or all (every disc together)", values=(*LEVELS, ALL_LEVELS))
REFERENCE_SESSION = Col("reference_session", "str", "the visit that changes are counted from")
MASK = Col("mask", "str", "name of the measured mask file")
SOURCE = Col("source", "str", "series of masks: automatic (by the method, or edited or given in its place; "
                               "mask_origin says which) or reference", values=tuple(Source))
MEASURE = Col("measure", "str", "which measure the row is about: a column of measures",
              values=tuple(m.name for m in DISC_MEASURES))
MASK_ORIGIN = Col("mask_origin", "str", "how the disc's measured mask came about", values=tuple(MaskOrigin))
CONFIDENCE_LEVEL = Col("confidence_level", "float", "level of the interval", "1")
STATUS = Col("status", "str", "ok, flagged (measured but doubtful), failed (not measured) or not in view (outside "
             "the field of view, or not asked for: nothing is wrong)", values=tuple(Status))
FINDINGS = Col("findings", "str", "the same for programs: a JSON list of codes with their values, see the codes of "
               "findings", required=False)
REASON = Col("reason", "str", "why a row is not ok; empty when it is, unless its level was set manually",
             required=False)


def num(name: str, meaning: str, unit: str, minimum: float | None = None) -> Col:
    """A number that may be missing."""
    return Col(name, "float", meaning, unit, required=False, minimum=minimum)


def interval(name: str, meaning: str, unit: str, *, minimum: float | None = None) -> tuple[Col, Col, Col]:
    """A number and its interval: a_mm3, a_low_mm3, a_high_mm3; no suffix without a unit."""
    suffix = {"1": "", "%": "_percent"}.get(unit, f"_{unit}")
    return (num(f"{name}{suffix}", meaning, unit, minimum),
            num(f"{name}_low{suffix}", "lower end of its interval", unit),
            num(f"{name}_high{suffix}", "upper end of its interval", unit))
