"""Changes beyond measurement error: limits worked out, which limit counts, what is not judged, how often wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from bedrest.findings import Finding, FindingCode, render
from bedrest.io.tables.frames import check_rows, typed_frame, validated
from bedrest.io.tables.typed_csv import read_table, write_table
from bedrest.schemas import CHANGE, DETECTIONS, MEASURES, REPEATABILITY
from bedrest.statistics.study.detection import (
    DETECTION_COUNTS,
    detection_counts,
    detections_frame,
    limit_words,
    smallest_detectable,
    visit_changes,
)
from bedrest.statistics.study.paper_text import Records, paper_text, volume_words
from bedrest.statistics.study.recovery import band_of
from bedrest.statistics.study.responses import AnalysisPlan
from bedrest.statistics.study.validation import repeatability_frame
from bedrest.tables.change import change_frame
from bedrest.tables.measures import method_counts
from bedrest.vocabulary import LEVELS

EDGE = Finding(FindingCode.AT_IMAGE_EDGE, session="ses-2")
LOST = Finding(FindingCode.DISC_IN_GAP, session="ses-2")
REPEATS, MODEL = "repeated scans of this study", "error model"


def change_row(percent: float, *, se: float = math.nan, subject: str = "s1", session: str = "ses-2", **values) -> dict:
    row = {"subject": subject, "group": "rest", "level": "L4-L5", "source": "automatic", "measure": "volume_mm3",
           "unit": "mm3", "reference_session": "ses-1", "session": session, "study_day": 60.0, "phase": "bed_rest",
           "mask_origin": "automatic", "mask_origin_reference": "automatic", "change_percent": percent,
           "se_percent": se, "confidence_level": 0.95, "status": "ok"}
    return {**row, **values}


def repeat_row(level: str, sdc: float, *, subjects: int = 12, source: str = "automatic", status: str = "ok") -> dict:
    return {"source": source, "measure": "volume_mm3", "level": level, "n_subjects": subjects,
            "n_values": 2 * subjects, "n_left_out": 0, "sdc_percent": sdc, "confidence_level": 0.95, "method": "m",
            "status": status, "reason": ""}


def detections(changes: list[dict], repeats: list[dict] | None = None, *, level: float = 0.95) -> pd.DataFrame:
    found = detections_frame(typed_frame(changes, CHANGE), typed_frame(repeats or [], REPEATABILITY),
                             confidence_level=level)
    assert check_rows(found, DETECTIONS, where="detections") == []
    return found


def test_a_fall_is_the_same_factor_as_a_rise() -> None:
    # A rise of 2 % is a factor 1.02; 1 / 1.02 = 0.980392.
    found = detections([change_row(0.0)], [repeat_row("all", 2.0)]).iloc[0]
    assert found["limit_low_percent"] == pytest.approx(-1.9607843)
    assert (found["limit_high_percent"], found["confidence_level"]) == (2.0, 0.95)
    verdicts = [detections([change_row(c)], [repeat_row("all", 2.0)])["verdict"].item()
                for c in (2.01, 1.99, -1.96, -1.97)]
    assert verdicts == ["rose", "within error", "within error", "fell"]


def test_repeated_scans_speak_before_the_error_model() -> None:
    rows = [change_row(3.0, se=0.5)]
    by_model, by_repeats = (detections(rows, repeats).iloc[0] for repeats in (None, [repeat_row("all", 5.0)]))
    assert (by_model["verdict"], by_model["limit_from"]) == ("rose", MODEL) and pd.isna(by_model["n_repeats"])
    assert (by_repeats["verdict"], by_repeats["limit_from"]) == ("within error", REPEATS)
    assert by_repeats["n_repeats"] == 24


@pytest.mark.parametrize(("own", "pooled", "limit", "n"), [
    (repeat_row("L4-L5", 5.0, subjects=10), repeat_row("all", 3.0, subjects=40), 5.0, 20),
    (repeat_row("L4-L5", 5.0, subjects=9), repeat_row("all", 3.0, subjects=40), 3.0, 80),
    (repeat_row("L4-L5", 5.0, subjects=30, status="failed"), repeat_row("all", 3.0, subjects=40), 3.0, 80),
    (repeat_row("L4-L5", 5.0, subjects=30, status="flagged"), repeat_row("all", 3.0, subjects=40), 5.0, 60),
    (repeat_row("L4-L5", math.nan, subjects=30), repeat_row("all", 3.0, subjects=40), 3.0, 80),
    (repeat_row("L5-S1", 5.0, subjects=30), repeat_row("all", 3.0, subjects=40), 3.0, 80),  # another disc's
])
def test_a_levels_own_row_or_all_together(own, pooled, limit, n) -> None:
    found = detections([change_row(0.0)], [own, pooled]).iloc[0]
    assert (found["limit_high_percent"], found["n_repeats"]) == (limit, n)


def test_failed_repeats_leave_the_word_to_the_model() -> None:
    found = detections([change_row(0.0, se=1.0)], [repeat_row("all", 3.0, status="failed")]).iloc[0]
    assert found["limit_from"] == MODEL


def test_the_models_limit_is_the_interval_of_the_change() -> None:
    found = detections([change_row(10.0, se=1.1), change_row(-1.9, se=0.981, session="ses-3"),
                        change_row(-2.0, se=0.98, session="ses-4")])
    high = [1.959964 * se for se in (1.1, 0.981, 0.98)]
    assert found["limit_high_percent"].tolist() == pytest.approx(high, rel=1e-6)
    assert found["limit_low_percent"].tolist() == pytest.approx([-h for h in high], rel=1e-6)
    assert found["verdict"].tolist() == ["rose", "within error", "fell"]
    wider = detections([change_row(2.0, se=1.02)], level=0.99).iloc[0]
    assert wider["limit_high_percent"] == pytest.approx(2.575829 * 1.02, rel=1e-6)
    assert (wider["verdict"], wider["confidence_level"]) == ("within error", 0.99)


def test_a_study_level_does_not_move_the_smallest_detectable_change() -> None:
    found = detections([change_row(2.5)], [repeat_row("all", 2.0)], level=0.99).iloc[0]
    assert (found["limit_high_percent"], found["confidence_level"]) == (2.0, 0.95)


def test_sources_have_their_own_repeats() -> None:
    rows = [change_row(2.5), change_row(2.5, source="reference", mask_origin="reference")]
    found = detections(rows, [repeat_row("all", 2.0)]).set_index("source")
    assert found.loc["automatic", "verdict"] == "rose"
    assert found.loc["reference", "verdict"] == "not judged"
    drawn = detections(rows, [repeat_row("all", 2.0), repeat_row("all", 3.0, source="reference")])
    assert drawn["limit_high_percent"].tolist() == [2.0, 3.0]


@pytest.mark.parametrize("repeats", [[], [repeat_row("all", 2.0)]])
def test_failed_changes_keep_their_row_and_reason(repeats) -> None:
    lost = change_row(math.nan, status="failed", findings=[Finding(FindingCode.NO_SUCH_VISIT, session="ses-2")])
    found = detections([lost, change_row(9.0, se=1.0, subject="s2")], repeats)
    row = found.iloc[0]
    assert (row["verdict"], row["status"]) == ("not judged", "failed")
    assert row["reason"] == "ses-2: no such visit among the measures"
    assert row[["limit_low_percent", "limit_high_percent"]].isna().all() and row["limit_from"] == ""
    assert found["verdict"].tolist()[1] == "rose"


def test_flagged_stays_flagged_and_no_limit_says_why() -> None:
    gap = [Finding(FindingCode.DISC_IN_GAP)]
    found = detections([change_row(9.0, se=1.0, status="flagged", findings=gap),
                        change_row(9.0, mask_origin="edited", subject="s2"),
                        change_row(9.0, status="flagged", findings=gap, subject="s3")]).to_dict("records")
    assert (found[0]["verdict"], found[0]["status"]) == ("rose", "flagged")
    assert found[0]["reason"] == render(gap[0])
    assert (found[1]["verdict"], found[1]["status"]) == ("not judged", "ok")
    assert "no repeated baseline scans" in found[1]["reason"] and "automatic and edited masks" in found[1]["reason"]
    assert found[2]["reason"].startswith(render(gap[0]) + "; no limit:")


def test_no_change_no_rows_and_the_file_comes_back(tmp_path) -> None:
    assert detections([]).empty and detection_counts(detections([])).empty and limit_words(detections([])) == ""
    found = detections([change_row(9.0, se=1.0), change_row(9.0, subject="s2")])
    write_table(found, tmp_path / "detections.csv", DETECTIONS)
    pd.testing.assert_frame_equal(read_table(tmp_path / "detections.csv", DETECTIONS), found)


def measured(draw: np.random.Generator, *, subjects: int, baselines: int, effect: float = 0.0) -> pd.DataFrame:
    """Discs with an error of 1 % at each visit, and known; the last visit is in bed and `effect` per cent larger."""
    visits = [(f"ses-{n + 1}", n - 9.0, "baseline") for n in range(baselines)] + [("ses-9", 60.0, "bed_rest")]
    rows = []
    for n in range(subjects):
        for level in LEVELS:
            size = draw.normal(8000, 1500)
            for session, day, phase in visits:
                grown = 1 + effect / 100 if phase == "bed_rest" else 1.0
                volume = size * grown * math.exp(draw.normal(0, 0.01))
                rows.append({"subject": f"s{n:02d}", "group": ("rest", "exercise")[n % 2], "session": session,
                             "study_day": day, "phase": phase, "level": level, "source": "automatic",
                             "mask_origin": "automatic", "volume_mm3": volume, "volume_single_mm3": volume,
                             "volume_repeat_sd_mm3": 0.01 * volume, "volume_method": "joint", "status": "ok"})
    return typed_frame(rows, MEASURES)


def judged(measures: pd.DataFrame) -> pd.DataFrame:
    change = change_frame(measures, reference_session="ses-1")
    return detections_frame(change, repeatability_frame(measures, confidence_level=0.95), confidence_level=0.95)


@pytest.mark.parametrize(("baselines", "limit_from"), [(2, REPEATS), (1, MODEL)])
def test_unchanged_discs_are_called_changed_in_five_per_cent(baselines, limit_from) -> None:
    # 1680 discs: a binomial 99.9 % band around 5 % is 3.3 to 6.9 %; the SDC is itself an estimate, from 1680 pairs.
    own = judged(measured(np.random.default_rng(1), subjects=240, baselines=baselines))
    last = own[own["session"] == "ses-9"]
    assert set(last["limit_from"]) == {limit_from}
    assert 0.033 < last["verdict"].isin(["rose", "fell"]).mean() < 0.069
    assert abs((last["verdict"] == "rose").mean() - (last["verdict"] == "fell").mean()) < 0.03
    counts = detection_counts(last)
    assert counts["false_alarms_expected"].sum() == pytest.approx(0.05 * 1680)


@pytest.mark.parametrize("baselines", [1, 2])
def test_a_change_well_beyond_error_is_found(baselines) -> None:
    own = judged(measured(np.random.default_rng(2), subjects=12, baselines=baselines, effect=9.0))
    assert (own.loc[own["session"] == "ses-9", "verdict"] == "rose").all()


def test_counts_by_group_and_visit_lose_nobody() -> None:
    rows = [change_row(9.0, se=1.0), change_row(-9.0, se=1.0, level="L5-S1"), change_row(0.5, se=1.0, level="L3-L4"),
            change_row(math.nan, status="failed", findings=[LOST], level="L2-L3"),
            change_row(9.0, se=1.0, session="ses-0", study_day=-5.0),
            change_row(9.0, se=1.0, group="exercise", subject="s2")]
    counts = detection_counts(detections(rows))
    validated(counts, DETECTION_COUNTS)
    columns = ["group", "session", "rose", "fell", "within_error", "not_judged"]
    assert counts[columns].to_numpy().tolist() == [
        ["rest", "ses-0", 1, 0, 0, 0], ["rest", "ses-2", 1, 1, 1, 1], ["exercise", "ses-2", 1, 0, 0, 0]]
    assert counts["false_alarms_expected"].tolist() == pytest.approx([0.05, 0.15, 0.05])


def test_one_subjects_visits_in_a_row_each() -> None:
    rows = [change_row(9.0, se=1.0), change_row(-3.0, se=1.0, level="L5-S1"), change_row(0.5, se=1.0, level="L3-L4"),
            change_row(math.nan, status="failed", findings=[LOST], level="L2-L3"),
            change_row(1.0, se=1.0, session="ses-0", study_day=-5.0)]
    found = visit_changes(detections(rows)).set_index("session")
    assert list(found.index) == ["ses-0", "ses-2"]
    assert found.loc["ses-2"].to_dict() == pytest.approx({
        "study_day": 60.0, "discs compared": 3, "mean change (%)": 6.5 / 3, "smallest (%)": -3, "largest (%)": 9,
        "rose": 1, "fell": 1, "within_error": 1, "not_judged": 1})
    assert visit_changes(detections(rows).head(0)).empty


def test_the_words_hold_limits_and_what_was_not_judged() -> None:
    rows = [change_row(9.0, se=1.09), change_row(0.0, se=2.0, subject="s2"), change_row(9.0, subject="s3")]
    words = limit_words(detections(rows))
    assert "2 change(s) of single discs were judged by an error model found on synthetic scans" in words
    assert "rises above +2.1 to +3.9 % and falls below -2.1 to -3.9 %" in words
    assert "5 % are expected to lie outside" in words and "1 change(s) were not judged" in words
    own = limit_words(detections(rows, [repeat_row("all", 2.04)]))
    assert "3 change(s)" in own and "this study's repeated baseline scans" in own and "not judged" not in own
    assert "rises above +2.0 % and falls below -2.0 %" in own


def test_recovery_band_and_detections_are_one_limit() -> None:
    repeats = typed_frame([repeat_row("L4-L5", 5.0), repeat_row("all", 3.0)], REPEATABILITY)
    for level, limit in (("L4-L5", 5.0), ("L5-S1", 3.0), ("all", 3.0)):
        smallest = smallest_detectable(repeats, source="automatic", level=level)
        assert band_of(wanted_percent=None, smallest_detectable_percent=smallest.high_percent).percent == limit
    assert not smallest_detectable(repeats, source="reference", level="all").limit_from


def test_methods_are_counted_and_told() -> None:
    measures = measured(np.random.default_rng(3), subjects=2, baselines=1)  # 28 discs
    measures.loc[0, "volume_method"] = "single"
    measures.loc[1, ["status", "volume_method"]] = ["failed", ""]
    measures.loc[2, "level"] = "unnamed-1"
    drawn = measures.head(4).assign(source="reference", volume_method="voxels")
    counts = method_counts(pd.concat([measures, drawn]))
    assert counts == {"joint": 25, "single": 1}
    assert volume_words(counts).startswith("Of 26 disc volumes 25 were measured jointly from all visits of the subject")
    assert "and 1 from their visit alone" in volume_words(counts) and volume_words({}) == ""


def test_the_paper_says_how_many_lay_beyond_error() -> None:
    found = detections([change_row(9.0, se=1.0), change_row(0.1, se=1.0, subject="s2"),
                        change_row(-8.0, se=1.0, session="ses-3"),
                        change_row(9.0, se=1.0, source="reference", subject="s3")])
    columns = ["source", "model", "status", "family", "group", "session", "level", "term", "f", "family_size"]
    tables = {name: pd.DataFrame(columns=columns)
              for name in ("flow", "models", "terms", "contrasts", "sensitivity", "recovery")} | {"detections": found}
    records = Records(AnalysisPlan(("rest",), ("ses-1", "ses-2", "ses-3"), "ses-1"), tables, version="0",
                      description="", methods={"joint": 5})
    text = paper_text(records, source="automatic")
    assert "ses-2: 1 rose, 0 fell, 1 within error, 0 not judged; ses-3: 0 rose, 1 fell, 0 within error" in text
    assert "All 5 disc volumes were measured jointly from all visits" in text
    assert "error model found on synthetic" in text
    unchanged = replace(records, tables={**tables, "detections": found[:0]})
    assert "against measurement error" not in paper_text(unchanged, source="automatic")
