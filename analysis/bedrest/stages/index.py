"""Everything stored -> the table of pages, the index, and provenance.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bedrest import schemas
from bedrest.pages.index import INDEX_TEMPLATES, write_index
from bedrest.pages.reports import write_reports_table
from bedrest.settings import Study
from bedrest.stages.provenance import study_files, write_provenance
from bedrest.stages.stage import Job, Scope, Stage


def run(job: Job) -> None:
    """Write them; provenance.json, which lists all other files, comes last."""
    write_reports_table(job.study, job.results)
    write_index(job.results, job.study)
    write_provenance(job.results, job.study)


def _files(study: Study, page: str) -> Mapping[str, Path]:
    return {**INDEX_TEMPLATES, **{str(path): path for path in study_files(study)}}


STAGE = Stage("index", run, Scope.STUDY, after=("statistics", "figures", "cohort_report", "page", "subject_report"),
              inputs=(schemas.SCANS, schemas.EDITED_MASKS),
              settings=("name", "description", "sessions", "reference_session", "levels"), files=_files)
