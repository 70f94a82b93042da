"""An effect in units of the SD between subjects, with its interval, from any t statistic.

Knows nothing of models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special, stats


@dataclass(frozen=True)
class Standardised:
    """Hedges g, small-sample corrected, with the ends of its interval."""

    g: float
    low: float
    high: float


def standardised(t: float, df: float, *, ratio: float, confidence_level: float) -> Standardised:
    """Hedges g with the interval that inverts the noncentral t distribution (Steiger and Fouladi 1997).

    Parameters
    ----------
    t, df : statistic and its degrees of freedom, which may be infinite
    ratio : standard error over the SD between subjects, so that t times ratio is the plain effect
    confidence_level : 0 to 1
    """
    correction = small_sample_correction(df)
    tail = (1 - confidence_level) / 2
    low, high = (_noncentrality(t, df, p) * ratio * correction for p in (1 - tail, tail))
    return Standardised(t * ratio * correction, low, high)


def small_sample_correction(df: float) -> float:
    """Hedges' exact J, by which a standardised effect is too large in small samples (Hedges 1981, eq. 6e).

    Parameters
    ----------
    df : degrees of freedom of the SD, above 1

    Examples
    --------
    >>> round(small_sample_correction(10), 4)
    0.9228
    """
    if math.isinf(df):
        return 1.0
    return math.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / math.sqrt(df / 2) if df > 1 else math.nan


def _noncentrality(t: float, df: float, p: float) -> float:
    """The noncentrality at which P(T <= t) = p."""
    if not (math.isfinite(t) and df > 0):
        return math.nan
    if math.isinf(df):
        return t - float(stats.norm.ppf(p))
    return float(special.nctdtrinc(df, p, t)) if t >= 0 else -float(special.nctdtrinc(df, 1 - p, -t))
