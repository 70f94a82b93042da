"""A synthetic study of any size as the tables that its stages would have left. No images.

Everything is synthetic. For measuring how time and memory grow with the size of a study, and nothing else: the
reference masks' volumes and the agreement with them are simulated, not measured.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from bedrest.findings import Finding, FindingCode
from bedrest.io.tables.frames import typed_frame
from bedrest.measurement import registry
from bedrest.measurement.registry import DISC_MEASURES, VOLUME
from bedrest.measurement.volumes import VOLUME_SINGLE, VOLUME_VOXELS
from bedrest.schemas import (
    ACCURACY,
    ARVD,
    CHANGE,
    FAILURES,
    MEASURES,
    SCAN_RECORDS,
    SESSIONS,
    SPINE_MEASURES,
    SUBJECTS,
    Table,
)
from bedrest.statistics.planning.simulated_cohorts import Scenario
from bedrest.tables.arvd import arvd_frame
from bedrest.tables.change import change_frame
from bedrest.tables.failures import failures_frame
from bedrest.vocabulary import Status, VolumeMethod

from pipelines.benchmarks.simulated_study import draw_study

LOST = 0.04  # share of discs that could not be measured
DOUBTFUL = 0.04  # share of discs that are flagged
_NO_DISC, _DOUBT = (Finding(FindingCode.DISC_IN_GAP),), (Finding(FindingCode.AT_IMAGE_EDGE),)
SCAN_SECONDS = 2.0  # what a scan's record says; nothing was segmented


def draw_results(scenario: Scenario, rng: np.random.Generator) -> dict[Table, pd.DataFrame]:
    """Tables of all subjects: who, when, measures of both sources, change, arvd, accuracy, spines, failures.

    Parameters
    ----------
    scenario : Scenario
    rng : numpy Generator

    Returns
    -------
    dict of Table to DataFrame
        Each as in `schemas`; the rows of one subject are its slice.
    """
    study = draw_study(scenario, rng)
    measures = _measures(study.measures, rng)
    change = change_frame(measures, reference_session=scenario.sessions[0])
    arvd = arvd_frame(measures, reference_session=scenario.sessions[0])
    accuracy = _accuracy(measures, rng)
    scans = study.scan_records[["subject", "session", "source", "status"]].to_dict("records")
    records = typed_frame(({**row, "mask_path": f"masks/{row['subject']}_{row['session']}_discs.nii.gz",
                            "contrasts": "water", "device": "cpu", "seconds": SCAN_SECONDS} for row in scans),
                          SCAN_RECORDS)
    return {
        SUBJECTS: study.subjects, SESSIONS: study.sessions, SCAN_RECORDS: records, MEASURES: measures, CHANGE: change,
        ARVD: arvd, ACCURACY: accuracy, SPINE_MEASURES: _spines(measures),
        FAILURES: failures_frame(scan_records=records, measures=measures, accuracy=accuracy, change=change),
    }


def _measures(volumes: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Rows of both sources; some of the method's own are lost or doubtful."""
    true = volumes[VOLUME.name]
    lot = rng.random(len(volumes))
    lost, doubtful = lot < LOST, (lot >= LOST) & (lot < LOST + DOUBTFUL)
    automatic = volumes.assign(
        mask_origin="automatic", volume_method=np.where(lost, "", str(VolumeMethod.JOINT)),
        status=np.select([lost, doubtful], [str(Status.FAILED), str(Status.FLAGGED)], str(Status.OK)),
        findings=[_NO_DISC if gone else _DOUBT if unsure else () for gone, unsure in zip(lost, doubtful, strict=True)])
    for column, factor in ((VOLUME.name, 1.0), (VOLUME_SINGLE.name, 1.002), (VOLUME_VOXELS.name, 0.99),
                           ("volume_se_mm3", 0.01), ("volume_repeat_sd_mm3", 0.006)):
        automatic[column] = np.where(lost, np.nan, factor * true)
    shape = next(m.name for m in DISC_MEASURES if m.title)
    automatic[shape] = np.where(lost, np.nan, 8 + rng.normal(0, 0.5, len(automatic)))
    reference = volumes.assign(source="reference", mask_origin="reference", findings=[()] * len(volumes),
                               volume_method=str(VolumeMethod.VOXELS),
                               **{VOLUME.name: true * np.exp(rng.normal(0.01, 0.01, len(volumes)))})
    rows = pd.concat([automatic, reference], ignore_index=True)
    return typed_frame(rows.to_dict("records"), MEASURES)


def _accuracy(measures: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    key = ["subject", "session", "level"]
    wide = measures.pivot(index=key, columns="source", values=VOLUME.name).reset_index()
    wide = wide[wide["automatic"].notna()]
    wide = wide.assign(dice=rng.beta(200, 10, len(wide)), centre_distance_mm=rng.gamma(4, 0.05, len(wide)),
                       volume_error_percent=100 * (wide["automatic"] / wide["reference"] - 1), status=str(Status.OK))
    names = {"automatic": "volume_predicted_mm3", "reference": "volume_reference_mm3"}
    return typed_frame(wide.rename(columns=names).to_dict("records"), ACCURACY)


def _spines(measures: pd.DataFrame) -> pd.DataFrame:
    visits = measures[["subject", "group", "session", "study_day", "phase", "source"]].drop_duplicates()
    return typed_frame(({**v, **{m.name: 100.0 for m in registry.SPINE_MEASURES}, "n_discs": 6,
                         "status": str(Status.OK)} for v in visits.to_dict("records")), SPINE_MEASURES)
