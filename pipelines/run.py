"""`bedrest run`: resolves the study, writes the manifest slices, hands the order of work to Snakemake.

Resumes by declared inputs and outputs; says what was redone and why. Computes nothing itself.
"""

from __future__ import annotations

import fcntl
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

import analysis
from analysis import schemas
from analysis.errors import OutputError, StudyError
from analysis.io.corrections import find_corrections
from analysis.io.files import output_error, sha256_of, write_if_changed
from analysis.io.manifest import InputProblem, Manifest, build_manifest, check_manifest
from analysis.io.results import StudyResults
from analysis.io.tables import write_parts, write_table
from analysis.schemas import Table
from analysis.settings import Study
from pipelines.notebooks import NOTEBOOKS
from pipelines.progress import JsonLog, shown_here, watch
from pipelines.reports import study_pages

SNAKEFILE = Path(__file__).parent / "Snakefile"
PROFILES = Path(__file__).parent / "profiles"


@dataclass(frozen=True)
class Spread:
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
        One line a job, with Snakemake's reason.
    finished : bool
        False when a stage broke down; `log` tells why.
    log : Path
    """

    redone: Counter[str]
    reasons: list[str]
    finished: bool
    log: Path


def prepare(study: Study, results: StudyResults) -> tuple[Manifest, list[InputProblem]]:
    """Resolve manifest and corrections, check them, and write them out whole and by subject, only where they changed.

    What an edited mask holds is told by the stage that measures it.
    """
    manifest = build_manifest(study)
    corrections = find_corrections(study, manifest)
    problems = [*check_manifest(study, manifest), *corrections.problems]
    excluded = {p.subject for p in problems if p.subject and p.excludes_subject}
    kept = Manifest(*(t[~t["subject"].isin(excluded)] for t in (manifest.subjects, manifest.sessions, manifest.scans)))
    for frame, table in ((kept.subjects, schemas.SUBJECTS), (kept.sessions, schemas.SESSIONS),
                         (kept.scans, schemas.SCANS), (_of(kept, corrections.edited), schemas.EDITED_MASKS),
                         (_of(kept, corrections.levels), schemas.LEVEL_NAMES)):
        _write_whole_and_parts(results, kept, frame, table)
    table = schemas.INPUT_PROBLEMS
    rows = pd.DataFrame([{"subject": p.subject, "session": p.session, "reason": str(p.problem)} for p in problems],
                        columns=table.column_names)
    _write_whole_and_parts(results, kept, rows, table)
    return kept, problems


def _write_whole_and_parts(results: StudyResults, manifest: Manifest, frame: pd.DataFrame, table: Table) -> None:
    write_table(frame, results.manifest_table(table), table, only_if_changed=True)
    write_parts(frame, {s: results.subject_table(s, table) for s in manifest.subjects["subject"]}, table)


def _of(manifest: Manifest, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the manifest's subjects."""
    return frame[frame["subject"].isin(manifest.subjects["subject"])]


def run_workflow(study: Study, results: StudyResults, manifest: Manifest, *, cores: int, device: str,
                 target: str = "", spread: Spread | None = None) -> RunOutcome:
    """Run everything that is not up to date, or what one file needs.

    Parameters
    ----------
    study, results, manifest : the study as `prepare` resolved it
    cores : in all; with a profile, of a job that runs the network
    device : where the network runs
    target : a file relative to the output folder; empty for everything
    spread : how the work is spread and told of; None: one subject a job on this machine

    Raises
    ------
    OutputError
        Another run is using the output folder, or the JSON log cannot be written.
    """
    spread = spread or Spread()
    batches = write_settings(study, results, manifest, cores=cores, device=device, spread=spread)
    log = results.output_dir / "work" / "run.log"
    command = snakemake_command(results.output_dir, cores=cores, profile=spread.profile) + ([target] if target else [])
    with (locked(results.output_dir), log.open("w") as written, _json_log(spread.log_json) as more,
          subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           env={**os.environ, "PYTHONWARNINGS": "ignore"}) as process):
        assert process.stdout is not None
        redone, reasons = watch(process.stdout, log=written, shown=[shown_here(), *more], batches=batches)
    return RunOutcome(redone, reasons, process.returncode == 0, log)


