"""Families of tests and Holm's correction within them. Knows nothing of what was tested."""

from __future__ import annotations

from statsmodels.stats.multitest import multipletests

from bedrest.vocabulary import FamilyKind, Status

_WORDS = {FamilyKind.WITHIN: "change from reference within group",
          FamilyKind.BETWEEN: "difference of change between groups"}


def holm(rows: list[dict[str, object]], kind: FamilyKind, *, detail: str = "") -> list[dict[str, object]]:
    """Name the family of some tests and correct their p for the number that could be done.

    Parameters
    ----------
    rows : list of dict, with `status` and `p`
        Failed rows, and estimates without a p, do not count.
    kind : what the family asks
    detail : what tells it from other families of its kind
    """
    valid = [row for row in rows if row["status"] != Status.FAILED and "p" in row]
    for row in rows:
        row.update(family=_WORDS[kind] + detail, family_kind=kind.value, family_size=len(valid))
    if valid:
        for row, p in zip(valid, multipletests([row["p"] for row in valid], method="holm")[1], strict=True):
            row["p_holm"] = float(p)
    return rows
