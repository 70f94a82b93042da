"""Reliability and measurement error: intraclass correlations, SEM, smallest detectable change, within-subject CV.

Answers: how much of the variance is between targets, and how far apart do two measurements of one target lie?
Must not know tables or discs.

Sources: Shrout and Fleiss (1979, Psychol Bull 86:420); McGraw and Wong (1996, Psychol Methods 1:30, tables 4 and 7);
Bland and Altman (1996, BMJ 312:1654 and 313:106); Glueer et al. (1995, Osteoporos Int 5:262).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from bedrest.errors import ModelError
from bedrest.statistics.estimators.intervals import Z95, Clusters, Estimate, check_length
from bedrest.statistics.estimators.samples import constant, finite_array, too_few

Bounds = tuple[float, float]
NO_INTERVAL = "more than half of the bootstrap samples gave no number: no interval"


@dataclass(frozen=True)
class Intraclass:
    """Intraclass correlations of single ratings, targets x raters; no unit.

    `agreement` is ICC(2,1) = ICC(A,1), in which a shift between raters counts as error; `consistency` is ICC(3,1) =
    ICC(C,1), in which it does not. `reason`: what could not be computed and why.
    """

    agreement: Estimate = field(default_factory=Estimate)
    consistency: Estimate = field(default_factory=Estimate)
    reason: str = ""


@dataclass(frozen=True)
class MeasurementError:
    """Variation of repeated measurements of the same target.

    Attributes
    ----------
    n_subjects, df : targets measured once are left out; df are values minus targets
    sem : standard error of measurement for agreement: the within-target SD, square root of the one-way within mean
        square, so a shift between repeats counts; unit of the values
    sdc : smallest detectable change, 1.96 sqrt(2) sem; unit of the values
    cv_percent : within-target coefficient of variation, 100 (exp(s) - 1), s being the root mean square of the SDs of
        ln value within targets, weighted by their degrees of freedom (Bland and Altman 1996, BMJ 313:106; Glueer et
        al. 1995 for the root mean square)
    sdc_percent : 100 (exp(1.96 sqrt(2) s) - 1): a rise beyond error, in % of the first value; of a fall a little less
        would do
    reason : what could not be computed and why; empty when all could
    """

    n_subjects: int
    df: int = 0
    sem: Estimate = field(default_factory=Estimate)
    sdc: Estimate = field(default_factory=Estimate)
    cv_percent: Estimate = field(default_factory=Estimate)
    sdc_percent: Estimate = field(default_factory=Estimate)
    reason: str = ""


_MeanSquares = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # targets; of rows, of columns, of error


def intraclass(ratings: ArrayLike, *, clusters: Clusters | None = None, confidence_level: float = 0.95) -> Intraclass:
    """Intraclass correlations of single ratings with intervals.

    `ratings` has shape (targets, raters), any unit (ModelError if one is missing or there are fewer than two raters);
    `clusters` one label a target, None when every target is of another subject.

    Intervals from F distributions, for ICC(A,1) with Satterthwaite's degrees of freedom (McGraw and Wong 1996, table
    7). They take targets as independent; where a subject brings several, subjects are resampled instead
    (`intervals.Clusters`), on the scale of Fisher's z.
    """
    x = finite_array(ratings, name="ratings", dimensions=2)
    n, k = x.shape
    if k < 2:
        raise ModelError("at least two raters", f"{k}", "ratings", "Give one column a rater.")
    check_length(clusters, n)
    subjects = n if clusters is None else clusters.n
    if reason := too_few(subjects) or _degenerate(x):
        return Intraclass(reason=reason)
    columns = _sums(x)
    squares = _mean_squares(columns.sum(axis=0), k)
    single = _coefficients(squares, k)
    if clusters is not None and clusters.repeated:
        with np.errstate(divide="ignore", invalid="ignore"):
            samples = _coefficients(_mean_squares(clusters.weights @ clusters.totals(columns), k), k)
            bounds = [_resampled(s, r, k, clusters, confidence_level) for s, r in zip(single, samples, strict=True)]
    else:
        bounds = _f_bounds(squares, k, float(single[0]), confidence_level)
    agreement, consistency = (Estimate(float(s), *b) for s, b in zip(single, bounds, strict=True))
    closed = all(math.isfinite(b) for pair in bounds for b in pair)
    return Intraclass(agreement, consistency, reason="" if closed else NO_INTERVAL)


def measurement_error(values: ArrayLike, *, targets: ArrayLike, clusters: Clusters | None = None,
                      confidence_level: float = 0.95) -> MeasurementError:
    """Within-target SD (SEM), smallest detectable change and CV from repeats, any number of repeats a target.

    `values` and `targets` (what was measured, one label a value) have shape (n,), any unit, above 0 for the CV;
    `clusters` one label a value, None when every target is of another subject. Intervals: chi-square of the within sum
    of squares, which takes targets as independent and their error as normal; where a subject brings several targets,
    subjects are resampled, on the ln scale.
    """
    x = finite_array(values, name="values")
    check_length(clusters, x.size)
    _, codes, counts = np.unique(np.asarray(targets), return_inverse=True, return_counts=True)
    kept = counts[codes] > 1
    n_targets = int((counts > 1).sum())
    subjects = n_targets if clusters is None else np.unique(clusters.codes[kept]).size
    if reason := too_few(subjects):
        return MeasurementError(subjects, reason=reason)
    several = clusters if clusters is not None and n_targets > subjects else None
    sem = _within_sd(x, codes, clusters=several, confidence_level=confidence_level)
    done = MeasurementError(subjects, int(kept.sum()) - n_targets)
    if sem.value == 0:
        return replace(done, reason="repeats of every target are identical: nothing to estimate an error from")
    done = replace(done, sem=sem, sdc=_map(sem, lambda s: Z95 * math.sqrt(2) * s),
                   reason="" if math.isfinite(sem.low) else NO_INTERVAL)
    if (x[kept] <= 0).any():
        return replace(done, reason="values at or below 0 have no CV")
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(kept, np.log(x), 0.0)
    relative = _within_sd(logs, codes, clusters=several, confidence_level=confidence_level)
    return replace(done, cv_percent=_map(relative, lambda s: 100 * math.expm1(s)),
                 sdc_percent=_map(relative, lambda s: 100 * math.expm1(Z95 * math.sqrt(2) * s)))


def _degenerate(x: np.ndarray) -> str:
    if constant(x):
        return "all ratings are the same"
    residual = x - x.mean(axis=1, keepdims=True) - x.mean(axis=0) + x.mean()
    if np.abs(residual).max() <= 1e-10 * np.abs(x).max():
        return "raters agree wholly, or up to a constant: no error to set the targets against"
    return ""


def _sums(x: np.ndarray) -> np.ndarray:
    """Per target: 1, its k ratings, square of their mean, sum of their squares; about the grand mean."""
    centred = x - x.mean()
    return np.column_stack([np.ones(len(x)), centred, centred.mean(axis=1) ** 2, (centred**2).sum(axis=1)])


def _mean_squares(sums: np.ndarray, k: int) -> _MeanSquares:
    """Two-way, from sums over (resampled) targets, shape (..., k + 3)."""
    n, by_rater, of_means, of_all = sums[..., 0], sums[..., 1 : k + 1], sums[..., k + 1], sums[..., k + 2]
    correction = by_rater.sum(axis=-1) ** 2 / (n * k)
    rows = k * of_means - correction
    columns = (by_rater**2).sum(axis=-1) / n - correction
    within = of_all - k * of_means
    return n, rows / (n - 1), columns / (k - 1), (within - columns) / ((n - 1) * (k - 1))


def _coefficients(squares: _MeanSquares, k: int) -> np.ndarray:
    """ICC(A,1) and (C,1), shape (2, ...); McGraw and Wong 1996, table 4."""
    n, rows, columns, error = squares
    return np.array([
        (rows - error) / (rows + (k - 1) * error + k / n * (columns - error)),
        (rows - error) / (rows + (k - 1) * error),
    ])


def _f_bounds(squares: _MeanSquares, k: int, agreement: float, confidence_level: float) -> list[Bounds]:
    """Intervals of ICC(A,1) and (C,1); McGraw and Wong 1996, table 7."""
    n, rows, columns, error = (float(v) for v in squares)
    upper = (1 + confidence_level) / 2
    f, df1, df2 = rows / error, n - 1, (n - 1) * (k - 1)
    ratios = (f / float(stats.f.ppf(upper, df1, df2)), f * float(stats.f.ppf(upper, df2, df1)))
    a = k * agreement / (n * (1 - agreement))
    b = 1 + k * agreement * (n - 1) / (n * (1 - agreement))
    df = (a * columns + b * error) ** 2 / (
        (a * columns) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1)))
    f_low, f_high = float(stats.f.ppf(upper, n - 1, df)), float(stats.f.ppf(upper, df, n - 1))
    noise = k * columns + (k * n - k - n) * error
    low = n * (rows - f_low * error) / (f_low * noise + n * rows)
    high = n * (f_high * rows - error) / (noise + n * f_high * rows)
    return [(low, high), ((ratios[0] - 1) / (ratios[0] + k - 1), (ratios[1] - 1) / (ratios[1] + k - 1))]


def _resampled(value: float, samples: np.ndarray, k: int, clusters: Clusters, confidence_level: float) -> Bounds:
    """Interval on the scale z = ln((1 + (k - 1) r) / (1 - r)) / 2 (Fisher), and back."""
    def z(r: np.ndarray | float) -> np.ndarray:
        return np.asarray(0.5 * np.log((1 + (k - 1) * np.asarray(r)) / (1 - np.asarray(r))))

    low, high = clusters.bootstrap_interval(float(z(value)), z(samples), confidence_level=confidence_level)
    return _from_z(low, k), _from_z(high, k)


def _from_z(z: float, k: int) -> float:
    return 1 - k / (math.exp(min(2 * z, 700.0)) + k - 1)


def _within_sd(x: np.ndarray, targets: np.ndarray, *, clusters: Clusters | None, confidence_level: float) -> Estimate:
    """Square root of the within mean square; interval from chi-square, or from resampled subjects on the ln scale."""
    counts = np.bincount(targets)
    means = np.bincount(targets, weights=x) / counts
    squares = (x - means[targets]) ** 2
    df = int((counts - 1).sum())
    s = math.sqrt(float(squares.sum()) / df)
    if s <= 1e-12 * float(np.abs(x).max()):
        return Estimate(0.0)
    if clusters is None:
        tails = stats.chi2.ppf([(1 + confidence_level) / 2, (1 - confidence_level) / 2], df)
        return Estimate(s, *(s * math.sqrt(df / float(q)) for q in tails))
    freedom = 1 - 1 / counts[targets]  # a target's degrees of freedom, shared out among its values
    sums = clusters.weights @ clusters.totals(np.column_stack([squares, freedom]))
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = 0.5 * np.log(sums[:, 0] / sums[:, 1])
    bounds = clusters.bootstrap_interval(math.log(s), logs, confidence_level=confidence_level)
    return Estimate(s, *(math.exp(b) for b in bounds))


def _map(estimate: Estimate, change: Callable[[float], float]) -> Estimate:
    return Estimate(change(estimate.value), change(estimate.low), change(estimate.high))
