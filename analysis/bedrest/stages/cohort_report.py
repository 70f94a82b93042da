"""Stored results of a study -> the page of the cohort."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bedrest.pages.notebooks import PAGE_TEMPLATES
from bedrest.pages.reports import COHORT_NOTEBOOK, PAGE_SETTINGS, make_cohort_report
from bedrest.settings import Study
from bedrest.stages.stage import Job, Scope, Stage


def run(job: Job) -> None:
    """Make the page."""
    make_cohort_report(job.study, job.results)


def _files(study: Study, page: str) -> Mapping[str, Path]:
    return {"notebook": COHORT_NOTEBOOK, **PAGE_TEMPLATES}


STAGE = Stage("cohort_report", run, Scope.STUDY, after=("statistics", "subject_report"), settings=PAGE_SETTINGS,
              files=_files)
