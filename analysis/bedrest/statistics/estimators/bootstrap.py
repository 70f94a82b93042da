"""Cluster bootstrap for few subjects: the interval of a mean, or of a difference of means, whole subjects drawn.

Takes one number a subject, for example the mean over its discs. Must not know tables, visits or discs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bedrest.statistics.estimators.samples import MIN_SUBJECTS_BOOTSTRAP, constant, finite_array, too_few
from bedrest.statistics.estimators.t_tests import MeanTest


def cluster_bootstrap(
    samples: Sequence[Sequence[float]], *, rng: np.random.Generator, n_resamples: int = 1999,
    confidence_level: float = 0.95,
) -> MeanTest:
    """Studentised bootstrap interval of a mean, or of the first mean minus the second.

    `samples` are one or two lists of one finite number a subject (ModelError otherwise); subjects are drawn with
    replacement within each.

    Notes
    -----
    (theta* - theta) / se* with se* from each resample (Efron & Tibshirani 1993, ch. 12). Coverage in % of 95 %
    intervals of a mean, 1500 cohorts, 999 resamples (binomial error 0.6 to 1.0):

    ======================  ==========  ==========  ==============  ============
    n = 8 / n = 12          normal      t on 4 df   exponential     lognormal
    ======================  ==========  ==========  ==============  ============
    percentile              89 / 92     86 / 89     84 / 87         79 / 81
    BCa                     89 / 91     83 / 86     86 / 88         82 / 85
    studentised             95 / 96     93 / 92     93 / 93         90 / 92
    Student's t             95 / 96     95 / 95     89 / 90         84 / 85
    ======================  ==========  ==========  ==============  ============

    Hence studentised, although `scipy.stats.bootstrap` has only the other kinds.
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
