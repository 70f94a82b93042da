"""Families of tests and Holm's correction within them. Must not know what was tested."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pandas as pd
from statsmodels.stats.multitest import multipletests

from bedrest.vocabulary import Family, Status

Row = dict[str, object]  # of a table, column to value
FAMILY_NAMES = {Family.WITHIN: "change from reference within group",
                Family.BETWEEN: "difference of change between groups"}


def family_units(groups: Sequence[str]) -> dict[Family, list[tuple[str, ...]]]:
    """What each family tests: every group alone, and every pair of groups."""
    return {Family.WITHIN: [(g,) for g in groups], Family.BETWEEN: list(combinations(groups, 2))}


def holm(rows: list[Row], family: Family, *, detail: str = "") -> list[Row]:
    """Name the family of some tests and correct their p for the number that could be done.

    Failed rows, and estimates without a p, do not count. `detail` follows the name of the family, where the same
    comparison is made in several ways.
    """
    valid = [row for row in rows if row["status"] != Status.FAILED and not pd.isna(row.get("p"))]
    for row in rows:
        row.update(family=FAMILY_NAMES[family] + detail, comparison=str(family), family_size=len(valid))
    if valid:
        for row, p in zip(valid, multipletests([row["p"] for row in valid], method="holm")[1], strict=True):
            row["p_holm"] = float(p)
    return rows
