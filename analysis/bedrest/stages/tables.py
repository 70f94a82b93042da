"""Slices of every subject -> the tables of the cohort; who was left out before the analysis is among the failures.

Orders the work; computes nothing itself.
"""

from __future__ import annotations

from bedrest import schemas
from bedrest.io.tables.typed_csv import concat_tables, write_table
from bedrest.stages.stage import Job, Scope, Stage
from bedrest.tables.failures import excluded_frame

COHORT_TABLES = (schemas.MEASURES, schemas.SPINE_MEASURES, schemas.CHANGE, schemas.ARVD, schemas.ACCURACY,
                 schemas.EDITS, schemas.FAILURES)


def run(job: Job) -> None:
    """Write every cohort table."""
    subjects = list(job.results.read_manifest(schemas.SUBJECTS)["subject"])
    for table in COHORT_TABLES:
        frames = [job.results.read_subjects(subjects, table)]
        if table is schemas.FAILURES:
            frames.insert(0, excluded_frame(job.results.read_manifest(schemas.INPUT_PROBLEMS), analysed=subjects))
        write_table(concat_tables(frames, table), job.results.table(table), table)


STAGE = Stage("tables", run, Scope.STUDY, after=("change",), inputs=(schemas.SUBJECTS, schemas.INPUT_PROBLEMS))
