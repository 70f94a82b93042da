"""All stages of a study, in their order. A new stage is a module that holds a `STAGE`, and its name here.

A stage's module is loaded when it is asked for: a process that makes tables loads no network.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from bedrest.stages.stage import Stage

NAMES = ("segment", "joint_volumes", "measure", "change", "tables", "statistics", "figures", "subject_report",
         "cohort_report", "page", "index")
# Stages of one job: a process that makes all of them for a subject loads the network once.
SUBJECT_STAGES = NAMES[:4]
JOBS: dict[str, tuple[str, ...]] = {"subject": SUBJECT_STAGES, **{name: (name,) for name in NAMES[4:]}}


@cache
def stage(name: str) -> Stage:
    """A stage by its name."""
    loaded: Stage = import_module(f"bedrest.stages.{name}").STAGE
    return loaded
