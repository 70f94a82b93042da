"""A formula and a table of factors -> design matrix, reference grid, and the weights of means, contrasts and terms.

Formulas are Wilkinson's, read by formulaic. Marginal means average the cells of the reference grid with equal weights,
as emmeans does; tests of terms are joint tests over the grid, which are type III tests with sum contrasts.
Must not know estimation or discs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import formulaic
import numpy as np
import pandas as pd

from bedrest.errors import ModelError


@dataclass(frozen=True)
class Design:
    """The fixed effects of a model.

    Attributes
    ----------
    x, columns : shape (n, p), of full rank: columns that repeat others (an empty cell) are left out; their names
    factors : name -> its values in order, the first one the reference
    grid, grid_x : every combination of the factors, covariates at 0, which is their mean when centred; its design
        matrix
        with the full set of columns
    kept : bool over the full set of columns
    row_space : projection onto what the data can tell, over the full set of columns
    """

    formula: str
    x: np.ndarray
    columns: tuple[str, ...]
    factors: Mapping[str, tuple[str, ...]]
    grid: pd.DataFrame
    grid_x: np.ndarray
    kept: np.ndarray
    row_space: np.ndarray

    def mean(self, **cell: str) -> np.ndarray | None:
        """Weights of a marginal mean: averaged over the factors that are not named; None when not estimable."""
        return self.estimable(self._mean(cell))

    def change(self, factor: str, *, to: str, since: str, cell: Mapping[str, str],
               minus: Mapping[str, str] | None = None) -> np.ndarray | None:
        """Weights of mean(to) - mean(since) in a cell, or of its difference from that in another; None as above."""
        weights = self._mean({**cell, factor: to}) - self._mean({**cell, factor: since})
        if minus is not None:
            weights = weights - (self._mean({**minus, factor: to}) - self._mean({**minus, factor: since}))
        return self.estimable(weights)

    def term(self, names: Sequence[str]) -> np.ndarray | None:
        """Weights that are all 0 when a main effect (one name) or interaction is absent, shape (q, p).

        None when an empty cell keeps any of them from being estimated.
        """
        contrasts = np.ones((1, 1))
        for name in names:
            k = len(self.factors[name])
            contrasts = np.kron(contrasts, np.eye(k)[1:] - np.eye(k)[0])
        cells = [self._mean(dict(zip(names, values, strict=True)))
                 for values in product(*(self.factors[n] for n in names))]
        rows = [self.estimable(row) for row in contrasts @ np.array(cells)]
        return None if any(r is None for r in rows) else np.array(rows)

    def estimable(self, weights: np.ndarray) -> np.ndarray | None:
        """Weights over the full set of columns -> over the fitted ones; None when the data cannot tell."""
        if np.abs(weights - self.row_space @ weights).max() > 1e-8:
            return None
        return np.asarray(weights[self.kept])

    def _mean(self, cell: Mapping[str, str]) -> np.ndarray:
        chosen = np.ones(len(self.grid), dtype=bool)
        for name, value in cell.items():
            chosen &= (self.grid[name] == value).to_numpy()
        if not chosen.any():
            raise ModelError("a cell of the model", str(dict(cell)), "marginal mean", "Check the spelling.")
        return np.asarray(self.grid_x[chosen].mean(axis=0))


def make_design(formula: str, data: pd.DataFrame, *, factors: Mapping[str, Sequence[str]]) -> Design:
    """Design matrix and reference grid.

    `formula` is a right-hand side, as ``session * group + age``, with factors named as they are, without ``C()``;
    `data` has one row an observation, and centred covariates, so that 0 is the typical subject; `factors` has the
    values of each column that is a factor in their order, the reference first.

    Raises
    ------
    ModelError
        If a factor has a value that is not listed, or the formula names a column that is not there.
    """
    typed = data.copy()
    for name, values in factors.items():
        if unknown := sorted(set(data[name].astype(str)) - set(values)):
            raise ModelError(f"{name} out of {', '.join(values)}", ", ".join(unknown), "model", "Name every value.")
        typed[name] = pd.Categorical(data[name].astype(str), categories=list(values))
    try:
        matrix = formulaic.model_matrix(formula, typed, na_action="raise")
    except (formulaic.errors.FormulaicError, ValueError) as error:
        raise ModelError("a formula over " + ", ".join(data.columns), str(error), formula, "Correct it.") from error
    full = np.asarray(matrix, dtype=np.float64)
    grid = pd.DataFrame(list(product(*factors.values())), columns=list(factors))
    typed_grid = grid.assign(**{n: pd.Categorical(grid[n], categories=list(v)) for n, v in factors.items()},
                             **{c: 0.0 for c in data.columns if c not in factors})
    grid_x = np.asarray(matrix.model_spec.get_model_matrix(typed_grid), dtype=np.float64)
    triangle = np.asarray(np.linalg.qr(full, mode="r"))  # has the ranks and the row space of `full`, and is small
    ranks = [np.linalg.matrix_rank(triangle[:, :k], rtol=1e-9) for k in range(full.shape[1] + 1)]
    kept = np.diff(ranks) > 0
    names = tuple(np.asarray(matrix.columns, dtype=str)[kept])
    return Design(formula, full[:, kept], names, {n: tuple(v) for n, v in factors.items()}, grid, grid_x, kept,
                  np.linalg.pinv(triangle, rcond=1e-9) @ triangle)

