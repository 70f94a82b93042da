"""Tables of the cohort -> every statistical table, and sentences for a paper.

Orders the work; computes nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bedrest import __version__, schemas
from bedrest.io.files import write_text
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import empty_table
from bedrest.io.tables.typed_csv import read_table, write_table
from bedrest.measurement.registry import VOLUME
from bedrest.settings import Study
from bedrest.stages.stage import Job, Scope, Stage
from bedrest.tables.edits import mask_counts
from bedrest.tables.measures import method_counts
from bedrest.tables.pairs import counted_alike
from bedrest.tables.qc import qc_frame


def run(job: Job) -> None:
    """Cohort tables -> every statistical table, and sentences for a paper."""
    from bedrest.statistics.study.analysis import Analysis, AnalysisOptions
    from bedrest.statistics.study.flow import StudyTables
    from bedrest.statistics.study.paper_text import Records, paper_text
    from bedrest.statistics.study.responses import AnalysisPlan
    from bedrest.statistics.study.sensitivity import Resampling

    study, results, settings = job.study, job.results, job.study.statistics
    subjects = results.read_manifest(schemas.SUBJECTS)
    problems = results.read_manifest(schemas.INPUT_PROBLEMS)
    excluded = tuple(sorted(set(problems["subject"]) - set(subjects["subject"]) - {""}))
    measures = results.read(schemas.MEASURES)
    tables = StudyTables(subjects, results.read_manifest(schemas.SESSIONS),
                         results.read_subjects(subjects["subject"], schemas.SCAN_RECORDS),
                         counted_alike(measures), results.read(schemas.CHANGE, measure=VOLUME.name),
                         results.read(schemas.ACCURACY), results.read(schemas.ARVD))
    plan = AnalysisPlan(study.groups, study.session_ids, study.reference_session,
                        tuple(dict.fromkeys(settings.covariates)), settings.covariance, settings.confidence_level)
    options = AnalysisOptions(settings.recovery_band_percent, Resampling(settings.resamples, settings.seed), excluded)
    analysis = Analysis(tables, plan, options)
    qc = qc_frame(subjects=subjects, sessions=tables.sessions, measures=tables.measures,
                  failures=results.read(schemas.FAILURES), planned={s.id: s.study_day for s in study.sessions})
    for table, frame in (*analysis.tables(), (schemas.QC, qc)):
        write_table(frame, results.table(table), table)
    for calibrated in (schemas.MADE_VISITS, schemas.CALIBRATION):
        path = results.calibration(calibrated)
        write_table(read_table(path, calibrated) if path.is_file() else empty_table(calibrated),
                    results.table(calibrated), calibrated)
    records = Records.of(analysis, version=__version__, description=study.description,
                         masks=mask_counts(measures), methods=method_counts(measures))
    write_text(results.paper_text, paper_text(records, source="automatic"))


def _calibration(study: Study, page: str) -> Mapping[str, Path]:
    return {f"calibration ({t.name})": StudyResults(study.output_dir).calibration(t)
            for t in (schemas.MADE_VISITS, schemas.CALIBRATION)}


STAGE = Stage("statistics", run, Scope.STUDY, after=("tables",), files=_calibration,
              inputs=(schemas.SUBJECTS, schemas.SESSIONS, schemas.INPUT_PROBLEMS),
              settings=("statistics", "groups", "sessions", "reference_session", "description"))
