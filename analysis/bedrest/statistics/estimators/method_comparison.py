"""A straight line through two methods that both have error: Passing-Bablok.

Answers: does one method follow the other as second = intercept + slope * first? Must not know tables or discs.

Source: Passing and Bablok (1983, J Clin Chem Clin Biochem 21:709).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from bedrest.statistics.estimators.intervals import Clusters, Estimate, check_length, jackknife_interval, paired_arrays
from bedrest.statistics.estimators.samples import constant, too_few

MIN_POINTS = 5  # below, the Kendall interval of Passing and Bablok is open at 95 %
MAX_POINTS = 3000  # every pair has a slope: 4.5 million, some 200 MB while they are sorted


_Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # first and second point, slope


@dataclass(frozen=True)
class Line:
    """second = intercept + slope * first; `reason`: what could not be computed and why."""

    slope: Estimate = field(default_factory=Estimate)
    intercept: Estimate = field(default_factory=Estimate)
    reason: str = ""


def passing_bablok(first: ArrayLike, second: ArrayLike, *, clusters: Clusters | None = None,
                   confidence_level: float = 0.95) -> Line:
    """Passing-Bablok regression: shifted median of the slopes of all pairs of points.

    `first` and `second`, shape (n,), are 5 to 3000 points on scales on which the slope is near 1; `clusters` has one
    label a point, None when each is of another subject.

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
    if reason := too_few(subjects) or _unfit(x, y):
        return Line(reason=reason)
    pairs = _slopes(x, y)
    slopes = pairs[-1]
    slope = _shifted_median(slopes)
    if not math.isfinite(slope):
        return Line(reason="the methods do not rise together: the median slope is not finite")
    intercept = float(np.median(y - slope * x))
    if clusters is None or not clusters.repeated:
        low, high = _kendall_bounds(slopes, x.size, confidence_level)
        at_high, at_low = (float(np.median(y - b * x)) if math.isfinite(b) else math.nan for b in (high, low))
        line = Estimate(slope, low, high), Estimate(intercept, at_high, at_low)
    else:
        left = _without_each_subject((x, y), clusters, pairs)
        line = (Estimate(slope, *jackknife_interval(slope, left[0], confidence_level=confidence_level)),
                Estimate(intercept, *jackknife_interval(intercept, left[1], confidence_level=confidence_level)))
    closed = all(math.isfinite(v) for e in line for v in (e.low, e.high))
    return Line(slope=line[0], intercept=line[1],
                reason="" if closed else "the interval is open: too few points, too far off a line")


def _unfit(x: np.ndarray, y: np.ndarray) -> str:
    if x.size < MIN_POINTS:
        return f"{x.size} points, at least {MIN_POINTS} are needed"
    if x.size > MAX_POINTS:
        return f"{x.size} points, at most {MAX_POINTS}: every pair of them has a slope"
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
    lines = np.full((2, clusters.n), math.nan)
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
            lines[:, subject] = slope, np.median(y[kept] - slope * x[kept])
    return lines[0], lines[1]
