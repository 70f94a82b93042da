"""What surrounds the optimiser of a mixed model: its data in numbers that suit it, and its answer worked out anew.

Knows nothing of optimisers or of statsmodels. The restricted likelihood is Harville's (1974) without the constant of
X'X, as nlme and lme4 report it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bedrest.errors import ModelError
from bedrest.statistics.estimators.samples import too_few


@dataclass(frozen=True)
class MixedProblem:
    """The model in numbers that suit an optimiser: y of SD 1, orthogonal columns of mean square 1.

    Fixed effects may be recombined at will, and so may random effects, because their covariance matrix is free; the
    model and its maximum stay the same. Covariates therefore need no centring by the caller.

    Attributes
    ----------
    y, x, z : shapes (n,), (n, p), (n, q)
    codes : shape (n,), subject of each observation, 0 to n_subjects - 1
    levels : component -> its design, one 0-1 matrix (n_i, k_i) a subject
    y_unit, x_back, z_back : what turns the answers back: b = y_unit * x_back @ b*
    """

    y: np.ndarray
    x: np.ndarray
    z: np.ndarray
    codes: np.ndarray
    levels: dict[str, list[np.ndarray]]
    y_unit: float
    x_back: np.ndarray
    z_back: np.ndarray

    @property
    def shift(self) -> float:
        """What to add to a restricted log-likelihood to have it in the caller's units."""
        n, p = self.x.shape
        return float(np.linalg.slogdet(self.x_back)[1] - (n - p) * math.log(self.y_unit))

    @property
    def n_subjects(self) -> int:
        """Subjects with at least one observation."""
        return int(self.codes.max()) + 1


@dataclass(frozen=True)
class Solution:
    """Generalised least squares at given variances, in the units of the `MixedProblem`."""

    log_likelihood: float
    fixed: np.ndarray
    covariance: np.ndarray
    random: np.ndarray
    components: np.ndarray
    residual: float


def mixed_problem(
    y: np.ndarray,
    x: np.ndarray,
    *,
    groups: Sequence[object] | np.ndarray,
    z: np.ndarray | None,
    components: Mapping[str, Sequence[object] | np.ndarray],
    where: str,
) -> MixedProblem:
    y, x = np.asarray(y, dtype=np.float64), np.asarray(x, dtype=np.float64)
    n = y.size
    z = np.ones((n, 1)) if z is None else np.asarray(z, dtype=np.float64)
    labels, codes = np.unique(np.asarray(groups), return_inverse=True)
    coded = {name: np.unique(np.asarray(c).astype(str), return_inverse=True)[1] for name, c in components.items()}
    if {len(x), len(z), codes.size, *(c.size for c in coded.values())} != {n}:
        raise ModelError(f"{n} rows everywhere", "other lengths", where, "Give one row an observation.")
    _check(y, x, z, n_subjects=labels.size, where=where)
    for name, count in {name: len(np.unique(np.c_[codes, c], axis=0)) for name, c in coded.items()}.items():
        if count >= n or count <= labels.size:
            remedy = "A label seen once is the residual; one label a subject is the random intercept. Leave it out."
            raise ModelError(f"component {name} repeated within subjects", f"{count} labels", where, remedy)
    unit = float(np.std(y - x @ np.linalg.lstsq(x, y, rcond=None)[0]))
    if unit <= 1e-10 * float(np.abs(y).max()):
        raise ModelError("a residual", "fixed effects that explain y wholly", where, "Leave fixed effects out.")
    levels = {name: [_indicators(c[codes == i]) for i in range(labels.size)] for name, c in coded.items()}
    (x_new, x_back), (z_new, z_back) = _orthogonal(x), _orthogonal(z)
    return MixedProblem(y / unit, x_new, z_new, codes, levels, unit, x_back, z_back)


def _check(y: np.ndarray, x: np.ndarray, z: np.ndarray, *, n_subjects: int, where: str) -> None:
    for name, values in (("y", y), ("x", x), ("z", z)):
        if not np.isfinite(values).all():
            found = f"{int((~np.isfinite(values)).sum())} of {name} not finite"
            raise ModelError("finite numbers", found, where, "Leave missing observations out and count them.")
        columns = values.reshape(y.size, -1)
        scaled = columns / np.where(columns.any(axis=0), np.abs(columns).max(axis=0), 1)
        if name != "y" and columns.shape[1] and np.linalg.matrix_rank(scaled) < columns.shape[1]:
            found = f"{columns.shape[1]} columns, of which others make up one"
            remedy = "Leave out the columns that others add up to."
            raise ModelError(f"columns of {name} that are independent", found, where, remedy)
    if few := too_few(n_subjects):
        raise ModelError("more subjects", few, where, "Describe the subjects one by one.")
    if y.size <= max(x.shape[1] + 1, z.shape[1] * n_subjects):
        found = f"{y.size} observations for {x.shape[1]} fixed and {z.shape[1]} x {n_subjects} random effects"
        raise ModelError("more observations than effects", found, where, "Leave random effects out.")


def _orthogonal(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orthogonal columns of mean square 1, and the matrix that gives them: columns @ matrix."""
    q, r = np.linalg.qr(columns)
    root = math.sqrt(len(columns))
    return q * root, np.linalg.inv(r) * root


def _indicators(codes: np.ndarray) -> np.ndarray:
    result: np.ndarray = (codes[:, None] == np.unique(codes)).astype(np.float64)
    return result


def solve(problem: MixedProblem, random: np.ndarray, components: np.ndarray, residual: float) -> Solution:
    """Fixed effects and restricted log-likelihood (Harville 1974) at given variances."""
    n, p = problem.x.shape
    both = np.column_stack([problem.x, problem.y])
    sums, log_det = np.zeros((p + 1, p + 1)), 0.0
    for i in range(problem.n_subjects):
        own = problem.codes == i
        z, m = problem.z[own], both[own]
        v = z @ random @ z.T + residual * np.eye(len(m))
        for variance, mats in zip(components, problem.levels.values(), strict=True):
            v += variance * mats[i] @ mats[i].T
        sums += m.T @ np.linalg.solve(v, m)
        log_det += float(np.linalg.slogdet(v)[1])
    covariance = np.linalg.inv(sums[:p, :p])
    fixed = covariance @ sums[:p, p]
    squares = sums[p, p] - sums[:p, p] @ fixed
    log_xvx = float(np.linalg.slogdet(sums[:p, :p])[1])
    value = -0.5 * ((n - p) * math.log(2 * math.pi) + log_det + log_xvx + float(squares))
    return Solution(value, fixed, covariance, random, components, residual)
