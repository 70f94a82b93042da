"""The stages of a study, each a plain command over declared inputs and outputs.

`python -m pipelines.stages NAME STUDY.toml [--subject S] [--device D] [--threads N]`; the Snakefile orders them.
Bad data never raise here: they become rows with status and reason, and other visits go on. Computes nothing itself.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis import schemas
from analysis.errors import BedrestError
from analysis.io.images import SAME_GRID_MM, read_scan, read_volume
from analysis.io.masks import read_label_map, write_label_map, write_volume
from analysis.io.read_ahead import read_ahead
from analysis.io.results import StudyResults
from analysis.io.tables import concat_tables, empty_table, read_table, write_table
from analysis.settings import Study, load_study
from analysis.types import DiscFinding, LabelMap, Scan, Volume
from analysis.vocabulary import LEVEL_OF_LABEL, TISSUE_OF_LABEL, Contrast, MaskOrigin, MaskRole, Status

if TYPE_CHECKING:
    from pipelines.corrections import Corrections, MeasuredMask


@dataclass(frozen=True)
class Job:
    """What one stage is asked to do."""

    study: Study
    results: StudyResults
    subject: str
    device: str
    threads: int


@dataclass(frozen=True)
class Visit:
    """One visit's files as the manifest has them."""

    subject: str
    session: str
    paths: dict[str, Path]

    @property
    def where(self) -> str:
        return f"{self.subject} {self.session}"

    def contrasts(self) -> dict[Contrast, Path]:
        return {c: self.paths[c] for c in Contrast if c in self.paths}


def visits_of(job: Job) -> list[Visit]:
    """The subject's visits in the order of their study day."""
    sessions = job.results.read_subject(job.subject, schemas.SESSIONS).sort_values("study_day")
    scans = job.results.read_subject(job.subject, schemas.SCANS)
    out = []
    for session in sessions["session"]:
        rows = scans[scans["session"] == session]
        paths = {c: Path(p) for c, p in zip(rows["contrast"], rows["path"], strict=True)}
        out.append(Visit(job.subject, session, paths))
    return out


def segment(job: Job) -> None:
    """Every visit of a subject -> masks, scan records, findings. The weights are loaded once."""
    from analysis.segmentation.device import resolve_device
    from analysis.segmentation.weights import chosen_weights, load_weights

    device = resolve_device(job.device)
    if device == "cpu":
        import torch

        torch.set_num_threads(job.threads)
    trained = load_weights(chosen_weights(job.study.weights))
    records, findings = [], []
    for visit, contents in read_ahead(visits_of(job), _read_visit):
        record, found = _segment_visit(job, visit, contents, trained, device)
        records.append(record)
        findings += found
    _write_slice(job, pd.DataFrame(records), schemas.SCAN_RECORDS)
    _write_slice(job, pd.DataFrame(findings), schemas.FINDINGS)


def _read_visit(visit: Visit) -> LabelMap | Scan:
    """The mask that was given, or the scan to segment."""
    if given := visit.paths.get(MaskRole.MASK):
        return read_label_map(given, where=visit.where)
    return read_scan(visit.contrasts(), where=visit.where)


def _segment_visit(job: Job, visit: Visit, contents: Callable[[], LabelMap | Scan], trained,
                   device: str) -> tuple[dict, list[dict]]:
    from analysis.segmentation.engine import segment as run_engine

    key = {"subject": visit.subject, "session": visit.session}
    target = job.results.mask(visit.subject, visit.session)
    like = _like(visit)
    record = {**key, "mask_path": "", "source": "automatic", "contrasts": "", "device": "", "seconds": float("nan"),
              "warnings": "", "status": Status.OK, "reason": ""}
    begun = time.monotonic()
    try:
        content = contents()
        if isinstance(content, LabelMap):
            record["source"] = "given"
            discs = content
            found = [DiscFinding(label, level, Status.OK, "", float("nan"))
                     for label, level in LEVEL_OF_LABEL.items() if (discs.data == label).any()]
        else:
            result = run_engine(trained, content, device=device, tissues=job.study.tissues == "all")
            discs, found = result.discs, list(result.findings)
            record |= {"contrasts": "+".join(visit.contrasts()), "device": device,
                       "warnings": " | ".join(result.warnings)}
            write_volume(result.disc_probability, job.results.probability(visit.subject, visit.session), like=like,
                         dtype=np.int16)
            if result.tissues is not None:
                names = {**TISSUE_OF_LABEL, **{f.label: f.name for f in found}}
                write_label_map(result.tissues, job.results.tissue_mask(visit.subject, visit.session), names=names,
                                like=like)
        write_label_map(discs, target, names={**LEVEL_OF_LABEL, **{f.label: f.name for f in found}}, like=like)
        record |= {"mask_path": str(target.relative_to(job.results.output_dir)),
                   "seconds": round(time.monotonic() - begun, 2)}
        if not any(f.status != Status.FAILED for f in found):
            record |= {"status": Status.FAILED, "reason": found[0].reason if found else "the mask is empty"}
    except BedrestError as error:
        return record | {"status": Status.FAILED, "reason": str(error)}, []
    return record, [{**key, "level": f.name, "label": f.label, "mean_probability": f.mean_probability,
                     "level_confidence": f.level_confidence, "status": f.status, "reason": f.reason} for f in found]


