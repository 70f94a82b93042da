"""The result of a test, or an interval, of one mean or of the difference of two. Must not know how it was made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bedrest.statistics.estimators.effect_size import EffectSize


@dataclass(frozen=True)
class MeanTest:
    """One result; NaN where the method does not give a number, and everywhere where it failed.

    Attributes
    ----------
    n : subjects in it
    method : of the degrees of freedom, or what was drawn and how often
    estimate, se, ci_low, ci_high : in the unit of the values
    t, df, p : statistic, its degrees of freedom, two-sided p
    smallest_p : the smallest p that so few subjects (or so few permutations) can give
    effect : Hedges g with its interval; None where the method gives none
    reason : why there is no result; empty when there is one
    """

    n: int
    method: str
    estimate: float = math.nan
    se: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    t: float = math.nan
    df: float = math.nan
    p: float = math.nan
    smallest_p: float = math.nan
    effect: EffectSize | None = None
    reason: str = ""
