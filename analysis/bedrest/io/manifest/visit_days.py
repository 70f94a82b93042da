"""Days, dates and phases of visits against their order in study.toml. Reads dates; knows nothing of what images show.

Only differences between the dates of one subject count: datasets are published with dates shifted subject by subject.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from itertools import combinations, pairwise
from pathlib import Path

import pandas as pd

from bedrest.errors import BedrestError, Problem
from bedrest.io.files import no_plain_file
from bedrest.io.manifest.entries import CheckedFile, InputProblem
from bedrest.io.tables.typed_csv import read_text
from bedrest.settings import Session, Study, is_safe_name
from bedrest.vocabulary import Phase

_NEAR = 7.0  # visits of one phase may change places within these
_SLIP = (7.0, 0.25)  # a visit may slip by so many days, and by this share of its day
_DATE_SLIP = (3.0, 0.1)  # dates and days may differ by so many days, and by this share of the time between
_SESSION = re.compile(r"ses-[^/]+(?=/)")
_CLOCK = re.compile(r"\d{1,2}:\d{2}")
_DICOM_TIME = re.compile(r"^(\d{8})\d{2,6}([.+-]\d+)*$")  # date and time without a mark between them
_DATE = re.compile(r"(\d{1,4})[./-](\d{1,2})[./-](\d{1,4})\b")
_YEAR = re.compile(r"\d{4}")  # dates that are masked have none
_PHASES = "baseline until day 1, bed_rest and recovery from then on"
_TABLES = "sessions.tsv, sessions.csv or scans.tsv"


@dataclass(frozen=True)
class _Visit:
    """A visit as planned and as the tables have it."""

    plan: Session
    day: float
    phase: str
    dates: tuple[str, ...] = ()  # as they are spelt

    @property
    def session(self) -> str:
        return self.plan.id


def day_problems(study: Study, sessions: pd.DataFrame, files: Iterable[CheckedFile]) -> list[InputProblem]:
    """Doubts about the plan; visits whose days or dates contradict their order, which excludes them; doubts about days.

    `sessions`: as in `schemas.SESSIONS`.
    """
    plan = {s.id: s for s in study.sessions}
    problems = [InputProblem("", "", p, doubt=True) for p in _of_plan(study)]
    written: dict[tuple[str, str], list[str]] = {}
    for f in files:
        written.setdefault((f.subject, f.session), []).append(f.acquisition.taken)
    unread = []
    for subject, rows in sessions.groupby("subject"):
        dates = _dates_of(study, str(subject))
        visits = [_Visit(plan[s], float(day), str(phase),
                         _by_day((*dates.get(s, ()), *written.get((str(subject), s), ()))))
                  for s, day, phase in rows[["session", "study_day", "phase"]].itertuples(index=False)]
        unread += [f"{subject} {v.session} {t!r}" for v in visits for t in v.dates
                   if len(r := set(_readings(t))) != 1 or (None in r and _YEAR.search(t))]
        problems += _of_subject(study, str(subject), sorted(visits, key=lambda v: v.plan.study_day))
    if unread:
        problems.append(InputProblem("", "", Problem(
            f"acq_time of {_TABLES}", "dates as 2024-03-10T08:00:00",
            f"{', '.join(unread[:3])}{f' and {len(unread) - 3} more' if len(unread) > 3 else ''}",
            "Write year, month, day; as they are, they count only where every reading says the same."), doubt=True))
    return problems


def _of_plan(study: Study) -> Iterator[Problem]:
    where = str(study.path)
    wrong = [f"{s.id}: {s.phase} at day {s.study_day:g}" for s in study.sessions if _contradict(s.phase, s.study_day)]
    if wrong:
        yield Problem(where, _PHASES, ", ".join(wrong),
                      "Count study_day from the first day in bed, which is day 1, in days.")
    reference = next(s for s in study.sessions if s.id == study.reference_session)
    before = [s.id for s in study.sessions if s is not reference and (
        s.study_day < reference.study_day if s.phase != Phase.BASELINE else reference.phase != Phase.BASELINE)]
    if before:
        yield Problem(where, "a reference_session at baseline, before bed rest",
                      f"{reference.id!r}, {reference.phase} at day {reference.study_day:g}, beside {', '.join(before)}",
                      "Name a baseline visit as reference_session, unless change is to be counted from this one.")


def _contradict(phase: str, day: float) -> bool:
    return day > 1 if phase == Phase.BASELINE else day < (0 if phase == Phase.BED_REST else 1)


def _of_subject(study: Study, subject: str, visits: list[_Visit]) -> list[InputProblem]:
    """`visits` in the order of the plan."""
    problems = _reversed(study, subject, visits, "study_day", {v.session: v.day for v in visits})
    by_reading = [days for i in (0, 1) if (days := _days(visits, i))]
    dated = [_reversed(study, subject, visits, "acq_time", days) for days in by_reading]
    problems += dated[0] if dated and all(dated) else []
    wrong = {p.session for p in problems if p.excludes_visit}
    for v in visits:
        if v.session not in wrong and _contradict(v.phase, v.day) and not _contradict(v.plan.phase, v.plan.study_day):
            wrong.add(v.session)
            problems.append(InputProblem(subject, v.session, Problem(
                f"{subject} {v.session}, {_TABLES}", _PHASES,
                f"{v.phase} at study_day {v.day:g}", "Correct study_day or phase in the table of visits; until then no "
                "image of this visit is used."), excludes_visit=True))
    visits = [v for v in visits if v.session not in wrong]
    doubts = [_off_plan(visits), _one_day(visits), _mixed_dates(visits)]
    apart = [_dates_off(visits, days) for days in by_reading]
    doubts.append(apart[0] if apart and all(apart) else None)
    return problems + [InputProblem(subject, "", Problem(subject, *d), doubt=True) for d in doubts if d is not None]


def _reversed(study: Study, subject: str, visits: list[_Visit], column: str, days: dict[str, float]
              ) -> list[InputProblem]:
    """Visits that lie in another order than planned; a doubt where they are of one phase and near each other."""
    pairs = [(a, b) for a, b in combinations([v for v in visits if v.session in days], 2)
             if a.plan.study_day < b.plan.study_day and days[a.session] > days[b.session]]
    if not pairs:
        return []
    shown = sorted({v.session for pair in pairs for v in pair}, key=days.__getitem__)
    spelt = {v.session: ", ".join(v.dates) if column == "acq_time" else f"day {v.day:g}" for v in visits}
    harmless = all(a.plan.phase == b.plan.phase and days[a.session] - days[b.session] <= _NEAR for a, b in pairs)
    sign = "; changes would have the wrong sign" if study.reference_session in shown and not harmless else ""
    problem = Problem(
        f"{subject}, {column} in {_TABLES}",
        f"the order of {study.path.name}: {', '.join(v.session for v in visits if v.session in shown)}",
        f"{', then '.join(f'{s} ({spelt[s]})' for s in shown)}{sign}",
        "Correct the table, or give the files the names of their visits"
        + (f", which are {', '.join(shown)}." if harmless else "; until then no image of these visits is used."))
    if harmless:
        return [InputProblem(subject, "", problem, doubt=True)]
    return [InputProblem(subject, s, problem, excludes_visit=True) for s in shown]


def _off_plan(visits: list[_Visit]) -> tuple[str, str, str] | None:
    off = [v for v in visits if _beyond(v.day - v.plan.study_day, v.plan.study_day, _SLIP)]
    if not off:
        return None
    weeks = all(not _beyond(7 * v.day - v.plan.study_day, v.plan.study_day, _SLIP) for v in off)
    return ("study days near those of study.toml", ", ".join(
        f"{v.session}: day {v.day:g}, planned {v.plan.study_day:g}" for v in off),
        "Give study_day in days: these look like weeks." if weeks else "Correct the day, if it is wrong.")


def _one_day(visits: list[_Visit]) -> tuple[str, str, str] | None:
    same = [(a, b) for a, b in combinations(visits, 2) if a.day == b.day and b.plan.study_day - a.plan.study_day >= 2]
    return ("a day of its own for every visit", ", ".join(f"{a.session} and {b.session} both at day {a.day:g}"
            for a, b in same), "Correct study_day, if one of them was typed twice.") if same else None


def _mixed_dates(visits: list[_Visit]) -> tuple[str, str, str] | None:
    mixed = [v for v in visits if all((n := _numbers(v, i)) and max(n) - min(n) > 1 for i in (0, 1))]
    return ("one date for all images of a visit", "; ".join(f"{v.session}: {', '.join(v.dates)}" for v in mixed),
            "Check whether images of two visits lie together.") if mixed else None


def _dates_off(visits: list[_Visit], days: dict[str, float]) -> tuple[str, str, str] | None:
    """Dates that lie farther apart than the days, or less far, or are the same."""
    dated = [v for v in visits if v.session in days]
    off = [(a, b) for a, b in pairwise(dated)
           if _beyond((days[b.session] - days[a.session]) - (b.day - a.day), b.day - a.day, _DATE_SLIP)]
    return ("dates as far apart as the study days", "; ".join(
        f"{a.session} to {b.session}: {days[b.session] - days[a.session]:g} days by acq_time, {b.day - a.day:g} by "
        "study_day" for a, b in off), "Correct study_day or acq_time.") if off else None


def _beyond(difference: float, of: float, slip: tuple[float, float]) -> bool:
    return abs(difference) > slip[0] + slip[1] * abs(of)


def _days(visits: list[_Visit], reading: int) -> dict[str, float]:
    """Day numbers of visits whose dates are known, read in this way; none where one cannot be."""
    numbers = {v.session: _numbers(v, reading) for v in visits if v.dates}
    return {s: float(min(n)) for s, n in numbers.items() if n} if all(numbers.values()) else {}


def _numbers(visit: _Visit, reading: int) -> list[int]:
    """Day numbers of a visit's dates; none where one cannot be read in this way."""
    numbers = [n for t in visit.dates if (n := _readings(t)[reading]) is not None]
    return numbers if len(numbers) == len(visit.dates) else []


