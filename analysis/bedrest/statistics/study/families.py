"""Families of tests and Holm's correction within them. Knows nothing of what was tested."""

from __future__ import annotations

from statsmodels.stats.multitest import multipletests

from bedrest.vocabulary import Status

WITHIN = "change from reference within group"
BETWEEN = "difference of change between groups"


def holm(rows: list[dict[str, object]], *, family: str) -> list[dict[str, object]]:
    """Name the family of some tests and correct their p for the number that could be done.

    Parameters
    ----------
    rows : list of dict, with `status` and `p`
        Failed rows, and estimates without a p, do not count.
    """
    valid = [row for row in rows if row["status"] != Status.FAILED and "p" in row]
    for row in rows:
        row.update(family=family, family_size=len(valid))
    if valid:
        for row, p in zip(valid, multipletests([row["p"] for row in valid], method="holm")[1], strict=True):
            row["p_holm"] = float(p)
    return rows
