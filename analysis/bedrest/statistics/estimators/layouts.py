"""Subjects with the same covariance matrix, gathered, so that time and memory grow with layouts and not with subjects.

Must not know estimation or discs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bedrest.statistics.estimators.covariance import Covariance


@dataclass(frozen=True)
class Layout:
    """Subjects whose observations have the same covariance matrix.

    Attributes
    ----------
    components : what the covariance structure needs of them
    x : shape (b, m, p), the different design matrices among them
    counts : shape (b,), subjects with each
    y : shape (c, m), every subject's response
    block : shape (c,), which design matrix a subject has
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

    def scaled(self, factor: float) -> Layout:
        """The same with every response multiplied by a factor."""
        return replace(self, y=self.y * factor)


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
