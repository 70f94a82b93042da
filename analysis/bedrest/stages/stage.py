"""What a stage is: a function, and what it reads, declared beside it.

The order of work and what has to be done again follow from these declarations. Must not know who runs a stage, or when.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pandas as pd

from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import concat_tables
from bedrest.io.tables.typed_csv import write_table
from bedrest.schemas import Table
from bedrest.settings import Study


class Scope(StrEnum):
    """What one run of a stage is about."""

    SUBJECT = "subject"
    PAGE = "page"
    STUDY = "study"


@dataclass(frozen=True)
class Job:
    """What one run of a stage works on; `subject` and `page` are empty where they mean nothing to it."""

    study: Study
    results: StudyResults
    subject: str
    device: str
    threads: int
    page: str = ""


Files = Callable[[Study, str], Mapping[str, Path]]


def fixed_files(files: Mapping[str, Path]) -> Files:
    """The same files for every study and page."""
    def of(study: Study, page: str) -> Mapping[str, Path]:
        return files
    return of


_NO_FILES = fixed_files({})


@dataclass(frozen=True)
class Stage:
    """One step of a study.

    Attributes
    ----------
    name : as in records, messages and the Snakefile
    run : function of a `Job`; bad data become rows with status and reason and never raise
    scope : is it run once a subject, a page or a study
    after : stages it builds on; of one for the whole study, their results of every subject
    inputs : tables of the manifest that it reads: a subject's slices, or those of the whole study
    settings : keys of study.toml that it uses, dotted; `statistics` stands for all keys of that section
    files : function of study and page: other files whose content counts, by the name in messages
    awaits : results that must be there, in whatever state, relative to the output folder
    """

    name: str
    run: Callable[[Job], None]
    scope: Scope
    after: tuple[str, ...] = ()
    inputs: tuple[Table, ...] = ()
    settings: tuple[str, ...] = ()
    files: Files = _NO_FILES
    awaits: tuple[str, ...] = ()


def write_slice(job: Job, frame: pd.DataFrame, table: Table) -> None:
    """Write one subject's slice of a table."""
    write_table(concat_tables([frame], table), job.results.subject_table(job.subject, table), table)
