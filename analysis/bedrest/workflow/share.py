"""`bedrest share`: a copy of reports, tables and figures under pseudonyms, made to be handed on.

The stored tables are put under pseudonyms first, in a folder of their own that is removed, and pages and figures are
made from those: no picture or page ever held a name. The copy is searched for names before it is handed on.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from bedrest import schemas
from bedrest.errors import ManyProblems, OutputError
from bedrest.io.files import output_error, sha256_of, write_text
from bedrest.io.images.other_formats import is_other_format
from bedrest.io.pseudonyms import HIDDEN_REASON, Pseudonyms, find_leaks, load_key
from bedrest.io.results import StudyResults
from bedrest.io.tables.typed_csv import read_table, write_table
from bedrest.settings import Study
from bedrest.vocabulary import Status

KEY_NAME = "pseudonyms.csv"
_COPIED = ("index.html", "cohort.html", "method_checks.html", "publication_figures.html", "subjects/*.html",
           "thumbnails/*/*.webp", "tables/*.csv", "figures/*", "methods_and_results.md", "provenance.json")


def share(study_toml: Path, output: Path, *, cores: int) -> int:
    """Make the copy; print where it and the key are."""
    from bedrest.pages.reports import stored_results
    from bedrest.settings import load_study

    study = load_study(study_toml)
    results = stored_results(study)
    folder, key = output.absolute(), study.path.parent / KEY_NAME
    _refuse_place(folder, key, study)
    subjects = {s for t in (schemas.SUBJECTS, schemas.SESSIONS, schemas.SCANS, schemas.INPUT_PROBLEMS)
                for s in results.read_manifest(t)["subject"] if s}
    hidden = _hidden(study, results, load_key(key, subjects))
    with tempfile.TemporaryDirectory(prefix="bedrest-share-") as temporary:
        staged = StudyResults(Path(temporary).resolve() / "out")
        _stage(results, staged, hidden)
        _make_pages(study, staged, cores=cores)
        _copy(study, staged, folder, hidden)
    print(f"{len(results.read_manifest(schemas.SUBJECTS))} subjects under pseudonyms: {folder}\n"
          f"Who is who stands in {key}: keep it, and do not share it.")
    return 0


def _refuse_place(folder: Path, key: Path, study: Study) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError("a folder that is not there yet", "one that holds something", str(folder),
                          "Name another one.")
    place = folder.resolve()
    if key.parent.resolve().is_relative_to(place) or place.is_relative_to(study.output_dir.resolve()):
        raise OutputError("a folder beside the study and its results", "one that holds them, or lies in the results",
                          str(folder), "Name another one: what is handed on must not hold the key.")


def _hidden(study: Study, results: StudyResults, names: dict[str, str]) -> Pseudonyms:
    scans, edited = (results.read_manifest(t)["path"] for t in (schemas.SCANS, schemas.EDITED_MASKS))
    images = [p for p in (study.images.root, study.images.derivatives, study.edited_dir) if p is not None]
    folders = {str(f) for p in (study.path.parent, study.output_dir, Path.home(), *images)
               for f in (p, p.resolve()) if len(f.parts) > 1}
    return Pseudonyms(names, study.session_ids, (*scans, *edited, str(study.path)), tuple(sorted(folders)))


def _stage(results: StudyResults, staged: StudyResults, hidden: Pseudonyms) -> None:
    """Every stored table under pseudonyms, with links to images and masks that are named by them too."""
    for table in schemas.TABLES:
        _translate(results.manifest_table(table), staged.manifest_table(table), table, hidden)
        if table is not schemas.REPORTS:
            _translate(results.table(table), staged.table(table), table, hidden)
    for subject in results.read_manifest(schemas.SUBJECTS)["subject"]:
        name = hidden.names[subject]
        for table in schemas.TABLES:
            _translate(results.subject_table(subject, table), staged.subject_table(name, table), table, hidden)
        for table in (schemas.SCANS, schemas.EDITED_MASKS):
            _link_files(results, staged, subject, name, table)
        for session in results.read_subject(subject, schemas.SESSIONS)["session"]:
            for place in (StudyResults.mask, StudyResults.measured_mask):
                _link(place(results, subject, session), place(staged, name, session))
    if results.paper_text.is_file():
        write_text(staged.paper_text, hidden.words(results.paper_text.read_text(encoding="utf-8")))
    program = dict(results.read_json(results.program_json, default={}))
    if program:
        program["weights"] = {**program["weights"], "file": Path(program["weights"]["file"]).name}
        write_text(staged.program_json, json.dumps(program, indent=1) + "\n")


def _translate(source: Path, target: Path, table: schemas.Table, hidden: Pseudonyms) -> None:
    if source.is_file():
        write_table(hidden.table(read_table(source, table), table), target, table)


def _link_files(results: StudyResults, staged: StudyResults, subject: str, name: str, table: schemas.Table) -> None:
    """One subject's images, or edited masks, as links whose names reveal nothing; their table names the links."""
    path = staged.subject_table(name, table)
    if not path.is_file():
        return
    frame, rows = read_table(results.subject_table(subject, table), table), []
    for row in frame.to_dict("records"):
        source = Path(row["path"])
        ending = source.suffix.lower() if is_other_format(source) else (
            ".nii.gz" if source.name.lower().endswith(".gz") else ".nii")
        link = staged.output_dir / "images" / f"{name}_{row['session']}_{row.get('contrast', 'edited')}{ending}"
        _link(source, link)
        rows.append(str(link))
    write_table(frame.assign(subject=name, path=rows, sha256=""), path, table)


