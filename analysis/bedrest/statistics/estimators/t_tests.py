"""t tests for few subjects, with interval and effect size. Never z.

Knows nothing of tables, subjects or discs: one number a subject goes in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bedrest.statistics.estimators.effect_size import EffectSize, hedges_g_one_sample, hedges_g_two_samples
from bedrest.statistics.estimators.samples import constant, too_few


@dataclass(frozen=True)
class TTest:
    """One t test; NaN with a reason where it could not be done.

    Attributes
    ----------
    n : subjects in it
    estimate, se, ci_low, ci_high : in the unit of the values
    t, df, p : two-sided
    effect : Hedges g with its interval; None when there is no test
    reason : why there is no test; empty when there is one
    """

    n: int
    estimate: float = math.nan
    se: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    t: float = math.nan
    df: float = math.nan
    p: float = math.nan
    effect: EffectSize | None = None
    reason: str = ""


def one_sample_t(values: Sequence[float], *, confidence_level: float = 0.95) -> TTest:
    """Mean against 0, Student's t on n - 1 degrees of freedom.

    Parameters
    ----------
    values : one finite number a subject
    confidence_level : of the interval, 0 to 1

    Notes
    -----
    Hedges g is mean / SD times J(n - 1); on differences within subjects that is d_z.
    """
    x = np.asarray(values, dtype=np.float64)
    if reason := _too_little(x):
        return TTest(n=x.size, reason=reason)
    found = stats.ttest_1samp(x, 0.0)
    interval = found.confidence_interval(confidence_level)
    mean, sd = float(x.mean()), float(x.std(ddof=1))
    return TTest(
        n=x.size,
        estimate=mean,
        se=sd / math.sqrt(x.size),
        ci_low=float(interval.low),
        ci_high=float(interval.high),
        t=float(found.statistic),
        df=float(found.df),
        p=float(found.pvalue),
        effect=hedges_g_one_sample(x, confidence_level=confidence_level),
    )


def welch_t(first: Sequence[float], second: Sequence[float], *, confidence_level: float = 0.95) -> TTest:
    """Mean of `first` minus mean of `second`, variances not assumed equal, Satterthwaite degrees of freedom.

    Parameters
    ----------
    first, second : one finite number a subject
    confidence_level : of the interval, 0 to 1

    Notes
    -----
    Hedges g is the difference over the pooled SD times J(n1 + n2 - 2).
    """
    x, y = (np.asarray(v, dtype=np.float64) for v in (first, second))
    reasons = [f"{name} group: {r}" for name, v in (("first", x), ("second", y)) if (r := _too_little(v))]
    if reasons:
        return TTest(n=x.size + y.size, reason="; ".join(reasons))
    found = stats.ttest_ind(x, y, equal_var=False)
    interval = found.confidence_interval(confidence_level)
    difference = float(x.mean() - y.mean())
    return TTest(
        n=x.size + y.size,
        estimate=difference,
        se=math.sqrt(x.var(ddof=1) / x.size + y.var(ddof=1) / y.size),
        ci_low=float(interval.low),
        ci_high=float(interval.high),
        t=float(found.statistic),
        df=float(found.df),
        p=float(found.pvalue),
        effect=hedges_g_two_samples(x, y, confidence_level=confidence_level),
    )


def _too_little(values: np.ndarray) -> str:
    return too_few(values.size) or ("no variance between subjects" if constant(values) else "")
