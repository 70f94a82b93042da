"""`bedrest run`: resolves the study, writes the manifest slices, hands the order of work to Snakemake.

Content decides what is done again (`bedrest.workflow.records`); says what was redone and why. Computes nothing itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bedrest import schemas
from bedrest.errors import OutputError, StudyError
from bedrest.io.files import Checksums, output_error, sha256_of, write_if_changed
from bedrest.io.images.label_tables import ALL_LABELS, write_label_files
from bedrest.io.images.voxel_digest import voxel_sketch
from bedrest.io.manifest.corrections import find_corrections
from bedrest.io.manifest.resolve import InputProblem, Manifest, build_manifest, check_manifest
from bedrest.io.results import StudyResults
from bedrest.io.shipped import shipped
from bedrest.io.tables.frames import typed_frame
from bedrest.io.tables.typed_csv import write_parts, write_table
from bedrest.pages.reports import study_pages
from bedrest.settings import Study
from bedrest.stages.all_stages import JOBS, SUBJECT_STAGES, reads_of_job, record_of, stage
from bedrest.stages.stage import Scope
from bedrest.workflow.checks import covariate_problems
from bedrest.workflow.display import JsonLog, display_here
from bedrest.workflow.events import EVENTS, NewLines, Translator, start_events
from bedrest.workflow.fingerprints import write_fingerprints
from bedrest.workflow.records import outdated
from bedrest.workflow.watch import RunOutcome, watch

SNAKEFILE = shipped("pipelines/Snakefile")
PROFILES = shipped("pipelines/profiles")
_WILDCARD = {Scope.SUBJECT: "{subject}", Scope.PAGE: "{page}", Scope.STUDY: ""}


@dataclass(frozen=True)
class ExecutionOptions:
    """How jobs are executed: with a Snakemake profile's folder on a cluster; so many subjects in a job, which loads the
    network once; with a file that gets every event as a line of JSON.
    """

    profile: Path | None = None
    batch: int = 1
    log_json: Path | None = None


def prepare(study: Study, results: StudyResults) -> tuple[Manifest, list[InputProblem]]:
    """Resolve manifest and corrections, check them, and write them out whole and by subject, only where they changed.

    Edited masks are read only by the stage that measures them.
    """
    write_label_files(results.label_files, ALL_LABELS)
    checksums = Checksums(results.checksums_json)
    manifest = build_manifest(study, checksums)
    corrections = find_corrections(study, manifest, checksums)
    checksums.save()
    sketches = Checksums(results.sketches_json, voxel_sketch)
    problems = [*check_manifest(study, manifest, whole=False, sketch=sketches), *corrections.problems]
    sketches.save()
    excluded = {p.subject for p in problems if p.subject and p.excludes_subject}
    kept = Manifest(*(t[~t["subject"].isin(excluded)] for t in (manifest.subjects, manifest.sessions,
                                                                _usable(manifest.scans, problems))))
    problems += covariate_problems(study, kept)
    edited, levels = (t[t["subject"].isin(kept.subjects["subject"])]
                      for t in (_usable(corrections.edited, problems), corrections.levels))
    rows = typed_frame(({"subject": p.subject, "session": p.session, "findings": (p.finding,)}
                        for p in problems), schemas.INPUT_PROBLEMS)
    for frame, table in ((kept.subjects, schemas.SUBJECTS), (kept.sessions, schemas.SESSIONS),
                         (kept.scans, schemas.SCANS), (edited, schemas.EDITED_MASKS), (levels, schemas.LEVEL_NAMES),
                         (rows, schemas.INPUT_PROBLEMS)):
        write_table(frame, results.manifest_table(table), table, only_if_changed=True)
        write_parts(frame, {s: results.subject_table(s, table) for s in kept.subjects["subject"]}, table)
    for path in sorted(StudyResults(study.output_dir).study_errors.parent.glob("*")):
        # `bedrest verify --rerun` runs in another folder
        write_if_changed(results.study_errors.with_name(path.name), path.read_text(encoding="utf-8"))
    return kept, problems


def _usable(files: pd.DataFrame, problems: list[InputProblem]) -> pd.DataFrame:
    """Files without those of visits that are excluded."""
    excluded = {(p.subject, p.session) for p in problems if p.excludes_visit}
    visits = zip(files["subject"], files["session"], strict=True)
    return files[np.array([visit not in excluded for visit in visits], dtype=bool)]


def run_workflow(study: Study, results: StudyResults, manifest: Manifest, *, cores: int, device: str,
                 target: str = "", execution: ExecutionOptions | None = None, lock: int | None = None) -> RunOutcome:
    """Run everything that is not up to date, or what the record `target` needs.

    Parameters
    ----------
    cores : in all; with a profile, of a job that runs the network
    execution : None: one subject a job on this machine
    lock : descriptor of the output folder's lock, which Snakemake then holds, too: should this process be killed
        alone, its stages would still be at work

    Raises
    ------
    OutputError
        A log cannot be written.
    """
    execution = execution or ExecutionOptions()
    write_fingerprints(study, results)
    checksums = Checksums(results.checksums_json)
    reasons = outdated(results, checksums)
    checksums.save()
    batches = write_config(study, results, manifest, cores=cores, device=device, execution=execution)
    waiting = {name: len(_without_record(results, manifest, name)) for name in SUBJECT_STAGES}
    folder = results.output_dir
    outcome = RunOutcome(folder / "work" / "run.log")
    command = snakemake_command(folder, cores=cores, profile=execution.profile) + ([target] if target else [])
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PATH": _path()}
    start_events(folder)
    try:
        with (outcome.log.open("w") as log,
              execution.log_json.open("w", encoding="utf-8") if execution.log_json else nullcontext() as json_log,
              subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               env=environment, pass_fds=[] if lock is None else [lock]) as process):
            watch(process, Translator(waiting, reasons, batches), outcome, lines=NewLines(folder / EVENTS), log=log,
                  displays=[display_here(), *([JsonLog(json_log)] if json_log else [])])
    except OSError as error:
        raise output_error(error, Path(error.filename or outcome.log)) from error
    if not outcome.log.is_file():
        raise OutputError("an output folder that stays there", "none: it was removed while the run worked",
                          str(folder), "Run again.")
    return outcome


def _without_record(results: StudyResults, manifest: Manifest, name: str) -> list[str]:
    """Subjects for which a stage has not been done."""
    return [s for s in manifest.subjects["subject"] if not (results.output_dir / record_of(name, s)).is_file()]


def _path() -> str:
    """Where programs are looked for: a profile's `python` is the one that runs this, activated or not."""
    return os.pathsep.join(filter(None, (str(Path(sys.executable).parent), os.environ.get("PATH"))))


