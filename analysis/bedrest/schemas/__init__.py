"""Every table of the toolkit: columns, dtypes, units, keys, meaning. Checked on write and on read.

The one source of `data_manifest/columns.md`. Knows nothing of where tables lie or how they are made.
"""

from __future__ import annotations

from bedrest.schemas import statistics
from bedrest.schemas.between_visits import ACQUISITION, CHANGE, CHANGE_BANDS, DETECTIONS
from bedrest.schemas.cohort import BASELINE, FAILURES, FLOW, QC, REPORTS
from bedrest.schemas.inputs import EDITED_MASKS, INPUT_PROBLEMS, LEVEL_NAMES, PSEUDONYMS, SCANS, SESSIONS, SUBJECTS
from bedrest.schemas.measures import JOINT, MASK_MEASURES, MEASURES, SPINE_MEASURES
from bedrest.schemas.segmentation import EDITS, FINDINGS, MATCHES, RENAMES, SCAN_RECORDS
from bedrest.schemas.statistics import (
    CONTRASTS,
    MARGINAL_MEANS,
    MODELS,
    POWER,
    RECOVERY,
    RESIDUALS,
    SENSITIVITY,
    TERMS,
    VARIANCES,
)
from bedrest.schemas.table import Col, Table
from bedrest.schemas.training import TRAINING_ACCURACY, TRAINING_CURVES, TRAINING_FOLDS, TRAINING_SCANS
from bedrest.schemas.validity import (
    ACCURACY,
    AGREEMENT,
    ARVD,
    CALIBRATION,
    MADE_VISITS,
    MASK_ACCURACY,
    REPEATABILITY,
    TRUTH,
)

TABLES: tuple[Table, ...] = (
    SUBJECTS, SESSIONS, SCANS, LEVEL_NAMES, INPUT_PROBLEMS, EDITED_MASKS, PSEUDONYMS, SCAN_RECORDS, FINDINGS, MATCHES,
    JOINT, MEASURES, SPINE_MEASURES, MASK_MEASURES, CHANGE, CHANGE_BANDS, DETECTIONS, ARVD, ACCURACY, EDITS, RENAMES,
    MASK_ACCURACY, *statistics.TABLES, FLOW, BASELINE, QC,
    AGREEMENT, REPEATABILITY, MADE_VISITS, CALIBRATION, FAILURES, REPORTS, TRUTH, TRAINING_SCANS, TRAINING_FOLDS,
    TRAINING_CURVES, TRAINING_ACCURACY,
)

# One name a line would be all there is to see of this file.
__all__ = [  # noqa: RUF022
    "ACQUISITION", "TABLES", "Col", "Table", "ACCURACY", "AGREEMENT", "ARVD", "BASELINE", "CALIBRATION", "CHANGE",
    "CHANGE_BANDS", "CONTRASTS",
    "DETECTIONS", "EDITED_MASKS", "EDITS", "FAILURES", "FINDINGS", "FLOW", "INPUT_PROBLEMS", "JOINT", "LEVEL_NAMES",
    "MADE_VISITS", "MARGINAL_MEANS", "MASK_ACCURACY", "MASK_MEASURES", "MATCHES", "MEASURES", "MODELS", "POWER",
    "PSEUDONYMS", "QC", "RECOVERY", "RENAMES", "REPEATABILITY", "REPORTS", "RESIDUALS", "SCANS", "SCAN_RECORDS",
    "SENSITIVITY",
    "SESSIONS", "SPINE_MEASURES", "SUBJECTS", "TERMS", "TRAINING_ACCURACY", "TRAINING_CURVES", "TRAINING_FOLDS",
    "TRAINING_SCANS", "TRUTH", "VARIANCES",
]