def snakemake_command(folder: Path, *, cores: int, profile: Path | None = None) -> list[str]:
    """The command that runs the workflow in an output folder: on this machine, or where a profile says."""
    where = ["--profile", str(profile)] if profile else ["--cores", str(cores), "--resources", "gpu=1"]
    return [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--directory", str(folder),
            "--configfile", str(folder / "work/config.json"), *where, "--keep-going", "--rerun-incomplete", "--nolock",
            "--scheduler", "greedy", "--rerun-triggers", "mtime", "input", "--nocolor"]


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


def write_settings(study: Study, results: StudyResults, manifest: Manifest, *, cores: int, device: str,
                    spread: Spread) -> list[list[str]]:
    """What each stage depends on besides files, as small files that change only when it does; returns the batches."""
    from analysis.longitudinal.errors import errors_path
    from analysis.segmentation.weights import chosen_weights

    weights = chosen_weights(study.weights)
    subjects = list(manifest.subjects["subject"])
    scans = manifest.scans.groupby("subject")["path"].apply(list)
    files = {s: sorted(p for p in scans.get(s, []) if Path(p).is_file()) for s in subjects}
    corrected = results.read_manifest(schemas.EDITED_MASKS).groupby("subject")["path"].apply(list)
    edited = {s: corrected.get(s, []) for s in subjects}
    batches = [subjects[i:i + spread.batch] for i in range(0, len(subjects), spread.batch)]
    work = results.output_dir / "work"
    settings = {
        "settings/change.json": {"reference_session": study.reference_session,
                                 "confidence_level": study.statistics.confidence_level},
        "settings/statistics.json": {**study.statistics.model_dump(), "groups": study.groups,
                                     "sessions": study.session_ids, "description": study.description,
                                     "program": _fingerprint("models", "stats")},
        # A copied file may be older than the results and yet be another: its bytes count, too.
        "settings/segmentation.json": {"weights_sha256": sha256_of(weights), "tissues": study.tissues,
                                       "program": _fingerprint("segmentation", "imaging")},
        "settings/follow.json": {"visits": study.visits, "errors_sha256": _sha256_if_there(errors_path(weights)),
                                 "program": _fingerprint("longitudinal")},
        "settings/report.json": {"name": study.name, "description": study.description},
        "config.json": {
            "subjects": files, "edited": edited, "python": sys.executable, "study": str(study.path.resolve()),
            "device": device,
            "weights": str(weights), "batches": batches if spread.batch > 1 else [],
            "threads": cores if spread.profile else max(1, cores // max(len(batches), 1)),
            "gpu": 0 if device == "cpu" else 1,
            "pages": {name: str(source) for name, source in study_pages(study).items()},
            "notebooks": {kind: str(NOTEBOOKS / f"{kind}_report.py") for kind in ("subject", "cohort")},
        },
    }
    for name, content in settings.items():
        write_if_changed(work / name, json.dumps(content, indent=1, sort_keys=True) + "\n")
    return batches


def _sha256_if_there(path: Path) -> str:
    return sha256_of(path) if path.is_file() else ""


def _fingerprint(*packages: str) -> str:
    """Changes when the source of these parts of `analysis` does: a new version's statistics are not the old one's."""
    files = sorted(f for p in packages for f in (Path(analysis.__file__).parent / p).glob("*.py"))
    return sha256(b"".join(f.read_bytes() for f in files)).hexdigest()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep two runs apart; the system lifts the lock when the process ends, however it ends."""
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError("an output folder that no other run is using", "another run at work", str(folder),
                              "Wait for it to end, or choose another output folder.") from error
        yield
