"""How observations of one subject are correlated: random terms and residual variances by visit.

A structure turns its parameters into the covariance matrix of any subject's observations. Must not know means,
estimation or discs.

Two parameter vectors are used throughout: `phi`, the natural one (variances and covariances, or standard deviations
and a correlation), and `theta`, the one the optimiser moves in, where every value is a valid covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

SMALLEST_SD = 1e-4  # of a residual stratum, in units of the residual SD of least squares
SINGULAR_SD = 1e-3  # of a random term: below it the term counts as zero, as in lme4's isSingular


@dataclass(frozen=True)
class Term:
    """One random term: adds Z S Z' between observations with the same `group` code.

    `z` has shape (n, q), S is q x q, `group` has shape (n,). `is_residual`: a residual stratum, whose variance cannot
    be zero.
    """

    name: str
    z: np.ndarray
    group: np.ndarray
    is_residual: bool = False

    @property
    def q(self) -> int:
        return int(self.z.shape[1])


def random_term(name: str, group: Sequence[object] | np.ndarray, z: np.ndarray | None = None) -> Term:
    """A random intercept of each value of `group`, or random coefficients of the columns of z, freely correlated."""
    codes = np.unique(np.asarray(group, dtype=str), return_inverse=True)[1]
    columns = np.ones((codes.size, 1)) if z is None else np.asarray(z, dtype=np.float64)
    return Term(name, columns, codes)


def residual_terms(strata: Sequence[object], *, names: Sequence[str] | None = None) -> list[Term]:
    """A separate residual variance for each stratum (nlme's varIdent); one stratum gives the usual residual.

    `strata` has one value an observation; `names` are the strata in their order, by default sorted.
    """
    values = np.asarray(strata, dtype=str)
    order = list(names) if names is not None else sorted(set(values))
    rows = np.arange(values.size)
    return [Term(f"residual, {s}" if len(order) > 1 else "residual", (values == s).astype(float)[:, None], rows, True)
            for s in order]


def unstructured_term(visits: Sequence[object], subjects: Sequence[object], *, names: Sequence[str]) -> Term:
    """A variance for every visit and a covariance for every pair of visits within a subject."""
    values = np.asarray(visits, dtype=str)
    return random_term("visits, unstructured", subjects, (values[:, None] == np.asarray(names, dtype=str)) * 1.0)


class Covariance(Protocol):
    """What estimation needs of a structure."""

    @property
    def names(self) -> list[str]: ...

    @property
    def is_variance(self) -> list[bool]:
        """Which natural parameters are variances."""

    def key(self, rows: np.ndarray) -> bytes:
        """Equal for two subjects whose observations have the same covariance matrix."""

    def components(self, rows: np.ndarray) -> np.ndarray:
        """What `value` and `derivatives` need of these observations."""

    def value(self, phi: np.ndarray, components: np.ndarray) -> np.ndarray:
        """Covariance matrix, shape (m, m)."""

    def derivatives(self, phi: np.ndarray, components: np.ndarray) -> np.ndarray:
        """Of the covariance matrix by each natural parameter, shape (K, m, m)."""

    def natural(self, theta: np.ndarray) -> np.ndarray: ...

    def jacobian(self, theta: np.ndarray) -> np.ndarray:
        """d phi / d theta, shape (K, K)."""

    def bounds(self) -> list[tuple[float | None, float | None]]: ...

    def start(self, share: float) -> np.ndarray:
        """theta with this share of the variance between subjects; the response has variance about 1."""

    def rescaled(self, phi: np.ndarray, factor: float) -> np.ndarray:
        """phi after the response was multiplied by `factor`."""

    def on_boundary(self, theta: np.ndarray) -> np.ndarray:
        """Which parameters of theta lie on the edge of what is possible, bool, shape (K,)."""


@dataclass(frozen=True)
class LinearCovariance:
    """A sum of random terms and residual strata: linear in its variances and covariances.

    The factors of each S (lower Cholesky) are what the optimiser moves in, so S is never negative; a variance may
    reach zero, as in lme4 (Bates et al. 2015).
    """

    terms: tuple[Term, ...]

    @cached_property
    def _blocks(self) -> list[tuple[Term, int, np.ndarray, np.ndarray]]:
        out, at = [], 0
        for term in self.terms:
            i, j = np.tril_indices(term.q)
            out.append((term, at, i, j))
            at += i.size
        return out

    @cached_property
    def _larger_blocks(self) -> list[tuple[Term, int, np.ndarray, np.ndarray]]:
        return [block for block in self._blocks if block[0].q > 1]

    @property
    def names(self) -> list[str]:
        out = []
        for term, _, i, j in self._blocks:
            out += [term.name if term.q == 1 else f"{term.name} [{a + 1},{b + 1}]" for a, b in zip(i, j, strict=True)]
        return out

    @property
    def is_variance(self) -> list[bool]:
        return [bool(diagonal) for _, _, i, j in self._blocks for diagonal in i == j]

    def key(self, rows: np.ndarray) -> bytes:
        parts = []
        for term in self.terms:
            parts += [term.z[rows].tobytes(), np.unique(term.group[rows], return_inverse=True)[1].tobytes()]
        return b"|".join(parts)

    def components(self, rows: np.ndarray) -> np.ndarray:
        out = []
        for term, _, i, j in self._blocks:
            same = term.group[rows][:, None] == term.group[rows][None, :]
            z = term.z[rows]
            for a, b in zip(i, j, strict=True):
                outer = np.outer(z[:, a], z[:, b])
                out.append(same * (outer if a == b else outer + outer.T))
        return np.array(out)

    def value(self, phi: np.ndarray, components: np.ndarray) -> np.ndarray:
        return np.tensordot(phi, components, axes=1)

    def derivatives(self, phi: np.ndarray, components: np.ndarray) -> np.ndarray:
        return components

    def natural(self, theta: np.ndarray) -> np.ndarray:
        phi = theta**2  # what a block of one amounts to
        for term, at, i, j in self._larger_blocks:
            factor = _lower(theta[at:at + i.size], term.q)
            phi[at:at + i.size] = (factor @ factor.T)[i, j]
        return phi

    def jacobian(self, theta: np.ndarray) -> np.ndarray:
        out = np.diag(2 * theta)
        for term, at, i, j in self._larger_blocks:
            factor = _lower(theta[at:at + i.size], term.q)
            for n, (a, b) in enumerate(zip(i, j, strict=True)):
                step = np.zeros_like(factor)
                step[a, b] = 1.0
                out[at:at + i.size, at + n] = (step @ factor.T + factor @ step.T)[i, j]
        return out

    def bounds(self) -> list[tuple[float | None, float | None]]:
        out: list[tuple[float | None, float | None]] = []
        for term, _, i, j in self._blocks:
            # A factor may turn negative: a wall at 0, where the gradient is 0 too, would hold the optimiser.
            edge = (SMALLEST_SD, None) if term.is_residual else (None, None)
            out += [edge if a == b else (None, None) for a, b in zip(i, j, strict=True)]
        return out

    def start(self, share: float) -> np.ndarray:
        theta = np.zeros(len(self.names))
        n_random = max(1, sum(not t.is_residual for t in self.terms))
        only = not any(t.is_residual for t in self.terms)
        for term, at, i, j in self._blocks:
            size = np.array([(column[column != 0] ** 2).mean() if column.any() else 1.0 for column in term.z.T])
            part = 1 - share if term.is_residual else (1.0 if only else share / n_random)
            factor = np.diag(np.sqrt(part / (size * (1 if only else term.q))))
            if only:  # correlated by `share`
                factor = np.linalg.cholesky(factor @ (share + (1 - share) * np.eye(term.q)) @ factor)
            theta[at:at + i.size] = factor[i, j]
        return theta

    def rescaled(self, phi: np.ndarray, factor: float) -> np.ndarray:
        return phi * factor**2

    def on_boundary(self, theta: np.ndarray) -> np.ndarray:
        out = np.zeros(theta.size, dtype=bool)
        for term, at, i, j in self._blocks:
            factor = _lower(theta[at:at + i.size], term.q)
            size = np.sqrt((term.z**2).mean(axis=0))  # of the columns: 1 for an intercept
            diagonal, whole = np.abs(np.diag(factor)) * size, np.sqrt((factor**2).sum(axis=1)) * size
            zero = diagonal < (2 * SMALLEST_SD if term.is_residual else np.maximum(SINGULAR_SD, SINGULAR_SD * whole))
            out[at:at + i.size] = zero[i] | zero[j]
        return out


def _lower(values: np.ndarray, q: int) -> np.ndarray:
    out = np.zeros((q, q))
    out[np.tril_indices(q)] = values
    return out
