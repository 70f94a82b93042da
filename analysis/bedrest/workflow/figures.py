"""`bedrest figures` and `bedrest report`: figures and pages of stored results once more. Computes nothing anew."""

from __future__ import annotations

from pathlib import Path

from bedrest.vocabulary import Status


def write_figures(study_toml: Path, *, output: Path | None) -> int:
    """Write every figure as PDF, SVG and PNG, its rows as CSV, and captions; None: beside the results."""
    from bedrest.figures.publication import save_publication_figures
    from bedrest.pages.index import write_index
    from bedrest.pages.reports import stored_results
    from bedrest.settings import load_study
    from bedrest.workflow.locks import locked
    from bedrest.workflow.provenance import write_provenance
    from bedrest.workflow.records import renew

    study = load_study(study_toml)
    results = stored_results(study)
    folder = output or results.figures
    if folder.resolve() == results.figures.resolve():
        with locked(study.output_dir):
            save_publication_figures(study, results, folder)
            write_index(results, study)
            write_provenance(results, study)
            renew(results, "figures", "index")
    else:
        save_publication_figures(study, results, folder)
    names = sorted(p.stem for p in folder.glob("*.pdf"))
    print(f"{len(names)} figure(s) in {folder}: {', '.join(names)}")
    return 0


def remake_reports(study_toml: Path, *, subject: str | None, cores: int) -> int:
    """Make every page again, or one subject's, so many at a time; 3 where one failed."""
    from bedrest.pages.index import write_index
    from bedrest.pages.reports import make_reports, stored_results
    from bedrest.settings import load_study
    from bedrest.workflow.locks import locked
    from bedrest.workflow.provenance import write_provenance
    from bedrest.workflow.records import renew

    study = load_study(study_toml)
    results = stored_results(study)
    with locked(study.output_dir):
        pages = make_reports(study, results, subject=subject, cores=cores)
        write_index(results, study)
        write_provenance(results, study)
        renew(results, "subject_report", "cohort_report", "page", "index")
    print(f"Look at {results.index_html if subject is None else results.subject_html(subject)}")
    return 3 if (pages["status"] == Status.FAILED).any() else 0
