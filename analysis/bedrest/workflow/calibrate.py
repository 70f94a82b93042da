"""`bedrest calibrate`: visits made from a study's own scans, with known changes, through the study's own stages.

One subject is one stage with a record, so that what fits its images, weights, settings and program is not done again.
The tables and the error model are made anew from all subjects. Orders the work; computes nothing itself.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
import pandas as pd
from tqdm import tqdm

from bedrest import schemas
from bedrest.calibration.known_change import known_change
from bedrest.calibration.made_visits import Repositioning, Scanner, bones_of, made_visit, planned_changes
from bedrest.errors import BedrestError, StudyError
from bedrest.findings import Finding, findings_of_error
from bedrest.io.files import sha256_of, write_if_changed
from bedrest.io.images.masks import write_volume
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import typed_frame
from bedrest.io.tables.typed_csv import read_table, write_table
from bedrest.longitudinal.error_model import ErrorModel, errors_text, load_errors
from bedrest.measurement.registry import VOLUME
from bedrest.settings import Session, Study, load_study
from bedrest.stages import change, joint_volumes, measure, segment
from bedrest.stages.all_stages import fingerprint_of, reads_of, record_of
from bedrest.stages.stage import Job, Scope, Stage, write_slice
from bedrest.stages.visits import scan_of, visit_in
from bedrest.tables.calibration import badge_words, calibration_frame, fitted_errors, made_frame
from bedrest.vocabulary import FIRST_UNNAMED_LABEL, LEVEL_OF_LABEL, Contrast, Phase, Status, level_name
from bedrest.workflow.fingerprints import fingerprint
from bedrest.workflow.records import outdated, recorded
from bedrest.workflow.verify import temporary_folder

if TYPE_CHECKING:
    from bedrest.types import Scan, Segmentation

DEFAULT_SUBJECTS = 4
_REFERENCE = "made-reference"


def run(job: Job) -> None:
    """One subject's made visits, measured; a reference visit that cannot be used is a failed row."""
    from bedrest.segmentation.device import resolve_device
    from bedrest.segmentation.engine import segment as segment_scan
    from bedrest.segmentation.weights import chosen_weights

    device = resolve_device(job.device)
    segment.use_threads(device, job.threads)
    visit = visit_in(job.results.read_subject(job.subject, schemas.SCANS), job.subject, job.study.reference_session)
    try:
        scan = scan_of(visit, resample=job.study.images.resample)
        trained = segment.loaded_weights(chosen_weights(job.study.weights))
        reference = segment_scan(trained, scan, device=device, tissues=True)
        frame = _measured(job, scan, reference)
    except BedrestError as error:
        frame = _failed(job.subject, "", findings_of_error(error))
    write_slice(job, frame, schemas.MADE_VISITS)


def _measured(job: Job, scan: Scan, segmentation: Segmentation) -> pd.DataFrame:
    """Visits made, put through the stages of a subject in a folder of their own, and compared with what was made."""
    settings, contrasts = job.study.calibration, "+".join(scan.contrasts)
    labels = [k for k, level in LEVEL_OF_LABEL.items()
              if level in job.study.measured_levels and (segmentation.discs.data == k).any()]
    if not labels:
        return _failed(job.subject, contrasts, segmentation.warnings, discs=sum(
            d.label >= FIRST_UNNAMED_LABEL for d in segmentation.segmented))
    known = partial(known_change, segmentation.discs, probability=segmentation.disc_probability,
                    bones=bones_of(segmentation.tissues.data) if segmentation.tissues else None)
    number = crc32(job.subject.encode())  # whoever else takes part
    plans = {_REFERENCE: {}, **planned_changes(labels, subject=number, visits=settings.visits)}
    true: dict[str, dict[str, float]] = {}
    with temporary_folder(job.results.output_dir, "calibrate") as folder:
        for n, (session, wanted) in enumerate(plans.items()):
            known_to_be = known(wanted)
            rng = np.random.default_rng([settings.seed, number, n])
            made = made_visit(scan, known_to_be, rng, scanner=Scanner(), repositioning=Repositioning())
            for contrast, volume in made.contrasts.items():
                write_volume(volume, Path(folder) / f"{session}_{contrast}.nii")
            true[session] = {LEVEL_OF_LABEL[k]: known_to_be.change_percent(k) for k in labels}
        inner = _inner_job(job, Path(folder), list(plans), list(scan.contrasts))
        for subject_stage in (segment, joint_volumes, measure, change):
            subject_stage.run(inner)
        read = partial(inner.results.read_subject, job.subject)
        del true[_REFERENCE]
        return made_frame(read(schemas.MEASURES), read(schemas.JOINT), true, reference=_REFERENCE, contrasts=contrasts)


