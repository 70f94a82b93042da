"""Masks of a subject -> measures of every disc at every visit. Orders the work; computes nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bedrest import schemas
from bedrest.errors import BedrestError
from bedrest.findings import Finding, FindingCode, findings_of_error
from bedrest.imaging.common_grid import contrasts_at, labels_on
from bedrest.io.files import sha256_of
from bedrest.io.images.masks import placed_on, read_label_map
from bedrest.io.images.nifti import RESAMPLE_ON_REQUEST, read_volume
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import concat_tables, empty_table
from bedrest.longitudinal.error_model import errors_path, joined, load_errors, read_errors
from bedrest.measurement.comparison.agreement import (
    DiscAgreement,
    compare_masks,
    name_binary_reference,
    with_other_names,
)
from bedrest.measurement.definition import DiscMeasure
from bedrest.measurement.discs import measure_discs
from bedrest.measurement.numbering.recognise import OF_REFERENCE_IN_STUDY, NamedMask, name_discs
from bedrest.measurement.quality import checked
from bedrest.measurement.spine import measure_spine
from bedrest.measurement.volumes import volumes_from_probability
from bedrest.segmentation.weights import chosen_weights
from bedrest.settings import Study
from bedrest.stages.corrected_masks import Corrections, MeasuredMask, corrections_of, keep, measured_mask
from bedrest.stages.stage import Job, Scope, Stage, write_slice
from bedrest.stages.visits import Visit, images_of, is_ours, like, visits_of
from bedrest.tables.edits import renames_frame
from bedrest.tables.joint import with_errors, with_joint
from bedrest.tables.measures import (
    VisitKey,
    accuracy_frame,
    failed_accuracy,
    failed_frame,
    measures_frame,
    spine_frame,
    with_segmented,
    without_signals,
)
from bedrest.types import LabelMap, require_same_grid, same_grid
from bedrest.vocabulary import LEVEL_OF_LABEL, MaskOrigin, MaskRole

_NOT_ASKED = Finding(FindingCode.LEVEL_NOT_ASKED)


def run(job: Job) -> None:
    """Write measures of every disc, manual corrections, and agreement with reference masks."""
    records = job.results.read_subject(job.subject, schemas.SCAN_RECORDS).set_index("session")
    sessions = job.results.read_subject(job.subject, schemas.SESSIONS).set_index("session")
    group = job.results.read_subject(job.subject, schemas.SUBJECTS)["group"].iloc[0]
    findings = job.results.read_subject(job.subject, schemas.FINDINGS)
    corrections = corrections_of(job.results, job.subject)
    measures, spines, accuracies, edits, absent = [], [], [], [], {}
    for visit in visits_of(job):
        day, phase = sessions.loc[visit.session, ["study_day", "phase"]]
        key = VisitKey(visit.subject, group, visit.session, float(day), str(phase))
        visit_findings = findings[findings["session"] == visit.session]
        chosen, frame, spine = _measure_ours(job, visit, key, records.loc[visit.session], visit_findings, corrections)
        edits.append(chosen.edits)
        if chosen.absent is not None:
            absent[visit.session] = chosen.absent
        frames, of_reference, agreement = _measure_reference(visit, key, chosen.mask, job.study)
        measures += [frame, *frames]
        spines += [spine, *of_reference]
        accuracies += agreement
    # A disc that was named manually may be another one than was measured jointly.
    joint = empty_table(schemas.JOINT) if corrections.disputed or absent else \
        job.results.read_subject(job.subject, schemas.JOINT)
    weights = chosen_weights(job.study.weights)
    sha256 = sha256_of(weights)
    errors = joined(load_errors(weights, sha256=sha256), read_errors(job.results.study_errors, sha256=sha256))
    measured = with_joint(concat_tables(measures, schemas.MEASURES), joint)
    measured = with_errors(measured, joint, records.reset_index(), errors)
    for table, written in ((schemas.MEASURES, [measured]), (schemas.SPINE_MEASURES, spines),
                           (schemas.ACCURACY, accuracies), (schemas.EDITS, edits),
                           (schemas.RENAMES, [renames_frame(corrections.levels, absent)])):
        write_slice(job, concat_tables(written, table), table)


def _measure_ours(job: Job, visit: Visit, key: VisitKey, record: pd.Series, segmented: pd.DataFrame,
                  corrections: Corrections) -> tuple[MeasuredMask, pd.DataFrame, pd.DataFrame]:
    resample = job.study.images.resample
    scan = images_of(visit, resample=resample)
    chosen = measured_mask(job.results, corrections, visit=key, record=record, segmented=segmented,
                           grid=scan.grid if scan is not None else None)
    keep(job.results, chosen, visit=key, like=like(visit))
    mask, segmented = chosen.mask, chosen.segmented
    others = [v for v in LEVEL_OF_LABEL.values() if v not in job.study.measured_levels]

    def failed(findings: tuple[Finding, ...]) -> tuple[MeasuredMask, pd.DataFrame, pd.DataFrame]:
        wanted = [v for v in LEVEL_OF_LABEL.values() if v not in others]
        frame = concat_tables([failed_frame(key, source="automatic", mask_origin=chosen.origin, levels=levels,
                                            findings=why)
                               for levels, why in ((wanted, findings), (others, (_NOT_ASKED,)))], schemas.MEASURES)
        return chosen, frame, spine_frame(measure_spine([]), frame, visit=key, source="automatic")

    if mask is None:
        return failed(chosen.findings)
    levels = {int(label): level for label, level in zip(segmented["label"], segmented["level"], strict=True)}
    levels = levels or dict(LEVEL_OF_LABEL)
    wanted = {k: v for k, v in levels.items() if v not in others}
    if resample and scan is not None and not same_grid(scan.grid, mask.grid):
        scan = images_of(visit, resample=True, target=mask.grid)
    images, left_out = contrasts_at(scan, mask) if scan is not None else ({}, [])
    try:
        measured = checked(measure_discs(mask, wanted, images, _tissues_of(job, visit, chosen),
                                         volumes_mm3=_volumes_of(job, visit, chosen, record)), mask)
    except BedrestError as error:
        return failed(findings_of_error(error))
    measured += [DiscMeasure(levels[k], k, findings=(_NOT_ASKED,)) for k in levels if k not in wanted]
    frame = measures_frame(measured, visit=key, source="automatic", mask_origin=str(record["source"]))
    frame.loc[frame["level"].isin(chosen.edited), "mask_origin"] = MaskOrigin.EDITED.value
    frame = with_segmented(without_signals(frame, left_out), segmented)
    return chosen, frame, spine_frame(measure_spine(measured), frame, visit=key, source="automatic")


def _tissues_of(job: Job, visit: Visit, chosen: MeasuredMask) -> LabelMap | None:
    """The neighbours that were segmented with these discs; a map left over from another run does not count.

    After names were changed a vertebra's number no longer says which disc it lies on.
    """
    path = job.results.tissue_mask(visit.subject, visit.session)
    if chosen.mask is None or chosen.origin == MaskOrigin.GIVEN or chosen.renamed or job.study.tissues != "all":
        return None
    try:
        tissues = read_label_map(path, where=visit.where)
    except BedrestError:  # not there, or damaged
        return None
    return tissues if same_grid(tissues.grid, chosen.mask.grid) else None


def _volumes_of(job: Job, visit: Visit, chosen: MeasuredMask, record: pd.Series) -> dict[int, float]:
    """Summed probabilities, by label, of the discs that are as the network segmented them, whatever was done to others.

    A mask that was given has none, nor has a disc that was edited: which voxels are disc was decided manually.
    """
    if chosen.mask is None or not is_ours(record):
        return {}
    probability = read_volume(job.results.probability(visit.subject, visit.session), where=visit.where)
    automatic = read_label_map(job.results.mask(visit.subject, visit.session), where=visit.where)
    summed = volumes_from_probability(probability, automatic)
    labels = chosen.segmented.loc[~chosen.segmented["level"].isin(chosen.edited), "label"]
    under = {int(k): automatic.data[chosen.mask.data == k] for k in labels}
    return {k: summed[int(before[0])] for k, before in under.items() if before.size}  # names may have been changed


def _measure_reference(visit: Visit, key: VisitKey, ours: LabelMap | None, study: Study
                       ) -> tuple[list[pd.DataFrame], list[pd.DataFrame], list[pd.DataFrame]]:
    path = visit.paths.get(MaskRole.REFERENCE)
    if path is None:
        return [], [], []
    try:
        named = read_named_reference(path, where=visit.where, labels=study.images.reference_labels)
        reference = named.in_ours()
        wanted = {k: v for k, v in LEVEL_OF_LABEL.items()
                  if v in study.measured_levels and (reference.data == k).any()}
        measured = [replace(m, findings=(*named.findings(m.level), *m.findings))
                    for m in checked(measure_discs(reference, wanted, {}), reference)]
    except BedrestError as error:
        return [], [], [failed_accuracy(key, findings=findings_of_error(error))]
    frame = measures_frame(measured, visit=key, source="reference")
    spine = spine_frame(measure_spine(measured), frame, visit=key, source="reference")
    if ours is None:
        return [frame], [spine], []
    try:
        agreement = _agreement(ours, reference, wanted, where=visit.where, resample=study.images.resample)
    except BedrestError as error:  # it has its own grid, and was measured in it
        return [frame], [spine], [failed_accuracy(key, findings=findings_of_error(error), levels=wanted.values())]
    return [frame], [spine], [accuracy_frame(agreement, visit=key)]


def _agreement(ours: LabelMap, reference: LabelMap, levels: dict[int, str], *, where: str,
               resample: bool) -> list[DiscAgreement]:
    """Agreement on the grid of our mask; a reference on another grid is moved there where the study asks for it."""
    at = f"{where} {MaskRole.REFERENCE}"
    reference = placed_on(reference, ours.grid)
    if not resample:
        require_same_grid(ours.grid, reference.grid, where=at, names=("the scan", "the reference mask"),
                          remedy=RESAMPLE_ON_REQUEST)
    moved = labels_on(reference, ours.grid, where=at) if resample else reference
    agreement = compare_masks(ours, moved, levels=levels, reference_levels=levels)
    agreement = with_other_names(agreement, ours, moved, levels=levels, reference_levels=levels)
    if same_grid(ours.grid, reference.grid):
        return agreement
    return [replace(a, findings=(*a.findings, Finding(FindingCode.REFERENCE_MASK_MOVED))) for a in agreement]


def read_reference(path: Path, *, where: str, labels: str | None) -> LabelMap:
    """As `read_named_reference`, numbered as in `vocabulary.LEVEL_OF_LABEL`.

    Raises GeometryError: the labels cannot be the discs that they are named.
    """
    return read_named_reference(path, where=where, labels=labels).in_ours()


def read_named_reference(path: Path, *, where: str, labels: str | None) -> NamedMask:
    """A reference mask with its discs named, as by `name_reference`."""
    reference = read_label_map(path, where=where, by_name=labels is None)
    return name_reference(reference, labels, where=f"{where} {MaskRole.REFERENCE} ({path})")


def name_reference(reference: LabelMap, labels: str | None, *, where: str) -> NamedMask:
    """The discs of a reference mask named; those of one with 0 and 1 only from the bottom up, if there are seven.

    `labels`: as in `settings.Images.reference_labels`. Raises GeometryError: there are not seven.
    """
    if labels is None and set(pd.unique(reference.data.ravel())) == {0, 1}:
        reference = name_binary_reference(reference, where=where)
    return name_discs(reference, labels, where=where, option=OF_REFERENCE_IN_STUDY)


def _files(study: Study, page: str) -> Mapping[str, Path]:
    weights = chosen_weights(study.weights)
    return {"weights": weights, "errors of the network": errors_path(weights),
            "calibration": StudyResults(study.output_dir).study_errors}


STAGE = Stage("measure", run, Scope.SUBJECT, after=("joint_volumes",),
              inputs=(schemas.SCANS, schemas.SUBJECTS, schemas.SESSIONS, schemas.EDITED_MASKS, schemas.LEVEL_NAMES),
              settings=("tissues", "levels", "images.resample", "images.reference_labels"), files=_files)
