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
    """One standardised effect, without unit; NaN with a reason where there is none.

    Attributes
    ----------
    n : subjects in it; 0 where a model knows
    method : what was divided by what, and where the interval comes from
    g : the effect in standard deviations, corrected for small samples
    ci_low, ci_high : interval of the effect in the population
    df : degrees of freedom of the standard deviation
    reason : why there is no effect; empty when there is one
    """

    n: int
    method: str
    g: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    df: float = 0
    reason: str = ""


def hedges_g_one_sample(values: Sequence[float] | np.ndarray, *, confidence_level: float = 0.95) -> EffectSize:
    """Mean over standard deviation; on differences within subjects (after minus before) this is d_z.

    Parameters
    ----------
    values : one finite number a subject, or one difference a subject
    confidence_level : of the interval, 0 to 1

    Raises
    ------
    ModelError
        If a value is not finite.

    Notes
    -----
    d_z is not comparable with an effect between groups: its SD is that of the differences, so it grows as repeated
    measurements agree better.
    """
    method = "mean / SD x J(n - 1), interval from noncentral t"
    x = finite_array(values, name="effect size")
    if reason := untestable(x):
        return EffectSize(n=x.size, method=method, reason=reason)
    d = float(x.mean() / x.std(ddof=1))
    return _effect(d, n=x.size, root_size=math.sqrt(x.size), df=x.size - 1, level=confidence_level, method=method)


def hedges_g_two_samples(
    first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray, *, confidence_level: float = 0.95
) -> EffectSize:
    """Mean of `first` minus mean of `second`, over the pooled standard deviation.

    Parameters
    ----------
    first, second : one finite number a subject, independent subjects
    confidence_level : of the interval, 0 to 1

    Raises
    ------
    ModelError
        If a value is not finite.

    Notes
    -----
    The interval is exact for normal values of equal variance. Where variances differ there is no single SD to
    standardise by, and the interval is approximate: report the difference in its own unit first.
    """
    method = "difference / pooled SD x J(n1 + n2 - 2), interval from noncentral t, equal variances assumed"
    x, y = (finite_array(v, name="effect size") for v in (first, second))
    if reason := untestable(x, y):
        return EffectSize(n=x.size + y.size, method=method, reason=reason)
    df = x.size + y.size - 2
    pooled = math.sqrt(((x.size - 1) * x.var(ddof=1) + (y.size - 1) * y.var(ddof=1)) / df)
    root_size = math.sqrt(x.size * y.size / (x.size + y.size))
    d = float((x.mean() - y.mean()) / pooled)
    return _effect(d, n=x.size + y.size, root_size=root_size, df=df, level=confidence_level, method=method)


def hedges_g_of_t(t: float, df: float, *, ratio: float, confidence_level: float = 0.95) -> EffectSize:
    """From the t statistic of any contrast, for example of a mixed model.

    Parameters
    ----------
    t, df : statistic and its degrees of freedom, above 1
    ratio : standard error of the contrast over the SD to standardise by
    confidence_level : of the interval, 0 to 1
    """
    method = "t x SE / SD x J(df), interval from noncentral t"
    if not (df > 1 and math.isfinite(df) and math.isfinite(ratio)) or abs(t) > LARGEST_T:
        return EffectSize(n=0, method=method, df=df, reason="no degrees of freedom, or no SD, to standardise by")
    low, high = noncentral_interval(t, df, confidence_level=confidence_level)
    return EffectSize(n=0, method=method, g=t * ratio * small_sample_correction(df), ci_low=low * ratio,
                      ci_high=high * ratio, df=df)


def small_sample_correction(df: float) -> float:
    """Hedges' exact J, by which a standardised effect is too large in small samples (Hedges 1981, eq. 6e).

    Parameters
    ----------
    df : degrees of freedom of the SD, above 1

    Examples
    --------
    >>> round(small_sample_correction(10), 4)
    0.9227
    """
    return math.exp(gammaln(df / 2) - gammaln((df - 1) / 2)) / math.sqrt(df / 2)


def noncentral_interval(t: float, df: float, *, confidence_level: float = 0.95) -> tuple[float, float]:
    """Interval of the noncentrality of a t statistic, by inverting its distribution (Steiger & Fouladi 1997).

    Parameters
    ----------
    t : observed statistic
    df : its degrees of freedom
    confidence_level : 0 to 1

    Returns
    -------
    tuple of float
        Noncentralities at which `t` is the upper, and the lower, (1 - level) / 2 quantile.
    """
    tail = (1 - confidence_level) / 2
    # scipy loses digits for t far below 0, so the sign is taken out: T(-ncp) is distributed as -T(ncp).
    low, high = (float(nctdtrinc(df, p, abs(t))) for p in (1 - tail, tail))
    return (low, high) if t >= 0 else (-high, -low)


def _effect(d: float, *, n: int, root_size: float, df: int, level: float, method: str) -> EffectSize:
    # The interval is that of the population effect, so J, which takes the bias out of the estimate, has no place in it
    # (Cumming 2012, ch. 11); multiplying the limits by J, as some packages do, makes it too short.
    if abs(d) * root_size > LARGEST_T:
        return EffectSize(n=n, method=method, reason="practically no variance between subjects")
    low, high = noncentral_interval(d * root_size, df, confidence_level=level)
    g = d * small_sample_correction(df)
    return EffectSize(n=n, method=method, g=g, ci_low=low / root_size, ci_high=high / root_size, df=df)

