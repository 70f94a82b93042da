"""What the benchmark of scale measured: a stage at a size of study, and how its cost grows with the size.

Knows nothing of how stages are run.
"""

from __future__ import annotations

import math

import pandas as pd
from bedrest.schemas import Col, Table

LINEAR = 1.3  # a further subject may cost this many times as much in a large study as in a small one
LARGEST_BYTES = 2e9  # that a study of 1,000 subjects may hold

SCALE = Table("scale", "what a stage of a synthetic study of some size took, one row each", (
    Col("stage", "str", "stage of a run, or part of one"),
    Col("subjects", "int", "subjects of the study, four visits each", "1", minimum=1),
    Col("seconds", "float", "wall time", "s", minimum=0),
    Col("cpu_seconds", "float", "processor time of the stage and its children", "s", minimum=0),
    Col("peak_bytes", "float", "most memory that they held together; what they share counts for each", "byte",
        minimum=0),
), ("stage", "subjects"))

PARTS = Table("overhead", "processor time of the parts of a stage of one subject, one row each", (
    Col("stage", "str", "stage of a run"),
    Col("part", "str", "what the time went into"),
    Col("scans", "int", "scans that share it", "1", minimum=1),
    Col("cpu_seconds", "float", "processor time", "s", minimum=0),
    Col("counted", "bool", "is it overhead: neither the network at work nor a notebook"),
), ("stage", "part"))


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
    for stage, own in measured.groupby("stage", sort=False):
        own = own.sort_values("subjects")
        n, cpu = own["subjects"].to_numpy(dtype=float), own["cpu_seconds"].to_numpy(dtype=float)
        small, large = (1000 * (cpu[b] - cpu[a]) / (n[b] - n[a]) for a, b in ((0, 1), (-2, -1)))
        rows.append({"stage": stage, "small_ms": small, "large_ms": large,
                     "ratio": large / small if min(small, large) >= 1 else math.nan})
    return pd.DataFrame(rows)