def snakemake_command(folder: Path, *, cores: int, profile: Path | None = None) -> list[str]:
    """The command that runs the workflow in an output folder: on this machine, or where a profile says."""
    where = ["--profile", str(profile)] if profile else ["--cores", str(cores), "--resources", "gpu=1"]
    return [sys.executable, "-m", "bedrest.workflow.snakemake_events", "--snakefile", str(SNAKEFILE),
            "--directory", str(folder), "--configfile", str(folder / "work/config.json"), *where,
            # Records decide, not Snakemake's own marks: a stage that was killed has none, one that has it did end.
            "--keep-going", "--keep-incomplete", "--ignore-incomplete", "--drop-metadata", "--nolock",
            "--scheduler", "greedy", "--nocolor"]


def find_profile(name: str) -> Path:
    """Folder of a Snakemake profile: one that is shipped, by its name, or any with a config.yaml; else StudyError."""
    for folder in (PROFILES / name, Path(name)):
        if (folder / "config.yaml").is_file():
            return folder.resolve()
    shipped = ", ".join(sorted(p.name for p in PROFILES.iterdir()))
    raise StudyError(f"{shipped}, or a folder with a config.yaml", repr(name), "--profile",
                     "Correct the name, or copy a shipped profile and change it: docs/clusters.md.")


def write_config(study: Study, results: StudyResults, manifest: Manifest, *, cores: int, device: str,
                 execution: ExecutionOptions) -> list[list[str]]:
    """Write what the Snakefile takes from here; returns subjects without a record in batches, if asked for."""
    subjects, pages = list(manifest.subjects["subject"]), list(study_pages(study))
    waiting, n = _without_record(results, manifest, SUBJECT_STAGES[-1]), execution.batch
    batches = [waiting[i:i + n] for i in range(0, len(waiting), n)] if n > 1 else []
    at_once = max(1, -(-len(subjects) // n))
    config = {
        "subjects": subjects, "pages": pages, "python": sys.executable, "device": device,
        "study": str(study.path.resolve()), "study_sha256": sha256_of(study.path), "batches": batches,
        "reads": {job: reads_of_job(job, of=_WILDCARD[stage(names[0]).scope], subjects=subjects, pages=pages)
                  for job, names in JOBS.items()},
        "threads": cores if execution.profile else max(1, cores // at_once), "gpu": 0 if device == "cpu" else 1,
    }
    write_if_changed(results.output_dir / "work" / "config.json", json.dumps(config, indent=1, sort_keys=True) + "\n")
    return batches
