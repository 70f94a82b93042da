"""Change, arvd and failures from small tables worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
from bedrest.findings import Finding, FindingCode, render, worst_status
from bedrest.io.tables.finding_cells import findings_of
from bedrest.io.tables.frames import typed_frame, validated
from bedrest.measurement.comparison.agreement import DiscAgreement
from bedrest.measurement.definition import DiscMeasure, DiscPosition
from bedrest.schemas import ACCURACY, ARVD, CHANGE, FAILURES, INPUT_PROBLEMS, MEASURES, SCAN_RECORDS
from bedrest.tables.arvd import arvd, arvd_frame, signed_change_error
from bedrest.tables.change import change_frame
from bedrest.tables.failures import failures_frame
from bedrest.tables.measures import (
    VisitKey,
    accuracy_frame,
    failed_accuracy,
    failed_frame,
    measures_frame,
    with_segmented,
)
from bedrest.tables.segmented import segmented_frame
from bedrest.types import SegmentedDisc

BASE, LATER = "ses-1", "ses-2"


def visit(session: str = BASE, *, subject: str = "01") -> VisitKey:
    day, phase = {"ses-1": (-2.0, "baseline"), "ses-2": (20.0, "bed_rest"), "ses-3": (70.0, "recovery")}[session]
    return VisitKey(subject, "control", session, day, phase)


EDGE, GAP = Finding(FindingCode.AT_IMAGE_EDGE), Finding(FindingCode.DISC_IN_GAP)
LOW = Finding(FindingCode.LOW_PROBABILITY, {"probability": 0.5, "lowest": 0.8})
NOT_IN_MASK = Finding(FindingCode.NOT_IN_MASK, {"label": 2, "name": "L4-L5"})
MISSING = Finding(FindingCode.MISSING_IN_MASK, {"name": "L5-S1", "mask": "reference"})
GAP_WORDS, EDGE_WORDS = render(GAP), render(EDGE)
LOST_FILE = Finding(FindingCode.UNUSABLE_INPUT, {"where": "01 ses-1 water", "expected": "a whole file",
                                                 "found": "half of one", "remedy": "Copy it again."})


def disc(level: str, volume_mm3: float = math.nan, *findings: Finding) -> DiscMeasure:
    values = {} if math.isnan(volume_mm3) else {
        "volume_mm3": volume_mm3, "volume_single_mm3": volume_mm3, "n_voxels": int(volume_mm3)}
    return DiscMeasure(level, 1, values, findings=findings)


def frame(
    discs: list[DiscMeasure], session: str = BASE, *, subject: str = "01", source: str = "automatic"
) -> pd.DataFrame:
    return measures_frame(discs, visit=visit(session, subject=subject), source=source)


def failed(level: str, finding: Finding = GAP) -> DiscMeasure:
    return disc(level, math.nan, finding)


def test_measures_frame_follows_its_schema() -> None:
    good = DiscMeasure(
        "L5-S1", 1, {"volume_mm3": 9000, "n_voxels": 2880, "height_mean_mm": 8, "diameter_ap_mm": 34,
                     "diameter_transverse_mm": 50, "signal_water": 163.0}, DiscPosition((1, 2, 3)),
    )
    found = measures_frame(
        [good, failed("L4-L5"), disc("L3-L4", 8000)], visit=visit(), source="automatic",
    )
    validated(found, MEASURES)
    assert list(found.columns) == MEASURES.column_names
    assert found["subject"].tolist() == ["01"] * 3  # never the number 1
    first, second, third = found.to_dict("records")
    assert (first["centre_z_mm"], first["signal_water"]) == (3, 163)
    assert math.isnan(first["signal_fat"])
    assert pd.isna(second["n_voxels"]) and math.isnan(second["volume_mm3"])
    assert (second["status"], second["reason"]) == ("failed", GAP_WORDS)
    assert (third["status"], third["reason"]) == ("ok", "")


def test_what_segmentation_found_reaches_the_measures() -> None:
    discs = [disc("L5-S1", 1), failed("L4-L5", NOT_IN_MASK), disc("L3-L4", 1, EDGE)]
    segmented = _segmented((BASE, "L5-S1"), (BASE, "L4-L5", GAP), (BASE, "L3-L4", LOW)).assign(
        mean_probability=[0.97, 0.2, 0.8], level_confidence=[0.99, 0.5, 0.99])
    found = with_segmented(frame(discs), segmented)
    validated(found, MEASURES)
    assert found["status"].tolist() == ["ok", "failed", "flagged"]
    assert findings_of(found) == [(), (GAP,), (LOW, EDGE)]
    assert found["reason"].tolist() == ["", GAP_WORDS, f"{render(LOW)}; {EDGE_WORDS}"]
    assert found["mean_probability"].tolist() == [0.97, pytest.approx(math.nan, nan_ok=True), 0.8]
    assert found["level_confidence"].tolist() == [0.99, pytest.approx(math.nan, nan_ok=True), 0.99]


def test_a_visit_that_failed_whole_keeps_every_row() -> None:
    found = failed_frame(visit(), source="automatic", levels=["L5-S1", "L4-L5"], findings=[LOST_FILE])
    validated(found, MEASURES)
    assert found["reason"].tolist() == [render(LOST_FILE)] * 2
    assert found["volume_mm3"].isna().all()
    accuracy = failed_accuracy(visit(), findings=[LOST_FILE])
    validated(accuracy, ACCURACY)
    assert len(accuracy) == 7
    listed = failures_frame(accuracy=accuracy)
    assert listed[["stage", "level", "reason"]].to_numpy().tolist() == [["evaluate", "", render(LOST_FILE)]]


def test_empty_tables_keep_their_columns() -> None:
    empty = frame([])
    validated(empty, MEASURES)
    validated(change_frame(empty, reference_session=BASE), CHANGE)
    validated(arvd_frame(empty, reference_session=BASE), ARVD)
    assert failures_frame(measures=empty).empty


def test_a_column_no_schema_knows_is_refused() -> None:
    with pytest.raises(KeyError, match="volume_cm3"):
        typed_frame([{"volume_cm3": 1.0}], MEASURES)


def test_accuracy_frame_follows_its_schema() -> None:
    rows = [DiscAgreement("L5-S1", dice=0.9), DiscAgreement("L4-L5", findings=(MISSING,))]
    found = accuracy_frame(rows, visit=visit())
    validated(found, ACCURACY)
    assert found["dice"].tolist()[0] == 0.9
    assert math.isnan(found["dice"].tolist()[1])


def test_change_in_mm3_and_per_cent() -> None:
    both = pd.concat([frame([disc("L5-S1", 8000)]), frame([disc("L5-S1", 8200)], LATER)])
    found = change_frame(both, reference_session=BASE)
    validated(found, CHANGE)
    (row,) = found.to_dict("records")
    assert (row["session"], row["reference_session"], row["study_day"], row["phase"]) == (LATER, BASE, 20, "bed_rest")
    assert (row["change"], row["change_percent"], row["status"]) == (200, pytest.approx(2.5), "ok")


def test_change_fails_with_the_visit_and_the_cause() -> None:
    first = [disc("L5-S1", 8000), failed("L4-L5", NOT_IN_MASK), disc("L3-L4", 7000), disc("L2-L3", 6000)]
    touched = disc("L3-L4", 7100, EDGE)
    second = [failed("L5-S1"), disc("L4-L5", 9000), touched]
    found = change_frame(pd.concat([frame(first), frame(second, LATER)]), reference_session=BASE).set_index("level")
    assert found["status"].to_dict() == {"L5-S1": "failed", "L4-L5": "failed", "L3-L4": "flagged", "L2-L3": "failed"}
    assert found.loc["L5-S1", "reason"] == f"ses-2: {GAP_WORDS}"
    assert found.loc["L4-L5", "reason"] == f"ses-1: {render(NOT_IN_MASK)}"
    assert found.loc["L3-L4", "reason"] == f"ses-2: {EDGE_WORDS}"
    assert found.loc["L2-L3", "reason"] == "ses-2: L2-L3 was not measured there"
    assert found.loc["L5-S1", ["reference_value", "value", "change_percent"]].isna().all()
    assert found.loc["L3-L4", "change"] == pytest.approx(100)


def test_change_without_a_reference_visit_fails_row_by_row() -> None:
    both = pd.concat([frame([disc("L5-S1", 8000)], LATER), frame([disc("L5-S1", 8000)], "ses-3")])
    found = change_frame(both, reference_session=BASE)
    assert found["status"].tolist() == ["failed"] * 2
    assert found["reason"].tolist() == ["ses-1: no such visit among the measures"] * 2


def test_change_never_crosses_sources_nor_follows_nameless_discs() -> None:
    parts = [
        frame([disc("L5-S1", 100), disc("unnamed-1", 50)]),
        frame([disc("L5-S1", 110), disc("unnamed-1", 60)], LATER),
        frame([disc("L5-S1", 200)], source="reference"),
        frame([disc("L5-S1", 202)], LATER, source="reference"),
    ]
    found = change_frame(pd.concat(parts), reference_session=BASE).set_index(["source", "level"])
    assert found.loc[("automatic", "L5-S1"), "change_percent"] == pytest.approx(10)
    assert found.loc[("reference", "L5-S1"), "change_percent"] == pytest.approx(1)
    assert found.loc[("automatic", "unnamed-1"), "status"] == "failed"
    assert "cannot be followed" in found.loc[("automatic", "unnamed-1"), "reason"]


def test_change_does_not_depend_on_the_order_of_subjects() -> None:
    parts = [frame([disc("L5-S1", 100 + n)], s, subject=f"0{n}") for n in range(3) for s in (BASE, LATER)]
    key = list(CHANGE.key)
    one = change_frame(pd.concat(parts), reference_session=BASE).sort_values(key, ignore_index=True)
    other = change_frame(pd.concat(parts[::-1]), reference_session=BASE).sort_values(key, ignore_index=True)
    pd.testing.assert_frame_equal(one, other)


def test_arvd_is_blind_to_the_sign_and_the_signed_error_is_not() -> None:
    assert arvd(100, 110, 90) == 0
    assert signed_change_error(100, 110, vt1=100, vt2=90) == pytest.approx(-0.2)
    assert arvd(100, 110, 105) == pytest.approx(0.05)  # ||100-105|-|100-110||/100
    assert arvd(100, 90, 120) == pytest.approx(0.1)
    assert math.isnan(arvd(100, math.nan, 90))
    with pytest.raises(ValueError, match="above 0"):
        arvd(0, 1, 1)


def test_arvd_frame_needs_reference_masks_at_both_visits() -> None:
    parts = [
        frame([disc("L5-S1", 100), disc("L4-L5", 100)], source="reference"),
        frame([disc("L5-S1", 110), failed("L4-L5")], LATER, source="reference"),
        frame([disc("L5-S1", 100), disc("L4-L5", 100)]),
        frame([disc("L5-S1", 90), disc("L4-L5", 90)], LATER),
        frame([disc("L5-S1", 90)], subject="02", source="reference"),  # one drawn visit only
        frame([disc("L5-S1", 90)], LATER, subject="02"),
    ]
    found = arvd_frame(pd.concat(parts), reference_session=BASE)
    validated(found, ARVD)
    assert found["subject"].tolist() == ["01", "01"]
    good, bad = found.to_dict("records")
    assert (good["vg1_mm3"], good["vg2_mm3"], good["vt1_mm3"], good["vt2_mm3"]) == (100, 110, 100, 90)
    assert (good["arvd"], good["signed_change_error"]) == (0, pytest.approx(-0.2))
    assert (bad["status"], bad["reason"]) == ("failed", f"ses-2 (reference): {GAP_WORDS}")
    assert math.isnan(bad["vg1_mm3"]) and math.isnan(bad["arvd"])


def _segmented(*rows: tuple) -> pd.DataFrame:
    """Rows of session, level and findings."""
    return pd.concat([segmented_frame([SegmentedDisc(1, level, tuple(findings))], subject="01", session=session)
                      for session, level, *findings in rows], ignore_index=True)


def _record(session: str, *findings: Finding) -> dict[str, object]:
    return {"subject": "01", "session": session, "source": "automatic", "status": worst_status(findings).value,
            "findings": findings}


def test_a_disc_lost_in_segmentation_is_listed_once() -> None:
    measures = pd.concat(
        [
            frame([failed("L5-S1", NOT_IN_MASK), disc("L4-L5", 100)]),
            frame([disc("L5-S1", 100), disc("L4-L5", 300, EDGE)], LATER),
        ]
    )
    found = failures_frame(
        findings=_segmented((BASE, "L5-S1", GAP), (BASE, "L4-L5")),
        measures=measures,
        accuracy=accuracy_frame([DiscAgreement("L5-S1", findings=(MISSING,))], visit=visit()),
        change=change_frame(measures, reference_session=BASE),
    )
    validated(found, FAILURES)
    assert found[["stage", "session", "level", "status", "reason"]].to_numpy().tolist() == [
        ["segment", BASE, "L5-S1", "failed", GAP_WORDS],
        ["measure", LATER, "L4-L5", "flagged", EDGE_WORDS],
    ]


def test_a_failed_visit_stands_for_its_discs_and_input_comes_first() -> None:
    constant = replace(LOST_FILE, values={**LOST_FILE.values, "found": "one value"})
    problems = ((BASE, LOST_FILE), (LATER, constant), (LATER, constant))
    inputs = typed_frame(({"subject": "01", "session": s, "findings": [f]} for s, f in problems), INPUT_PROBLEMS)
    records = typed_frame([_record(BASE, LOST_FILE), _record(LATER)], SCAN_RECORDS)
    measures = pd.concat([frame([failed("L5-S1", NOT_IN_MASK)]), frame([disc("L5-S1", 100, EDGE)], LATER)])
    found = failures_frame(
        input_problems=inputs, scan_records=records, findings=_segmented((BASE, "L5-S1", GAP)),
        measures=measures, change=change_frame(measures, reference_session=BASE),
    )
    assert found[["stage", "session", "level", "reason"]].to_numpy().tolist() == [
        ["input", BASE, "", render(LOST_FILE)],
        ["input", LATER, "", render(constant)],
        ["measure", LATER, "L5-S1", EDGE_WORDS],  # a visit with one bad contrast may still speak of its discs
    ]


def test_later_doubts_are_added_and_reference_masks_told_apart() -> None:
    found = failures_frame(
        findings=_segmented((BASE, "L5-S1", LOW)),
        measures=pd.concat([frame([disc("L5-S1", 100, LOW, EDGE)]), frame([failed("L5-S1")], source="reference")]),
    )
    assert found[["stage", "status", "reason"]].to_numpy().tolist() == [
        ["segment", "flagged", f"{render(LOW)}; {EDGE_WORDS}"],
        ["measure", "failed", f"reference mask: {GAP_WORDS}"],
    ]
    assert findings_of(found) == [(LOW, EDGE), (replace(GAP, source="reference"),)]


def test_what_leaves_a_disc_ok_is_no_failure() -> None:
    note = Finding(FindingCode.NO_SECTION)
    assert failures_frame(measures=frame([disc("L5-S1", 100, note)])).empty
    (findings,) = findings_of(failures_frame(measures=frame([disc("L5-S1", 100, note, EDGE)])))
    assert findings == (EDGE,)


def test_what_only_the_change_stage_sees_is_listed() -> None:
    measures = frame([disc("L5-S1", 100)], LATER)
    found = failures_frame(measures=measures, change=change_frame(measures, reference_session=BASE))
    assert found[["stage", "session", "level"]].to_numpy().tolist() == [["change", LATER, "L5-S1"]]
