"""Stored tables -> the figures of a publication, with the rows they show as CSV beside them."""

from __future__ import annotations

from bedrest.stages.stage import Job, Scope, Stage


def run(job: Job) -> None:
    """Draw every figure."""
    from bedrest.figures.publication import save_publication_figures

    save_publication_figures(job.study, job.results, job.results.figures)


STAGE = Stage("figures", run, Scope.STUDY, after=("statistics",),
              settings=("name", "description", "groups", "sessions", "reference_session",
                        "statistics.confidence_level"))
