"""All stages of a study, in their order, and the files by which they depend on each other.

A new stage is a module that holds a `STAGE`, and its name here. The module is loaded when it is needed: a process that
makes tables loads no network. The Snakefile, the jobs and the records agree on the files named here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module

from bedrest.stages.stage import Scope, Stage

NAMES = ("segment", "joint_volumes", "measure", "change", "tables", "statistics", "figures", "subject_report",
         "cohort_report", "page", "index")
# Stages of one job: a process that makes all of them for a subject loads the network once.
SUBJECT_STAGES = NAMES[:4]
JOBS: dict[str, tuple[str, ...]] = {"subject": SUBJECT_STAGES, **{name: (name,) for name in NAMES[4:]}}

RECORDS = "work/_records"  # no subject is called so
FINGERPRINTS = "work/settings"


@cache
def stage(name: str) -> Stage:
    """A stage by its name."""
    loaded: Stage = import_module(f"bedrest.stages.{name}").STAGE
    return loaded


def record_of(name: str, of: str = "") -> str:
    """A stage's record, relative to the output folder; `of` is a subject or a page."""
    return f"{RECORDS}/{name}/{of}.json" if of else f"{RECORDS}/{name}.json"


def fingerprint_of(declared: Stage, of: str = "") -> str:
    """The file that holds settings, program and libraries of a stage; each page has its own, all subjects share one."""
    return f"{FINGERPRINTS}/{declared.name}/{of}.json" if declared.scope is Scope.PAGE else \
        f"{FINGERPRINTS}/{declared.name}.json"


def reads_of(declared: Stage, *, of: str, subjects: Sequence[str], pages: Sequence[str]) -> list[str]:
    """Names of all that a stage reads, relative to the output folder, for a subject or page of those of the study."""
    names = []
    for before in map(stage, declared.after):
        every = {Scope.STUDY: [""], Scope.SUBJECT: subjects, Scope.PAGE: pages}[before.scope]
        names += [record_of(before.name, each) for each in ([of] if before.scope is declared.scope else every)]
    folder = f"work/{of}" if declared.scope is Scope.SUBJECT else "manifest"
    return [*names, *(f"{folder}/{table.name}.csv" for table in declared.inputs), fingerprint_of(declared, of)]


def reads_of_job(job: str, *, of: str, subjects: Sequence[str], pages: Sequence[str]) -> list[str]:
    """All that the stages of a job read or wait for, without what they make for each other."""
    made = {record_of(name, of) for name in JOBS[job]}
    names = [name for declared in map(stage, JOBS[job])
             for name in (*reads_of(declared, of=of, subjects=subjects, pages=pages), *declared.awaits)]
    return [name for name in dict.fromkeys(names) if name not in made]
