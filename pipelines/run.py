"""`bedrest run`: resolves the study, writes the manifest slices, hands the order of work to Snakemake.

Resumes by declared inputs and outputs; says what was redone and why. Computes nothing itself.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pandas as pd
from tqdm import tqdm

import analysis
from analysis import schemas
from analysis.errors import OutputError
from analysis.io.corrections import find_corrections
from analysis.io.files import sha256_of, write_if_changed
from analysis.io.manifest import InputProblem, Manifest, build_manifest, check_manifest
from analysis.io.results import StudyResults
from analysis.io.tables import write_parts, write_table
from analysis.schemas import Table
from analysis.settings import Study
from pipelines.notebooks import NOTEBOOKS
from pipelines.reports import study_pages

SNAKEFILE = Path(__file__).parent / "Snakefile"
_PROGRESS = re.compile(r"^(\d+) of (\d+) steps")
_RULE = re.compile(r"^(?:local)?rule (\w+):")
_REASON = re.compile(r"^\s+reason: (.*)")
_WILDCARD = re.compile(r"^\s+wildcards: (.*)")


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
                 target: str = "") -> RunOutcome:
    """Run everything that is not up to date, or what one file needs; one bar for all steps."""
    _write_settings(study, results, manifest, cores=cores, device=device)
    log = results.output_dir / "work" / "run.log"
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--directory", str(results.output_dir),
        "--configfile", str(results.output_dir / "work/config.json"), "--cores", str(cores),
        "--resources", "gpu=1", "--keep-going", "--rerun-incomplete", "--nolock", "--scheduler", "greedy",
        "--rerun-triggers", "mtime", "input", "--nocolor",
        *([target] if target else []),
    ]
    with locked(results.output_dir), log.open("w") as written:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   env={**os.environ, "PYTHONWARNINGS": "ignore"})
        redone, reasons = _follow(process, written)
        process.wait()
    return RunOutcome(redone, reasons, process.returncode == 0, log)


def _follow(process: subprocess.Popen[str], log) -> tuple[Counter[str], list[str]]:
    """Read Snakemake's words: count jobs, keep reasons, move the bar."""
    redone: Counter[str] = Counter()
    reasons: list[str] = []
    rule = reason = ""
    bar: tqdm | None = None
    assert process.stdout is not None
    for line in process.stdout:
        log.write(line)
        if found := _RULE.match(line):
            rule, reason = found[1], ""
            if rule != "all":
                redone[rule] += 1
        elif found := _REASON.match(line):
            reason = found[1].strip()
            if rule != "all":
                reasons.append(f"{rule}: {reason}")
        elif (found := _WILDCARD.match(line)) and reasons and reason:
            reasons[-1] = f"{rule} {found[1].split('=')[-1]}: {reason}"
        elif found := _PROGRESS.match(line):
            bar = bar or tqdm(total=int(found[2]), desc="study", unit="step")
            bar.set_postfix_str(rule)
            bar.update(int(found[1]) - bar.n)
    if bar is not None:
        bar.close()
    return redone, reasons


def _write_settings(study: Study, results: StudyResults, manifest: Manifest, *, cores: int, device: str) -> None:
    """What each stage depends on besides files, as small files that change only when it does."""
    from analysis.longitudinal.errors import errors_path
    from analysis.segmentation.weights import chosen_weights

    weights = chosen_weights(study.weights)
    subjects = list(manifest.subjects["subject"])
    scans = manifest.scans.groupby("subject")["path"].apply(list)
    files = {s: sorted(p for p in scans.get(s, []) if Path(p).is_file()) for s in subjects}
    corrected = results.read_manifest(schemas.EDITED_MASKS).groupby("subject")["path"].apply(list)
    edited = {s: corrected.get(s, []) for s in subjects}
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
            "weights": str(weights), "threads": max(1, cores // max(len(subjects), 1)),
            "gpu": 0 if device == "cpu" else 1,
            "pages": {name: str(source) for name, source in study_pages(study).items()},
            "notebooks": {kind: str(NOTEBOOKS / f"{kind}_report.py") for kind in ("subject", "cohort")},
        },
    }
    for name, content in settings.items():
        write_if_changed(work / name, json.dumps(content, indent=1, sort_keys=True) + "\n")


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
