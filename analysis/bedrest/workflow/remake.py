"""`bedrest figures` and `bedrest report`: figures and pages from stored results once more. Computes nothing anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bedrest.io.results import StudyResults
from bedrest.settings import Study, load_study
from bedrest.vocabulary import Status


def write_figures(study_toml: Path, *, output: Path | None) -> int:
    """Write every figure as PDF, SVG and PNG, its rows as CSV, and captions; None: beside the results."""
    from bedrest.figures.publication import save_publication_figures
    from bedrest.pages.reports import stored_results

    study = load_study(study_toml)
    results = stored_results(study)
    folder = output or results.figures
    if folder.resolve() == results.figures.resolve():
        with _renewed(study, results, "figures"):
            save_publication_figures(study, results, folder)
    else:
        save_publication_figures(study, results, folder)
    names = sorted(p.stem for p in folder.glob("*.pdf"))
    print(f"{len(names)} figure(s) in {folder}: {', '.join(names)}")
    return 0


def remake_reports(study_toml: Path, *, subject: str | None, cores: int) -> int:
    """Make every page again, or one subject's, so many at a time; 3 where one failed."""
    from bedrest.pages.reports import make_reports, stored_results

    study = load_study(study_toml)
    results = stored_results(study)
    with _renewed(study, results, "subject_report", "cohort_report", "page"):
        pages = make_reports(study, results, subject=subject, cores=cores)
    print(f"Look at {results.index_html if subject is None else results.subject_html(subject)}")
    return 3 if (pages["status"] == Status.FAILED).any() else 0


@contextmanager
def _renewed(study: Study, results: StudyResults, *stages: str) -> Iterator[None]:
    """Hold the output folder; afterwards index, provenance and records fit what these stages' files are now."""
    from bedrest.pages.index import write_index
    from bedrest.stages.provenance import write_provenance
    from bedrest.workflow.locks import locked
    from bedrest.workflow.records import renew

    with locked(study.output_dir):
        yield
        write_index(results, study)
        write_provenance(results, study)
        renew(results, *stages, "index")