def _link(source: Path, link: Path) -> None:
    if source.is_file():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(source.resolve())


def _make_pages(study: Study, staged: StudyResults, *, cores: int) -> None:
    """Pages, figures and index of the staged tables; the user's own notebooks are not run: they may show anything."""
    from bedrest.figures.publication import save_publication_figures
    from bedrest.pages.index import write_index
    from bedrest.pages.reports import make_reports

    ours = study.model_copy(update={"notebooks": ()})
    save_publication_figures(ours, staged, staged.figures)
    pages = make_reports(ours, staged, subject=None, cores=cores)
    failed = pages["status"] == Status.FAILED
    for page in pages.loc[failed, "page"]:
        (staged.output_dir / page).unlink(missing_ok=True)  # it may quote anything
    pages["reason"] = pages["reason"].where(~failed, HIDDEN_REASON)
    write_table(pages.assign(notebook=""), staged.table(schemas.REPORTS), schemas.REPORTS)
    write_index(staged, ours)


def _copy(study: Study, staged: StudyResults, folder: Path, hidden: Pseudonyms) -> None:
    """Copy what is shared into the folder, unless it holds a name or a path."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".tmp-{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise output_error(error, folder) from error
    try:
        for pattern in _COPIED:
            for source in staged.output_dir.glob(pattern):
                target = beside / source.relative_to(staged.output_dir)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
        _write_provenance(study, staged, beside)
        if problems := find_leaks(beside, hidden):
            raise ManyProblems(problems)
        beside.chmod(0o755)
        beside.replace(folder)
    except OSError as error:
        raise output_error(error, folder) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_provenance(study: Study, staged: StudyResults, folder: Path) -> None:
    """The program, the settings without paths, and the checksum of every file that is handed on."""
    settings = study.model_dump(mode="json", include={"name", "description", "groups", "reference_session", "sessions",
                                                      "contrasts", "tissues", "visits", "statistics"})
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    write_text(folder / "provenance.json", json.dumps({
        **staged.read_json(staged.program_json, default={}), "pseudonyms": True, "study": settings,
        "outputs_sha256": {p.relative_to(folder).as_posix(): sha256_of(p) for p in files}}, indent=1) + "\n")
