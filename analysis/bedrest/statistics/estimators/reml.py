"""Restricted maximum likelihood for repeated measures: y = X b + e, independent subjects, any covariance structure.

Must not know tests (`small_sample`), formulas (`design`) or discs. The likelihood is Harville's (1974)
without the constant of X'X, as lme4 reports it.

Subjects with the same layout share one covariance matrix, and those with the same X one row of sums, so time and
memory grow with the number of layouts rather than of subjects.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.optimize import minimize

from bedrest.errors import ModelError
from bedrest.statistics.estimators.covariance import Covariance

STARTS = (0.5, 0.95)  # share of variance between subjects, from which the optimiser sets out
AGREE = 1e-3  # log-likelihoods of the same model that differ by more are different answers
_PENALTY = 1e10


@dataclass(frozen=True)
class Layout:
    """Subjects whose observations have the same covariance matrix.

    Attributes
    ----------
    components : what the covariance structure needs of them
    x, counts : shape (b, m, p), the different design matrices among them; (b,), subjects with each
    y, block : shape (c, m), every subject's response; (c,), which design matrix the subject has
    """

    components: np.ndarray
    x: np.ndarray
    counts: np.ndarray
    y: np.ndarray
    block: np.ndarray

    @cached_property
    def y_sums(self) -> np.ndarray:
        out = np.zeros(self.x.shape[:2])
        np.add.at(out, self.block, self.y)
        return out


def gather_layouts(y: np.ndarray, x: np.ndarray, clusters: np.ndarray, structure: Covariance) -> tuple[Layout, ...]:
    """The layouts of all subjects; arguments as for `reml.fit_reml`."""
    order = np.argsort(clusters, kind="stable")
    cuts = np.flatnonzero(np.diff(np.unique(clusters[order], return_inverse=True)[1])) + 1
    gathered: dict[bytes, dict[bytes, list[np.ndarray]]] = {}
    for rows in np.split(order, cuts):
        gathered.setdefault(structure.key(rows), {}).setdefault(x[rows].tobytes(), []).append(rows)
    out = []
    for blocks in gathered.values():
        alike = list(blocks.values())  # rows of the subjects with the same design matrix
        counts = np.array([len(b) for b in alike])
        members = [rows for b in alike for rows in b]
        out.append(Layout(structure.components(alike[0][0]), np.stack([x[b[0]] for b in alike]), counts,
                          np.stack([y[rows] for rows in members]), np.repeat(np.arange(len(alike)), counts)))
    return tuple(out)


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes
    ----------
    estimates, covariance : shape (p,); (p, p), with the estimated variances taken as known
    phi : natural parameters of the covariance structure, shape (K,)
    theta, scale : where the optimiser stopped, of the response divided by `scale`, shape (K,)
    free : bool, shape (K,); False for a parameter on the boundary
    log_likelihood : restricted
    warnings : what a reader must know; empty when there is nothing
    """

    estimates: np.ndarray
    covariance: np.ndarray
    phi: np.ndarray
    theta: np.ndarray
    scale: float
    free: np.ndarray
    log_likelihood: float
    converged: bool
    warnings: tuple[str, ...]
    structure: Covariance
    layouts: tuple[Layout, ...]

    @property
    def singular(self) -> bool:
        """Is some variance estimated as zero, or some correlation as one?"""
        return bool(~self.free.all())

    @property
    def parameters(self) -> dict[str, float]:
        """Natural parameters by name: variances and covariances, or SDs and a correlation."""
        return dict(zip(self.structure.names, self.phi.tolist(), strict=True))

    @property
    def variances(self) -> dict[str, float]:
        """The parameters that are variances: neither covariances nor correlations."""
        return {name: value for (name, value), variance in
                zip(self.parameters.items(), self.structure.is_variance, strict=True) if variance}


