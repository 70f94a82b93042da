"""t tests for few subjects, with interval and effect size. Never z.

Takes one number a subject. Must not know tables or discs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from bedrest.statistics.estimators.effect_size import EffectSize, hedges_g_one_sample, hedges_g_two_samples
from bedrest.statistics.estimators.samples import untestable


@dataclass(frozen=True)
class MeanTest:
    """One result; NaN where the method does not give a number, and everywhere where it failed.

    `method`: of the degrees of freedom, or what was drawn and how often. Estimate, se and interval are in the unit of
    the values; p is two-sided; `smallest_p` is the smallest that so few subjects (or permutations) can give. `effect`:
    Hedges g, None where the method gives none. `reason`: why there is no result.
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


def one_sample_t(values: Sequence[float], *, confidence_level: float = 0.95) -> MeanTest:
    """Mean of one finite number a subject against 0, Student's t on n - 1 degrees of freedom.

    Hedges g is mean / SD times J(n - 1); on differences within subjects that is d_z.
    """
    x = np.asarray(values, dtype=np.float64)
    if reason := untestable(x):
        return MeanTest(x.size, "n - 1", reason=reason)
    return _result(x.size, "n - 1", stats.ttest_1samp(x, 0.0), estimate=float(x.mean()),
                   se=float(x.std(ddof=1)) / math.sqrt(x.size), confidence_level=confidence_level,
                   effect=hedges_g_one_sample(x, confidence_level=confidence_level))


def welch_t(first: Sequence[float], second: Sequence[float], *, confidence_level: float = 0.95) -> MeanTest:
    """Mean of `first` minus mean of `second`, variances not assumed equal, Satterthwaite degrees of freedom.

    Hedges g is the difference over the pooled SD times J(n1 + n2 - 2).
    """
    x, y = (np.asarray(v, dtype=np.float64) for v in (first, second))
    if reason := untestable(x, y):
        return MeanTest(x.size + y.size, "Satterthwaite", reason=reason)
    return _result(x.size + y.size, "Satterthwaite", stats.ttest_ind(x, y, equal_var=False),
                   estimate=float(x.mean() - y.mean()),
                   se=math.sqrt(x.var(ddof=1) / x.size + y.var(ddof=1) / y.size), confidence_level=confidence_level,
                   effect=hedges_g_two_samples(x, y, confidence_level=confidence_level))


def _result(n: int, method: str, test: Any, *, estimate: float, se: float, confidence_level: float,
            effect: EffectSize) -> MeanTest:
    interval = test.confidence_interval(confidence_level)
    return MeanTest(n, method, estimate=estimate, se=se, ci_low=float(interval.low), ci_high=float(interval.high),
                    t=float(test.statistic), df=float(test.df), p=float(test.pvalue), effect=effect)
