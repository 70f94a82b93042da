"""The index of a study: what happened to which subject, and links to more. Escapes everything it shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, FileSystemLoader

from bedrest import __version__, schemas
from bedrest.io.files import write_text
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import empty_table
from bedrest.measurement.registry import VOLUME
from bedrest.pages.notebooks import TEMPLATES
from bedrest.settings import Session, Study
from bedrest.vocabulary import LEVELS, MEASURED, MaskOrigin, Status

INDEX_TEMPLATES = {f"template {name}": TEMPLATES / name for name in ("index.html.j2", "style.css.j2")}
MOST_FAILURES = 200


def write_index(results: StudyResults, study: Study) -> None:
    """Write index.html from stored tables."""
    subjects = results.read_manifest(schemas.SUBJECTS)
    failures = results.read(schemas.FAILURES)
    measures, change = results.read(schemas.MEASURES), results.read(schemas.CHANGE, measure=VOLUME.name)
    later = [s for s in study.sessions if s.id != study.reference_session]
    known = results.table(schemas.REPORTS).is_file()
    reports = results.read(schemas.REPORTS) if known else empty_table(schemas.REPORTS)
    lost = reports[reports["status"] == Status.FAILED]
    by_subject = [_by_subject(t) for t in (measures, change, failures)]
    rows = [_row(s, g, results, study, later, [t(s) for t in by_subject])
            for s, g in zip(subjects["subject"], subjects["group"], strict=True)]
    problems = results.read_manifest(schemas.INPUT_PROBLEMS)
    counts = {"subjects": len(rows), "visits": len(results.read_manifest(schemas.SESSIONS)),
              "edited": sum(bool(r["edited"]) for r in rows),
              **{s.value: sum(r["status"] == s for r in rows) for s in Status}}
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    write_text(results.index_html, environment.get_template("index.html.j2").render(
        study=study, counts=counts, sessions=later, rows=rows, version=__version__,
        tables=sorted(p.stem for p in results.table(schemas.MEASURES).parent.glob("*.csv")),
        figures=sorted(p.name for p in results.figures.glob("*.png")),
        pages=[(_title(p), quote(p)) for p in reports["page"] if not p.startswith(("subjects/", "cohort"))],
        lost=[{**r, "link": quote(r["page"]), "kept": quote(r["notebook"])} for r in lost.to_dict("records")],
        lost_pages=[quote(p) for p in lost["page"]],
        excluded=list(problems.loc[~problems["subject"].isin(subjects["subject"]), "reason"]),
        failures=failures.head(MOST_FAILURES).to_dict("records"), more_failures=max(0, len(failures) - MOST_FAILURES),
    ))


def _by_subject(table: pd.DataFrame) -> Callable[[str], pd.DataFrame]:
    """A function that gives a subject's rows of a table, which is searched once for all."""
    at = table.groupby("subject").indices
    return lambda subject: table.iloc[at[subject]] if subject in at else table.iloc[:0]


def _title(page: str) -> str:
    return Path(page).stem.replace("_", " ")


def _row(subject: str, group: str, results: StudyResults, study: Study, later: list[Session],
         tables: list[pd.DataFrame]) -> dict[str, object]:
    measures, change, failures = tables
    ours = measures[(measures["source"] != "reference") & measures["level"].isin(LEVELS)]
    measured = ours[ours["status"].isin(MEASURED)]
    status = next((s for s in (Status.FAILED, Status.FLAGGED) if s in set(failures["status"])), Status.OK)
    usable = change[(change["source"] != "reference") & change["status"].isin(MEASURED)]
    means = [usable.loc[usable["session"] == s.id, "change_percent"].mean() for s in later]
    remark = str(failures["reason"].iloc[0]) if len(failures) else ""
    if len(failures) > 1:
        remark += f" (and {len(failures) - 1} more)"
    return {
        "subject": subject, "group": group, "status": status.value,
        "link": quote(results.subject_html(subject).relative_to(results.output_dir).as_posix()),
        "visits": measured["session"].nunique(), "planned": len(study.sessions),
        "edited": ours.loc[ours["mask_origin"] == MaskOrigin.EDITED, "session"].nunique(),
        "discs": len(measured), "discs_planned": len(study.sessions) * len(study.measured_levels),
        "changes": ["" if pd.isna(m) else f"{m:+.1f}" for m in means], "remark": remark,
    }
