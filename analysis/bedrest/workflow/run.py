"""`bedrest run`: resolves the study, writes the manifest slices, hands the order of work to Snakemake.

Content decides what is done again (`bedrest.workflow.records`); says what was redone and why. Computes nothing itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pandas as pd

import bedrest
from bedrest import schemas
from bedrest.errors import OutputError, StudyError
from bedrest.findings import findings_of_error
from bedrest.io.files import Checksums, output_error, sha256_of, write_if_changed
from bedrest.io.images.label_tables import ALL_LABELS, write_label_files
from bedrest.io.manifest.corrections import find_corrections
from bedrest.io.manifest.resolve import InputProblem, Manifest, build_manifest, check_manifest
from bedrest.io.results import StudyResults
from bedrest.io.shipped import shipped
from bedrest.io.tables.frames import typed_frame
from bedrest.io.tables.typed_csv import write_parts, write_table
from bedrest.pages.notebooks import NOTEBOOKS
from bedrest.pages.reports import study_pages
from bedrest.schemas import Table
from bedrest.settings import Study
from bedrest.workflow.progress import JsonLog, shown_here, watch
from bedrest.workflow.provenance import inputs
from bedrest.workflow.records import RECORDS, checksum, outdated

SNAKEFILE = shipped("pipelines/Snakefile")
PROFILES = shipped("pipelines/profiles")


@dataclass(frozen=True)
class ExecutionOptions:
    """How a run's work is spread and told of.

    Attributes
    ----------
    profile : folder of a Snakemake profile, for a cluster; None: this machine
    batch : subjects that share a process, and so the loading of the network
    log_json : file that gets every event as a line of JSON
    """

    profile: Path | None = None
    batch: int = 1
    log_json: Path | None = None


@dataclass(frozen=True)
class RunOutcome:
    """What a run did.

    Attributes
    ----------
    redone : Counter of str
        Rule name -> how many times it ran.
    reasons : list of str
        One line a job: the step, and why it was done again.
    finished : bool
        False when a stage broke down.
    log : Path
    errors : tuple of str
        What stages that broke down said; where none did, the end of the log.
    """

    redone: Counter[str]
    reasons: list[str]
    finished: bool
    log: Path
    errors: tuple[str, ...] = ()


def prepare(study: Study, results: StudyResults) -> tuple[Manifest, list[InputProblem]]:
    """Resolve manifest and corrections, check them, and write them out whole and by subject, only where they changed.

    What an edited mask holds is told by the stage that measures it.
    """
    write_label_files(results.label_files, ALL_LABELS)
    checksums = Checksums(results.checksums_json)
    manifest = build_manifest(study, checksums)
    corrections = find_corrections(study, manifest, checksums)
    checksums.save()
    problems = [*check_manifest(study, manifest, whole=False), *corrections.problems]
    excluded = {p.subject for p in problems if p.subject and p.excludes_subject}
    kept = Manifest(*(t[~t["subject"].isin(excluded)] for t in (manifest.subjects, manifest.sessions, manifest.scans)))
    for frame, table in ((kept.subjects, schemas.SUBJECTS), (kept.sessions, schemas.SESSIONS),
                         (kept.scans, schemas.SCANS), (_of(kept, corrections.edited), schemas.EDITED_MASKS),
                         (_of(kept, corrections.levels), schemas.LEVEL_NAMES)):
        _write_whole_and_parts(results, kept, frame, table)
    table = schemas.INPUT_PROBLEMS
    rows = typed_frame(({"subject": p.subject, "session": p.session, "findings": findings_of_error(p.problem)}
                        for p in problems), table)
    _write_whole_and_parts(results, kept, rows, table)
    return kept, problems


def _write_whole_and_parts(results: StudyResults, manifest: Manifest, frame: pd.DataFrame, table: Table) -> None:
    write_table(frame, results.manifest_table(table), table, only_if_changed=True)
    write_parts(frame, {s: results.subject_table(s, table) for s in manifest.subjects["subject"]}, table)


def _of(manifest: Manifest, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the manifest's subjects."""
    return frame[frame["subject"].isin(manifest.subjects["subject"])]


def run_workflow(study: Study, results: StudyResults, manifest: Manifest, *, cores: int, device: str,
                 target: str = "", spread: ExecutionOptions | None = None, lock: int | None = None) -> RunOutcome:
    """Run everything that is not up to date, or what one record needs.

    Parameters
    ----------
    study, results, manifest : the study as `prepare` resolved it
    cores : in all; with a profile, of a job that runs the network
    device : where the network runs
    target : record to stop at; empty for everything
    spread : how the work is spread and told of; None: one subject a job on this machine
    lock : descriptor of the output folder's lock, which Snakemake then holds, too: should this process be killed
        alone, its steps would still be at work

    Raises
    ------
    OutputError
        A log cannot be written.
    """
    spread = spread or ExecutionOptions()
    write_settings(study, results)
    checksums = Checksums(results.checksums_json)
    reasons = outdated(results, checksums)
    checksums.save()
    batches = write_config(study, results, manifest, cores=cores, device=device, spread=spread)
    log = results.output_dir / "work" / "run.log"
    command = snakemake_command(results.output_dir, cores=cores, profile=spread.profile) + ([target] if target else [])
    try:
        with (log.open("w") as written, _json_log(spread.log_json) as more,
              subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               env={**os.environ, "PYTHONWARNINGS": "ignore", "PATH": _path()},
                               pass_fds=[] if lock is None else [lock]) as process):
            assert process.stdout is not None
            redone, told, errors = watch(process.stdout, log=written, shown=[shown_here(), *more], batches=batches,
                                         reasons=reasons)
    except OSError as error:
        raise output_error(error, log) from error
    if not log.is_file():
        raise OutputError("an output folder that stays there", "none: it was removed while the run worked",
                          str(results.output_dir), "Run again.")
    return RunOutcome(redone, told, process.returncode == 0, log, errors)


