"""Who was studied: characteristics by group, as in Table 1 of a paper. Tests nothing: groups were dealt, not found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import BASELINE, SUBJECTS
from bedrest.statistics.study.responses import AnalysisPlan
from bedrest.vocabulary import LEVELS, Status

EVERYBODY = "(all)"
_NUMBERS = {"age": "age", "height_cm": "height", "weight_kg": "weight"}
_UNITS = {c.name: c.unit for c in SUBJECTS.columns}


def baseline_frame(subjects: pd.DataFrame, measures: pd.DataFrame, plan: AnalysisPlan) -> pd.DataFrame:
    """Age, sex, height, weight and disc volumes at the reference visit, by group and of all.

    Parameters
    ----------
    subjects : DataFrame, as in `schemas.SUBJECTS`; a column that is not there is missing in everybody
    measures : DataFrame, as in `schemas.MEASURES`; of the method's own masks, failed rows apart
    plan : AnalysisPlan

    Returns
    -------
    DataFrame, as in `schemas.BASELINE`
        A sex that nobody has gets no rows; one that is not known counts as missing.
    """
    own = measures[(measures["source"] != "reference") & (measures["status"] != Status.FAILED)
                   & (measures["session"] == plan.reference_session)]
    people = subjects.set_index("subject")
    columns: dict[str, tuple[str, pd.Series]] = {
        label: (_UNITS[name], _column(people, name).astype(float)) for name, label in _NUMBERS.items()}
    for level in LEVELS:
        volumes = own[own["level"] == level].set_index("subject")["volume_mm3"]
        if len(volumes):
            columns[f"volume {level}"] = ("mm3", volumes.reindex(people.index))
    members = {g: people.index[people["group"] == g] for g in plan.groups}
    if len(members) > 1:
        members[EVERYBODY] = people.index
    sexes = _column(people, "sex").fillna("")
    rows = []
    for group, who in members.items():
        rows += [{"characteristic": f"sex {s}", "group": group, **_share(sexes[who], s)}
                 for s in sorted(set(sexes) - {""})]
        rows += [{"characteristic": label, "unit": unit, "group": group, **_spread(values[who])}
                 for label, (unit, values) in columns.items()]
    return typed_frame(rows, BASELINE)


def baseline_words(baseline: pd.DataFrame, *, groups: Sequence[str]) -> pd.DataFrame:
    """The table for reading: a row a characteristic, a column a group; mean (SD) or n (%), the missing counted.

    Parameters
    ----------
    baseline : DataFrame, as in `schemas.BASELINE`, rows in any order
    groups : in the order of the study; all together come last
    """
    found = set(baseline["characteristic"])
    first = [label for label in _NUMBERS.values() if label in found]
    sexes = sorted(c for c in found if c.startswith("sex "))
    volumes = [f"volume {level}" for level in LEVELS if f"volume {level}" in found]
    columns = {}
    for group in (*groups, EVERYBODY):
        own = baseline[baseline["group"] == group].set_index("characteristic", drop=False)
        if own.empty:
            continue
        rows = own.loc[[*first, *sexes, *volumes]].to_dict("records")
        head = f"{group} (n = {rows[0]['n'] + rows[0]['n_missing']})"
        columns[head] = {_name(r): _cell(r) for r in rows}
    return pd.DataFrame(columns).rename_axis("characteristic").reset_index()


def _column(people: pd.DataFrame, name: str) -> pd.Series:
    return people[name] if name in people.columns else pd.Series(None, index=people.index, dtype=object)


def _share(sexes: pd.Series, sex: str) -> dict[str, object]:
    n, count = int((sexes != "").sum()), int((sexes == sex).sum())
    return {"n": n, "n_missing": len(sexes) - n, "count": count, "percent": 100 * count / n if n else math.nan}


def _spread(values: pd.Series) -> dict[str, object]:
    n = int(values.count())
    return {"n": n, "n_missing": len(values) - n, "mean": float(values.mean()),
            "sd": float(values.std(ddof=1)) if n > 1 else math.nan}


def _name(row: dict[str, Any]) -> str:
    return f"{row['characteristic']} ({row['unit']}), mean (SD)" if row["unit"] else f"{row['characteristic']}, n (%)"


def _cell(row: dict[str, Any]) -> str:
    lost = f"; {row['n_missing']} missing" if row["n_missing"] else ""
    if not row["n"]:
        return "not known"
    if row["unit"]:
        places = 0 if row["unit"] == "mm3" else 1
        sd = "" if pd.isna(row["sd"]) else f" ({row['sd']:.{places}f})"
        return f"{row['mean']:.{places}f}{sd}{lost}"
    return f"{row['count']} ({row['percent']:.0f} %){lost}"
