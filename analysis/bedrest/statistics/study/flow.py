"""Who is left at each step from enrolment to analysis. Nobody is dropped in silence. Tests nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import FLOW
from bedrest.vocabulary import LEVELS, MaskOrigin, Status

LEFT_OUT = "(left out: input problems)"


@dataclass(frozen=True)
class StudyTables:
    """The tables that say what became of every visit, as in `schemas`; the method's own masks only are counted."""

    subjects: pd.DataFrame
    sessions: pd.DataFrame
    scan_records: pd.DataFrame
    measures: pd.DataFrame
    change: pd.DataFrame


def flow_frame(tables: StudyTables, *, excluded: Sequence[str] = ()) -> pd.DataFrame:
    """Subjects of each group at each step, visit by visit.

    Parameters
    ----------
    tables : StudyTables
    excluded : subjects whose input could not be used at all; they get rows of their own, since their group is
        not known for sure

    Returns
    -------
    DataFrame, as in `schemas.FLOW`; visits in the order of their study day
    """
    own = tables.measures[(tables.measures["source"] != "reference") & (tables.measures["status"] != Status.FAILED)]
    own = own[own["level"].isin(LEVELS)]
    change = tables.change
    paired = change[(change["source"] != "reference") & (change["status"] != Status.FAILED)]
    records, passed = tables.scan_records, own[own["status"] == Status.OK]
    steps = {
        "scanned": _visits(tables.sessions, "session"),
        "segmented": _visits(records[records["status"] != Status.FAILED], "session")
        | _visits(own[own["mask_origin"] == MaskOrigin.EDITED], "session"),
        "measured": _visits(own, "session"),
        "passed_qc": _visits(passed, "session"),
        "analysed": _visits(paired, "session") | _visits(paired, "reference_session"),
    }
    n_levels = own["level"].nunique()
    discs = own.groupby(["subject", "session"]).size()
    days = tables.sessions.groupby("session")["study_day"].median().sort_values(kind="stable")
    rows = []
    for group, members in tables.subjects.groupby("group", sort=False)["subject"]:
        for session in days.index:
            counts = {step: sum((m, session) in seen for m in members) for step, seen in steps.items()}
            analysed = [m for m in members if (m, session) in steps["analysed"]]
            rows.append({"group": group, "session": session, "enrolled": len(members), **counts,
                         "discs_expected": n_levels * counts["scanned"],
                         "discs_analysed": int(sum(discs.get((m, session), 0) for m in analysed))})
    zeros = dict.fromkeys([*steps, "discs_expected", "discs_analysed"], 0)
    rows += [{"group": LEFT_OUT, "session": s, "enrolled": len(excluded), **zeros} for s in days.index if excluded]
    return typed_frame(rows, FLOW)


def _visits(frame: pd.DataFrame, session_column: str) -> set[tuple[str, str]]:
    return set(zip(frame["subject"], frame[session_column], strict=True))
