"""Stored results of a study -> one of its other pages: checks of the method, figures, the user's notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bedrest.pages.notebooks import PAGE_TEMPLATES
from bedrest.pages.reports import PAGE_SETTINGS, make_page, study_pages
from bedrest.settings import Study
from bedrest.stages.stage import Job, Scope, Stage


def run(job: Job) -> None:
    """Make the page."""
    make_page(job.study, job.results, job.page)


def _files(study: Study, page: str) -> Mapping[str, Path]:
    files = {"notebook": study_pages(study)[page], **PAGE_TEMPLATES}
    return {**files, "study.toml": study.path} if page.startswith("own/") else files  # it may show any setting


STAGE = Stage("page", run, Scope.PAGE, after=("statistics",), settings=PAGE_SETTINGS, files=_files)
