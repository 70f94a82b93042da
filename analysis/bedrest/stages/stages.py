"""The stages of a study, each a plain command over declared inputs and outputs.

`python -m bedrest.stages.stages NAME STUDY.toml [--subject S ...] [--page P] [--device D] [--threads N] [--record R ...]`;
the Snakefile orders them. With --record, one for each subject, the names of what is read come on standard input, and
the record is written last.
Bad data never raise here: they become rows with status and reason, and other visits go on. Computes nothing itself.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bedrest import schemas
from bedrest.errors import BedrestError, StudyError
from bedrest.findings import Finding, FindingCode, findings_of_error, worst_status
from bedrest.io.images.masks import label_table_path, read_label_map, write_label_map, write_volume
from bedrest.io.images.read_ahead import read_ahead
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import concat_tables, empty_table, typed_frame
from bedrest.io.tables.typed_csv import read_table, write_table
from bedrest.settings import load_study
from bedrest.stages.job import Job, Visit, like, loaded_weights, scan_of, use_threads, visits_of, write_slice
from bedrest.tables.segmented import segmented_frame
from bedrest.types import LabelMap, Scan, SegmentedDisc
from bedrest.vocabulary import LEVEL_OF_LABEL, TISSUE_OF_LABEL, MaskOrigin, MaskRole, Status
from bedrest.workflow.locks import at_work
from bedrest.workflow.records import about, checksum, recorded

if TYPE_CHECKING:
    from bedrest.segmentation.weights import TrainedNetwork


def segment(job: Job) -> None:
    """Every visit of a subject -> masks, scan records, findings. The weights are loaded once a process."""
    from bedrest.segmentation.device import resolve_device
    from bedrest.segmentation.weights import chosen_weights

    device = resolve_device(job.device)
    use_threads(device, job.threads)
    trained = loaded_weights(chosen_weights(job.study.weights))
    records, segmented = [], []
    read = partial(_read_visit, resample=job.study.images.resample)
    for visit, contents in read_ahead(visits_of(job), read):
        record, discs = _segment_visit(job, visit, contents, trained, device)
        records.append(record)
        segmented.append(segmented_frame(discs, subject=visit.subject, session=visit.session))
    rows = ({**r, "status": worst_status(r["findings"]).value} for r in records)
    write_slice(job, typed_frame(rows, schemas.SCAN_RECORDS), schemas.SCAN_RECORDS)
    write_slice(job, concat_tables(segmented, schemas.FINDINGS), schemas.FINDINGS)


def _read_visit(visit: Visit, *, resample: bool) -> LabelMap | Scan:
    """The mask that was given, or the scan to segment."""
    if given := visit.paths.get(MaskRole.MASK):
        return read_label_map(given, where=visit.where)
    return scan_of(visit, resample=resample)


def _segment_visit(job: Job, visit: Visit, contents: Callable[[], LabelMap | Scan], trained: TrainedNetwork,
                   device: str) -> tuple[dict[str, Any], list[SegmentedDisc]]:
    from bedrest.segmentation.engine import segment as run_engine

    key = {"subject": visit.subject, "session": visit.session}
    target = job.results.mask(visit.subject, visit.session)
    header = like(visit)
    record: dict[str, Any] = {**key, "mask_path": "", "source": MaskOrigin.AUTOMATIC.value, "contrasts": "",
                              "device": "", "seconds": float("nan"), "findings": ()}
    begun = time.monotonic()
    try:
        content = contents()
        if isinstance(content, LabelMap):
            record["source"] = MaskOrigin.GIVEN.value
            discs = content
            found = [SegmentedDisc(label, level)
                     for label, level in LEVEL_OF_LABEL.items() if (discs.data == label).any()]
        else:
            result = run_engine(trained, content, device=device, tissues=job.study.tissues == "all")
            discs, found = result.discs, list(result.segmented)
            record |= {"contrasts": "+".join(visit.contrasts()), "device": device,
                       "findings": (*content.notes, *result.warnings)}
            write_volume(result.disc_probability, job.results.probability(visit.subject, visit.session), like=header,
                         dtype=np.int16)
            if result.tissues is not None:
                names = {**TISSUE_OF_LABEL, **{f.label: f.name for f in found}}
                write_label_map(result.tissues, job.results.tissue_mask(visit.subject, visit.session), names=names,
                                like=header)
        write_label_map(discs, target, names={**LEVEL_OF_LABEL, **{f.label: f.name for f in found}}, like=header)
        record |= {"mask_path": str(target.relative_to(job.results.output_dir)),
                   "seconds": round(time.monotonic() - begun, 2)}
        if not any(d.status != Status.FAILED for d in found):
            record["findings"] += found[0].findings if found else (Finding(FindingCode.MASK_EMPTY),)
    except BedrestError as error:
        maps = (target, job.results.tissue_mask(visit.subject, visit.session))
        for left in (*maps, *map(label_table_path, maps), job.results.probability(visit.subject, visit.session)):
            left.unlink(missing_ok=True)  # of other images than those of now
        return record | {"findings": (*record["findings"], *findings_of_error(error))}, []
    return record, found


def follow(job: Job) -> None:
    """All visits of a subject -> the volume of each disc, measured in all of them alike."""
    from bedrest.stages.joint_volumes import follow_subject

    follow_subject(job)


def measure(job: Job) -> None:
    """Masks of a subject -> measures of every disc, what a person corrected, and agreement with reference masks."""
    from bedrest.stages.measure import measure_subject

    measure_subject(job)


def change(job: Job) -> None:
    """Measures of a subject -> change, arvd and everything that went wrong with this subject."""
    from bedrest.tables.arvd import arvd_frame
    from bedrest.tables.change import change_frame
    from bedrest.tables.failures import failures_frame, without_corrected

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


def tables(job: Job) -> None:
    """Subjects' slices -> cohort tables; who was left out before the analysis is among the failures."""
    from bedrest.tables.failures import excluded_frame

    subjects = list(job.results.read_manifest(schemas.SUBJECTS)["subject"])
    for table in (schemas.MEASURES, schemas.SPINE_MEASURES, schemas.CHANGE, schemas.ARVD, schemas.ACCURACY,
                  schemas.EDITS, schemas.FAILURES):
        frames = [job.results.read_subjects(subjects, table)]
        if table is schemas.FAILURES:
            frames.insert(0, excluded_frame(job.results.read_manifest(schemas.INPUT_PROBLEMS), analysed=subjects))
        write_table(concat_tables(frames, table), job.results.table(table), table)


