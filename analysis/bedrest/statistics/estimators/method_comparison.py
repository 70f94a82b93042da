"""Straight lines through two methods that both have error: Passing-Bablok and Deming.

Answers: does one method follow the other as second = intercept + slope * first? Knows nothing of tables and discs.

Sources: Passing and Bablok (1983, J Clin Chem Clin Biochem 21:709); Linnet (1990, Stat Med 9:1463; 1993, Clin Chem
39:424) for Deming.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from bedrest.errors import ModelError
from bedrest.statistics.estimators.intervals import Clusters, Estimate, check_length, jackknife_interval, paired_arrays
from bedrest.statistics.estimators.samples import constant, too_few

MINIMUM_POINTS = 5  # below, the Kendall interval of Passing and Bablok is open at 95 %
MAXIMUM_POINTS = 3000  # every pair has a slope: 4.5 million, some 200 MB while they are sorted


_Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # first and second point, slope


@dataclass(frozen=True)
class Line:
    """second = intercept + slope * first.

    Attributes
    ----------
    n_subjects, n_points
    slope : unit of second over unit of first; 1 when there is no proportional difference
    intercept : unit of second; 0 when there is no constant difference
    reason : what could not be computed and why; empty when all could
    """

    n_subjects: int
    n_points: int
    slope: Estimate = field(default_factory=Estimate)
    intercept: Estimate = field(default_factory=Estimate)
    reason: str = ""


def passing_bablok(
    first: ArrayLike, second: ArrayLike, *, clusters: Clusters | None = None, confidence_level: float = 0.95
) -> Line:
    """Passing-Bablok regression: shifted median of the slopes of all pairs of points.

    Parameters
    ----------
    first, second : shape (n,), 5 to 3000 points, on scales on which the slope is near 1
    clusters : one label a point; None when each is of another subject
    confidence_level : of the intervals, 0 to 1

    Notes
    -----
    As in the paper: pairs of equal points and slopes of exactly -1 are left out, vertical pairs are slopes of infinity,
    and the median is shifted by the number of slopes below -1, so that exchanging the methods gives the inverse line
    (exactly so for an odd number of slopes; for an even one the paper takes the mean of the middle two).
    Intervals from Kendall's tau where points are independent; the paper has no others. Where a subject brings several,
    one subject is left out at a time (jackknife, t on subjects - 2 degrees of freedom). The paper asks for methods
    that rise together, and 30 points or more; with few points the interval is wide, not wrong.
    """
    x, y = paired_arrays(first, second)
    check_length(clusters, x.size)
    subjects = x.size if clusters is None else clusters.n
    if reason := too_few(subjects) or _wrong_number(x.size) or _unfit(x, y):
        return Line(subjects, x.size, reason=reason)
    pairs = _slopes(x, y)
    slopes = pairs[-1]
    slope = _shifted_median(slopes)
    if not math.isfinite(slope):
        return Line(subjects, x.size, reason="the methods do not rise together: the median slope is not finite")
    intercept = float(np.median(y - slope * x))
    if clusters is None or not clusters.repeated:
        low, high = _kendall_bounds(slopes, x.size, confidence_level)
        at_high, at_low = (float(np.median(y - b * x)) if math.isfinite(b) else math.nan for b in (high, low))
        found = Estimate(slope, low, high), Estimate(intercept, at_high, at_low)
    else:
        left = _without_each_subject((x, y), clusters, pairs)
        found = (Estimate(slope, *jackknife_interval(slope, left[0], confidence_level=confidence_level)),
                 Estimate(intercept, *jackknife_interval(intercept, left[1], confidence_level=confidence_level)))
    closed = all(math.isfinite(v) for e in found for v in (e.low, e.high))
    return Line(subjects, x.size, slope=found[0], intercept=found[1],
                reason="" if closed else "the interval is open: too few points, too far off a line")


def deming(
    first: ArrayLike,
    second: ArrayLike,
    *,
    error_variance_ratio: float = 1.0,
    clusters: Clusters | None = None,
    confidence_level: float = 0.95,
) -> Line:
    """Deming regression, least squares in both directions, with jackknife intervals.

    Parameters
    ----------
    first, second : shape (n,)
    error_variance_ratio : error variance of `second` over that of `first`, above 0; 1 is orthogonal regression
    clusters : one label a point; None when each is of another subject
    confidence_level : of the intervals, 0 to 1

    Raises
    ------
    ModelError
        If the ratio is not above 0, or a value is missing.

    Notes
    -----
    One point, or one subject with all its points, is left out at a time; t on their number - 2 degrees of freedom.
    """
    if not error_variance_ratio > 0:
        raise ModelError("a ratio above 0", f"{error_variance_ratio}", "error_variance_ratio",
                         "Give var(error of second) / var(error of first).")
    x, y = paired_arrays(first, second)
    check_length(clusters, x.size)
    subjects = x.size if clusters is None else clusters.n
    if reason := too_few(subjects) or _unfit(x, y):
        return Line(subjects, x.size, reason=reason)
    cx, cy = x - x.mean(), y - y.mean()
    columns = np.column_stack([np.ones(x.size), cx, cy, cx * cx, cy * cy, cx * cy])
    own = columns if clusters is None else clusters.totals(columns)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope, shift = _deming_line(own.sum(axis=0), error_variance_ratio)
        slopes, shifts = _deming_line(own.sum(axis=0) - own, error_variance_ratio)
    if not math.isfinite(float(slope)):
        return Line(subjects, x.size, reason="the methods are not correlated: no slope")
    back = [float(y.mean()) - b * float(x.mean()) + a for a, b in ((shift, slope), (shifts, slopes))]
    found = [Estimate(float(v), *jackknife_interval(float(v), left, confidence_level=confidence_level))
             for v, left in ((slope, slopes), (back[0], back[1]))]
    return Line(subjects, x.size, slope=found[0], intercept=found[1],
                reason="" if math.isfinite(found[0].low) else "a subject left out leaves no slope: no interval")


def _wrong_number(n: int) -> str:
    if n < MINIMUM_POINTS:
        return f"{n} points, at least {MINIMUM_POINTS} are needed"
    if n > MAXIMUM_POINTS:
        return f"{n} points, at most {MAXIMUM_POINTS}: every pair of them has a slope"
    return ""


def _unfit(x: np.ndarray, y: np.ndarray) -> str:
    return "a method gives the same value everywhere" if constant(x) or constant(y) else ""


def _slopes(x: np.ndarray, y: np.ndarray) -> _Pairs:
    """Pairs of points that have a slope other than -1, and it; vertical ones all +inf, so the order does not matter.

    Equal means equal but for rounding: volumes are multiples of a voxel that is seldom exact in binary.
    """
    i, j = np.triu_indices(x.size, 1)
    dx, dy = x[j] - x[i], y[j] - y[i]
    tiny_x, tiny_y = (1e-12 * float(np.abs(v).max(initial=0.0)) for v in (x, y))
    vertical = np.abs(dx) <= tiny_x
    kept = ~(vertical & (np.abs(dy) <= tiny_y)) & (np.abs(dx + dy) > tiny_x + tiny_y)
    slopes: np.ndarray = np.where(vertical, np.inf, dy / np.where(vertical, 1.0, dx))
    return i[kept], j[kept], slopes[kept]


def _shifted_median(slopes: np.ndarray) -> float:
    """Median of N slopes, K places up, K being those below -1; NaN beyond the last one."""
    n, k = slopes.size, int((slopes < -1).sum())
    low, high = (n - 1) // 2 + k, n // 2 + k
    if n == 0 or high >= n:
        return math.nan
    ordered = np.partition(slopes, [low, high])
    return float(ordered[low] if low == high else (ordered[low] + ordered[high]) / 2)


def _kendall_bounds(slopes: np.ndarray, n_points: int, confidence_level: float) -> tuple[float, float]:
    """The slopes of ranks M1 + K and M2 + K; NaN where there is no such rank."""
    n, k = slopes.size, int((slopes < -1).sum())
    sd = math.sqrt(n_points * (n_points - 1) * (2 * n_points + 5) / 18)
    m1 = round((n - float(stats.norm.ppf((1 + confidence_level) / 2)) * sd) / 2)
    low, high = m1 + k - 1, n - m1 + k
    ordered = np.sort(slopes)
    return (float(ordered[low]) if m1 >= 1 and low < n else math.nan,
            float(ordered[high]) if m1 >= 1 and high < n else math.nan)


def _without_each_subject(points: tuple[np.ndarray, np.ndarray], clusters: Clusters,
                          pairs: _Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Slope and intercept with each subject left out, (subjects,) each.

    The slopes are put in order once; what leaves with a subject is taken out of that order by its ranks, so that the
    work grows with the pairs and not with pairs times subjects.
    """
    (x, y), (i, j, slopes) = points, pairs
    order = np.argsort(slopes, kind="stable")
    ordered, n_low = slopes[order], int((slopes < -1).sum())
    first, second = clusters.codes[i[order]], clusters.codes[j[order]]
    ranks = np.arange(ordered.size)
    apart = first != second  # a pair within a subject leaves once
    owner, rank = np.concatenate([first, second[apart]]), np.concatenate([ranks, ranks[apart]])
    by_owner = np.lexsort((rank, owner))
    ends = np.searchsorted(owner[by_owner], np.arange(clusters.n + 1))
    found = np.full((2, clusters.n), math.nan)
    for subject in range(clusters.n):
        gone = rank[by_owner[ends[subject] : ends[subject + 1]]]
        n, k = ordered.size - gone.size, n_low - int(np.searchsorted(gone, n_low))
        places = np.array([(n - 1) // 2 + k, n // 2 + k])
        if n == 0 or places[1] >= n:
            continue
        before = gone - np.arange(gone.size)  # how many stay before each one that is gone
        slope = float(ordered[places + np.searchsorted(before, places, side="right")].mean())
        if math.isfinite(slope):
            kept = clusters.codes != subject
            found[:, subject] = slope, np.median(y[kept] - slope * x[kept])
    return found[0], found[1]


def _deming_line(sums: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Slope and intercept from sums of 1, x, y, x^2, y^2, xy, shape (..., 6)."""
    n, sx, sy, sxx, syy, sxy = (sums[..., i] for i in range(6))
    vx, vy, cov = sxx - sx**2 / n, syy - sy**2 / n, sxy - sx * sy / n
    lean = vy - ratio * vx
    slope = (lean + np.sqrt(lean**2 + 4 * ratio * cov**2)) / (2 * cov)
    return slope, (sy - slope * sx) / n
