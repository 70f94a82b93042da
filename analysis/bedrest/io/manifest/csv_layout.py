"""Builds a manifest from the user's tables: subjects.csv, sessions.csv, scans.csv.

The same tables override or extend the entries of another layout. Knows nothing of image folders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bedrest.io.manifest.entries import InputProblem, LayoutEntries
from bedrest.io.tables.frames import misspelt_columns
from bedrest.io.tables.typed_csv import TextTable, convert, read_text
from bedrest.schemas import SCANS, SESSIONS, SUBJECTS, Table
from bedrest.settings import Study


def _loosened(table: Table, *names: str) -> Table:
    """The table as a user may write it: these columns may be absent or empty, study.toml completes them."""
    columns = tuple(replace(c, required=False, optional=True) if c.name in names else c for c in table.columns)
    return replace(table, columns=columns)


INPUT_SUBJECTS = _loosened(SUBJECTS, "group")
INPUT_SESSIONS = _loosened(SESSIONS, "study_day", "phase")


def override(study: Study, entries: LayoutEntries) -> LayoutEntries:
    """Replace subjects and visits by the tables that study.toml names; scans replace those of one key or file."""
    images = study.images
    if images.subjects_csv is not None:
        entries.subjects, problems = load(read_text(images.subjects_csv, SUBJECTS.name), INPUT_SUBJECTS)
        entries.subjects_file = str(images.subjects_csv)
        entries.problems += problems
    if images.sessions_csv is not None:
        text = read_text(images.sessions_csv, SESSIONS.name)  # `visit_days` reads the dates
        text = replace(text, frame=text.frame.drop(columns="acq_time", errors="ignore"))
        entries.visits, problems = load(text, INPUT_SESSIONS)
        entries.problems += problems
    if images.scans_csv is not None:
        scans, problems = load(read_text(images.scans_csv, SCANS.name), SCANS)
        entries.problems += problems
        scans = scans.assign(path=[str((images.root / Path(p).expanduser()).absolute() if p else images.root)
                                   for p in scans["path"]], sha256=scans.get("sha256", ""))
        entries.scans = pd.concat([entries.scans, scans[SCANS.column_names]], ignore_index=True)
        replaced = entries.scans.index < len(entries.scans) - len(scans)
        of_key, of_file = ([pd.MultiIndex.from_frame(frame[columns]) for frame in (entries.scans, scans)]
                           for columns in ([*SCANS.key], ["subject", "session", "path"]))
        replaced &= of_key[0].isin(of_key[1]) | of_file[0].isin(of_file[1])
        entries.scans = entries.scans[~replaced].reset_index(drop=True)
    return entries


def load(text: TextTable, table: Table) -> tuple[pd.DataFrame, list[InputProblem]]:
    """Rows of a user's table and what is wrong with them, subject by subject.

    A row that cannot be used excludes its subject, so that no subject is analysed on part of its data. A row without a
    subject is left out and reported.

    Raises ManifestError, ManyProblems: the file is missing, or its columns are not those of the table.
    """
    frame, row_problems = convert(text, table)
    problems = [InputProblem("", "", p) for p in misspelt_columns(frame.columns, table, where=str(text.path))]
    for item in row_problems:
        subject = str(frame["subject"].iloc[item.row])
        session = str(frame["session"].iloc[item.row]) if "session" in frame else ""
        problems.append(InputProblem(subject, session, item.problem, excludes_subject=bool(subject)))
    return frame[frame["subject"] != ""].reset_index(drop=True), problems


def load_renamed(text: TextTable, table: Table, names: Mapping[str, str], *,
                 subject: str = "") -> tuple[pd.DataFrame, list[InputProblem]]:
    """As `load`, for a table of another convention: columns are renamed, unknown ones left out.

    `subject` is the subject of all rows, where the table itself has no such column.
    """
    frame = text.frame.rename(columns={k: v for k, v in names.items() if v not in text.frame.columns})
    misspelt = misspelt_columns(frame.columns, table, where=str(text.path))
    if subject:
        frame = frame.assign(subject=subject)
    if not table.free_columns:
        frame = frame[[c for c in frame.columns if c in table.column_names]]
    rows, problems = load(replace(text, frame=frame), table)
    reported = {str(p.problem) for p in problems}
    return rows, [*(InputProblem("", "", p) for p in misspelt if str(p) not in reported), *problems]
