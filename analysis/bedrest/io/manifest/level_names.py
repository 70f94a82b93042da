"""levels.csv: names of discs set manually. Read strictly: what cannot be understood is reported, never guessed.

Knows nothing of masks: whether a named disc exists shows when it is measured.
"""

from __future__ import annotations

import re
from collections import Counter

import pandas as pd

from bedrest.errors import Problem, did_you_mean
from bedrest.io.manifest.csv_layout import load
from bedrest.io.manifest.entries import InputProblem
from bedrest.io.tables.frames import empty_table, typed
from bedrest.io.tables.typed_csv import read_text
from bedrest.schemas import LEVEL_NAMES
from bedrest.settings import Study
from bedrest.vocabulary import EXCLUDE, LEVELS

_UNNAMED = re.compile(r"^unnamed-[1-9][0-9]*$")


def read_levels(study: Study, visits: pd.DataFrame) -> tuple[pd.DataFrame, list[InputProblem]]:
    """Names set manually, and what is wrong with them; a row that cannot be used excludes its subject.

    The frame is as in `schemas.LEVEL_NAMES`, empty where there is no file. `visits`: columns subject and session: every
    visit of the study. Raises ManifestError, ManyProblems: the file that study.toml names is missing, or its
    columns are not those of the table.
    """
    if study.levels_file is None:
        return empty_table(LEVEL_NAMES), []
    text = read_text(study.levels_file, LEVEL_NAMES.name)
    frame, problems = load(text, LEVEL_NAMES)
    if "session" not in frame:
        frame = frame.assign(session="")
    where = str(study.levels_file)
    for row in frame.drop_duplicates().to_dict("records"):
        place = f"{where}, {row['subject']} {row['session']} {row['found']}".replace("  ", " ")
        problems += _row_problems(study, row, visits, place)
    bad = {p.subject for p in problems if p.excludes_subject}
    for subject in dict.fromkeys(s for s in frame["subject"] if s not in bad):
        problems += _doubled(study, subject, frame, where)
    return typed(frame, LEVEL_NAMES), problems


def names_of_visit(levels: pd.DataFrame, session: str) -> dict[str, str]:
    """Automatic name to level at one visit of one subject; a row of the visit overrides one of every visit."""
    return {automatic: level for wanted in ("", session)
            for automatic, level in levels.loc[levels["session"] == wanted, ["found", "level"]].itertuples(index=False)}


def _row_problems(study: Study, row: dict[str, str], visits: pd.DataFrame, place: str) -> list[InputProblem]:
    subject, session, automatic = row["subject"], row["session"], row["found"]
    subjects = list(dict.fromkeys(visits["subject"]))
    if subject not in subjects:
        unknown = Problem(place, "a subject of the study", repr(subject), _remedy(subject, subjects))
        return [InputProblem("", "", unknown)]
    problems = []
    sessions = list(visits.loc[visits["subject"] == subject, "session"])
    if session and session not in sessions:
        known = study.session_ids if session not in study.session_ids else sessions
        problems.append(InputProblem(subject, "", Problem(
            place, f"a visit of {subject} out of {', '.join(sessions)}, or an empty cell for every visit",
            repr(session), _remedy(session, known)), excludes_subject=session not in study.session_ids))
    if automatic not in LEVELS and not _UNNAMED.match(automatic):
        problems.append(InputProblem(subject, "", Problem(
            place, f"a name as found, one of {', '.join(LEVELS)} or unnamed-1, unnamed-2, ...", repr(automatic),
            _remedy(automatic, (*LEVELS, "unnamed-1"))), excludes_subject=True))
    return problems


def _doubled(study: Study, subject: str, frame: pd.DataFrame, where: str) -> list[InputProblem]:
    """Two discs of a visit that the table gives one level."""
    rows = frame[frame["subject"] == subject]
    problems: dict[str, InputProblem] = {}
    for session in study.session_ids:
        names = names_of_visit(rows, session)
        counts = Counter(level for level in names.values() if level != EXCLUDE)
        for level in (k for k, n in counts.items() if n > 1):
            discs = " and ".join(automatic for automatic, to in names.items() if to == level)
            problems.setdefault(level + discs, InputProblem(subject, "", Problem(
                f"{where}, {subject} {session}", f"one disc for {level}", f"{discs}",
                "Correct one of them, or exclude it."), excludes_subject=True))
    return list(problems.values())


def _remedy(word: str, known: tuple[str, ...] | list[str]) -> str:
    same = [k for k in known if k.lower() == word.lower()]  # in other letters, which are never near
    return did_you_mean(same[0] if same else word, known, "Correct the cell, or remove the row.")
