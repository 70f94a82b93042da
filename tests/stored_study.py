"""A small synthetic study with every stored result that reports, figures and `bedrest verify` read; no network runs."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from bedrest import schemas
from bedrest.findings import Finding, FindingCode
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import empty_table, typed_frame
from bedrest.io.tables.typed_csv import write_table
from bedrest.settings import Study, load_study
from bedrest.statistics.study.cohort_models import level_models
from bedrest.statistics.study.detection import detections_frame
from bedrest.statistics.study.estimates import contrasts_frame, residuals_frame
from bedrest.statistics.study.flow import StudyTables, flow_frame
from bedrest.statistics.study.responses import AnalysisPlan, observations
from bedrest.statistics.study.summary import change_bands
from bedrest.statistics.study.validation import agreement_frame
from bedrest.tables.arvd import arvd_frame
from bedrest.tables.calibration import calibration_frame
from bedrest.tables.change import change_frame
from bedrest.vocabulary import LEVELS

GROUPS = ("bed rest", "bed rest + exercise")
VISITS = (("ses-1", -3.0, "baseline", 0.0), ("ses-2", 60.0, "bed_rest", 0.06))
TOML = """
name = "stored"
description = "Synthetic study: nobody was scanned."
groups = ["bed rest", "bed rest + exercise"]
reference_session = "ses-1"
output = "out"
{more}
[statistics]
recovery_band_percent = 2
[images]
layout = "bids"
root = "."
"""
BLOCK = '[[sessions]]\nid = "{}"\nstudy_day = {}\nphase = "{}"\n'


def measures_of(subjects: int, levels: Sequence[str], *, seed: int = 0) -> pd.DataFrame:
    """Automatic and reference volumes of subjects in two groups at two visits; one disc failed."""
    rng, rows = np.random.default_rng(seed), []
    size = np.exp(rng.normal(0, 0.12, subjects))
    places = itertools.product(range(subjects), VISITS, enumerate(levels))
    for i, (session, day, phase, swelling), (at, level) in places:
        true = size[i] * (6_000 + 1_200 * at) * (1 + swelling / (1 + i % 2) + rng.normal(0, 0.008))
        for source in ("automatic", "reference"):
            lost = (i, session, level, source) == (1, "ses-2", "L4-L5", "automatic")
            volume = true * (1 + rng.normal(0, 0.01)) if source == "automatic" else true
            rows.append({"subject": f"sub-{i + 1:02d}", "group": GROUPS[i % 2], "session": session, "study_day": day,
                         "phase": phase, "level": level, "source": source, "mask_origin": source,
                         **({} if lost else {"volume_mm3": volume, "volume_method": "voxels",
                                             "volume_single_mm3": volume * 1.001, "volume_voxels_mm3": volume * 0.99}),
                         "status": "failed" if lost else "ok",
                         "findings": [Finding(FindingCode.DISC_IN_GAP)] if lost else []})
    return typed_frame(rows, schemas.MEASURES)


def accuracy_of(measures: pd.DataFrame) -> pd.DataFrame:
    wide = measures.pivot(index=["subject", "session", "level"], columns="source", values="volume_mm3").reset_index()
    wide = wide[wide["automatic"].notna()]
    return typed_frame([{"subject": r.subject, "session": r.session, "level": r.level, "dice": 0.95,
                         "centre_distance_mm": 0.2, "volume_predicted_mm3": r.automatic,
                         "volume_reference_mm3": r.reference,
                         "volume_error_percent": 100 * (r.automatic / r.reference - 1), "status": "ok"}
                        for r in wide.itertuples()], schemas.ACCURACY)


def made_visits(levels) -> pd.DataFrame:
    """A calibration in which 2.7 % of a true 3 % is measured, with errors of 0.2 %."""
    return typed_frame([
        {"subject": f"sub-0{s}", "session": session, "level": level, "measure": "volume_mm3", "contrasts": "water",
         "true_percent": true, "reference_value": 9000.0, "value": 9000 * (1 + change / 100), "change_percent": change,
         "volume_method": "single", "status": "ok"}
        for s in (1, 2) for n, (session, true) in enumerate((("unchanged-1", 0.0), ("changed-1", 3.0)))
        for k, level in enumerate(levels) for change in [0.9 * true + 0.2 * (-1) ** (n + k + s)]], schemas.MADE_VISITS)


def store_study(folder: Path, *, subjects: int = 4, levels: Sequence[str] = LEVELS[-2:],
                more: str = "") -> tuple[Study, StudyResults]:
    """Write study.toml, manifest, subjects' slices and the tables that are read; returns the study and its results."""
    folder.mkdir(parents=True, exist_ok=True)
    text = TOML.format(more=more) + "".join(BLOCK.format(*v[:3]) for v in VISITS)
    (folder / "study.toml").write_text(text)
    study = load_study(folder / "study.toml")
    results = StudyResults(study.output_dir)
    measures = measures_of(subjects, levels)
    change = change_frame(measures, reference_session="ses-1")
    arvd, accuracy = arvd_frame(measures, reference_session="ses-1"), accuracy_of(measures)
    subject_rows = measures[["subject", "group"]].drop_duplicates()
    visits = measures[["subject", "session", "study_day", "phase"]].drop_duplicates()
    records = typed_frame([{"subject": v["subject"], "session": v["session"], "source": "automatic", "device": "cpu",
                            "seconds": 1.5, "status": "ok"} for v in visits.to_dict("records")], schemas.SCAN_RECORDS)
    image = folder / "image.nii"
    image.write_bytes(b"stands for an image")
    scans = typed_frame([{"subject": v["subject"], "session": v["session"], "contrast": "water", "path": str(image),
                          "sha256": "c8cc0d3a"} for v in visits.to_dict("records")], schemas.SCANS)
    failed = measures[measures["status"] == "failed"].assign(stage="segment")
    plan = AnalysisPlan(GROUPS, study.session_ids, "ses-1", (), "compound_symmetry", 0.95)
    data = observations(measures, source="automatic", subjects=subject_rows, sessions=visits, plan=plan)
    models = level_models(data, plan)
    tables = StudyTables(subject_rows, visits, records, measures, change)
    modelled = ((schemas.CONTRASTS, contrasts_frame(models, subject_rows)),
                (schemas.RESIDUALS, residuals_frame(models)), (schemas.FLOW, flow_frame(tables)),
                (schemas.AGREEMENT, agreement_frame(accuracy, arvd, confidence_level=0.95, seed=0)),
                (schemas.REPEATABILITY, empty_table(schemas.REPEATABILITY)),
                (schemas.CHANGE_BANDS, change_bands(change)), (schemas.MADE_VISITS, made := made_visits(levels)),
                (schemas.CALIBRATION, calibration_frame(made, None)),
                (schemas.DETECTIONS, detections_frame(change, empty_table(schemas.REPEATABILITY),
                                                      confidence_level=0.95)))
    for table, frame in ((schemas.SUBJECTS, subject_rows), (schemas.SESSIONS, visits), (schemas.SCANS, scans),
                         *((t, empty_table(t)) for t in (schemas.INPUT_PROBLEMS, schemas.EDITED_MASKS,
                                                         schemas.LEVEL_NAMES))):
        write_table(frame, results.manifest_table(table), table)
    for table, frame in ((schemas.MEASURES, measures), (schemas.CHANGE, change), (schemas.ARVD, arvd),
                         (schemas.ACCURACY, accuracy), (schemas.FAILURES, failed[schemas.FAILURES.column_names]),
                         (schemas.EDITS, empty_table(schemas.EDITS)),
                         (schemas.SPINE_MEASURES, empty_table(schemas.SPINE_MEASURES)), *modelled):
        write_table(frame, results.table(table), table)
    for subject in subject_rows["subject"]:
        for table, frame in ((schemas.SCAN_RECORDS, records), (schemas.MEASURES, measures), (schemas.CHANGE, change)):
            write_table(frame[frame["subject"] == subject], results.subject_table(subject, table), table)
    mask = results.mask("sub-01", "ses-1")
    mask.parent.mkdir(parents=True)
    mask.write_bytes(b"stands for a mask")
    return study, results