def _inner_job(job: Job, folder: Path, sessions: list[str], contrasts: list[str]) -> Job:
    """The job of a study whose one subject has the made visits, with its manifest written."""
    planned = tuple(Session(id=s, study_day=n, phase=Phase.BED_REST if n else Phase.BASELINE)
                    for n, s in enumerate(sessions))
    images = job.study.images.model_copy(update={"resample": False, "labels": None})
    study = job.study.model_copy(update={"sessions": planned, "reference_session": sessions[0], "images": images})
    inner = replace(job, study=study, results=StudyResults(folder))
    subject = {"subject": job.subject}
    scans = [{**subject, "session": s, "contrast": c, "path": str(folder / f"{s}_{c}.nii")}
             for s in sessions for c in contrasts]
    for table, rows in (
            (schemas.SUBJECTS, [{**subject, "group": job.study.groups[0]}]), (schemas.SCANS, scans),
            (schemas.SESSIONS, [{**subject, "session": s.id, "study_day": s.study_day, "phase": s.phase.value}
                                for s in planned]),
            (schemas.EDITED_MASKS, []), (schemas.LEVEL_NAMES, []), (schemas.INPUT_PROBLEMS, [])):
        write_slice(inner, typed_frame(rows, table), table)
    return inner


def _failed(subject: str, contrasts: str, findings: tuple[Finding, ...], *, discs: int = 1) -> pd.DataFrame:
    """Rows that say why a subject's reference visit tells nothing, one for each disc without a name."""
    return typed_frame(({"subject": subject, "session": _REFERENCE, "level": level_name(FIRST_UNNAMED_LABEL + n),
                         "measure": VOLUME.name, "contrasts": contrasts, "status": Status.FAILED.value,
                         "findings": findings} for n in range(max(discs, 1))), schemas.MADE_VISITS)


STAGE = Stage("calibrate", run, Scope.SUBJECT, inputs=(schemas.SCANS,), files=joint_volumes.weights_and_errors,
              settings=("calibration.visits", "calibration.seed", "visits", "levels", "tissues", "reference_session",
                        "images.resample"))


def calibrate(study_toml: Path, *, subjects: int | None, device: str | None, cores: int) -> int:
    """Calibrate a study under the lock of its output folder and print the outcome; 3 where nothing was measured.

    `subjects`: how many; None: as study.toml says, else `DEFAULT_SUBJECTS`.
    """
    from bedrest.segmentation.device import resolve_device
    from bedrest.workflow.locks import locked
    from bedrest.workflow.run import prepare

    study = load_study(study_toml)
    results = StudyResults(study.output_dir)
    with locked(study.output_dir):
        prepare(study, results)
        frame = calibrate_study(study, results, subjects=subjects or study.calibration.subjects or DEFAULT_SUBJECTS,
                                device=resolve_device(device or study.device), cores=cores)
    shown = frame[frame["measure"] == VOLUME.name].dropna(axis=1, how="all").drop(columns=["measure", "method"])
    print(shown.round(2).to_string(index=False), badge_words(frame, str(study.path)), sep="\n")
    print(f"Tables: {results.study_errors.parent}. The next `bedrest run` judges changes by them.")
    return 0 if frame["sd_percent"].notna().any() else 3


def calibrate_study(study: Study, results: StudyResults, *, subjects: int, device: str, cores: int) -> pd.DataFrame:
    """Measure made visits of a sample of subjects that have none yet; write tables and errors.

    Returns rows of `schemas.CALIBRATION`. The manifest is written and the output folder locked.
    """
    from bedrest.segmentation.weights import chosen_weights

    sample = sampled(results.read_manifest(schemas.SCANS), study.reference_session, subjects)
    if not sample:
        raise StudyError(f"a subject with images at {study.reference_session}", "none", str(study.path),
                         "Name a reference visit that was scanned.")
    write_if_changed(results.output_dir / fingerprint_of(STAGE),
                     json.dumps(fingerprint(STAGE, study), indent=1, sort_keys=True) + "\n")
    outdated(results)
    for subject in tqdm(sample, desc="made visits", unit="subject"):
        record = Path(record_of(STAGE.name, subject))
        if not (results.output_dir / record).is_file():
            with recorded(results, record, reads_of(STAGE, of=subject, subjects=(), pages=())):
                run(Job(study, results, subject, device, cores))
    made = results.read_subjects(sample, schemas.MADE_VISITS)
    weights = chosen_weights(study.weights)
    sha256 = sha256_of(weights)
    shipped = load_errors(weights, sha256=sha256)
    frame = calibration_frame(made, shipped)
    for table, rows in ((schemas.MADE_VISITS, made), (schemas.CALIBRATION, frame)):
        write_table(rows, results.calibration(table), table, only_if_changed=True)
    write_if_changed(results.study_errors, errors_text(ErrorModel(sha256, fitted_errors(made, shipped))))
    return frame


def sampled(scans: pd.DataFrame, session: str, subjects: int) -> list[str]:
    """So many subjects with an image at a visit, evenly over the list of all; `scans`: as in `schemas.SCANS`."""
    having = scans[(scans["session"] == session) & scans["contrast"].isin(list(Contrast))]["subject"].unique()
    chosen = np.unique(np.linspace(0, len(having) - 1, min(subjects, len(having))).round().astype(int))
    return [str(having[i]) for i in chosen]


def outdated_calibration(results: StudyResults) -> str:
    """A sentence where a calibration is in use whose images, weights, settings or program changed; else empty."""
    path = results.calibration(schemas.MADE_VISITS)
    if not path.is_file():
        return ""
    subjects = read_table(path, schemas.MADE_VISITS)["subject"].unique()
    old = [s for s in subjects if not (results.output_dir / record_of(STAGE.name, s)).is_file()]
    return f"The calibration is of other images, settings or weights ({', '.join(old[:3])}): run `bedrest calibrate`." \
        if old else ""
