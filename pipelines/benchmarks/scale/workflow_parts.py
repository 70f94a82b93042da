"""The one place of this benchmark that knows the inner parts of stages and of the workflow.

Whoever changes those changes this module: names of stages, functions that are timed, what a run does before and after
Snakemake, what its records hold.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bedrest.errors import OutputError
from bedrest.io.files import Checksums, write_text
from bedrest.io.results import StudyResults
from bedrest.settings import load_study
from bedrest.stages.stages import STAGES
from bedrest.workflow.records import RECORDS, content

from pipelines.benchmarks.scale.synthetic_study import EMPTY_SLICES, SLICES

# Stages of the whole study by what the page calls them; those of one subject cost the same whatever the study's size.
STUDY_STAGES: dict[str, list[str]] = {
    "tables": ["tables"], "statistics": ["statistics"], "figures": ["figures"],
    "cohort report": ["cohort_report"], "method checks": ["page", "--page", "method_checks"],
    "publication figures": ["page", "--page", "publication_figures"],
}
SUBJECT_STAGES = ("segment", "follow", "measure", "change", "tables", "statistics", "subject_report")
# Parts of a stage: (module, function, what it is called). The network at work and notebooks are no overhead.
NETWORK, NOTEBOOK, LOADING = "network at work", "notebook at work", "loading torch, MONAI and the weights"
_JOINT = "bedrest.stages.joint_volumes"
PARTS = {
    "segment": (("bedrest.segmentation.engine", "segment", NETWORK),
                ("bedrest.stages.job", "use_threads", LOADING), ("bedrest.stages.job", "loaded_weights", LOADING)),
    "follow": ((_JOINT, "see", NETWORK), (_JOINT, "joint_volumes", NETWORK), (_JOINT, "use_threads", LOADING),
               (_JOINT, "loaded_weights", LOADING)),
    "subject_report": (("papermill", "execute_notebook", NOTEBOOK),
                       ("bedrest.pages.reports", "write_thumbnails", "thumbnails"),
                       ("bedrest.pages.notebooks", "_page", "the page's HTML")),
    "measure": (("bedrest.stages.measure", "measure_discs", "measuring discs"),
                ("bedrest.stages.measure", "compare_masks", "comparing with reference masks")),
}
# What a stage loads when it runs: imported first, so that it counts as imports.
MODULES = {"follow": _JOINT, "measure": "bedrest.stages.measure", "subject_report": "bedrest.pages.reports"}
# In place of Python: the names on standard input become the record; what statistics declare besides is there, too.
_STAND_IN = """#!/bin/sh
while [ $# -gt 0 ]; do
  [ "$1" = --record ] && cat > "$2"
  shift
done
[ -e tables/detections.csv ] || : > tables/detections.csv
"""
_ORDER = tuple(STAGES)  # a record names those it builds on


def stage_command(stage: str, study_toml: Path, output: Path, *options: str) -> list[str]:
    """A stage as the Snakefile runs it, without a record."""
    return [sys.executable, "-m", "bedrest.stages.stages", *stage_words(stage, study_toml, output, *options)]


def stage_words(stage: str, study_toml: Path, output: Path, *options: str) -> list[str]:
    """Words of `stage_command` after the module."""
    return [stage, str(study_toml), "--output", str(output), *options]


def workflow_command(output: Path) -> list[str]:
    """Snakemake on two cores, as `bedrest run` starts it."""
    from bedrest.workflow.run import snakemake_command

    return snakemake_command(output, cores=2)


def prepare(study_toml: Path) -> None:
    """What `bedrest run` does before the workflow starts."""
    from bedrest.workflow.provenance import write_program
    from bedrest.workflow.run import ExecutionOptions, write_config, write_settings
    from bedrest.workflow.run import prepare as resolve

    study = load_study(study_toml)
    results = StudyResults(study.output_dir)
    manifest, _ = resolve(study, results)
    write_program(results, study)
    write_settings(study, results)
    write_config(study, results, manifest, cores=2, device="cpu", spread=ExecutionOptions())


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
    """Have Snakemake start, in place of every stage, a shell that writes the names of what it reads as its record.

    Parameters
    ----------
    folder : output folder whose work/config.json is there
    """
    program, config = folder / "work" / "stand_in.sh", folder / "work" / "config.json"
    write_text(program, _STAND_IN)
    program.chmod(0o700)
    write_text(config, json.dumps({**json.loads(config.read_text()), "python": str(program)}))


def write_records(results: StudyResults) -> None:
    """Make real records of those: what is read by content, and with `measure` and a page the files they leave.

    Parameters
    ----------
    results : StudyResults, with a record of names from `stand_in` for each step
    """
    folder = results.output_dir
    read = Checksums(results.checksums_json)
    for path in sorted((folder / RECORDS).rglob("*.json"), key=lambda p: _ORDER.index(p.relative_to(
            folder / RECORDS).with_suffix("").parts[0])):
        subject = path.stem
        left = {"measure": [results.subject_table(subject, t) for t in (*SLICES, *EMPTY_SLICES)],
                "subject_report": [results.subject_html(subject)]}.get(path.parent.name, [])
        write_text(path, json.dumps({
            "reads": {name: content(folder, name, read) for name in path.read_text().splitlines()},
            "writes": {p.relative_to(folder).as_posix(): read(p) for p in left}}))
    read.save()