def _like(visit: Visit) -> Path | None:
    """The file whose header codes a mask of this visit takes."""
    return visit.paths.get(MaskRole.MASK) or next(iter(visit.contrasts().values()), None)


def measure(job: Job) -> None:
    """Masks of a subject -> measures of every disc, what a person corrected, and agreement with reference masks."""
    from analysis.tables.edits import renames_frame
    from analysis.tables.measures import VisitKey
    from pipelines.corrections import corrections_of

    records = job.results.read_subject(job.subject, schemas.SCAN_RECORDS).set_index("session")
    sessions = job.results.read_subject(job.subject, schemas.SESSIONS).set_index("session")
    group = job.results.read_subject(job.subject, schemas.SUBJECTS)["group"].iloc[0]
    findings = job.results.read_subject(job.subject, schemas.FINDINGS)
    asked = corrections_of(job.results, job.subject)
    measures, spines, accuracies, edits, absent = [], [], [], [], {}
    for visit in visits_of(job):
        day, phase = sessions.loc[visit.session, ["study_day", "phase"]]
        key = VisitKey(visit.subject, group, visit.session, float(day), str(phase))
        found = findings[findings["session"] == visit.session]
        chosen, frame, spine = _measure_ours(job, visit, key, records.loc[visit.session], found, asked)
        measures.append(frame)
        spines.append(spine)
        edits.append(chosen.edits)
        if chosen.absent is not None:
            absent[visit.session] = chosen.absent
        frames, own_spines, agreement = _measure_reference(visit, key, chosen.mask)
        measures += frames
        spines += own_spines
        accuracies += agreement
    _write_slice(job, concat_tables(measures, schemas.MEASURES), schemas.MEASURES)
    _write_slice(job, concat_tables(spines, schemas.SPINE_MEASURES), schemas.SPINE_MEASURES)
    _write_slice(job, concat_tables(accuracies, schemas.ACCURACY), schemas.ACCURACY)
    _write_slice(job, concat_tables(edits, schemas.EDITS), schemas.EDITS)
    _write_slice(job, renames_frame(asked.levels, absent), schemas.RENAMES)


def _images_of(visit: Visit) -> Scan | None:
    """The scan, for signals; None where it cannot be read, which segmentation has already told."""
    try:
        return read_scan(visit.contrasts(), where=visit.where) if visit.contrasts() else None
    except BedrestError:
        return None