def _by_day(texts: Iterable[str]) -> tuple[str, ...]:
    """One text of every day; a clock time without a date says nothing here."""
    return tuple({_readings(t): t for t in texts if t and not _CLOCK.match(t)}.values())


def _readings(text: str) -> tuple[int | None, int | None]:
    """Day number of a date, with the day first and with the month first; the same for a date as BIDS writes it."""
    with suppress(ValueError):
        day = datetime.fromisoformat(_DICOM_TIME.sub(r"\1", text)).toordinal()
        return day, day
    if not (match := _DATE.match(text)):
        return None, None
    a, b, c = map(int, match.groups())
    orders = ((a, b, c), (a, b, c)) if a > 31 else ((c, b, a), (c, a, b))
    return _ordinal(*orders[0]), _ordinal(*orders[1])


def _ordinal(year: int, month: int, day: int) -> int | None:
    with suppress(ValueError):
        return date(year, month, day).toordinal()
    return None


def _dates_of(study: Study, subject: str) -> dict[str, list[str]]:
    """What tables say of when a subject's visits were scanned: session to dates as they are spelt."""
    dates: dict[str, list[str]] = {}
    for path, session in _tables(study, subject):
        with suppress(BedrestError):
            frame = read_text(path, "visits").frame if not no_plain_file(path) else pd.DataFrame()
            if "acq_time" not in frame:
                continue
            if "subject" in frame:
                frame = frame[frame["subject"] == subject]
            for row in frame.to_dict("records"):
                named = _SESSION.match(row.get("filename", ""))
                name = (named[0] if named else session) or row.get("session") or row.get("session_id") or ""
                known = name if name in study.session_ids else f"ses-{name}"
                dates.setdefault(known, []).append(row["acq_time"])
    return dates


def _tables(study: Study, subject: str) -> Iterator[tuple[Path, str]]:
    """Tables that may hold dates, and the visit that each is of; empty where its rows say so."""
    if study.images.sessions_csv is not None:
        yield study.images.sessions_csv, ""
    if study.images.layout == "bids" and is_safe_name(subject):
        folder = study.images.root / subject
        yield folder / f"{subject}_sessions.tsv", ""
        yield folder / f"{subject}_scans.tsv", study.reference_session
        for path in sorted(folder.glob("ses-*")):
            yield path / f"{subject}_{path.name}_scans.tsv", path.name
