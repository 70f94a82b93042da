"""What a reader is told of a subject in one line: status, visits, discs measured, mean change.

Counts and joins stored tables for display; tests nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.schemas import CHANGE, MEASURES
from analysis.stats.subject_changes import ALL_LEVELS, subject_changes
from analysis.vocabulary import LEVELS, Status

_LEVEL_RANK = {level: i for i, level in enumerate(LEVELS)}


@dataclass(frozen=True)
class SubjectSummary:
    """One subject in one line.

    Attributes
    ----------
    subject, group : str
    status : str
        failed: no disc at all was measured; flagged: something failed or is doubtful; ok: nothing is.
    present, missing : tuple of str
        Visits in the study, and planned visits that are not.
    n_measured, n_expected : int
        Discs measured over all visits present, and seven a visit.
    mean_change_percent : dict of str to float
        Session -> mean over the subject's discs.
    """

    subject: str
    group: str
    status: str
    present: tuple[str, ...]
    missing: tuple[str, ...]
    n_measured: int
    n_expected: int
    mean_change_percent: dict[str, float]


@dataclass(frozen=True, eq=False)
class StudyTables:
    """The tables that summaries are made from, by `schemas`."""

    subjects: pd.DataFrame
    sessions: pd.DataFrame
    measures: pd.DataFrame
    change: pd.DataFrame
    failures: pd.DataFrame


def own_source(measures: pd.DataFrame) -> str:
    """The mask source that the study's own results stand on: automatic, or given where nothing was segmented."""
    sources = list(measures["source"])
    return "automatic" if "automatic" in sources or "given" not in sources else "given"


def summarise(tables: StudyTables, *, planned: tuple[str, ...]) -> list[SubjectSummary]:
    """One summary a subject, in the order of the subjects table."""
    own = tables.measures[tables.measures["source"] != "reference"]
    measured = own[(own["status"] != Status.FAILED) & own["level"].isin(LEVELS)]
    changes = subject_changes(tables.change[tables.change["source"] != "reference"])
    means = changes[changes["level"] == ALL_LEVELS]
    out = []
    for subject, group in zip(tables.subjects["subject"], tables.subjects["group"], strict=True):
        visits = tables.sessions[tables.sessions["subject"] == subject].sort_values("study_day")
        present = tuple(visits["session"])
        n = int((measured["subject"] == subject).sum())
        mine = means[means["subject"] == subject]
        out.append(SubjectSummary(
            subject, group, subject_status(n, tables.failures[tables.failures["subject"] == subject]), present,
            tuple(s for s in planned if s not in present), n, len(LEVELS) * len(present),
            dict(zip(mine["session"], mine["change_percent"], strict=True)),
        ))
    return out


def subject_status(n_measured: int, failures: pd.DataFrame) -> str:
    """failed without any measured disc, flagged with anything that failed or is doubtful, else ok."""
    if n_measured == 0:
        return Status.FAILED.value
    return Status.OK.value if failures.empty else Status.FLAGGED.value


def visit_rows(sessions: pd.DataFrame, records: pd.DataFrame, planned: pd.DataFrame) -> pd.DataFrame:
    """Planned visits and those present, with what became of each; a planned visit that is not there is named.

    Parameters
    ----------
    sessions, records : DataFrame, one subject's rows of `schemas.SESSIONS` and `schemas.SCAN_RECORDS`
    planned : DataFrame
        Columns session, study_day, phase of the visits the study plans.
    """
    known = ["session", "status", "reason", "contrasts", "warnings"]
    rows = planned[~planned["session"].isin(sessions["session"])].assign(status="missing", reason="no such visit")
    seen = sessions.merge(records[known], on="session", how="left")
    return pd.concat([seen, rows], ignore_index=True).sort_values("study_day", kind="stable").reset_index(drop=True)


def volume_rows(measures: pd.DataFrame, change: pd.DataFrame, *, source: str) -> pd.DataFrame:
    """Measures of one subject and mask source joined with change: one row a level and visit, top to bottom."""
    key = ["subject", "level", "source", "session"]
    columns = [*key, "change_mm3", "change_percent"]
    assert set(columns) <= set(MEASURES.column_names) | set(CHANGE.column_names)
    rows = measures[measures["source"] == source].merge(change[columns], on=key, how="left")
    rank = rows["level"].map(lambda lv: _LEVEL_RANK.get(lv, len(LEVELS)))
    return rows.assign(_rank=rank).sort_values(["_rank", "level", "study_day"], kind="stable").drop(
        columns="_rank").reset_index(drop=True)


def failure_sentences(failures: pd.DataFrame) -> list[tuple[str, str]]:
    """Status and a sentence for each row of the failures table, failed ones first."""
    rows = pd.concat([failures[failures["status"] == s] for s in (Status.FAILED, Status.FLAGGED)])
    out = []
    for row in rows.to_dict("records"):
        place = ", ".join(str(row[c]) for c in ("subject", "session", "level") if isinstance(row[c], str) and row[c])
        out.append((str(row["status"]), f"{place or 'study'} ({row['stage']}): {row['reason']}"))
    return out