def fit_reml(y: np.ndarray, x: np.ndarray, *, clusters: np.ndarray, structure: Covariance) -> Fit:
    """Fit by REML from several starts.

    Never silently: a boundary, disagreeing starts or a gradient that does not vanish are among the warnings of the fit.
    `y`, shape (n,), finite; `x`, shape (n, p), of full column rank; `clusters`, shape (n,), the independent subjects;
    `structure` over the same n observations.

    Raises
    ------
    ModelError
        If there are no degrees of freedom left, X is not of full rank, or the response does not vary.
    """
    y, x = np.asarray(y, dtype=np.float64), np.asarray(x, dtype=np.float64)
    scale = _residual_sd(y, x)
    layouts = gather_layouts(y / scale, x, clusters, structure)
    runs = [_optimise(structure, layouts, share) for share in STARTS]
    theta, value, gradient = min(runs, key=lambda run: run[1])
    if value >= _PENALTY:
        raise ModelError("a covariance matrix that can be inverted", "none from any start", "model",
                         "Use fewer terms, or look for values that repeat.")
    warnings = []
    if (gap := max(run[1] for run in runs) - value) / 2 > AGREE:
        warnings.append(f"log-likelihoods from {len(runs)} starts differ by {gap / 2:.2g}; the best one is used")
    boundary = structure.on_boundary(theta)
    if boundary.any():
        names = [n for n, b in zip(structure.names, boundary, strict=True) if b]
        warnings.append("at the boundary (singular): " + ", ".join(names))
    converged = bool(np.abs(gradient[~boundary]).max(initial=0.0) < 1e-3)
    if not converged:
        warnings.append("the optimiser did not converge")
    phi = structure.natural(theta)
    n, p = x.shape
    pieces = _pieces(phi, structure, layouts)
    return Fit(
        estimates=pieces.beta * scale, covariance=pieces.phi_beta * scale**2, phi=structure.rescaled(phi, scale),
        theta=theta, scale=scale, free=~boundary,
        log_likelihood=-0.5 * (value + (n - p) * np.log(2 * np.pi)) - (n - p) * np.log(scale), converged=converged,
        warnings=tuple(warnings), structure=structure,
        layouts=tuple(replace(lay, y=lay.y * scale) for lay in layouts))


