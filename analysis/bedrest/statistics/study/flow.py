"""How many subjects are left at each step from enrolment to analysis. Tests nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import ACCURACY, ARVD, FLOW
from bedrest.vocabulary import LEVELS, MEASURED, MaskOrigin, Status

LEFT_OUT = "(left out: input problems)"


@dataclass(frozen=True)
class StudyTables:
    """The tables of a study that its statistics start from, as in `schemas`; the last two empty without reference
    masks.
    """

    subjects: pd.DataFrame
    sessions: pd.DataFrame
    scan_records: pd.DataFrame
    measures: pd.DataFrame
    change: pd.DataFrame
    accuracy: pd.DataFrame = field(default_factory=lambda: typed_frame([], ACCURACY))
    arvd: pd.DataFrame = field(default_factory=lambda: typed_frame([], ARVD))


def flow_frame(tables: StudyTables, *, excluded: Sequence[str] = ()) -> pd.DataFrame:
    """Subjects of each group at each step, visit by visit, as in `schemas.FLOW`; the reference masks are not counted.

    Subjects whose input could not be used at all get separate rows, since their group is not known for sure.
    """
    discs, paired = (t[(t["source"] != "reference") & t["status"].isin(MEASURED)]
                     for t in (tables.measures, tables.change))
    discs = discs[discs["level"].isin(LEVELS)]
    records, passed = tables.scan_records, discs[discs["status"] == Status.OK]
    steps = {
        "scanned": _visits(tables.sessions, "session"),
        "segmented": _visits(records[records["status"] != Status.FAILED], "session")
        | _visits(discs[discs["mask_origin"] == MaskOrigin.EDITED], "session"),
        "measured": _visits(discs, "session"),
        "passed_qc": _visits(passed, "session"),
        "analysed": _visits(paired, "session") | _visits(paired, "reference_session"),
    }
    n_levels = discs["level"].nunique()
    n_discs = discs.groupby(["subject", "session"]).size()
    days = tables.sessions.groupby("session")["study_day"].median().sort_values(kind="stable")
    rows = []
    for group, members in tables.subjects.groupby("group", sort=False)["subject"]:
        for session in days.index:
            counts = {step: sum((m, session) in visits for m in members) for step, visits in steps.items()}
            analysed = [m for m in members if (m, session) in steps["analysed"]]
            rows.append({"group": group, "session": session, "enrolled": len(members), **counts,
                         "discs_expected": n_levels * counts["scanned"],
                         "discs_analysed": int(sum(n_discs.get((m, session), 0) for m in analysed))})
    zeros = dict.fromkeys([*steps, "discs_expected", "discs_analysed"], 0)
    rows += [{"group": LEFT_OUT, "session": s, "enrolled": len(excluded), **zeros} for s in days.index if excluded]
    return typed_frame(rows, FLOW)


def _visits(frame: pd.DataFrame, session_column: str) -> set[tuple[str, str]]:
    return set(zip(frame["subject"], frame[session_column], strict=True))
