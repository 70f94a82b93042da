"""Which changes of single discs lie beyond measurement error. Stored tables in, verdicts out; fits nothing.

The limit comes from the repeated baseline scans of the study where it has any: they contain every error of real scans,
and true change from one day to the next, so theirs is the stricter limit. Otherwise it comes from the errors that the
network made on visits made from the study's own scans (`bedrest calibrate`), or else on synthetic ones
(`longitudinal.error_model`), which contain neither.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from bedrest.findings import Finding, FindingCode
from bedrest.io.tables.finding_cells import findings_of
from bedrest.io.tables.frames import text, typed_frame
from bedrest.measurement.registry import VOLUME
from bedrest.schemas import DETECTIONS, Col, Table
from bedrest.tables.change import half_width
from bedrest.vocabulary import ALL_LEVELS, MEASURED, ErrorsFrom, LimitFrom, Status, Verdict

MIN_SUBJECTS_OF_LEVEL = 10  # with fewer, an SD of one level is too uncertain: that of all levels together is used
REPEATS_LEVEL = 0.95  # of a smallest detectable change, by its definition, whatever level the intervals have


@dataclass(frozen=True)
class Limit:
    """How far two measurements of an unchanged disc may lie apart, in per cent of the first; NaN where not known.

    Above 0 it is farther than below, for both are a factor. `confidence_level` is the share of unchanged discs inside;
    `n_repeats` the values behind it, None for the error model; `limit_from` is empty where nothing is known.
    """

    low_percent: float = math.nan
    high_percent: float = math.nan
    confidence_level: float = math.nan
    limit_from: str = ""
    n_repeats: int | None = None


def smallest_detectable(repeatability: pd.DataFrame, *, source: str, level: str, measure: str = VOLUME.name) -> Limit:
    """The smallest detectable change of a disc in this study: the one place that chooses it.

    The row of the level where it rests on `MIN_SUBJECTS_OF_LEVEL` or more, else that of all levels; failed rows do not
    count. A rise is detectable from r = `sdc_percent` on, a fall from -100 r / (100 + r): the same factor down. An
    unknown limit where the study has no usable repeated baseline scans.
    """
    usable = repeatability[(repeatability["source"] == source) & (repeatability["measure"] == measure)
                           & (repeatability["status"] != Status.FAILED)
                           & repeatability["sdc_percent"].notna()]
    of_level = usable[(usable["level"] == level) & (usable["n_subjects"] >= MIN_SUBJECTS_OF_LEVEL)]
    chosen = of_level if len(of_level) else usable[usable["level"] == ALL_LEVELS]
    if chosen.empty:
        return Limit()
    rise = float(chosen["sdc_percent"].iloc[0])
    return Limit(-100 * rise / (100 + rise), rise, REPEATS_LEVEL, LimitFrom.REPEATS.value,
                 int(chosen["n_values"].iloc[0]))


def model_limit(se_percent: float, *, confidence_level: float, errors_from: str = ErrorsFrom.SHIPPED) -> Limit:
    """How far a disc may seem to change by the error model: beyond it, the interval in `change` leaves out 0.

    A missing standard error gives an unknown limit.
    """
    if not math.isfinite(se_percent):
        return Limit()
    reach = half_width(se_percent, confidence_level)
    limit_from = LimitFrom.CALIBRATION if errors_from == ErrorsFrom.STUDY else LimitFrom.MODEL
    return Limit(-reach, reach, confidence_level, limit_from.value)


def detections_frame(change: pd.DataFrame, repeatability: pd.DataFrame, *, confidence_level: float) -> pd.DataFrame:
    """Is each change beyond measurement error: one row for every row of `change`, as in `schemas.DETECTIONS`.

    `confidence_level` is that of limits from the error model; those from repeated scans are at `REPEATS_LEVEL`. Failed
    changes keep their row and findings and are not judged, as are those without any limit.
    """
    pairs = change[["source", "level", "measure"]].drop_duplicates().itertuples(index=False, name=None)
    repeats = {(s, lv, m): smallest_detectable(repeatability, source=s, level=lv, measure=m) for s, lv, m in pairs}
    rows = []
    for row, findings in zip(change.to_dict("records"), findings_of(change), strict=True):
        limit = repeats[row["source"], row["level"], row["measure"]]
        if row["status"] not in MEASURED:
            limit = Limit()
        elif not limit.limit_from:
            limit = model_limit(row["se_percent"], confidence_level=confidence_level, errors_from=row["errors_from"])
            if not limit.limit_from:
                masks = dict.fromkeys(text(row[c]) or "unknown" for c in ("mask_origin_reference", "mask_origin"))
                findings += (Finding(FindingCode.NO_LIMIT, {"masks": " and ".join(masks)}),)
        rows.append({
            **{name: row[name] for name in _CHANGE_COLUMNS}, "limit_low_percent": limit.low_percent,
            "limit_high_percent": limit.high_percent, "limit_from": limit.limit_from, "n_repeats": limit.n_repeats,
            "confidence_level": limit.confidence_level, "verdict": _verdict(row["change_percent"], limit).value,
            "status": row["status"], "findings": findings,
        })
    return typed_frame(rows, DETECTIONS)


_CHANGE_COLUMNS = ("subject", "group", "level", "source", "measure", "reference_session", "session", "study_day",
                   "phase", "change_percent")


def _verdict(change_percent: float, limit: Limit) -> Verdict:
    if not limit.limit_from:
        return Verdict.NOT_JUDGED
    if change_percent > limit.high_percent:
        return Verdict.ROSE
    return Verdict.FELL if change_percent < limit.low_percent else Verdict.WITHIN


_COLUMN = {c.name: c for c in DETECTIONS.columns}
DETECTION_COUNTS = Table("detection_counts", "how many discs changed beyond error, one row per source, group and "
                         "visit", (
    _COLUMN["source"], _COLUMN["group"], _COLUMN["session"], _COLUMN["study_day"],
    Col("rose", "int", "discs above their limit", "1", minimum=0),
    Col("fell", "int", "discs below it", "1", minimum=0),
    Col("within_error", "int", "discs inside", "1", minimum=0),
    Col("not_judged", "int", "discs without a change or without a limit", "1", minimum=0),
    Col("false_alarms_expected", "float", "of the judged discs, how many would lie outside if none had changed", "1",
        minimum=0),
), ("source", "group", "session"))


def detection_counts(detections: pd.DataFrame) -> pd.DataFrame:
    """Verdicts counted by source, group and visit, all levels together, as in `DETECTION_COUNTS`.

    Visits of a group in the order of their study day, its median over subjects.
    """
    rows = []
    for (source, group, session), discs in _in_view(detections).groupby(["source", "group", "session"], sort=False):
        counts = discs["verdict"].value_counts()
        judged = discs[discs["verdict"] != Verdict.NOT_JUDGED]
        rows.append({"source": source, "group": group, "session": session,
                     "study_day": float(discs["study_day"].median()),
                     **{v.value.replace(" ", "_"): int(counts.get(v.value, 0)) for v in Verdict},
                     "false_alarms_expected": float((1 - judged["confidence_level"]).sum())})
    first = {g: n for n, g in enumerate(dict.fromkeys(detections["group"]))}
    rows.sort(key=lambda r: (str(r["source"]), first[r["group"]], r["study_day"]))
    return typed_frame(rows, DETECTION_COUNTS)


def _in_view(detections: pd.DataFrame) -> pd.DataFrame:
    """Without discs that nobody could or wanted to see."""
    return detections[detections["status"] != Status.NOT_IN_VIEW]


def visit_changes(detections: pd.DataFrame) -> pd.DataFrame:
    """One subject's changes visit by visit, its discs together, from its detections of one source; for reading.

    Discs with a change, their mean, smallest and largest change in per cent; how many rose, fell, stayed within error,
    were not judged.
    """
    changes = detections.groupby("session", sort=False)["change_percent"].agg(**{
        "discs compared": "count", "mean change (%)": "mean", "smallest (%)": "min", "largest (%)": "max"})
    counts = detection_counts(detections).drop(columns=["source", "group", "false_alarms_expected"])
    return counts[["session", "study_day"]].merge(changes, on="session").merge(counts.drop(columns="study_day"),
                                                                               on="session")


def limit_words(detections: pd.DataFrame) -> str:
    """Where the limits come from and what they let through, in sentences, from the detections of one source."""
    sentences = []
    judged = detections[detections["verdict"] != Verdict.NOT_JUDGED]
    for limit_from, rows in judged.groupby("limit_from", sort=True):
        outside = 100 * (1 - rows["confidence_level"].iloc[0])
        sentences.append(
            f"{len(rows)} change(s) of single discs were judged by {_LIMITS[LimitFrom(limit_from)]}: beyond error are "
            f"rises above {_span(rows['limit_high_percent'])} % and falls below {_span(rows['limit_low_percent'])} %. "
            f"Of discs that do not change, {outside:.3g} % are expected to lie outside.")
    if lost := len(_in_view(detections)) - len(judged):
        sentences.append(f"{lost} change(s) were not judged; detections.csv has the reasons.")
    return " ".join(sentences)


_LIMITS = {
    LimitFrom.REPEATS: "the smallest detectable change of this study's repeated baseline scans, in which "
                       "true change from day to day counts as error",
    LimitFrom.CALIBRATION: "the errors made on this study's own scans, moved and changed by known amounts, for want of "
                           "repeated baseline scans",
    LimitFrom.MODEL: "an error model found on synthetic scans, for want of repeated baseline scans (real scans have "
                     "faults that synthetic ones lack)",
}


def _span(limits: pd.Series) -> str:
    nearest, farthest = (f"{limits[i]:+.1f}" for i in (limits.abs().idxmin(), limits.abs().idxmax()))
    return nearest if nearest == farthest else f"{nearest} to {farthest}"
