"""A tiny study whose masks are given, so that no network has to run; run to the end, or as far as the cohort tables."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bedrest.io.checksums import FileCheck, FileState, compare_results
from bedrest.io.files import Checksums
from bedrest.io.results import StudyResults
from bedrest.settings import load_study
from bedrest.workflow import job
from bedrest.workflow.events import EVENTS, NewLines, beginning
from bedrest.workflow.fingerprints import write_fingerprints
from bedrest.workflow.order import record_of
from bedrest.workflow.records import outdated
from bedrest.workflow.run import SNAKEFILE, ExecutionOptions, prepare, write_config

# `bedrest run` as far as the cohort tables: no statistics, no pages.
TO_TABLES = """
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path
import bedrest.workflow.run
from bedrest.io.results import StudyResults
from bedrest.settings import load_study
from bedrest.cli.commands import _run
from bedrest.workflow.locks import locked
from bedrest.cli import commands
from bedrest.errors import BedrestError
bedrest.workflow.run.run_workflow = partial(bedrest.workflow.run.run_workflow, target="work/_records/tables.json")
commands._tell = lambda outcome, *_, **__: print(*outcome.redone, *outcome.reasons, *outcome.errors, sep="\\n") or (
    0 if outcome.finished else 1)
try:
    study = load_study(Path("study.toml"))
    with locked(study.output_dir) as lock:
        sys.exit(_run(Namespace(cores=2, study=study.path, batch=1), study, StudyResults(study.output_dir),
                      "cpu", bedrest.workflow.run.ExecutionOptions(), lock))
except BedrestError as error:
    sys.exit(f"error: {error}")
"""


def start(folder: Path, *, whole: bool = False, **more) -> subprocess.Popen[str]:
    """Start a run in a process group of its own."""
    command = ["-m", "bedrest.cli.parser", "run", "study.toml", "--cores", "2"] if whole else ["-c", TO_TABLES]
    return subprocess.Popen([sys.executable, *command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, **more)


def finish(folder: Path, *, status: int = 0, whole: bool = False, **more) -> str:
    """Run to the end; what was said."""
    process = start(folder, whole=whole, **more)
    said = process.communicate(timeout=1800)[0]
    assert process.returncode == status, said
    assert "Traceback" not in said
    return said


def jobs(folder: Path) -> list[list[str]]:
    """The words of every command that Snakemake would run now as far as the cohort tables, in their order."""
    out = StudyResults(load_study(folder / "study.toml").output_dir).output_dir
    printed = subprocess.run([sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--directory", str(out),
                              "--configfile", str(out / "work/config.json"), "--cores", "2", "--nolock", "--dry-run",
                              "--printshellcmds", record_of("tables")], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, timeout=300)
    assert printed.returncode == 0, printed.stdout
    return [shlex.split(line.partition(": ")[2]) for line in printed.stdout.splitlines()
            if line.startswith("Shell command: ")]


def finish_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `finish` does, in this process, which is quicker: the jobs that Snakemake would run now; stages that ran."""
    to_be_done(folder)
    out = load_study(folder / "study.toml").output_dir
    monkeypatch.chdir(out)
    beginning(out)
    for words in jobs(folder):
        monkeypatch.setattr(sys, "argv", words[words.index("-m") + 1:])
        assert job.main() == 0
    return [f"{e['stage']}/{e['subject']}".rstrip("/") for e in NewLines(out / EVENTS) if e["event"] == "finished"]


def copied(folder: Path, to: Path) -> Path:
    """The study and its results as files of their own, all times new."""
    return Path(shutil.copytree(folder, to, copy_function=shutil.copyfile))


def differing(ours: Path, theirs: Path) -> list[FileCheck]:
    """Files of two output folders that are not the same bytes, but for the lists that say where the images lie."""
    return [c for c in compare_results(theirs, ours) if c.verdict is not FileState.SAME
            and not c.path.endswith(("/scans.csv", "/edited_masks.csv"))]


def to_be_done(folder: Path) -> dict[str, str]:
    """What a run would do again, and why: stage and subject -> reason."""
    study = load_study(folder / "study.toml")
    results = StudyResults(study.output_dir)
    manifest, _ = prepare(study, results)
    write_fingerprints(study, results)
    checksums = Checksums(results.checksums_json)
    reasons = outdated(results, checksums)
    checksums.save()
    write_config(study, results, manifest, cores=2, device="cpu", execution=ExecutionOptions())
    return {name.removeprefix("work/_records/").removesuffix(".json"): why for name, why in reasons.items()}