def _path() -> str:
    """Where programs are looked for: a profile's `python` is the one that runs this, activated or not."""
    return os.pathsep.join(filter(None, (str(Path(sys.executable).parent), os.environ.get("PATH"))))


def snakemake_command(folder: Path, *, cores: int, profile: Path | None = None) -> list[str]:
    """The command that runs the workflow in an output folder: on this machine, or where a profile says."""
    where = ["--profile", str(profile)] if profile else ["--cores", str(cores), "--resources", "gpu=1"]
    return [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--directory", str(folder),
            "--configfile", str(folder / "work/config.json"), *where,
            # Records decide, not Snakemake's own marks: a step that was killed has none, one that has it did end.
            "--keep-going", "--ignore-incomplete", "--drop-metadata", "--nolock", "--scheduler", "greedy", "--nocolor"]


def find_profile(name: str) -> Path:
    """Folder of a Snakemake profile: one that is shipped, by its name, or any folder with a config.yaml.

    Raises
    ------
    StudyError
        There is none.
    """
    for folder in (PROFILES / name, Path(name)):
        if (folder / "config.yaml").is_file():
            return folder.resolve()
    shipped = ", ".join(sorted(p.name for p in PROFILES.iterdir()))
    raise StudyError(f"{shipped}, or a folder with a config.yaml", repr(name), "--profile",
                     "Correct the name, or copy a shipped profile and change it: docs/clusters.md.")


@contextmanager
def _json_log(path: Path | None) -> Iterator[list[JsonLog]]:
    if path is None:
        yield []
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise output_error(error, path) from error
    with file:
        yield [JsonLog(file)]


def write_settings(study: Study, results: StudyResults) -> None:
    """What each stage depends on besides files, as small files that change only when it does."""
    from bedrest.longitudinal.error_model import errors_path
    from bedrest.segmentation.weights import chosen_weights

    weights, pages = chosen_weights(study.weights), study_pages(study)
    notebooks = {"subject": NOTEBOOKS / "subject_report.py", "cohort": NOTEBOOKS / "cohort_report.py", **pages}
    work = results.output_dir / "work"
    settings = {
        "settings/change.json": {"reference_session": study.reference_session,
                                 "confidence_level": study.statistics.confidence_level},
        "settings/statistics.json": {**study.statistics.model_dump(), "groups": study.groups,
                                     "sessions": study.session_ids, "description": study.description,
                                     "program": _fingerprint("models", "stats")},
        "settings/segmentation.json": {"weights": sha256_of(weights), "tissues": study.tissues,
                                       "resample": study.images.resample,
                                       "program": _fingerprint("segmentation", "imaging")},
        "settings/follow.json": {"visits": study.visits, "errors": checksum(errors_path(weights)),
                                 "program": _fingerprint("longitudinal")},
        "settings/measure.json": {"program": _fingerprint("measure", "tables")},
        "settings/report.json": {"name": study.name, "description": study.description,
                                 "program": _fingerprint("figures")},
        "settings/study_files.json": inputs(results, study)["study_files_sha256"],
        **{f"settings/notebooks/{page}.json": {"notebook": checksum(path)} for page, path in notebooks.items()},
    }
    for name, content in settings.items():
        write_if_changed(work / name, json.dumps(content, indent=1, sort_keys=True) + "\n")


def write_config(study: Study, results: StudyResults, manifest: Manifest, *, cores: int, device: str,
                 spread: ExecutionOptions) -> dict[str, list[list[str]]]:
    """What the Snakefile is told; returns the batches of each step: subjects whose record is not there."""
    subjects = list(manifest.subjects["subject"])
    batches: dict[str, list[list[str]]] = {}
    for step in ("segment", "follow") if spread.batch > 1 else ():
        waiting = [s for s in subjects if not (results.output_dir / RECORDS / step / f"{s}.json").is_file()]
        batches[step] = [waiting[i:i + spread.batch] for i in range(0, len(waiting), spread.batch)]
    at_once = max(1, -(-len(subjects) // spread.batch))
    config = {
        "subjects": subjects, "pages": list(study_pages(study)), "python": sys.executable, "device": device,
        "study": str(study.path.resolve()), "study_sha256": sha256_of(study.path), "batches": batches,
        "threads": cores if spread.profile else max(1, cores // at_once), "gpu": 0 if device == "cpu" else 1,
    }
    write_if_changed(results.output_dir / "work" / "config.json", json.dumps(config, indent=1, sort_keys=True) + "\n")
    return batches


def _fingerprint(*packages: str) -> str:
    """Changes when the source of these parts of `analysis` does: a new version's statistics are not the old one's."""
    files = sorted(f for p in packages for f in (Path(bedrest.__file__).parent / p).glob("*.py"))
    return sha256(b"".join(f.read_bytes() for f in files)).hexdigest()