def _measure_ours(job: Job, visit: Visit, key, record: pd.Series, found: pd.DataFrame,
                  asked: Corrections) -> tuple[MeasuredMask, pd.DataFrame, pd.DataFrame]:
    from analysis.measure.discs import measure_discs
    from analysis.measure.spine import measure_spine
    from analysis.measure.spine_checks import checked
    from analysis.tables.measures import failed_frame, measures_frame, spine_frame, with_findings
    from pipelines.corrections import keep, measured_mask

    scan = _images_of(visit)
    chosen = measured_mask(job.results, asked, visit=key, record=record, found=found,
                           grid=scan.grid if scan is not None else None)
    keep(job.results, chosen, visit=key, like=_like(visit))
    mask, found = chosen.mask, chosen.findings

    def failed(reason: str) -> tuple[MeasuredMask, pd.DataFrame, pd.DataFrame]:
        frame = failed_frame(key, source="automatic", mask_origin=chosen.origin,
                             levels=tuple(LEVEL_OF_LABEL.values()), reason=reason)
        return chosen, frame, spine_frame(measure_spine([]), frame, visit=key, source="automatic")

    if mask is None:
        return failed(chosen.reason)
    levels = {int(label): level for label, level in zip(found["label"], found["level"], strict=True)}
    levels = levels or dict(LEVEL_OF_LABEL)
    images = scan.contrasts if scan is not None and scan.grid.shape == mask.grid.shape else {}
    try:
        measured = checked(measure_discs(mask, levels, images, _tissues_of(job, visit, chosen),
                                         probability=_probability_of(job, visit, chosen)), mask)
    except BedrestError as error:
        return failed(str(error))
    frame = with_findings(measures_frame(measured, visit=key, source="automatic", mask_origin=chosen.origin), found)
    return chosen, frame, spine_frame(measure_spine(measured), frame, visit=key, source="automatic")


def _tissues_of(job: Job, visit: Visit, chosen: MeasuredMask) -> LabelMap | None:
    """The neighbours that segmentation found with these discs; a map left over from another run does not count.

    After names were set by hand the vertebra on a disc is no longer told by its number.
    """
    path = job.results.tissue_mask(visit.subject, visit.session)
    if job.study.tissues != "all" or chosen.origin == MaskOrigin.GIVEN or chosen.absent is not None or (
            chosen.mask is None or not path.exists()):
        return None
    tissues = read_label_map(path, where=visit.where)
    return tissues if tissues.grid.max_corner_distance_mm(chosen.mask.grid) <= SAME_GRID_MM else None


def _probability_of(job: Job, visit: Visit, chosen: MeasuredMask) -> Volume | None:
    """The probability behind the mask, set to the person's word where the mask was edited."""
    from analysis.measure.volumes import after_edit

    automatic = job.results.mask(visit.subject, visit.session)
    if chosen.origin == MaskOrigin.GIVEN or chosen.mask is None or not automatic.exists():
        return None
    probability = read_volume(job.results.probability(visit.subject, visit.session), where=visit.where)
    if chosen.origin != MaskOrigin.EDITED:
        return probability
    return after_edit(probability, read_label_map(automatic, where=visit.where), chosen.mask)


def _measure_reference(visit: Visit, key, ours: LabelMap | None
                       ) -> tuple[list[pd.DataFrame], list[pd.DataFrame], list[pd.DataFrame]]:
    from analysis.measure.agreement import compare_masks
    from analysis.measure.discs import measure_discs
    from analysis.measure.spine import measure_spine
    from analysis.measure.spine_checks import checked
    from analysis.tables.measures import accuracy_frame, failed_accuracy, measures_frame, spine_frame

    path = visit.paths.get(MaskRole.REFERENCE)
    if path is None:
        return [], [], []
    try:
        reference = read_reference(path, where=visit.where)
        levels = {k: v for k, v in LEVEL_OF_LABEL.items() if (reference.data == k).any()}
        measured = checked(measure_discs(reference, levels, {}), reference)
        frame = measures_frame(measured, visit=key, source="reference")
        spine = spine_frame(measure_spine(measured), frame, visit=key, source="reference")
        if ours is None:
            return [frame], [spine], []
        agreement = compare_masks(ours, reference, levels=levels, reference_levels=levels)
        return [frame], [spine], [accuracy_frame(agreement, visit=key)]
    except BedrestError as error:
        return [], [], [failed_accuracy(key, reason=str(error))]


def read_reference(path: Path, *, where: str) -> LabelMap:
    """A reference mask with its discs named; one of 0 and 1 only is named from the bottom up."""
    from analysis.measure.agreement import name_binary_reference

    reference = read_label_map(path, where=where)
    return name_binary_reference(reference) if set(pd.unique(reference.data.ravel())) == {0, 1} else reference


