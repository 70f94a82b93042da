"""Pages of a study from its stored results. A page that fails leaves a page that says so, and a row."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from html import escape
from importlib import import_module
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from bedrest import schemas
from bedrest.errors import BedrestError, NotebookError, StudyError
from bedrest.io.files import write_bytes, write_text
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import concat_tables, typed_frame
from bedrest.io.tables.typed_csv import read_tables, write_table
from bedrest.io.terminal import quiet
from bedrest.pages.notebooks import NOTEBOOKS, check_notebook, failed_notebook, run_notebook
from bedrest.settings import Study
from bedrest.vocabulary import Status

SUBJECT_NOTEBOOK, COHORT_NOTEBOOK = NOTEBOOKS / "subject_report.py", NOTEBOOKS / "cohort_report.py"
# Keys of study.toml that a page shows: in its text, or at its end.
PAGE_SETTINGS = ("name", "description", "groups", "sessions", "reference_session", "visits", "tissues",
                 *(f"statistics.{key}" for key in ("confidence_level", "covariance", "covariates", "resamples")))


def stored_results(study: Study) -> StudyResults:
    """Results of a study that has been run; StudyError where there are none."""
    results = StudyResults(study.output_dir)
    if not results.table(schemas.CONTRASTS).is_file():
        raise StudyError("results of this study", f"no {results.table(schemas.CONTRASTS).name}", str(study.output_dir),
                         f"Run `bedrest run {study.path}` first.")
    return results


def study_pages(study: Study) -> dict[str, Path]:
    """Pages of the whole study beside the cohort report, with their notebooks; the user's come last."""
    ours = {name: NOTEBOOKS / f"{name}.py" for name in ("method_checks", "publication_figures")}
    return {**ours, **{f"own/{path.stem}": path for path in study.notebooks}}


def check_own_notebook(path: Path, study: Study, results: StudyResults) -> None:
    """Check a notebook that study.toml names, before anything runs.

    NotebookError: it is missing, or takes other parameters than `output_dir: str` and `study_toml: str`.
    """
    check_notebook(path, _common(study, results))


def make_reports(study: Study, results: StudyResults, *, subject: str | None, cores: int) -> pd.DataFrame:
    """Make the page of one subject, or every page, `cores` at a time; returns what became of them.

    StudyError: there is no such subject, or no core.
    """
    subjects = list(results.read_manifest(schemas.SUBJECTS)["subject"])
    if subject is not None and subject not in subjects:
        raise StudyError(f"one of {', '.join(subjects)}", subject, "--subject", "Check the spelling.")
    if cores < 1:
        raise StudyError("at least one core", str(cores), "--cores", "Give a positive number.")
    each = [partial(make_subject_report, study, results, s) for s in ([subject] if subject else subjects)]
    whole = [partial(make_cohort_report, study, results),
             *(partial(make_page, study, results, page) for page in study_pages(study))]
    jobs = each if subject else [*each, *whole]
    import_module("IPython.display")  # threads that import it at once, by different ways, may break it for each other
    with ThreadPoolExecutor(cores) as pool:  # a notebook has a process of its own
        waiting = as_completed([pool.submit(job) for job in jobs])
        for made in tqdm(waiting, total=len(jobs), desc="reports", unit="page", disable=quiet()):
            made.result()
    return write_reports_table(study, results)


def make_subject_report(study: Study, results: StudyResults, subject: str) -> bool:
    """Thumbnails for the cohort's page, and the subject notebook; False when it failed."""
    write_thumbnails(results, subject)
    return _run(study, results, f"subjects/{subject}", SUBJECT_NOTEBOOK, title=f"{subject}, {study.name}",
                subject=subject)


def make_cohort_report(study: Study, results: StudyResults) -> bool:
    """Run the cohort notebook; False when it failed."""
    return _run(study, results, "cohort", COHORT_NOTEBOOK, title=f"{study.name}: cohort report")


def make_page(study: Study, results: StudyResults, page: str) -> bool:
    """Run the notebook of one of `study_pages`; False when it failed."""
    words = Path(page).name.replace("_", " ")
    return _run(study, results, page, study_pages(study)[page], title=f"{study.name}: {words}")


