"""How the cost of a stage grows with the size of a study. Knows nothing of how stages are run."""

from __future__ import annotations

import math

import pandas as pd

LINEAR = 1.3  # a further subject may cost this many times as much in a large study as in a small one
LARGEST_BYTES = 2e9  # that a study of 1,000 subjects may hold


def growth(measured: pd.DataFrame) -> pd.DataFrame:
    """How much a further subject costs in the larger half of the sizes over what it costs in the smaller half.

    Parameters
    ----------
    measured : DataFrame, as in `SCALE`, three sizes or more

    Returns
    -------
    DataFrame
        A row a stage in the order given: `small_ms` and `large_ms`, processor time of a further subject between the
        two smallest and the two largest sizes, and `ratio`: 1 is linear, 10 quadratic where sizes grow tenfold. NaN
        where a subject costs less than a millisecond in either half: that is noise.
    """
    rows = []
    for stage, costs in measured.groupby("stage", sort=False):
        costs = costs.sort_values("subjects")
        n, cpu = costs["subjects"].to_numpy(dtype=float), costs["cpu_seconds"].to_numpy(dtype=float)
        small, large = (1000 * (cpu[b] - cpu[a]) / (n[b] - n[a]) for a, b in ((0, 1), (-2, -1)))
        rows.append({"stage": stage, "small_ms": small, "large_ms": large,
                     "ratio": large / small if min(small, large) >= 1 else math.nan})
    return pd.DataFrame(rows)
