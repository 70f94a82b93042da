"""Stored results of a subject -> the subject's page and thumbnails."""

from __future__ import annotations

from bedrest.pages.notebooks import PAGE_TEMPLATES
from bedrest.pages.reports import PAGE_SETTINGS, SUBJECT_NOTEBOOK, make_subject_report
from bedrest.stages.stage import Job, Scope, Stage, fixed_files


def run(job: Job) -> None:
    """Make the page."""
    make_subject_report(job.study, job.results, job.subject)


# A page shows the group and the limits of detection as they were when it was made: another subject's new scan redoes
# that subject's page alone. `bedrest report` makes all pages anew.
STAGE = Stage("subject_report", run, Scope.SUBJECT, after=("change",), settings=PAGE_SETTINGS,
              files=fixed_files({"notebook": SUBJECT_NOTEBOOK, **PAGE_TEMPLATES}), awaits=("tables/detections.csv",))
