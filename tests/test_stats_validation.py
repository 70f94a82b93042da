"""Agreement and repeatability tables: known errors recovered, nothing lost in silence, numbers worked out."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from bedrest.io.tables.frames import typed_frame, validated
from bedrest.schemas import ACCURACY, AGREEMENT, ARVD, MEASURES, REPEATABILITY, TABLES
from bedrest.statistics.study.validation import ONE_A_SUBJECT, SEVERAL_A_SUBJECT, agreement_frame, repeatability_frame
from bedrest.tables.arvd import arvd, signed_change_error
from bedrest.vocabulary import LEVELS

NUMBERS = [c.name for c in AGREEMENT.columns if c.dtype == "float" and c.name != "confidence_level"]


def accuracy_row(subject: str, level: str, found: float, drawn: float, *, session: str = "ses-1",
                 status: str = "ok") -> dict:
    return {"subject": subject, "session": session, "level": level, "volume_predicted_mm3": found,
            "volume_reference_mm3": drawn, "volume_error_percent": 100 * (found - drawn) / drawn, "status": status,
            "reason": "" if status == "ok" else "why"}


def failed_row(subject: str, level: str) -> dict:
    return {"subject": subject, "session": "ses-1", "level": level, "status": "failed", "reason": "why"}


def arvd_row(subject: str, level: str, vg: tuple[float, float], vt: tuple[float, float]) -> dict:
    return {"subject": subject, "group": "g", "level": level, "reference_session": "ses-1", "session": "ses-2",
            "study_day": 60.0, "vg1_mm3": vg[0], "vg2_mm3": vg[1], "vt1_mm3": vt[0], "vt2_mm3": vt[1],
            "arvd": arvd(vg[0], vg[1], vt[1]), "signed_change_error": signed_change_error(*vg, vt1=vt[0], vt2=vt[1]),
            "status": "ok", "reason": ""}


def measure_row(subject: str, session: str, level: str, volume: float, *, day: float, phase: str = "baseline",
                status: str = "ok") -> dict:
    return {"subject": subject, "group": "g", "session": session, "study_day": day, "phase": phase, "level": level,
            "source": "automatic", "volume_mm3": volume, "status": status, "reason": "" if status == "ok" else "why"}


def agreement(accuracy: list[dict] | None = None, changes: list[dict] | None = None, **options: float) -> pd.DataFrame:
    found = agreement_frame(typed_frame(accuracy or [], ACCURACY), typed_frame(changes or [], ARVD),
                            **{"confidence_level": 0.95, **options})
    validated(found, AGREEMENT)
    return found


def repeatability(rows: list[dict], **options: float) -> pd.DataFrame:
    found = repeatability_frame(typed_frame(rows, MEASURES), **{"confidence_level": 0.95, **options})
    validated(found, REPEATABILITY)
    return found


def simulated_accuracy(seed: int, *, subjects: int = 12, scale: float = 1.0) -> list[dict]:
    """Automatic reads 3 % too much; error SD 1 % between subjects and 2 % a disc, two visits."""
    draw, rows = np.random.default_rng(seed), []
    for n in range(subjects):
        own = draw.normal(0, 1)
        for session in ("ses-1", "ses-2"):
            for number, level in enumerate(LEVELS):
                drawn = draw.normal(6000 + 1000 * number, 800) * scale
                percent = 3 + own + draw.normal(0, 2)
                rows.append(accuracy_row(f"s{n:02d}", level, drawn * (1 + percent / 100), drawn, session=session))
    return rows


def test_both_tables_are_known() -> None:
    assert {t.name for t in TABLES} >= {"agreement", "repeatability"}


def test_volume_by_hand() -> None:
    # Differences 10, 20, 30, 40: mean 25, SD sqrt(500/3), t(0.975, 3) = 3.182446.
    pairs = ((1010, 1000), (2020, 2000), (1530, 1500), (1840, 1800))
    found = agreement([accuracy_row(f"s{n}", "L5-S1", *p) for n, p in enumerate(pairs)])
    assert found["level"].tolist() == ["L5-S1", "all"]
    row = found.iloc[0]
    sd = math.sqrt(500 / 3)
    assert (row["bias_mm3"], row["sd_mm3"]) == pytest.approx((25, sd))
    assert row["bias_high_mm3"] == pytest.approx(25 + 3.182446305284263 * sd / 2)
    assert row["upper_limit_mm3"] == pytest.approx(25 + 1.959963984540054 * sd)
    assert row["bias_percent"] == pytest.approx((1 + 1 + 2 + 100 * 40 / 1800) / 4)
    assert (row["n_subjects"], row["n_values"], row["n_failed"], row["method"]) == (4, 4, 0, ONE_A_SUBJECT)
    assert row["status"] == "flagged" and row["reason"] == "Passing-Bablok: 4 points, at least 5 are needed"
    assert math.isnan(row["mean_arvd_percent"])
    # One disc a subject: all discs together is the same question with the same answer.
    assert found.drop(columns="level").iloc[1].astype(str).tolist() == row.drop("level").astype(str).tolist()


def test_change_by_hand() -> None:
    # Reference grows 10 %, automatic by 12, 9, 11, 10, 13 %: signed errors 2, -1, 1, 0, 3 % of vg1.
    rises = (12, 9, 11, 10, 13)
    rows = [arvd_row(f"s{n}", "L4-L5", (1000, 1100 + n), (1005, 1005 + 10 * r + n)) for n, r in enumerate(rises)]
    row = agreement(changes=rows).iloc[0]
    assert (row["quantity"], row["level"], row["n_values"]) == ("change", "L4-L5", 5)
    assert row["bias_percent"] == pytest.approx(1.0)  # the mean signed error
    assert row["bias_mm3"] == pytest.approx(10.0)
    # ||vg1 - vt2| - |vg1 - vg2|| / vg1: the automatic volume is 5 mm3 too large at both visits.
    assert row["mean_arvd_percent"] == pytest.approx((2.5 + 0.5 + 1.5 + 0.5 + 3.5) / 5)
    assert math.isnan(row["passing_bablok_intercept_mm3"])


def test_failed_unnamed_and_flagged_discs_are_counted() -> None:
    rows = [accuracy_row(f"s{n}", "L5-S1", 1000 + 7 * n * n, 1000 + 5 * n) for n in range(6)]
    rows[0]["status"] = "flagged"
    rows += [accuracy_row("s7", "L5-S1", 1000, 10, status="failed"),
             accuracy_row("s1", "unnamed-1", 900, 880), failed_row("s1", "L4-L5")]
    found = agreement(rows).set_index("level")
    assert found.index.tolist() == ["L4-L5", "L5-S1", "all"]
    assert found["n_failed"].tolist() == [1, 1, 3] and found["n_values"].tolist() == [0, 6, 6]
    assert found.loc["L5-S1", "status"] == "flagged"
    assert "1 of 6 values are of flagged discs" in found.loc["L5-S1", "reason"]
    assert found.loc["L4-L5", "status"] == "failed"
    assert found.loc["L4-L5", "reason"] == "0 subjects, at least 3 are needed"
    assert found.loc["L4-L5", NUMBERS].isna().all()


def test_two_subjects_with_many_discs_are_too_few() -> None:
    rows = [accuracy_row(s, level, 1000 + 3 * n, 1000 + n * n) for n, level in enumerate(LEVELS) for s in ("a", "b")]
    found = agreement(rows)
    assert len(found) == 8 and set(found["status"]) == {"failed"}
    assert set(found["reason"]) == {"2 subjects, at least 3 are needed"}
    assert found["n_values"].tolist() == [2] * 7 + [14]


def test_nothing_to_compare_gives_no_rows() -> None:
    assert agreement().empty
    assert repeatability([]).empty


def test_a_known_bias_is_recovered() -> None:
    found = agreement(simulated_accuracy(5))
    assert found["level"].tolist() == [*LEVELS, "all"] and set(found["status"]) == {"ok"}
    assert set(found["method"]) == {SEVERAL_A_SUBJECT}
    row = found.iloc[-1]
    assert (row["n_subjects"], row["n_values"]) == (12, 168)
    assert row["bias_low_percent"] < 3 < row["bias_high_percent"]
    assert row["upper_limit_low_percent"] < 3 + 1.96 * math.sqrt(5) < row["upper_limit_high_percent"]
    assert row["lower_limit_low_percent"] < 3 - 1.96 * math.sqrt(5) < row["lower_limit_high_percent"]
    assert row["passing_bablok_slope_low"] < 1.03 < row["passing_bablok_slope_high"]
    assert row["passing_bablok_intercept_low_mm3"] < 0 < row["passing_bablok_intercept_high_mm3"]
    assert row["proportional_slope_low"] < 2 * 0.03 / 2.03 < row["proportional_slope_high"]
    assert row["icc_agreement"] < row["icc_consistency"]


def test_order_and_other_rows_do_not_matter_and_the_seed_does() -> None:
    rows = simulated_accuracy(6, subjects=6)
    found = agreement(rows)
    mixed = agreement([rows[n] for n in np.random.default_rng(0).permutation(len(rows))])
    numbers = [c for c in NUMBERS if c in found]
    pd.testing.assert_frame_equal(found[numbers], mixed[numbers], rtol=1e-8)
    alone = agreement([r for r in rows if r["level"] == "L1-L2"])
    pd.testing.assert_series_equal(alone.iloc[0], found[found["level"] == "L1-L2"].iloc[0], check_names=False)
    other = agreement(rows, seed=1)
    assert (other["bias_mm3"] == found["bias_mm3"]).all()
    assert (other["bias_low_mm3"] != found["bias_low_mm3"]).all()


def test_another_unit_of_volume() -> None:
    one, thousand = (agreement(simulated_accuracy(7, subjects=5, scale=s)) for s in (1, 1000))
    for name in NUMBERS:
        factor = 1000 if name.endswith("_mm3") else 1
        assert thousand[name].tolist() == pytest.approx((one[name] * factor).tolist(), rel=1e-6, nan_ok=True), name


def test_swapping_the_masks_turns_the_bias() -> None:
    rows = simulated_accuracy(8, subjects=6)
    swapped = [accuracy_row(r["subject"], r["level"], r["volume_reference_mm3"], r["volume_predicted_mm3"],
                            session=r["session"]) for r in rows]
    one, two = (agreement(r).iloc[-1] for r in (rows, swapped))
    assert two["bias_low_mm3"] == pytest.approx(-one["bias_high_mm3"])
    assert two["lower_limit_low_mm3"] == pytest.approx(-one["upper_limit_high_mm3"])
    assert two["icc_agreement_low"] == pytest.approx(one["icc_agreement_low"])
    assert two["passing_bablok_slope"] == pytest.approx(1 / one["passing_bablok_slope"], rel=1e-4)


def test_one_baseline_visit_gives_no_rows() -> None:
    rows = [measure_row(f"s{n}", s, "L5-S1", 1000 + n, day=d, phase=p) for n in range(5)
            for s, d, p in (("ses-1", -3, "baseline"), ("ses-2", 60, "bed_rest"), ("ses-3", 80, "recovery"))]
    assert repeatability(rows).empty


def test_repeatability_by_hand() -> None:
    # Differences of +-2 and +-4: within variances 2, 2, 8, 8, so the SEM is sqrt(5).
    pairs = ((100, 102), (202, 200), (150, 154), (304, 300))
    rows = [measure_row(f"s{n}", s, "L5-S1", v, day=d) for n, p in enumerate(pairs)
            for s, d, v in zip(("ses-2", "ses-1"), (-2, -9), p[::-1], strict=True)]  # not in order of time
    rows += [measure_row("s8", "ses-1", "L5-S1", 500, day=-9)]  # one visit only: no subject of this table
    rows += [measure_row("s0", "ses-1", "L4-L5", 90, day=-9), measure_row("s0", "ses-2", "L4-L5", math.nan, day=-2,
                                                                          status="failed")]
    found = repeatability(rows).set_index("level")
    row = found.loc["L5-S1"]
    assert row["sem_mm3"] == pytest.approx(math.sqrt(5))
    assert row["sdc_mm3"] == pytest.approx(1.959963984540054 * math.sqrt(10))
    assert row["bias_percent"] == pytest.approx((2 - 100 * 2 / 202 + 100 * 4 / 150 - 100 * 4 / 304) / 4)
    assert (row["n_subjects"], row["n_values"], row["n_left_out"], row["method"]) == (4, 8, 0, ONE_A_SUBJECT)
    assert row["status"] == "ok"
    # L4-L5 was measured once only: nothing to repeat, and it is counted.
    assert (found.loc["L4-L5", "n_left_out"], found.loc["L4-L5", "status"]) == (2, "failed")
    assert found.loc["L4-L5", "reason"] == "0 subjects, at least 3 are needed"
    assert (found.loc["all", "n_values"], found.loc["all", "n_left_out"]) == (8, 2)
    assert found.loc["all", "sem_mm3"] == pytest.approx(math.sqrt(5))


def test_a_known_measurement_error_is_recovered() -> None:
    # Error SD 1.5 % of volume, three baseline visits of which some subjects lack the last.
    draw, rows = np.random.default_rng(9), []
    for n in range(10):
        for number, level in enumerate(LEVELS):
            size = draw.normal(6000 + 1000 * number, 500)
            for visit in range(3 if n % 2 else 2):
                volume = size * math.exp(draw.normal(0, 0.015))
                rows.append(measure_row(f"s{n}", f"ses-{visit}", level, volume, day=-10.0 + visit))
    found = repeatability(rows)
    assert found["level"].tolist() == [*LEVELS, "all"] and set(found["status"]) == {"ok"}
    row = found.iloc[-1]
    assert (row["n_subjects"], row["n_values"], row["method"]) == (10, 175, SEVERAL_A_SUBJECT)
    assert row["cv_low_percent"] < 100 * math.expm1(0.015) < row["cv_high_percent"]
    assert row["sdc_low_percent"] < 100 * math.expm1(1.96 * math.sqrt(2) * 0.015) < row["sdc_high_percent"]
    assert row["bias_low_percent"] < 0 < row["bias_high_percent"]
    assert row["upper_limit_low_percent"] < 1.96 * math.sqrt(2) * 1.5 < row["upper_limit_high_percent"]
    within = found["sem_low_mm3"] < found["sem_mm3"]
    assert within.all() and (found["sem_mm3"] < found["sem_high_mm3"]).all()


def test_sources_are_told_apart() -> None:
    draw = np.random.default_rng(10)
    rows = [measure_row(f"s{n}", s, "L5-S1", 1000 + 30 * n + draw.normal(0, 5), day=d) for n in range(5)
            for s, d in (("ses-1", -9.0), ("ses-2", -2.0))]
    rows += [{**r, "source": "reference", "volume_mm3": 2 * r["volume_mm3"]} for r in rows]
    found = repeatability(rows).set_index(["source", "level"])
    for level in ("L5-S1", "all"):
        one, two = found.loc[("automatic", level)], found.loc[("reference", level)]
        assert two["sem_mm3"] == pytest.approx(2 * one["sem_mm3"])
        assert two["cv_percent"] == pytest.approx(one["cv_percent"])


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_confidence_level_is_of_the_intervals_not_of_the_limits(level: float) -> None:
    rows = simulated_accuracy(11, subjects=6)
    row, usual = agreement(rows, confidence_level=level).iloc[-1], agreement(rows).iloc[-1]
    assert row["confidence_level"] == level
    assert row["upper_limit_mm3"] == usual["upper_limit_mm3"]
    narrower = row["bias_high_mm3"] - row["bias_low_mm3"] < usual["bias_high_mm3"] - usual["bias_low_mm3"]
    assert narrower == (level < 0.95)