def at_variances(y: np.ndarray, x: np.ndarray, *, clusters: np.ndarray, structure: Covariance,
                 phi: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Estimates, their covariance (variances taken as known) and the restricted log-likelihood at given variances.

    `phi` has shape (K,), in the squared unit of y; the rest as for `fit_reml`. Raises numpy's LinAlgError if the
    covariance matrix at `phi` cannot be inverted.
    """
    layouts = gather_layouts(y, x, clusters, structure)
    pieces = _pieces(phi, structure, layouts)
    value = deviance(phi, structure, layouts)[0]
    n, p = x.shape
    return pieces.beta, pieces.phi_beta, -0.5 * (value + (n - p) * math.log(2 * math.pi))


def _residual_sd(y: np.ndarray, x: np.ndarray) -> float:
    n, p = x.shape
    if not (np.isfinite(y).all() and np.isfinite(x).all()):
        raise ModelError("finite numbers", "missing or infinite ones", "response or design", "Leave those rows out.")
    rank = np.linalg.matrix_rank(x)
    if rank < p:
        raise ModelError(f"a design of rank {p}", f"rank {rank}", "fixed effects", "Drop the columns that repeat.")
    if n <= p:
        raise ModelError(f"more than {p} observations", str(n), "model", "Use fewer terms or more visits.")
    residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    sd = float(np.sqrt(residual @ residual / (n - p)))
    if sd <= 1e-10 * max(1e-300, float(np.abs(y).max(initial=0.0))):
        raise ModelError("a response that varies about its means", "none", "model", "Look at the data: values repeat.")
    return sd


@dataclass(frozen=True)
class _Pieces:
    beta: np.ndarray
    phi_beta: np.ndarray  # (X' V^-1 X)^-1
    inverses: list[np.ndarray]
    solved: list[np.ndarray]  # V^-1 X, (b, m, p)
    constant: float  # log|V| + log|X' V^-1 X|


def _pieces(phi: np.ndarray, structure: Covariance, layouts: tuple[Layout, ...]) -> _Pieces:
    p = layouts[0].x.shape[2]
    xx, xy, constant = np.zeros((p, p)), np.zeros(p), 0.0
    inverses, solved = [], []
    for lay in layouts:
        factor = np.linalg.cholesky(structure.value(phi, lay.components))
        half = np.linalg.solve(factor, np.eye(factor.shape[0]))
        inverse = half.T @ half
        constant += 2 * lay.counts.sum() * np.log(np.diag(factor)).sum()
        ax = inverse @ lay.x
        xx += (ax * lay.counts[:, None, None]).reshape(-1, p).T @ lay.x.reshape(-1, p)
        xy += ax.reshape(-1, p).T @ lay.y_sums.ravel()
        inverses.append(inverse)
        solved.append(ax)
    factor = np.linalg.cholesky(xx)
    half = np.linalg.solve(factor, np.eye(p))
    phi_beta = half.T @ half
    return _Pieces(phi_beta @ xy, phi_beta, inverses, solved, constant + 2 * np.log(np.diag(factor)).sum())


def deviance(phi: np.ndarray, structure: Covariance, layouts: tuple[Layout, ...]) -> tuple[float, np.ndarray]:
    """-2 restricted log-likelihood without its 2 pi, and its gradient by phi."""
    pieces = _pieces(phi, structure, layouts)
    value, gradient = pieces.constant, np.zeros(phi.size)
    for lay, inverse, ax in zip(layouts, pieces.inverses, pieces.solved, strict=True):
        residual = lay.y - (lay.x @ pieces.beta)[lay.block]
        u = residual @ inverse
        value += float((u * residual).sum())
        weighted = (ax @ pieces.phi_beta) * lay.counts[:, None, None]
        flat, flat_weighted = (a.transpose(1, 0, 2).reshape(a.shape[1], -1) for a in (ax, weighted))
        middle = lay.counts.sum() * inverse - flat_weighted @ flat.T - u.T @ u
        pieces_of_v = structure.derivatives(phi, lay.components)
        gradient += pieces_of_v.reshape(phi.size, -1) @ middle.ravel()
    return value, gradient


def _optimise(structure: Covariance, layouts: tuple[Layout, ...], share: float) -> tuple[np.ndarray, float, np.ndarray]:
    """theta, deviance and its gradient by theta: quasi-Newton, then Newton where nothing is on the boundary."""

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        try:
            value, gradient = deviance(structure.natural(theta), structure, layouts)
        except np.linalg.LinAlgError:
            return _PENALTY, np.zeros_like(theta)
        return value, structure.jacobian(theta).T @ gradient

    optimum = minimize(objective, structure.start(share), jac=True, method="L-BFGS-B", bounds=structure.bounds(),
                       options={"maxiter": 500, "ftol": 1e-11, "gtol": 1e-6, "maxcor": 20})
    theta, value = optimum.x, float(optimum.fun)
    gradient = objective(theta)[1]
    for _ in range(10):
        free = ~structure.on_boundary(theta)
        if np.abs(gradient[free]).max(initial=0.0) < 1e-6 or value >= _PENALTY:
            break
        moved = _newton_step(objective, theta, value, gradient, free=free)
        if moved is None:
            break
        theta, value, gradient = moved
    return theta, value, gradient


def _newton_step(objective: Callable[[np.ndarray], tuple[float, np.ndarray]], theta: np.ndarray, value: float,
                 gradient: np.ndarray, *, free: np.ndarray) -> tuple[np.ndarray, float, np.ndarray] | None:
    """One safeguarded Newton step with a Hessian by differences of the gradient; None when nothing is gained."""
    at = np.flatnonzero(free)
    hessian = np.empty((at.size, at.size))
    for n, k in enumerate(at):
        step = np.zeros_like(theta)
        step[k] = 1e-5 * max(1.0, abs(theta[k]))
        hessian[n] = (objective(theta + step)[1] - objective(theta - step)[1])[at] / (2 * step[k])
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    if not np.isfinite(values).all():
        return None
    direction = vectors @ ((vectors.T @ gradient[at]) / np.maximum(np.abs(values), 1e-8))
    for size in (1.0, 0.5, 0.1):
        trial = theta.copy()
        trial[at] -= size * direction
        new_value, new_gradient = objective(trial)
        if new_value <= value + 1e-9 and np.abs(new_gradient[at]).max() < np.abs(gradient[at]).max():
            return trial, new_value, new_gradient
    return None
