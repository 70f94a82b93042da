"""`bedrest run` and `bedrest calibrate`: the work is done by `bedrest.workflow`; here a run's outcome is printed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bedrest.cli.arguments import Count, StudyDevice, StudyFile, unset
from bedrest.errors import StudyError
from bedrest.vocabulary import Status

if TYPE_CHECKING:
    from bedrest.io.manifest.resolve import InputProblem
    from bedrest.io.results import StudyResults
    from bedrest.settings import Study
    from bedrest.workflow.run import ExecutionOptions
    from bedrest.workflow.watch import RunOutcome

_MOST_FAILURES = 20  # printed; all are in tables/failures.csv


@dataclass(frozen=True)
class Calibrate:
    """Measure how well a study's own scans show change: visits made of them, with known changes."""

    study: StudyFile
    subjects: Annotated[int | None, unset("default: as study.toml says, else 4", metavar="N")] = None
    """Subjects whose reference visit further visits are made from."""
    device: StudyDevice = None
    cores: int = 2
    """CPU cores to use."""

    def run(self) -> int:
        from bedrest.workflow.calibrate import calibrate

        if self.cores < 1 or (self.subjects is not None and self.subjects < 1):
            raise StudyError("at least one core and one subject", f"{self.cores} and {self.subjects}",
                             "--cores, --subjects", "Give positive numbers.")
        return calibrate(self.study, subjects=self.subjects, device=self.device, cores=self.cores)


@dataclass(frozen=True)
class Run:
    """Compute everything of a study that is not up to date."""

    study: StudyFile
    cores: int = 2
    """CPU cores to use; with --profile, the cores of a job that runs the network."""
    device: StudyDevice = None
    profile: Annotated[str | None, unset("default: this machine", metavar="NAME_OR_DIR")] = None
    """Run on a cluster: slurm, or a folder that holds a Snakemake profile."""
    batch: Count = 1
    """Subjects that share a job, so that the network is loaded once for all of them."""
    log_json: Annotated[Path | None, unset("optional", metavar="FILE")] = None
    """Also write every event to this file, one per line."""

    def run(self) -> int:
        from bedrest.settings import load_study
        from bedrest.workflow.run import ExecutionOptions, find_profile

        if self.batch < 1 or self.cores < 1:
            raise StudyError("at least one core, and one subject a job", f"{self.cores} and {self.batch}",
                             "--cores, --batch", "Give positive numbers.")
        execution = ExecutionOptions(find_profile(self.profile) if self.profile else None, self.batch, self.log_json)
        return run_study(load_study(self.study), cores=self.cores, device=self.device, execution=execution)


def run_study(study: Study, *, cores: int, device: str | None, execution: ExecutionOptions) -> int:
    """Run a study under the lock of its output folder and print the outcome; the exit status."""
    from bedrest.io.results import StudyResults
    from bedrest.segmentation.device import resolve_device
    from bedrest.workflow.checks import stop_at, study_problems
    from bedrest.workflow.locks import locked

    wanted = device or study.device
    stop_at(study_problems(study, device="auto" if execution.profile else wanted))  # before any image is read
    resolved = wanted if execution.profile else resolve_device(wanted)  # a cluster's nodes decide for themselves
    with locked(study.output_dir) as lock:
        return _run_locked(study, StudyResults(study.output_dir), cores=cores, device=resolved, execution=execution,
                           lock=lock)


def _run_locked(study: Study, results: StudyResults, *, cores: int, device: str, execution: ExecutionOptions,
                lock: int) -> int:
    from bedrest.io.files import remove_leftovers
    from bedrest.stages.provenance import note_run, write_program
    from bedrest.workflow.calibrate import calibrate_study, outdated_calibration
    from bedrest.workflow.checks import manifest_problems, stop_at
    from bedrest.workflow.run import prepare, run_workflow

    remove_leftovers(study.output_dir, spare=study.edited_dir)
    manifest, problems = prepare(study, results)
    for line in dict.fromkeys(f"- {'doubtful: ' if p.doubt else ''}{p.problem}" for p in problems):
        print(line, file=sys.stderr)
    if manifest.subjects.empty:
        raise StudyError("at least one subject that can be analysed", "none", str(study.path),
                         "See the problems above, or run `bedrest check`.")
    stop_at(manifest_problems(study, manifest))
    write_program(results, study)
    began = datetime.now(UTC)
    if study.calibration.subjects:
        calibrate_study(study, results, subjects=study.calibration.subjects, device=device, cores=cores)
    outcome = run_workflow(study, results, manifest, cores=cores, device=device, execution=execution, lock=lock)
    if old := outdated_calibration(results):
        print(old, file=sys.stderr)
    status = print_outcome(outcome, results, problems)
    if outcome.redone:
        note_run(results, began=began, exit_status=status, redone=outcome.redone, cores=cores, device=device)
    return status


def print_outcome(outcome: RunOutcome, results: StudyResults, problems: list[InputProblem]) -> int:
    """Print what a run computed and what failed; the exit status."""
    from bedrest import schemas

    if not outcome.finished:
        print("A stage broke down; what was computed is kept.", *outcome.errors, f"Full log: {outcome.log}",
              sep="\n", file=sys.stderr)
        return 1
    if outcome.redone:
        print("Computed: " + ", ".join(f"{rule} x{n}" for rule, n in outcome.redone.items()))
        everything = outcome.redone.get("segment", 0) >= len(results.read_manifest(schemas.SUBJECTS))
        for line in [] if everything else outcome.reasons:
            print(f"  {line}")
    else:
        print("Nothing to do: every result is up to date.")
    failures = results.read(schemas.FAILURES)
    failed = failures[failures["status"] == Status.FAILED]
    for _, row in failed.head(_MOST_FAILURES).iterrows():
        place = " ".join(str(row[c]) for c in ("subject", "session", "level") if row[c])
        print(f"failed: {row['stage']} {place}: {row['reason']}", file=sys.stderr)
    if len(failed) > _MOST_FAILURES:
        print(f"... {len(failed)} failures in all: {results.table(schemas.FAILURES)}", file=sys.stderr)
    pages = results.read(schemas.REPORTS)
    failed_pages = pages[pages["status"] == Status.FAILED]
    for _, row in failed_pages.iterrows():
        print(f"failed: report {row['page']}: {row['reason']}", file=sys.stderr)
    flagged = int((failures["status"] == Status.FLAGGED).sum())
    print(f"{len(failed)} failed, {flagged} flagged\nLook at {results.index_html}")
    return 3 if len(failed) or any(not p.doubt for p in problems) or len(failed_pages) else 0
