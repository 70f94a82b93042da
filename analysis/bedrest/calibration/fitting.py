"""Errors of measured change -> an error model: the SD of a repeated measurement, and how much of a change is recovered.

Knows nothing of tables, images and where the errors were made: on synthetic subjects or on a study's own scans.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import norm, t, theilslopes

from bedrest.longitudinal.error_model import ErrorPart

DIGITS = 4  # kept of every fitted number: more would tell one processor from another


@dataclass(frozen=True)
class Recovery:
    """Measured on true change, a straight line; NaN where too few or all changes alike."""

    slope: float = float("nan")
    low: float = float("nan")  # 95 % interval, as if errors of all discs were independent
    high: float = float("nan")

    @property
    def recovered(self) -> float:
        """The slope where it is surely below 1, else 1."""
        return self.slope if self.high < 1 else 1.0


def recovery(true: NDArray[np.float64], measured: NDArray[np.float64]) -> Recovery:
    """Slope of Theil and Sen, which single discs gone wrong do not decide, from 4 changes or more, 1 % apart."""
    if len(true) < 4 or np.ptp(true) < 1:
        return Recovery()
    slope, _, low, high = theilslopes(measured, true, 0.95)
    return Recovery(float(slope), float(low), float(high))


def enlargement(degrees: int) -> float:
    """By what an SD of so many degrees of freedom is enlarged: as a t interval is wider than a normal one, at 95 %."""
    return float(t.ppf(0.975, degrees) / norm.ppf(0.975))


def fit_part(errors: NDArray[np.float64], uncertainty: NDArray[np.float64] | None) -> ErrorPart:
    """Floor and slope by maximum likelihood, both at least 0.

    Parameters
    ----------
    errors : (n,), relative, n at least 1
    uncertainty : (n,), boundary uncertainty, 0 to 1; None: a floor alone

    Notes
    -----
    The variance is total x ((1 - w) + w x uncertainty^2 over its mean), 0 <= w <= 1. The best total for any w is known,
    so only w is searched: no start value, no scale, and both ends can be reached.
    """
    rms = float(np.sqrt(np.mean(errors**2)))
    if uncertainty is None or rms == 0 or np.ptp(uncertainty) == 0:
        return ErrorPart(rounded(rms))
    square = np.maximum(uncertainty**2 / np.mean(uncertainty**2), 1e-12)

    def shape(w: float) -> NDArray[np.float64]:
        return (1 - w) + w * square

    def badness(w: float) -> float:
        return float(np.log(np.mean(errors**2 / shape(w))) + np.mean(np.log(shape(w))))

    tried = np.linspace(0, 1, 51)
    best = tried[np.argmin([badness(w) for w in tried])]
    near = minimize_scalar(badness, bounds=(max(best - 0.02, 0), min(best + 0.02, 1)), method="bounded")
    w = min((0.0, 1.0, float(near.x)), key=badness)
    total = float(np.mean(errors**2 / shape(w)))
    return ErrorPart(rounded(np.sqrt(total * (1 - w))), rounded(np.sqrt(total * w / np.mean(uncertainty**2))))


def rounded(value: float) -> float:
    """A fitted number as it is stored."""
    return float(f"{value:.{DIGITS}g}")
