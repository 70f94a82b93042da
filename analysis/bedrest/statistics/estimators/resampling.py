"""Permutation tests and a bootstrap for few subjects: p values and intervals that assume no normal distribution.

The subject is the unit: one number each, swapped, reversed or drawn whole. `scipy.stats.permutation_test` does the
counting; the studentised statistic, and whether all permutations or a sample are counted, are decided here. Must not
know tables, visits or discs. Measured error rates and coverage: docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from bedrest.statistics.estimators.samples import MIN_SUBJECTS_BOOTSTRAP, constant, finite_array, too_few
from bedrest.statistics.estimators.t_tests import MeanTest

EXACT_LIMIT = 20_000  # assignments that are all counted; beyond, a random sample of them
_DECIMALS = 10  # equal statistics summed in another order differ by rounding; compared exactly, ties would be lost


def permutation_test(first: Sequence[float], second: Sequence[float], *, rng: np.random.Generator,
                     n_permutations: int = 9999) -> MeanTest:
    """Group labels permuted over subjects; the statistic is Welch's t, mean of `first` minus mean of `second`.

    One finite number a subject (ModelError otherwise). Where the assignments are too many to count, `n_permutations`
    are drawn, and p is (b + 1) / (m + 1) (Phipson & Smyth 2010). Exact where the groups differ in nothing. Because the
    statistic is studentised it becomes valid, as n grows, where they differ in variance only (Janssen 1997; Chung &
    Romano 2013); with groups of equal size it orders assignments as the difference of means does.
    """
    x, y = (finite_array(v, name="permutation test") for v in (first, second))
    n, what = x.size + y.size, "permutation of group labels, Welch t"
    if reason := too_few(x.size, y.size) or ("all values are equal" if constant(np.concatenate([x, y])) else ""):
        return MeanTest(n=n, method=what, reason=reason)
    floor = 1e-12 * float(np.ptp(np.concatenate([x, y])))

    def size_of_welch(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(np.round(np.abs(_welch(a, b, axis=axis, floor=floor)), _DECIMALS))

    test = MeanTest(n=n, method=what, estimate=float(x.mean() - y.mean()), t=float(_welch(x, y, axis=-1, floor=floor)))
    # Equal groups can be swapped whole: two assignments then share every |t|.
    return _permuted(test, (x, y), size_of_welch, kind="independent", possible=math.comb(n, x.size),
                     ties=2 if x.size == y.size else 1, n_drawn=n_permutations, rng=rng)


def sign_flip_test(values: Sequence[float], *, rng: np.random.Generator, n_permutations: int = 9999) -> MeanTest:
    """Mean of one finite number a subject against 0, by reversing the sign of whole subjects.

    Where the 2^n sign patterns are too many to count, `n_permutations` are drawn. Valid where the values are symmetric
    about their mean. Student's t rises with the mean when signs flip (the sum of squares stays), so the studentised
    test is this one.
    """
    x = finite_array(values, name="sign-flip test")
    what = "sign flips of subjects, mean"
    reason = too_few(x.size) or ("all values are 0" if not x.any() else "")
    if reason:
        return MeanTest(n=x.size, method=what, reason=reason)
    unit = float(np.abs(x).max())

    def size_of_mean(a: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(np.round(np.abs(a.mean(axis=axis)) / unit, _DECIMALS))

    se = float(x.std(ddof=1) / math.sqrt(x.size))
    t = math.copysign(math.inf, x.mean()) if constant(x) else float(x.mean()) / se
    test = MeanTest(n=x.size, method=what, estimate=float(x.mean()), t=t)
    return _permuted(test, (x,), size_of_mean, kind="samples", possible=2**x.size, ties=2, n_drawn=n_permutations,
                     rng=rng)


def cluster_bootstrap(
    samples: Sequence[Sequence[float]], *, rng: np.random.Generator, n_resamples: int = 1999,
    confidence_level: float = 0.95,
) -> MeanTest:
    """Studentised bootstrap interval of a mean, or of the first mean minus the second.

    `samples` are one or two lists of one finite number a subject (ModelError otherwise); subjects are drawn with
    replacement within each. (theta* - theta) / se* with se* from each resample (Efron & Tibshirani 1993, ch. 12): the
    intervals of `scipy.stats.bootstrap`, which has none of this kind, are too short for 8 to 12 subjects.
    """
    values = [finite_array(s, name="cluster bootstrap") for s in samples]
    n, what = sum(v.size for v in values), "bootstrap of subjects, studentised interval"
    reason = too_few(*(v.size for v in values), least=MIN_SUBJECTS_BOOTSTRAP)
    if not reason and all(constant(v) for v in values):
        reason = "no variance between subjects"
    if reason:
        return MeanTest(n=n, method=what, reason=reason)
    signs = (1.0, -1.0)[: len(values)]
    estimate = float(sum(s * v.mean() for s, v in zip(signs, values, strict=True)))
    se = math.sqrt(sum(v.var(ddof=1) / v.size for v in values))
    resampled = [v[rng.integers(0, v.size, (n_resamples, v.size))] for v in values]
    away = sum(s * d.mean(axis=1) for s, d in zip(signs, resampled, strict=True)) - estimate
    errors = np.sqrt(sum(d.var(axis=1, ddof=1) / d.shape[1] for d in resampled))
    # One subject drawn again and again has no variance: it lies infinitely far out, or not out at all.
    flat = errors <= 1e-9 * se
    far = np.where(np.abs(away) <= 1e-9 * se, 0.0, np.copysign(np.inf, away))
    pivots = np.where(flat, far, away / np.where(flat, 1.0, errors))
    tail = (1 - confidence_level) / 2
    low, high = (float(q) for q in np.quantile(pivots, [tail, 1 - tail], method="inverted_cdf"))
    return MeanTest(n=n, method=f"{what}, {n_resamples} resamples", estimate=estimate, se=se,
                    ci_low=estimate - high * se, ci_high=estimate - low * se)


def _permuted(
    test: MeanTest, data: tuple[np.ndarray, ...], size: Callable[..., np.ndarray], *, kind: str, possible: int,
    ties: int, n_drawn: int, rng: np.random.Generator,
) -> MeanTest:
    """The test with its p, from all assignments where they can be counted, else from a random sample of them."""
    exact = possible <= max(EXACT_LIMIT, n_drawn)
    p = stats.permutation_test(
        data, size, permutation_type=kind, vectorized=True, alternative="greater", rng=rng,
        n_resamples=possible if exact else n_drawn).pvalue
    counted = f"all {possible} counted" if exact else f"{n_drawn} drawn of {possible}, (b + 1) / (m + 1)"
    return replace(test, method=f"{test.method}, {counted}", p=float(p),
                   smallest_p=ties / possible if exact else 1 / (n_drawn + 1))


def _welch(x: np.ndarray, y: np.ndarray, *, axis: int, floor: float) -> np.ndarray:
    # The floor keeps t finite where an assignment leaves no variance within groups; scipy cannot compare infinities.
    variance = x.var(axis=axis, ddof=1) / x.shape[axis] + y.var(axis=axis, ddof=1) / y.shape[axis]
    return np.asarray((x.mean(axis=axis) - y.mean(axis=axis)) / np.maximum(np.sqrt(variance), floor))
