"""Characteristics of the subjects by group, as in Table 1 of a paper. Tests nothing: the study assigned the groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import BASELINE, SUBJECTS
from bedrest.statistics.study.responses import AnalysisPlan
from bedrest.vocabulary import LEVELS, MEASURED

ALL_SUBJECTS = "(all)"
_NUMBERS = {"age": "age", "height_cm": "height", "weight_kg": "weight"}
_UNITS = {c.name: c.unit for c in SUBJECTS.columns}


def baseline_frame(subjects: pd.DataFrame, measures: pd.DataFrame, plan: AnalysisPlan) -> pd.DataFrame:
    """Age, sex, height, weight and disc volumes at the reference visit, by group and of all subjects.

    Tables as in `schemas`. Reference masks and failed rows are not used; a column of `subjects` that is not there
    counts as missing, as does an unknown sex. A sex that no subject has gets no rows.
    """
    discs = measures[(measures["source"] != "reference") & measures["status"].isin(MEASURED)
                     & (measures["session"] == plan.reference_session)]
    subjects = subjects.set_index("subject").reindex(columns=["group", "sex", *_NUMBERS])
    columns: dict[str, tuple[str, pd.Series]] = {
        label: (_UNITS[name], subjects[name].astype(float)) for name, label in _NUMBERS.items()}
    for level in LEVELS:
        volumes = discs[discs["level"] == level].set_index("subject")["volume_mm3"]
        if len(volumes):
            columns[f"volume {level}"] = ("mm3", volumes.reindex(subjects.index))
    members = {g: subjects.index[subjects["group"] == g] for g in plan.groups}
    if len(members) > 1:
        members[ALL_SUBJECTS] = subjects.index
    sexes = subjects["sex"].astype(object).fillna("")
    rows = []
    for group, in_group in members.items():
        rows += [{"characteristic": f"sex {s}", "group": group, **_share(sexes[in_group], s)}
                 for s in sorted(set(sexes) - {""})]
        rows += [{"characteristic": label, "unit": unit, "group": group, **_mean_and_sd(values[in_group])}
                 for label, (unit, values) in columns.items()]
    return typed_frame(rows, BASELINE)


def baseline_words(baseline: pd.DataFrame, *, groups: Sequence[str]) -> pd.DataFrame:
    """The table for reading: one row per characteristic, one column per group; mean (SD) or n (%), missing counted.

    `groups` in the order of the study; all together come last.
    """
    listed = set(baseline["characteristic"])
    first = [label for label in _NUMBERS.values() if label in listed]
    sexes = sorted(c for c in listed if c.startswith("sex "))
    volumes = [f"volume {level}" for level in LEVELS if f"volume {level}" in listed]
    columns = {}
    for group in (*groups, ALL_SUBJECTS):
        of_group = baseline[baseline["group"] == group].set_index("characteristic", drop=False)
        if of_group.empty:
            continue
        rows = of_group.loc[[*first, *sexes, *volumes]].to_dict("records")
        head = f"{group} (n = {rows[0]['n'] + rows[0]['n_missing']})"
        columns[head] = {_name(r): _cell(r) for r in rows}
    return pd.DataFrame(columns).rename_axis("characteristic").reset_index()


def _share(sexes: pd.Series, sex: str) -> dict[str, object]:
    n, count = int((sexes != "").sum()), int((sexes == sex).sum())
    return {"n": n, "n_missing": len(sexes) - n, "count": count, "percent": 100 * count / n if n else math.nan}


def _mean_and_sd(values: pd.Series) -> dict[str, object]:
    n = int(values.count())
    return {"n": n, "n_missing": len(values) - n, "mean": float(values.mean()),
            "sd": float(values.std(ddof=1)) if n > 1 else math.nan}


def _name(row: dict[str, Any]) -> str:
    return f"{row['characteristic']} ({row['unit']}), mean (SD)" if row["unit"] else f"{row['characteristic']}, n (%)"


def _cell(row: dict[str, Any]) -> str:
    missing = f"; {row['n_missing']} missing" if row["n_missing"] else ""
    if not row["n"]:
        return "not known"
    if row["unit"]:
        places = 0 if row["unit"] == "mm3" else 1
        sd = "" if pd.isna(row["sd"]) else f" ({row['sd']:.{places}f})"
        return f"{row['mean']:.{places}f}{sd}{missing}"
    return f"{row['count']} ({row['percent']:.0f} %){missing}"
