"""Measures of a subject -> change of every disc, ARVD, and everything that went wrong with this subject.

Orders the work; computes nothing itself.
"""

from __future__ import annotations

from bedrest import schemas
from bedrest.io.tables.typed_csv import empty_table, read_table
from bedrest.stages.stage import Job, Scope, Stage, write_slice
from bedrest.tables.arvd import arvd_frame
from bedrest.tables.change import change_frame
from bedrest.tables.failures import failures_frame, without_corrected


def run(job: Job) -> None:
    """Write the subject's slices of change, arvd and failures."""
    read = job.results.read_subject
    measures = read(job.subject, schemas.MEASURES)
    changes = change_frame(measures, reference_session=job.study.reference_session,
                           confidence_level=job.study.statistics.confidence_level)
    arvd = arvd_frame(measures, reference_session=job.study.reference_session)
    write_slice(job, changes, schemas.CHANGE)
    write_slice(job, arvd, schemas.ARVD)
    problems = job.results.subject_table(job.subject, schemas.INPUT_PROBLEMS)
    renames = read(job.subject, schemas.RENAMES)
    records, findings = without_corrected(read(job.subject, schemas.SCAN_RECORDS),
                                          read(job.subject, schemas.FINDINGS), measures=measures, renames=renames)
    failures = failures_frame(
        input_problems=read_table(problems, schemas.INPUT_PROBLEMS) if problems.exists()
        else empty_table(schemas.INPUT_PROBLEMS),
        scan_records=records, findings=findings, renames=renames, measures=measures,
        accuracy=read(job.subject, schemas.ACCURACY), change=changes,
    )
    write_slice(job, failures, schemas.FAILURES)


STAGE = Stage("change", run, Scope.SUBJECT, after=("measure",), inputs=(schemas.INPUT_PROBLEMS,),
              settings=("reference_session", "statistics.confidence_level"))
