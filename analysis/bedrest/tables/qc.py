"""Quality control of visits: one verdict per subject and planned visit, from the findings of every stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from bedrest.findings import Finding
from bedrest.io.tables.finding_cells import findings_of
from bedrest.io.tables.frames import text, typed_frame
from bedrest.schemas import QC
from bedrest.vocabulary import LEVELS, FindingStage, QcVerdict, Source, Status

# Later ones speak of a change, not of a visit.
_STAGES = (FindingStage.INPUT, FindingStage.SEGMENT, FindingStage.LEVELS, FindingStage.MEASURE)


def qc_frame(*, subjects: pd.DataFrame, sessions: pd.DataFrame, measures: pd.DataFrame, failures: pd.DataFrame,
             planned: Mapping[str, float]) -> pd.DataFrame:
    """Pass, review, fail or missing, for every subject and planned visit.

    Returns: as in `schemas.QC`.

    `subjects`, `sessions`, `measures`, `failures`: as in `schemas`. `planned`: session -> study day, in the order of
    the study.
    """
    automatic = measures[(measures["source"] != Source.REFERENCE) & measures["level"].isin(LEVELS)]
    discs = automatic.groupby(["subject", "session", "status"]).size()
    days = dict(zip(zip(sessions["subject"], sessions["session"], strict=True), sessions["study_day"], strict=True))
    findings = _by_visit(failures)
    rows = []
    for subject, group in zip(subjects["subject"], subjects["group"], strict=True):
        for session, day in planned.items():
            at = (subject, session)
            counts = {f"discs_{s.value.replace(' ', '_')}": int(discs.get((*at, s.value), 0)) for s in Status}
            rows.append({"subject": subject, "group": group, "session": session, "study_day": days.get(at, day),
                         "verdict": _verdict(counts, findings.get(at, []), scanned=at in days).value, **counts,
                         "findings": findings.get(at, [])})
    return typed_frame(rows, QC)


def _by_visit(failures: pd.DataFrame) -> dict[tuple[str, str], list[Finding]]:
    """Findings of each visit and its discs, those of reference masks left out: they judge, and are not measured."""
    visits: dict[tuple[str, str], list[Finding]] = {}
    for row, findings in zip(failures.to_dict("records"), findings_of(failures), strict=True):
        if row["stage"] in _STAGES and text(row["session"]):
            visits.setdefault((row["subject"], row["session"]), []).extend(
                replace(f, level=text(row["level"])) for f in findings if f.source != Source.REFERENCE)
    return visits


def _verdict(counts: Mapping[str, int], findings: list[Finding], *, scanned: bool) -> QcVerdict:
    if not scanned:
        return QcVerdict.MISSING
    if counts["discs_ok"] + counts["discs_flagged"] == 0:
        return QcVerdict.FAIL
    return QcVerdict.REVIEW if findings or counts["discs_flagged"] or counts["discs_failed"] else QcVerdict.PASS
