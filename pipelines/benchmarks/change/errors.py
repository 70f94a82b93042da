"""How far volumes are from the truth and from themselves: the error model of a network, fitted on synthetic subjects.

Other subjects than those of the benchmark. Each variance is floor^2 + (slope x boundary uncertainty)^2, as in
`longitudinal.error_model`, of errors that are normal around 0: the bias that is left counts as error. An SD from few
subjects may be too small; it is enlarged by as much as a t interval with one degree of freedom per subject is wider
than a normal one, at 95 %. Real scans have faults that synthetic ones lack.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from bedrest.longitudinal.error_model import ErrorPart, Errors
from bedrest.vocabulary import LEVELS
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import norm, t

from pipelines.benchmarks.change.cohort import STANDARD, T2, WATER, Condition
from pipelines.benchmarks.change.records import JOINT, SINGLE
from pipelines.benchmarks.change.scores import errors_of, pairs_of

SEED = 778_101  # the benchmark, training, calibration and the demo draw from seeds of their own
LEAST_ALONE = 4
LEAST_A_LEVEL = 8  # people's errors differ by an SD of 1.5 %: the mean of 8 is good to half a per cent
DIGITS = 4  # kept of every fitted number: more would tell one processor from another


def asked_of(subjects: int) -> list[tuple[Condition, int]]:
    """How many people are scanned with what: with one contrast alone a quarter, but 4 at least where there are 4."""
    alone = min(subjects, max(LEAST_ALONE, subjects // 4))
    return [(STANDARD, subjects), (WATER, alone), (T2, alone)]


def fit_errors(frame: pd.DataFrame) -> dict[str, dict[str, Errors]]:
    """Errors by contrasts and method, ready for an `ErrorModel`.

    Parameters
    ----------
    frame : DataFrame, as in `change_records.CHANGE_DISCS`; of each set of contrasts, one condition

    Notes
    -----
    Against the truth, every visit counts; against itself, each later visit and the baseline, as the difference of
    their ln, freed from true growth, over the root of 2. A method of which no disc was measured twice has no errors.
    """
    found: dict[str, dict[str, Errors]] = {}
    for contrasts, own in frame.groupby("contrasts", sort=True):
        for way in (SINGLE, JOINT):
            soft = way is JOINT
            pairs = pairs_of(own, way)
            again = pairs.dropna(subset="error_percent")
            if again.empty:
                continue
            errors = errors_of(own, way).dropna() / 100
            bias = level_bias(errors, own.loc[errors.index]) if way is JOINT else {}
            errors = (1 + errors) / (1 + own.loc[errors.index, "level"].map(bias).fillna(0.0)) - 1
            grew = again["true_after_mm3"] / again["true_before_mm3"]
            ln = np.log(again["after_mm3"] / again["before_mm3"] / grew) / np.sqrt(2)
            # Of two uncertainties, the variances are averaged.
            both = np.hypot(again["boundary_uncertainty_before"], again["boundary_uncertainty_after"]) / np.sqrt(2)
            few = float(t.ppf(0.975, again["subject"].nunique()) / norm.ppf(0.975))
            uncertainty = own.loc[errors.index, "boundary_uncertainty"]
            found.setdefault(str(contrasts), {})[way.method.value] = Errors(
                truth=fit_part(few * errors.to_numpy(), uncertainty.to_numpy() if soft else None),
                repeat=fit_part(few * ln.to_numpy(), both.to_numpy() if soft else None),
                discs=int(own.loc[errors.index, ["subject", "level"]].drop_duplicates().shape[0]), bias=bias)
    return found


def level_bias(errors: pd.Series, rows: pd.DataFrame) -> dict[str, float]:
    """Mean error of each level, relative; of all levels together where too few people show a level's own.

    Parameters
    ----------
    errors : relative, one a volume
    rows : level and subject of each
    """
    enough = rows["subject"].nunique() >= LEAST_A_LEVEL
    own = errors.groupby(rows["level"]).mean()
    return {name: _rounded(own[name] if enough else errors.mean()) for name in LEVELS if name in own}


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
        return ErrorPart(_rounded(rms))
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
    return ErrorPart(_rounded(np.sqrt(total * (1 - w))), _rounded(np.sqrt(total * w / np.mean(uncertainty**2))))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