def write_thumbnails(results: StudyResults, subject: str) -> None:
    """A small picture of each visit that can be shown; the folder is there in any case."""
    from bedrest.figures.scans.load import visit_views
    from bedrest.figures.scans.viewer import thumbnail

    results.thumbnails(subject).mkdir(parents=True, exist_ok=True)
    try:
        views = visit_views(results, subject)
    except BedrestError:  # the subject's page says why
        return
    for view in views:
        write_bytes(results.thumbnail(subject, view.session), thumbnail(view))


def make_training_report(folder: Path) -> Path:
    """Run the training notebook on a folder of `bedrest train`; returns the page."""
    return _run_on_folder(folder, folder / "report.html", "training_report", title="Training report")


def make_methods_report(folder: Path) -> Path:
    """Run the notebook of `bedrest benchmark` on all protocols of a folder; returns the page."""
    return _run_on_folder(folder, folder / "methods_comparison.html", "methods_comparison",
                          title="Published methods compared")


def _run_on_folder(folder: Path, page: Path, notebook: str, *, title: str) -> Path:
    try:
        run_notebook(NOTEBOOKS / f"{notebook}.py", parameters={"folder": str(folder.resolve())},
                     notebook=page.with_suffix(".ipynb"), html=page, title=title)
    except NotebookError as error:
        _write_failed_page(page, title, error)
    return page


def write_reports_table(study: Study, results: StudyResults) -> pd.DataFrame:
    """Gather what became of every page into tables/reports.csv; one that was never made is a failed row."""
    subjects = list(results.read_manifest(schemas.SUBJECTS)["subject"])
    names = ["cohort", *study_pages(study), *(f"subjects/{s}" for s in subjects)]
    lost = [name for name in names if not results.page_record(name).is_file()]
    made = read_tables([results.page_record(name) for name in names if name not in lost], schemas.REPORTS)
    frame = concat_tables([made, *(_record(results, name, "", reason="The page was not made: run `bedrest report`.")
                                   for name in lost)], schemas.REPORTS)
    write_table(frame, results.table(schemas.REPORTS), schemas.REPORTS)
    return frame


def _common(study: Study, results: StudyResults) -> dict[str, object]:
    return {"output_dir": str(results.output_dir.resolve()), "study_toml": str(study.path)}


def _footer(study: Study, results: StudyResults, page: str, subject: str) -> str:
    from bedrest.figures.where_from import where_from

    subjects = [subject] if subject else results.read_manifest(schemas.SUBJECTS)["subject"]
    segmented = [s for s in subjects if results.subject_table(s, schemas.SCAN_RECORDS).is_file()]
    devices = sorted(set(results.read_subjects(segmented, schemas.SCAN_RECORDS)["device"]) - {""})
    return where_from(results.read_json(results.program_json, default={}), study=study.model_dump(mode="json"),
                      n_inputs=len(results.read_manifest(schemas.SCANS)), devices=", ".join(devices),
                      link="../" * page.count("/") + "provenance.json")


def _run(study: Study, results: StudyResults, page: str, source: Path, *, title: str, subject: str = "") -> bool:
    html = results.page(page)
    notebook, reason = html.with_suffix(".ipynb"), ""
    parameters = {**({"subject": subject} if subject else {}), **_common(study, results)}
    try:
        run_notebook(source, parameters=parameters, notebook=notebook, html=html, title=title,
                     footer=_footer(study, results, page, subject))
    except BedrestError as error:
        reason = str(error)
        _write_failed_page(html, title, error)
        notebook = failed_notebook(notebook)
    kept = notebook.relative_to(results.output_dir).as_posix() if notebook.is_file() else ""
    write_table(_record(results, page, kept, reason=reason), results.page_record(page), schemas.REPORTS)
    return not reason


def _record(results: StudyResults, page: str, notebook: str, *, reason: str) -> pd.DataFrame:
    return typed_frame([{"page": results.page(page).relative_to(results.output_dir).as_posix(), "notebook": notebook,
                         "status": str(Status.FAILED if reason else Status.OK), "reason": reason}], schemas.REPORTS)


def _write_failed_page(html: Path, title: str, error: BedrestError) -> None:
    print(f"report failed: {title}: {error}", file=sys.stderr)
    write_text(html, f"<!doctype html><meta charset='utf-8'><title>{escape(title)}</title>"
                     f"<h1>{escape(title)}</h1><p>This report could not be made. {escape(str(error))}</p>")
