"""What changed from the reference visit to another, disc by disc."""

from __future__ import annotations

from dataclasses import replace

from bedrest.schemas import columns as col
from bedrest.schemas.columns import num
from bedrest.schemas.table import Col, Table
from bedrest.vocabulary import ErrorsFrom, LimitFrom, Verdict

# Columns of `SESSIONS` and `SCAN_RECORDS` that should be alike at all visits of a subject, and the share by which
# numbers may differ: 2.89 T is written as 3 T, too.
ACQUISITION = {"contrasts": 0.0, "voxel_mm": 0.01, "field_tesla": 0.05, "scanner": 0.0, "slice_mm": 0.02}

CHANGE = Table("change", "one row per disc and visit after the reference visit", (
    col.SUBJECT, col.GROUP, col.LEVEL, col.SOURCE, col.MEASURE, col.REFERENCE_SESSION, col.SESSION, col.STUDY_DAY,
    col.PHASE,
    replace(col.MASK_ORIGIN, name="mask_origin_reference", meaning="mask_origin at the reference visit",
            required=False),
    col.MASK_ORIGIN,
    Col("unit", "str", "unit of the values and of change"),
    num("reference_value", "the measure at the reference visit; voxels counted where the other volume is", ""),
    num("value", "the measure at this visit; voxels counted where the other volume is", ""),
    num("change", "value minus reference_value", ""),
    num("change_percent", "change over reference_value", "%"),
    Col("acquisition_differs", "str", "what is known to differ between the acquisitions of both visits, joined by +: "
        f"{', '.join(ACQUISITION)}; empty where nothing is", required=False),
    num("se_percent", "standard error of change_percent, from both visits' volume_repeat_sd_mm3; where acquisitions "
        "differ from volume_se_mm3, if that is larger", "%", 0),
    num("ci_low_percent", "lower end of the interval of change_percent", "%"),
    num("ci_high_percent", "upper end of the interval of change_percent", "%"),
    Col("confidence_level", "float", "level of the interval", "1"),
    Col("errors_from", "str", "as in measures; shipped where the two visits differ in it", required=False,
        values=tuple(ErrorsFrom)),
    num("change_single_percent", "the same change, each visit measured alone", "%"),
    col.STATUS, col.REASON, col.FINDINGS,
), ("subject", "level", "source", "session", "measure"))

CHANGE_BANDS = Table("change_bands", "mean and SD of a group's changes at a visit, one row per level and mask source", (
    col.SOURCE, col.GROUP, col.SESSION, col.STUDY_DAY, col.LEVEL,
    Col("n", "int", "subjects with a change", "1", minimum=0),
    Col("mean_percent", "float", "mean change", "%"),
    num("low_percent", "mean minus one SD between subjects; empty below n = 2", "%"),
    num("high_percent", "mean plus one SD", "%"),
), ("source", "group", "session", "level"))

DETECTIONS = Table("detections", "whether a change is beyond measurement error, one row per row of change", (
    col.SUBJECT, col.GROUP, col.LEVEL, col.SOURCE, col.MEASURE, col.REFERENCE_SESSION, col.SESSION, col.STUDY_DAY,
    col.PHASE,
    num("change_percent", "as in change", "%"),
    num("limit_low_percent", "a change below this is a fall beyond error", "%"),
    num("limit_high_percent", "a change above this is a rise beyond error", "%", 0),
    Col("limit_from", "str", "repeated scans of this study: its smallest detectable change, true change from day to "
        "day included; calibration of this study: `bedrest calibrate`; error model: estimated on synthetic scans, "
        "where there is neither", required=False,
        values=tuple(LimitFrom)),
    Col("n_repeats", "int", "values behind the limit; empty for the error model", "1", required=False, minimum=0),
    Col("confidence_level", "float", "share of unchanged discs inside the limits; 0.95 from repeated scans, else as in "
        "study.toml", "1", required=False),
    Col("verdict", "str", "rose, fell, within error, or not judged", values=tuple(Verdict)),
    col.STATUS, replace(col.REASON, meaning="why a row is not ok, or not judged"),
    col.FINDINGS,
), ("subject", "level", "source", "session", "measure"))
