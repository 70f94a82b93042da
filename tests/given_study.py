"""A tiny study whose masks are given, so that no network has to run; run to the end, or as far as the cohort tables."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bedrest.io.checksums import FileCheck, FileState, compare_results
from bedrest.io.files import Checksums
from bedrest.io.results import StudyResults
from bedrest.settings import load_study
from bedrest.stages.all_stages import record_of
from bedrest.vocabulary import LEVEL_OF_LABEL
from bedrest.workflow import job
from bedrest.workflow.events import EVENTS, NewLines, start_events
from bedrest.workflow.fingerprints import write_fingerprints
from bedrest.workflow.records import outdated
from bedrest.workflow.run import SNAKEFILE, ExecutionOptions, prepare, write_config

SPINE = np.diag([4.0, 2.0, 2.0, 1.0])
VOXELS = np.diag([2.0, 1.0, 0.5, 1.0])  # of 1 mm3
# `bedrest run` as far as the cohort tables: no statistics, no pages.
TO_TABLES = """
import sys
from functools import partial
import bedrest.workflow.run
from bedrest.cli import main, run
bedrest.workflow.run.run_workflow = partial(bedrest.workflow.run.run_workflow, target="work/_records/tables.json")
run.print_outcome = lambda outcome, *_, **__: print(
    *outcome.redone, *outcome.reasons, *outcome.errors, sep="\\n") or (0 if outcome.finished else 1)
sys.exit(main(["run", "study.toml", "--cores", "2", "--device", "cpu"]))
"""


def saved(path: Path, data: np.ndarray, affine: np.ndarray = VOXELS) -> Path:
    """Write a NIfTI file, and the folder it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def spine(swelling: float) -> np.ndarray:
    """Seven ellipsoids 30 mm apart, one above the other, on a grid of 4 x 2 x 2 mm."""
    i, j, k = np.indices((16, 24, 116)).astype(np.float64)
    labels = np.zeros(i.shape, np.uint8)
    for label in LEVEL_OF_LABEL:
        z = (k - 15 * label + 2) * 2 / (5 * swelling)
        labels[((i - 7.5) * 4 / 22) ** 2 + ((j - 11.5) * 2 / 16) ** 2 + z**2 <= 1] = label
    return labels


def write_study(tmp_path: Path) -> Path:
    """A study of two subjects and two visits whose masks are given, so that no network has to run."""
    rows = ["subject,session,contrast,path"]
    for n, subject in enumerate(("A", "B")):
        for session, swelling in (("ses-1", 1.0), ("ses-2", 1.1 + 0.1 * n)):
            mask = np.roll(spine(swelling), n, axis=1)  # every visit has images of its own
            saved(tmp_path / f"{subject}_{session}_mask.nii.gz", mask, SPINE)
            saved(tmp_path / f"{subject}_{session}_water.nii.gz", (100 + 50 * (mask > 0)).astype(np.int16), SPINE)
            rows += [f"{subject},{session},{kind},{subject}_{session}_{kind}.nii.gz" for kind in ("mask", "water")]
    (tmp_path / "scans.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "study.toml").write_text(
        'name = "s"\ngroups = ["g"]\nreference_session = "ses-1"\noutput = "out"\n'
        '[images]\nlayout = "csv"\nroot = "."\nscans_csv = "scans.csv"\n[statistics]\nresamples = 200\n'
        '[[sessions]]\nid = "ses-1"\nstudy_day = -3\nphase = "baseline"\n'
        '[[sessions]]\nid = "ses-2"\nstudy_day = 60\nphase = "bed_rest"\n')
    return tmp_path


def start(folder: Path, *, whole: bool = False, **more) -> subprocess.Popen[str]:
    """Start a run in a process group of its own."""
    command = ["-m", "bedrest", "run", "study.toml", "--cores", "2"] if whole else ["-c", TO_TABLES]
    return subprocess.Popen([sys.executable, *command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, **more)


def finish(folder: Path, *, status: int = 0, whole: bool = False, **more) -> str:
    """Run to the end; what was said."""
    process = start(folder, whole=whole, **more)
    output = process.communicate(timeout=1800)[0]
    assert process.returncode == status, output
    assert "Traceback" not in output
    return output


def jobs(folder: Path, *records: str) -> list[list[str]]:
    """The words of every command that Snakemake would run now for these records, or the cohort tables; in order."""
    out = StudyResults(load_study(folder / "study.toml").output_dir).output_dir
    printed = subprocess.run([sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--directory", str(out),
                              "--configfile", str(out / "work/config.json"), "--cores", "2", "--nolock", "--dry-run",
                              "--printshellcmds", *(records or [record_of("tables")])], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, timeout=300)
    assert printed.returncode == 0, printed.stdout
    return [shlex.split(line.partition(": ")[2]) for line in printed.stdout.splitlines()
            if line.startswith("Shell command: ")]


def finish_here(folder: Path, monkeypatch: pytest.MonkeyPatch, *records: str) -> list[str]:
    """What `finish` does, in this process, which is quicker: the jobs that Snakemake would run now; stages that ran.

    Without the names of other records it goes as far as that of the cohort tables.
    """
    to_be_done(folder)
    out = load_study(folder / "study.toml").output_dir
    monkeypatch.chdir(out)
    start_events(out)
    for words in jobs(folder, *records):
        monkeypatch.setattr(sys, "argv", words[words.index("-m") + 1:])
        assert job.main() == 0
    return [f"{e['stage']}/{e['subject']}".rstrip("/") for e in NewLines(out / EVENTS) if e["event"] == "finished"]


def copied(folder: Path, to: Path) -> Path:
    """The study and its results as files of their own, all times new."""
    return Path(shutil.copytree(folder, to, copy_function=shutil.copyfile))


def differing(ours: Path, theirs: Path) -> list[FileCheck]:
    """Files of two output folders that are not the same bytes, but for the lists that say where the images lie."""
    return [c for c in compare_results(theirs, ours) if c.state is not FileState.SAME
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
