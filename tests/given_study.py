"""A tiny study whose masks are given, so that no network has to run; run to the end, or as far as the cohort tables."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from analysis.io.files import Checksums
from analysis.io.results import StudyResults
from analysis.settings import load_study
from pipelines.records import outdated
from pipelines.run import prepare, write_settings

# `bedrest run` as far as the cohort tables: no statistics, no pages.
TO_TABLES = """
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path
import pipelines.run
from analysis.io.results import StudyResults
from analysis.settings import load_study
from pipelines.commands import _run
from pipelines.locks import locked
from pipelines import commands
from analysis.errors import BedrestError
pipelines.run.run_workflow = partial(pipelines.run.run_workflow, target="work/_records/tables.json")
commands._tell = lambda outcome, *_, **__: print(*outcome.redone, *outcome.reasons, *outcome.errors, sep="\\n") or (
    0 if outcome.finished else 1)
try:
    study = load_study(Path("study.toml"))
    with locked(study.output_dir) as lock:
        sys.exit(_run(Namespace(cores=2, study=study.path, batch=1), study, StudyResults(study.output_dir),
                      "cpu", pipelines.run.Spread(), lock))
except BedrestError as error:
    sys.exit(f"error: {error}")
"""


def start(folder: Path, *, whole: bool = False, **more) -> subprocess.Popen[str]:
    """Start a run in a process group of its own."""
    command = ["-m", "pipelines.cli", "run", "study.toml", "--cores", "2"] if whole else ["-c", TO_TABLES]
    return subprocess.Popen([sys.executable, *command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, **more)


def finish(folder: Path, *, status: int = 0, whole: bool = False, **more) -> str:
    """Run to the end; what was said."""
    process = start(folder, whole=whole, **more)
    said = process.communicate(timeout=1800)[0]
    assert process.returncode == status, said
    assert "Traceback" not in said
    return said


def copied(folder: Path, to: Path) -> Path:
    """The study and its results as files of their own, all times new."""
    return Path(shutil.copytree(folder, to, copy_function=shutil.copyfile))


def to_be_done(folder: Path) -> dict[str, str]:
    """What a run would do again, and why: step -> reason."""
    study = load_study(folder / "study.toml")
    results = StudyResults(study.output_dir)
    prepare(study, results)
    write_settings(study, results)
    checksums = Checksums(results.checksums_json)
    found = outdated(results, checksums)
    checksums.save()
    return {name.removeprefix("work/_records/").removesuffix(".json"): why for name, why in found.items()}
