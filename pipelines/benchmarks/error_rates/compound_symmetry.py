"""Compound symmetry with an SD for each visit: a covariance structure that is not linear in its parameters.

Kept to compare the models of a study with nlme's gls. Must not know means, estimation or discs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bedrest.statistics.estimators.covariance import SMALLEST_SD


@dataclass(frozen=True)
class HeterogeneousCompoundSymmetry:
    """One correlation between all visits of a subject, an SD for each visit: nlme's corCompSymm with varIdent.

    Natural parameters: the SD of each visit in the order of `names_of_visits`, then the correlation. Not linear in
    them, so Kenward and Roger's correction in the form used here does not apply.

    Attributes
    ----------
    visits : int array, shape (n,); index into `names_of_visits`
    names_of_visits : tuple of str
    """

    visits: np.ndarray
    names_of_visits: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        return [*(f"SD, {v}" for v in self.names_of_visits), "correlation"]

    @property
    def is_variance(self) -> list[bool]:
        return [False] * (len(self.names_of_visits) + 1)

    @property
    def _lowest(self) -> float:
        return -1.0 / max(1, len(self.names_of_visits) - 1)

    def key(self, rows: np.ndarray) -> bytes:
        return bytes(self.visits[rows].tobytes())

    def components(self, rows: np.ndarray) -> np.ndarray:
        result: np.ndarray = self.visits[rows]
        return result

    def value(self, phi: np.ndarray, components: np.ndarray) -> np.ndarray:
        sd, rho = phi[components], phi[-1]
        result: np.ndarray = np.outer(sd, sd) * (rho + (1 - rho) * np.eye(sd.size))
        return result

    def derivatives(self, phi: np.ndarray, components: np.ndarray) -> np.ndarray:
        sd, rho, m = phi[components], phi[-1], components.size
        correlation = rho + (1 - rho) * np.eye(m)
        out = np.empty((phi.size, m, m))
        for k in range(phi.size - 1):
            at_visit = (components == k).astype(float)
            out[k] = (np.outer(at_visit, sd) + np.outer(sd, at_visit)) * correlation
        out[-1] = np.outer(sd, sd) * (1 - np.eye(m))
        return out

    def natural(self, theta: np.ndarray) -> np.ndarray:
        share = 1 / (1 + np.exp(-theta[-1]))
        return np.append(np.exp(theta[:-1]), self._lowest + (1 - self._lowest) * share)

    def jacobian(self, theta: np.ndarray) -> np.ndarray:
        share = 1 / (1 + np.exp(-theta[-1]))
        return np.diag(np.append(np.exp(theta[:-1]), (1 - self._lowest) * share * (1 - share)))

    def bounds(self) -> list[tuple[float | None, float | None]]:
        return [*[(float(np.log(SMALLEST_SD)), 10.0)] * len(self.names_of_visits), (-15.0, 15.0)]

    def start(self, share: float) -> np.ndarray:
        within = (share - self._lowest) / (1 - self._lowest)
        return np.append(np.zeros(len(self.names_of_visits)), np.log(within / (1 - within)))

    def rescaled(self, phi: np.ndarray, factor: float) -> np.ndarray:
        return np.append(phi[:-1] * factor, phi[-1])

    def on_boundary(self, theta: np.ndarray) -> np.ndarray:
        return np.append(theta[:-1] < np.log(2 * SMALLEST_SD), abs(theta[-1]) > 14)
