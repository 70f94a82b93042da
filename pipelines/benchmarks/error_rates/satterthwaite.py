"""Satterthwaite's degrees of freedom for any covariance structure: kept to compare with Kenward and Roger's.

As in lmerTest (Kuznetsova et al. 2017, J Stat Softw 82(13)), with Fai and Cornelius (1996) for several contrasts at
once. A variance at its boundary is taken as known: the observed information has no inverse there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from bedrest.statistics.estimators.reml import Fit, deviance
from bedrest.statistics.estimators.small_sample import Comparison, FTest, independent_rows
from scipy import stats


@dataclass(frozen=True)
class Satterthwaite:
    """Tests of one fit, as `small_sample.SmallSample` has them."""

    fit: Fit

    def contrast(self, weights: np.ndarray) -> Comparison:
        """Test weights @ estimates = 0; weights of shape (p,)."""
        row = np.asarray(weights, dtype=np.float64)
        se = float(np.sqrt(row @ self.fit.covariance @ row))
        return Comparison(float(row @ self.fit.estimates), se, self._df(row))

    def f_test(self, weights: np.ndarray) -> FTest:
        """Test weights @ estimates = 0 for all rows, shape (q, p), at once."""
        rows = independent_rows(weights)
        q, value = len(rows), rows @ self.fit.estimates
        f = float(value @ np.linalg.solve(rows @ self.fit.covariance @ rows.T, value)) / q
        df = self._f_df(rows)
        return FTest(f, q, df, float(stats.f.sf(f, q, df)), 1.0)

    @cached_property
    def _parameter_covariance(self) -> np.ndarray:
        """Of the natural parameters, shape (K, K), from the observed information of the free ones."""
        information, jacobian = _information_by_theta(self.fit)
        result: np.ndarray = jacobian @ np.linalg.pinv(information, rcond=1e-12, hermitian=True) @ jacobian.T
        return result

    @cached_property
    def _covariance_slopes(self) -> np.ndarray:
        """Derivative of the covariance of the estimates by each parameter, (K, p, p)."""
        fit = self.fit
        slopes = np.zeros((fit.phi.size, fit.estimates.size, fit.estimates.size))
        for lay in fit.layouts:
            ax = np.linalg.inv(fit.structure.value(fit.phi, lay.components)) @ lay.x
            pieces = fit.structure.derivatives(fit.phi, lay.components)
            counted = ax * lay.counts[:, None, None]
            slopes += np.einsum("bmp,kmn,bnq->kpq", counted, pieces, ax, optimize=True)
        result: np.ndarray = fit.covariance @ slopes @ fit.covariance
        return result

    def _df(self, row: np.ndarray) -> float:
        variance = float(row @ self.fit.covariance @ row)
        slope = np.einsum("p,kpq,q->k", row, self._covariance_slopes, row)
        variance_of_it = float(slope @ self._parameter_covariance @ slope)
        return 2 * variance**2 / variance_of_it if variance_of_it > 0 else float("inf")

    def _f_df(self, rows: np.ndarray) -> float:
        q = len(rows)
        vectors = np.linalg.eigh(rows @ self.fit.covariance @ rows.T)[1]
        dfs = np.array([self._df(row) for row in vectors.T @ rows])
        if q == 1:
            return float(dfs[0])
        if (dfs <= 2).any():
            return 2.0
        finite = dfs[np.isfinite(dfs)]
        expected = float((finite / (finite - 2)).sum()) + (q - finite.size)
        return 2 * expected / (expected - q) if expected > q else float("inf")


def _information_by_theta(fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Observed information of the free parameters of `fit.theta`, and d phi / d theta at them, in the data's units.

    By differences of the gradient, in theta: there a step never leaves what is possible.
    """
    free = np.flatnonzero(fit.free)
    units = fit.structure.rescaled(np.ones_like(fit.phi), fit.scale)[:, None]

    def gradient(theta: np.ndarray) -> np.ndarray:
        phi = fit.structure.rescaled(fit.structure.natural(theta), fit.scale)
        result: np.ndarray = (units * fit.structure.jacobian(theta)).T @ deviance(phi, fit.structure, fit.layouts)[1]
        return result

    hessian = np.empty((free.size, free.size))
    for n, k in enumerate(free):
        step = np.zeros_like(fit.theta)
        step[k] = 1e-5 * max(abs(fit.theta[k]), 1e-3)
        hessian[n] = (gradient(fit.theta + step) - gradient(fit.theta - step))[free] / (2 * step[k])
    return (hessian + hessian.T) / 4, (units * fit.structure.jacobian(fit.theta))[:, free]
