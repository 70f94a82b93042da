"""Stored results of a study -> the page of the cohort."""

from __future__ import annotations

from bedrest.pages.notebooks import PAGE_TEMPLATES
from bedrest.pages.reports import COHORT_NOTEBOOK, PAGE_SETTINGS, make_cohort_report
from bedrest.stages.stage import Job, Scope, Stage, fixed_files


def run(job: Job) -> None:
    """Make the page."""
    make_cohort_report(job.study, job.results)


STAGE = Stage("cohort_report", run, Scope.STUDY, after=("statistics", "subject_report"), settings=PAGE_SETTINGS,
              files=fixed_files({"notebook": COHORT_NOTEBOOK, **PAGE_TEMPLATES}))
