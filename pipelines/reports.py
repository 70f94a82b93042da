"""Reports and figures of a study from its stored results. A report that fails leaves a page that says so."""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

from analysis import schemas
from analysis.errors import NotebookError, StudyError
from analysis.io.files import write_text
from analysis.io.results import StudyResults
from analysis.settings import Study
from pipelines.notebooks import NOTEBOOKS, run_notebook


def stored_results(study: Study) -> StudyResults:
    """Results of a study that has been run.

    Raises
    ------
    StudyError
        There are none.
    """
    results = StudyResults(study.output_dir)
    if not results.table(schemas.CONTRASTS).is_file():
        raise StudyError("results of this study", f"no {results.table(schemas.CONTRASTS).name}", str(study.output_dir),
                         f"Run `bedrest run {study.path}` first.")
    return results


def make_subject_report(study: Study, results: StudyResults, subject: str) -> None:
    """Run the subject notebook."""
    parameters = {"subject": subject, **_common(study, results)}
    _run(NOTEBOOKS / "subject_report.py", parameters, results.subject_notebook(subject), results.subject_html(subject),
         title=f"{subject}, {study.name}")


def make_cohort_report(study: Study, results: StudyResults) -> None:
    """Run the cohort notebook."""
    _run(NOTEBOOKS / "cohort_report.py", _common(study, results), results.cohort_notebook, results.cohort_html,
         title=f"{study.name}: cohort report")


def make_training_report(folder: Path) -> Path:
    """Run the training notebook on a folder of `bedrest train`; returns the page."""
    _run(NOTEBOOKS / "training_report.py", {"folder": str(folder.resolve())}, folder / "report.ipynb",
         folder / "report.html", title="Training report")
    return folder / "report.html"


def _common(study: Study, results: StudyResults) -> dict[str, object]:
    return {"output_dir": str(results.output_dir.resolve()), "study_toml": str(study.path)}


def _run(source: Path, parameters: dict[str, object], notebook: Path, html: Path, *, title: str) -> None:
    try:
        run_notebook(source, parameters=parameters, notebook=notebook, html=html, title=title)
    except NotebookError as error:
        print(f"report failed: {title}: {error}", file=sys.stderr)
        write_text(html, f"<!doctype html><meta charset='utf-8'><title>{escape(title)}</title>"
                         f"<h1>{escape(title)}</h1><p>This report could not be made. {escape(str(error))}</p>")


def draw_figures(study: Study, results: StudyResults) -> None:
    """Publication figures with the rows they show as CSV beside them."""
    from analysis.figures.publication import save_publication_figures

    save_publication_figures(study, results, results.figures)
    write_text(results.figures / "done.txt", "every figure of the stored results is drawn\n")