def change(job: Job) -> None:
    """Measures of a subject -> change, arvd and everything that went wrong with this subject."""
    from analysis.tables.arvd import arvd_frame
    from analysis.tables.change import change_frame
    from analysis.tables.failures import failures_frame, without_corrected

    read = job.results.read_subject
    measures = read(job.subject, schemas.MEASURES)
    changes = change_frame(measures, reference_session=job.study.reference_session)
    arvd = arvd_frame(measures, reference_session=job.study.reference_session)
    _write_slice(job, changes, schemas.CHANGE)
    _write_slice(job, arvd, schemas.ARVD)
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
    _write_slice(job, failures, schemas.FAILURES)


def tables(job: Job) -> None:
    """Subjects' slices -> cohort tables; who was left out before the analysis is among the failures."""
    from analysis.tables.failures import excluded_frame

    subjects = list(job.results.read_manifest(schemas.SUBJECTS)["subject"])
    for table in (schemas.MEASURES, schemas.SPINE_MEASURES, schemas.CHANGE, schemas.ARVD, schemas.ACCURACY,
                  schemas.EDITS, schemas.FAILURES):
        frames = [job.results.read_subject(s, table) for s in subjects]
        if table is schemas.FAILURES:
            frames.insert(0, excluded_frame(job.results.read_manifest(schemas.INPUT_PROBLEMS), analysed=subjects))
        write_table(concat_tables(frames, table), job.results.table(table), table)


def statistics(job: Job) -> None:
    """Cohort tables -> every statistical table, and sentences for a paper."""
    from analysis import __version__
    from analysis.io.files import write_text
    from analysis.stats.cohort import Asked, analyse
    from analysis.stats.flow import StudyTables
    from analysis.stats.paper_text import Records, paper_text
    from analysis.stats.responses import Choices
    from analysis.stats.sensitivity import Resampling
    from analysis.tables.edits import mask_counts

    study, results, wanted = job.study, job.results, job.study.statistics
    subjects = results.read_manifest(schemas.SUBJECTS)
    problems = results.read_manifest(schemas.INPUT_PROBLEMS)
    excluded = tuple(sorted(set(problems["subject"]) - set(subjects["subject"]) - {""}))
    records = [results.read_subject(s, schemas.SCAN_RECORDS) for s in subjects["subject"]]
    tables = StudyTables(subjects, results.read_manifest(schemas.SESSIONS),
                         concat_tables(records, schemas.SCAN_RECORDS), results.read(schemas.MEASURES),
                         results.read(schemas.CHANGE))
    choices = Choices(study.groups, study.session_ids, study.reference_session, wanted.covariates, wanted.covariance,
                      wanted.confidence_level)
    found = analyse(tables, choices,
                    Asked(wanted.recovery_band_percent, Resampling(wanted.resamples, wanted.seed), excluded),
                    accuracy=results.read(schemas.ACCURACY), arvd=results.read(schemas.ARVD))
    for table, frame in found.tables():
        write_table(frame, results.table(table), table)
    own = Records(choices, found.flow, found.models, found.terms, found.contrasts, found.sensitivity, found.recovery,
                  __version__, study.description, mask_counts(tables.measures))
    write_text(results.paper_text, paper_text(own, source="automatic"))


def _write_slice(job: Job, frame: pd.DataFrame, table: schemas.Table) -> None:
    write_table(concat_tables([frame], table), job.results.subject_table(job.subject, table), table)


def subject_report(job: Job) -> None:
    from pipelines.reports import make_subject_report

    make_subject_report(job.study, job.results, job.subject)


def cohort_report(job: Job) -> None:
    from pipelines.reports import make_cohort_report

    make_cohort_report(job.study, job.results)


def figures(job: Job) -> None:
    from pipelines.reports import draw_figures

    draw_figures(job.study, job.results)


def index(job: Job) -> None:
    from pipelines.index_page import write_index
    from pipelines.provenance import write_provenance

    write_provenance(job.results, job.study)
    write_index(job.results, job.study)


STAGES: dict[str, Callable[[Job], None]] = {
    "segment": segment, "measure": measure, "change": change, "tables": tables, "statistics": statistics,
    "figures": figures, "subject-report": subject_report, "cohort-report": cohort_report, "index": index,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("study", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--subject", default="")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    try:
        job = Job(load_study(args.study), StudyResults(args.output), args.subject, args.device, args.threads)
        STAGES[args.stage](job)
    except BedrestError as error:
        print(f"{args.stage} {args.subject}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