def statistics(job: Job) -> None:
    """Cohort tables -> every statistical table, and sentences for a paper."""
    from bedrest import __version__
    from bedrest.io.files import write_text
    from bedrest.measure.registry import VOLUME
    from bedrest.statistics.study.analysis import Analysis, AnalysisOptions
    from bedrest.statistics.study.flow import StudyTables
    from bedrest.statistics.study.paper_text import Records, paper_text
    from bedrest.statistics.study.responses import AnalysisPlan
    from bedrest.statistics.study.sensitivity import Resampling
    from bedrest.tables.edits import mask_counts
    from bedrest.tables.measures import method_counts
    from bedrest.tables.qc import qc_frame

    study, results, wanted = job.study, job.results, job.study.statistics
    subjects = results.read_manifest(schemas.SUBJECTS)
    problems = results.read_manifest(schemas.INPUT_PROBLEMS)
    excluded = tuple(sorted(set(problems["subject"]) - set(subjects["subject"]) - {""}))
    tables = StudyTables(subjects, results.read_manifest(schemas.SESSIONS),
                         results.read_subjects(subjects["subject"], schemas.SCAN_RECORDS),
                         results.read(schemas.MEASURES), results.read(schemas.CHANGE, measure=VOLUME.name),
                         results.read(schemas.ACCURACY), results.read(schemas.ARVD))
    plan = AnalysisPlan(study.groups, study.session_ids, study.reference_session, wanted.covariates, wanted.covariance,
                        wanted.confidence_level)
    options = AnalysisOptions(wanted.recovery_band_percent, Resampling(wanted.resamples, wanted.seed), excluded)
    analysis = Analysis(tables, plan, options)
    qc = qc_frame(subjects=subjects, sessions=tables.sessions, measures=tables.measures,
                  failures=results.read(schemas.FAILURES), planned={s.id: s.study_day for s in study.sessions})
    for table, frame in (*analysis.tables(), (schemas.QC, qc)):
        write_table(frame, results.table(table), table)
    records = Records.of(analysis, version=__version__, description=study.description,
                         masks=mask_counts(tables.measures), methods=method_counts(tables.measures))
    write_text(results.paper_text, paper_text(records, source="automatic"))


def subject_report(job: Job) -> None:
    from bedrest.pages.reports import make_subject_report

    make_subject_report(job.study, job.results, job.subject)


def cohort_report(job: Job) -> None:
    from bedrest.pages.reports import make_cohort_report

    make_cohort_report(job.study, job.results)


def page(job: Job) -> None:
    from bedrest.pages.reports import make_page

    make_page(job.study, job.results, job.page)


def figures(job: Job) -> None:
    from bedrest.pages.reports import draw_figures

    draw_figures(job.study, job.results)


def index(job: Job) -> None:
    from bedrest.pages.index import write_index
    from bedrest.pages.reports import write_reports_table
    from bedrest.workflow.provenance import write_provenance

    write_reports_table(job.study, job.results)
    write_index(job.results, job.study)
    write_provenance(job.results, job.study)


STAGE_BROKE = "stage broke down: "
STAGES: dict[str, Callable[[Job], None]] = {
    "segment": segment, "follow": follow, "measure": measure, "change": change, "tables": tables,
    "statistics": statistics, "figures": figures, "subject_report": subject_report, "cohort_report": cohort_report,
    "page": page, "index": index,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("study", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--subject", nargs="+", default=[""], help="several share what the process has loaded")
    parser.add_argument("--page", default="")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", type=Path, nargs="+", default=[],
                        help="where to write down what was read and written, one for each subject")
    parser.add_argument("--study-sha256", default="", help="refuse another study.toml than the run began with")
    args = parser.parse_args()
    subject = ""
    try:
        if args.study_sha256 and checksum(args.study) != args.study_sha256:
            raise StudyError("the study.toml that the run began with", "another one, or none", str(args.study),
                             "Run again.")
        study, results = load_study(args.study), StudyResults(args.output)
        reads = sys.stdin.read().splitlines() if args.record else []
        for subject, record in zip(args.subject, args.record or [None] * len(args.subject), strict=True):
            job = Job(study, results, subject, args.device, args.threads, args.page)
            if record is None:
                STAGES[args.stage](job)
                continue
            with at_work(args.output), recorded(results, record, about(subject, reads, of=args.subject)):
                STAGES[args.stage](job)
    except BedrestError as error:
        print(f"{STAGE_BROKE}{args.stage} {subject or args.page}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
