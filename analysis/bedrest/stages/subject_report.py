"""Stored results of a subject -> the subject's page and thumbnails."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bedrest.pages.notebooks import PAGE_TEMPLATES
from bedrest.pages.reports import PAGE_SETTINGS, SUBJECT_NOTEBOOK, make_subject_report
from bedrest.settings import Study
from bedrest.stages.stage import Job, Scope, Stage


def run(job: Job) -> None:
    """Make the page."""
    make_subject_report(job.study, job.results, job.subject)


def _files(study: Study, page: str) -> Mapping[str, Path]:
    return {"notebook": SUBJECT_NOTEBOOK, **PAGE_TEMPLATES}


# The group's spread and the limits of detection are shown as they were when the page was made: another subject's new
# scan redoes that subject's page alone. `bedrest report` makes all pages anew.
STAGE = Stage("subject_report", run, Scope.SUBJECT, after=("change",), settings=PAGE_SETTINGS, files=_files,
              awaits=("tables/detections.csv",))
