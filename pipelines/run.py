"""`bedrest run`: resolves the study, writes the manifest slices, hands the order of work to Snakemake.

Content decides what is done again (`pipelines.records`); says what was redone and why. Computes nothing itself.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pandas as pd
from tqdm import tqdm

import analysis
from analysis import schemas
from analysis.errors import OutputError
from analysis.io.corrections import find_corrections
from analysis.io.files import Checksums, output_error, sha256_of, write_if_changed
from analysis.io.manifest import InputProblem, Manifest, build_manifest, check_manifest
from analysis.io.results import StudyResults
from analysis.io.tables import write_table
from analysis.settings import Study
from pipelines.notebooks import NOTEBOOKS
from pipelines.provenance import inputs
from pipelines.records import RECORDS, checksum, name_of, outdated
from pipelines.reports import study_pages
from pipelines.stages import STAGE_BROKE

SNAKEFILE = Path(__file__).parent / "Snakefile"
_PROGRESS = re.compile(r"^(\d+) of (\d+) steps")
_RULE = re.compile(r"^(?:local)?rule (\w+):")
_RECORD = re.compile(rf"^\s+output: ({RECORDS}/.*?\.json)(?:, |$)")
_BROKE = re.compile(rf"^{re.escape(STAGE_BROKE)}(.*)")


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
        write_table(frame, results.manifest_table(table), table, only_if_changed=True)
        for subject in kept.subjects["subject"]:
            write_table(frame[frame["subject"] == subject], results.subject_table(subject, table), table,
                        only_if_changed=True)
    table = schemas.INPUT_PROBLEMS
    rows = pd.DataFrame([{"subject": p.subject, "session": p.session, "reason": str(p.problem)} for p in problems],
                        columns=table.column_names)
    write_table(rows, results.manifest_table(table), table, only_if_changed=True)
    for subject in kept.subjects["subject"]:
        write_table(rows[rows["subject"] == subject], results.subject_table(subject, table), table,
                    only_if_changed=True)
    return kept, problems


def _of(manifest: Manifest, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the manifest's subjects."""
    return frame[frame["subject"].isin(manifest.subjects["subject"])]


def run_workflow(study: Study, results: StudyResults, manifest: Manifest, *, cores: int, device: str,
                 target: str = "", lock: int | None = None) -> RunOutcome:
    """Run everything that is not up to date, or what one record needs; one bar for all steps.

    Parameters
    ----------
    study, results, manifest : as prepared
    cores, device : to work with
    target : record to stop at; default: everything
    lock : descriptor of the output folder's lock, which Snakemake then holds, too: should this process be killed
        alone, its steps would still be at work
    """
    _write_settings(study, results, manifest, cores=cores, device=device)
    log = results.output_dir / "work" / "run.log"
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--directory", str(results.output_dir),
        "--configfile", str(results.output_dir / "work/config.json"), "--cores", str(cores),
        # Records decide, not Snakemake's own marks: a step that was killed has none, one that has it did end.
        "--resources", "gpu=1", "--keep-going", "--ignore-incomplete", "--drop-metadata", "--nolock",
        "--scheduler", "greedy", "--nocolor", *([target] if target else []),
    ]
    checksums = Checksums(results.checksums_json)
    reasons = outdated(results, checksums)
    checksums.save()
    try:
        with log.open("w") as written:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                       errors="replace", env={**os.environ, "PYTHONWARNINGS": "ignore"},
                                       pass_fds=[] if lock is None else [lock])
            redone, told, errors = _follow(process, written, reasons)
            process.wait()
    except OSError as error:
        raise output_error(error, log) from error
    if not log.is_file():
        raise OutputError("an output folder that stays there", "none: it was removed while the run worked",
                          str(results.output_dir), "Run again.")
    return RunOutcome(redone, told, process.returncode == 0, log, errors)


def _follow(process: subprocess.Popen[str], log, reasons: dict[str, str]
            ) -> tuple[Counter[str], list[str], tuple[str, ...]]:
    """Read Snakemake's words: count jobs, keep reasons and errors, move the bar."""
    redone: Counter[str] = Counter()
    told: list[str] = []
    errors: dict[str, None] = {}
    tail: deque[str] = deque(maxlen=15)
    rule = ""
    bar: tqdm | None = None
    assert process.stdout is not None
    for line in process.stdout:
        tail.append(line.rstrip())
        with suppress(OSError):  # a full disk: what is said here matters more than the log of it
            log.write(line)
        if found := _RULE.match(line):
            rule = found[1]
            if rule != "all":
                redone[rule] += 1
        elif (found := _RECORD.match(line)) and sum(redone.values()) > len(told):  # Snakemake repeats it with an error
            told.append(f"{name_of(Path(found[1]))}: {reasons.get(found[1], 'not made yet')}")
        elif found := _BROKE.match(line):
            errors[found[1]] = None
        elif found := _PROGRESS.match(line):
            bar = bar or tqdm(total=int(found[2]), desc="study", unit="step")
            bar.set_postfix_str(rule)
            bar.update(int(found[1]) - bar.n)
    if bar is not None:
        bar.close()
    return redone, told, tuple(errors or tail)


def _write_settings(study: Study, results: StudyResults, manifest: Manifest, *, cores: int, device: str) -> None:
    """What each stage depends on besides files, as small files that change only when it does."""
    from analysis.longitudinal.errors import errors_path
    from analysis.segmentation.weights import chosen_weights

    weights = chosen_weights(study.weights)
    subjects = list(manifest.subjects["subject"])
    pages = study_pages(study)
    notebooks = {"subject": NOTEBOOKS / "subject_report.py", "cohort": NOTEBOOKS / "cohort_report.py", **pages}
    work = results.output_dir / "work"
    settings = {
        "settings/change.json": {"reference_session": study.reference_session,
                                 "confidence_level": study.statistics.confidence_level},
        "settings/statistics.json": {**study.statistics.model_dump(), "groups": study.groups,
                                     "sessions": study.session_ids, "description": study.description,
                                     "program": _fingerprint("models", "stats")},
        "settings/segmentation.json": {"weights": sha256_of(weights), "tissues": study.tissues,
                                       "program": _fingerprint("segmentation", "imaging")},
        "settings/follow.json": {"visits": study.visits, "errors": checksum(errors_path(weights)),
                                 "program": _fingerprint("longitudinal")},
        "settings/measure.json": {"program": _fingerprint("measure", "tables")},
        "settings/report.json": {"name": study.name, "description": study.description,
                                 "program": _fingerprint("figures")},
        "settings/study_files.json": inputs(results, study)["study_files_sha256"],
        **{f"settings/notebooks/{page}.json": {"notebook": checksum(path)} for page, path in notebooks.items()},
        "config.json": {
            "subjects": subjects, "pages": list(pages), "python": sys.executable, "device": device,
            "study": str(study.path.resolve()), "study_sha256": sha256_of(study.path),
            "threads": max(1, cores // max(len(subjects), 1)),
            "gpu": 0 if device == "cpu" else 1,
        },
    }
    for name, content in settings.items():
        write_if_changed(work / name, json.dumps(content, indent=1, sort_keys=True) + "\n")


def _fingerprint(*packages: str) -> str:
    """Changes when the source of these parts of `analysis` does: a new version's statistics are not the old one's."""
    files = sorted(f for p in packages for f in (Path(analysis.__file__).parent / p).glob("*.py"))
    return sha256(b"".join(f.read_bytes() for f in files)).hexdigest()
