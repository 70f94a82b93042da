"""The one place of this benchmark that knows the inner parts of stages and of the workflow.

Whoever changes those changes this module: names of stages, functions that are timed, what a run does before and after
Snakemake, what its records hold.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from bedrest import schemas
from bedrest.errors import OutputError
from bedrest.io.files import Checksums, write_text
from bedrest.io.results import StudyResults
from bedrest.settings import load_study
from bedrest.stages.all_stages import NAMES, RECORDS, reads_of, stage
from bedrest.workflow.records import content

from pipelines.benchmarks.scale.synthetic_study import EMPTY_SLICES, SLICES

# Stages of the whole study by what the page calls them; those of one subject cost the same whatever the study's size.
STUDY_STAGES: dict[str, list[str]] = {
    "tables": ["tables"], "statistics": ["statistics"], "figures": ["figures"],
    "cohort report": ["cohort_report"], "method checks": ["page", "--page", "method_checks"],
    "publication figures": ["page", "--page", "publication_figures"],
}
JOB = "bedrest.workflow.job"
SUBJECT_STAGES = ("segment", "joint_volumes", "measure", "change", "tables", "statistics", "subject_report")
# Parts of a stage: (module, function, what it is called). The network at work and notebooks are no overhead.
NETWORK, NOTEBOOK, LOADING = "network at work", "notebook at work", "loading torch, MONAI and the weights"
_SEGMENT, _JOINT = "bedrest.stages.segment", "bedrest.stages.joint_volumes"
PARTS = {
    "segment": (("bedrest.segmentation.engine", "segment", NETWORK),
                (_SEGMENT, "use_threads", LOADING), (_SEGMENT, "loaded_weights", LOADING)),
    "joint_volumes": ((_JOINT, "prepare_visit", NETWORK), (_JOINT, "joint_volumes", NETWORK),
                      (_JOINT, "use_threads", LOADING),
                      (_JOINT, "loaded_weights", LOADING)),
    "subject_report": (("papermill", "execute_notebook", NOTEBOOK),
                       ("bedrest.pages.reports", "write_thumbnails", "thumbnails"),
                       ("bedrest.pages.notebooks", "_page", "the page's HTML")),
    "measure": (("bedrest.stages.measure", "measure_discs", "measuring discs"),
                ("bedrest.stages.measure", "compare_masks", "comparing with reference masks")),
}
# What a stage loads when it runs: imported first, so that it counts as imports.
MODULES = {"joint_volumes": _JOINT, "measure": "bedrest.stages.measure", "subject_report": "bedrest.pages.reports"}
# In place of Python: makes the records of a job empty; what statistics leave for others to wait for is there, too.
_STAND_IN = """#!/bin/sh
job=$3 of=
while [ $# -gt 0 ]; do
  case "$1" in --subject|--page) of=$2 ;; esac
  shift
done
for stage in $([ "$job" = subject ] && echo segment joint_volumes measure change || echo "$job"); do
  mkdir -p "work/_records/$(dirname "$stage/$of")" && : > "work/_records/$stage${of:+/$of}.json"
done
[ -e tables/detections.csv ] || : > tables/detections.csv
"""


def stage_command(name: str, study_toml: Path, output: Path, *options: str) -> list[str]:
    """A stage as the Snakefile runs it."""
    return [sys.executable, "-m", JOB, *stage_words(name, study_toml, output, *options)]


def stage_words(name: str, study_toml: Path, output: Path, *options: str) -> list[str]:
    """Words of `stage_command` after the module."""
    return [name, str(study_toml), "--output", str(output), *options]


def workflow_command(output: Path) -> list[str]:
    """Snakemake on two cores, as `bedrest run` starts it."""
    from bedrest.workflow.run import snakemake_command

    return snakemake_command(output, cores=2)


def prepare(study_toml: Path) -> None:
    """What `bedrest run` does before the workflow starts."""
    from bedrest.stages.provenance import write_program
    from bedrest.workflow.fingerprints import write_fingerprints
    from bedrest.workflow.run import ExecutionOptions, write_config
    from bedrest.workflow.run import prepare as resolve

    study = load_study(study_toml)
    results = StudyResults(study.output_dir)
    manifest, _ = resolve(study, results)
    write_program(results, study)
    write_fingerprints(study, results)
    write_config(study, results, manifest, cores=2, device="cpu", execution=ExecutionOptions())


def require_unchanged(study_toml: Path) -> None:
    """Hold every file against the records, as a run does first.

    Raises
    ------
    OutputError
        A file is taken for changed, though none was.
    """
    from bedrest.workflow.records import outdated

    results = StudyResults(load_study(study_toml).output_dir)
    checksums = Checksums(results.checksums_json)
    if changed := outdated(results, checksums):
        raise OutputError("records that fit the files", str(next(iter(changed.items()))), str(results.output_dir),
                          "This is a fault of the program.")
    checksums.save()


def stand_in(folder: Path) -> None:
    """Have Snakemake start, in place of every stage, a shell that writes an empty record.

    Parameters
    ----------
    folder : output folder whose work/config.json is there
    """
    shutil.rmtree(folder / RECORDS, ignore_errors=True)  # of stages that were measured before
    program, config = folder / "work" / "stand_in.sh", folder / "work" / "config.json"
    write_text(program, _STAND_IN)
    program.chmod(0o700)
    write_text(config, json.dumps({**json.loads(config.read_text()), "python": str(program)}))


def write_records(results: StudyResults) -> None:
    """Make real records of those: what is read by content, and with `measure` and a page the files they leave.

    Parameters
    ----------
    results : StudyResults, with an empty record from `stand_in` for each stage
    """
    folder = results.output_dir
    read = Checksums(results.checksums_json)
    subjects = list(results.read_manifest(schemas.SUBJECTS)["subject"])
    pages = [p.relative_to(folder / RECORDS / "page").with_suffix("").as_posix()
             for p in (folder / RECORDS / "page").rglob("*.json")]
    paths = ((name, path) for name in NAMES  # a record names those it builds on
             for path in ((folder / RECORDS / f"{name}.json"), *sorted((folder / RECORDS / name).rglob("*.json"))))
    for name, path in ((n, p) for n, p in paths if p.is_file()):
        of = path.relative_to(folder / RECORDS).with_suffix("").as_posix().removeprefix(name).removeprefix("/")
        subject = path.stem
        left = {"measure": [results.subject_table(subject, t) for t in (*SLICES, *EMPTY_SLICES)],
                "subject_report": [results.subject_html(subject)]}.get(path.parent.name, [])
        write_text(path, json.dumps({
            "reads": {read_name: content(folder, read_name, read)
                      for read_name in reads_of(stage(name), of=of, subjects=subjects, pages=pages)},
            "writes": {p.relative_to(folder).as_posix(): read(p) for p in left}}))
    read.save()
