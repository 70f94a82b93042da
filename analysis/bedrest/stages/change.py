"""Measures of a subject -> change of every disc, ARVD, and everything that went wrong with this subject.

Orders the work; computes nothing itself.
"""

from __future__ import annotations

from bedrest import schemas
from bedrest.stages.stage import Job, Scope, Stage, write_slice
from bedrest.tables.arvd import arvd_frame
from bedrest.tables.change import change_frame
from bedrest.tables.failures import failures_frame, without_corrected
from bedrest.vocabulary import LEVELS


def run(job: Job) -> None:
    """Write the subject's slices of change, arvd and failures."""
    read = job.results.read_subject
    measures, visits = read(job.subject, schemas.MEASURES), read(job.subject, schemas.SCAN_RECORDS)
    acquisitions = visits.merge(read(job.subject, schemas.SESSIONS), on=["subject", "session"])
    changes = change_frame(measures, reference_session=job.study.reference_session,
                           confidence_level=job.study.statistics.confidence_level, acquisitions=acquisitions)
    renames = read(job.subject, schemas.RENAMES)
    records, findings = without_corrected(visits, read(job.subject, schemas.FINDINGS), measures=measures,
                                          renames=renames)
    findings = findings[~findings["level"].isin(set(LEVELS) - set(job.study.measured_levels))]
    failures = failures_frame(
        input_problems=read(job.subject, schemas.INPUT_PROBLEMS), scan_records=records, findings=findings,
        renames=renames, measures=measures, accuracy=read(job.subject, schemas.ACCURACY), change=changes)
    arvd = arvd_frame(measures, reference_session=job.study.reference_session)
    for table, frame in ((schemas.CHANGE, changes), (schemas.ARVD, arvd), (schemas.FAILURES, failures)):
        write_slice(job, frame, table)


STAGE = Stage("change", run, Scope.SUBJECT, after=("measure",), inputs=(schemas.SESSIONS, schemas.INPUT_PROBLEMS),
              settings=("reference_session", "levels", "statistics.confidence_level"))
