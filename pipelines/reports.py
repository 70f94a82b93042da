"""Reports and figures of a study from its stored results. A report that fails leaves a page that says so."""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

from analysis import schemas
from analysis.errors import NotebookError
from analysis.io.files import write_bytes, write_text
from analysis.io.results import StudyResults
from analysis.settings import Study
from pipelines.notebooks import NOTEBOOKS, run_notebook


def make_subject_report(study: Study, results: StudyResults, subject: str) -> None:
    """Thumbnails for the cohort's page, and the subject notebook."""
    write_thumbnails(results, subject)
    parameters = {"subject": subject, **_common(study, results)}
    _run(NOTEBOOKS / "subject_report.py", parameters, results.subject_notebook(subject), results.subject_html(subject),
         title=f"{subject}, {study.name}")


def write_thumbnails(results: StudyResults, subject: str) -> None:
    """A small picture of each visit that can be shown; the folder is there in any case."""
    from analysis.figures.load import visit_views
    from analysis.figures.viewer import thumbnail

    results.thumbnails(subject).mkdir(parents=True, exist_ok=True)
    for view in visit_views(results, subject):
        write_bytes(results.thumbnail(subject, view.session), thumbnail(view))


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
    """Cohort figures with the rows they show as CSV beside them."""
    from analysis.figures.agreement import change_agreement, volume_agreement
    from analysis.figures.change import arvd_heat_map, forest
    from analysis.figures.style import save_figure
    from analysis.figures.trajectories import cohort_trajectories

    change, contrasts = results.read(schemas.CHANGE), results.read(schemas.CONTRASTS)
    arvd, accuracy = results.read(schemas.ARVD), results.read(schemas.ACCURACY)
    source = "automatic"
    if len(change):
        rows = contrasts[contrasts["source"] == source]
        save_figure(cohort_trajectories(change, contrasts, source=source), results.figures / "trajectories",
                    data=change[change["source"] == source])
        save_figure(forest(contrasts, source=source), results.figures / "change_within_groups", data=rows)
        if len(study.groups) > 1:
            save_figure(forest(contrasts, source=source, between=True), results.figures / "change_between_groups",
                        data=rows)
    if len(accuracy):
        agreement = results.read(schemas.AGREEMENT)
        save_figure(volume_agreement(accuracy, agreement), results.figures / "volume_agreement", data=accuracy)
        save_figure(change_agreement(arvd, agreement), results.figures / "change_agreement", data=arvd)
    for session in dict.fromkeys(arvd["session"]):
        for column in ("arvd", "signed_change_error"):
            save_figure(arvd_heat_map(arvd, column=column, session=session), results.figures / f"{column}_{session}",
                        data=arvd[arvd["session"] == session])
    write_text(results.figures / "done.txt", "every figure of the stored results is drawn\n")
