"""May a visit's discs be trusted: one verdict a subject and planned visit, from what every stage has said."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from bedrest.io.tables.frames import text, typed_frame
from bedrest.schemas import QC
from bedrest.vocabulary import LEVELS, Status

_STAGES = ("input", "segment", "levels", "measure")  # later ones speak of a change, not of a visit
_DRAWN = "reference mask: "  # how a remark on a mask begins that is judged by, not measured


def qc_frame(*, subjects: pd.DataFrame, sessions: pd.DataFrame, measures: pd.DataFrame, failures: pd.DataFrame,
             planned: Mapping[str, float]) -> pd.DataFrame:
    """Pass, review, fail or missing, for every subject and planned visit.

    Parameters
    ----------
    subjects, sessions, measures, failures : DataFrame, as in `schemas`
    planned : session -> study day, in the order of the study

    Returns
    -------
    DataFrame, as in `schemas.QC`
    """
    own = measures[(measures["source"] != "reference") & measures["level"].isin(LEVELS)]
    discs = own.groupby(["subject", "session", "status"]).size()
    days = dict(zip(zip(sessions["subject"], sessions["session"], strict=True), sessions["study_day"], strict=True))
    said = _remarks(failures)
    rows = []
    for subject, group in zip(subjects["subject"], subjects["group"], strict=True):
        for session, day in planned.items():
            at = (subject, session)
            counts = {f"discs_{s.value}": int(discs.get((*at, s.value), 0)) for s in Status}
            rows.append({"subject": subject, "group": group, "session": session, "study_day": days.get(at, day),
                         "verdict": _verdict(counts, said.get(at, []), scanned=at in days), **counts,
                         "findings": "; ".join(said.get(at, []))})
    return typed_frame(rows, QC)


def _remarks(failures: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    said: dict[tuple[str, str], list[str]] = {}
    for row in failures.to_dict("records"):
        reason = text(row["reason"])
        if row["stage"] in _STAGES and text(row["session"]) and not reason.startswith(_DRAWN):
            level = text(row["level"])
            said.setdefault((row["subject"], row["session"]), []).append(f"{level}: {reason}" if level else reason)
    return said


def _verdict(counts: Mapping[str, int], remarks: list[str], *, scanned: bool) -> str:
    if not scanned:
        return "missing"
    if counts["discs_ok"] + counts["discs_flagged"] == 0:
        return "fail"
    return "review" if remarks or counts["discs_flagged"] or counts["discs_failed"] else "pass"
