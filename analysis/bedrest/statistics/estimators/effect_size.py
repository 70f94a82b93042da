"""Hedges g of one mean or of the difference of two, with an interval from the noncentral t distribution.

Takes one number a subject. Must not know tables or discs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, nctdtrinc

from bedrest.statistics.estimators.samples import finite_array, untestable

LARGEST_T = 1e5  # scipy's inversion stops at a noncentrality of 1e6


@dataclass(frozen=True)
class EffectSize:
    """A standardised effect in SDs, corrected for small samples, and the interval of the effect in the population.

    NaN with a reason where there is none.
    """

    g: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    reason: str = ""


def hedges_g_one_sample(values: Sequence[float] | np.ndarray, *, confidence_level: float = 0.95) -> EffectSize:
    """Mean over standard deviation of one finite number a subject (ModelError otherwise).

    On differences within subjects (after minus before) this is d_z, which is not comparable with an effect between
    groups: its SD is that of the differences, so it grows as repeated measurements agree better.
    """
    x = finite_array(values, name="effect size")
    if reason := untestable(x):
        return EffectSize(reason=reason)
    root_size = math.sqrt(x.size)
    return hedges_g_of_t(root_size * float(x.mean() / x.std(ddof=1)), x.size - 1, ratio=1 / root_size,
                         confidence_level=confidence_level)


def hedges_g_two_samples(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray, *,
                         confidence_level: float = 0.95) -> EffectSize:
    """Mean of `first` minus mean of `second`, over the pooled standard deviation; one finite number a subject each.

    The interval is exact for normal values of equal variance. Where variances differ there is no single SD to
    standardise by, and the interval is approximate: report the difference in its own unit first.
    """
    x, y = (finite_array(v, name="effect size") for v in (first, second))
    if reason := untestable(x, y):
        return EffectSize(reason=reason)
    df = x.size + y.size - 2
    pooled = math.sqrt(((x.size - 1) * x.var(ddof=1) + (y.size - 1) * y.var(ddof=1)) / df)
    root_size = math.sqrt(x.size * y.size / (x.size + y.size))
    return hedges_g_of_t(root_size * float((x.mean() - y.mean()) / pooled), df, ratio=1 / root_size,
                         confidence_level=confidence_level)


def hedges_g_of_t(t: float, df: float, *, ratio: float, confidence_level: float = 0.95) -> EffectSize:
    """From the t statistic of any contrast; `ratio` is its standard error over the SD to standardise by.

    The interval is that of the population effect, so J, which takes the bias out of the estimate, has no place in it
    (Cumming 2012, ch. 11); multiplying the limits by J, as some packages do, makes it too short.
    """
    if not (df > 1 and math.isfinite(df) and math.isfinite(ratio)):
        return EffectSize(reason="no degrees of freedom, or no SD, to standardise by")
    if abs(t) > LARGEST_T:
        return EffectSize(reason="practically no variance between subjects")
    low, high = noncentral_interval(t, df, confidence_level=confidence_level)
    return EffectSize(t * ratio * small_sample_correction(df), low * ratio, high * ratio)


def small_sample_correction(df: float) -> float:
    """Hedges' exact J, by which a standardised effect is too large in small samples (Hedges 1981, eq. 6e); df above 1.

    Examples
    --------
    >>> round(small_sample_correction(10), 4)
    0.9227
    """
    return math.exp(gammaln(df / 2) - gammaln((df - 1) / 2)) / math.sqrt(df / 2)


def noncentral_interval(t: float, df: float, *, confidence_level: float = 0.95) -> tuple[float, float]:
    """Interval of the noncentrality of a t statistic, by inverting its distribution (Steiger & Fouladi 1997).

    Noncentralities at which `t` is the upper, and the lower, (1 - level) / 2 quantile.
    """
    tail = (1 - confidence_level) / 2
    # scipy loses digits for t far below 0, so the sign is taken out: T(-ncp) is distributed as -T(ncp).
    low, high = (float(nctdtrinc(df, p, abs(t))) for p in (1 - tail, tail))
    return (low, high) if t >= 0 else (-high, -low)

