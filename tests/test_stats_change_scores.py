"""t tests against R, a known effect recovered, and the error rate under the null."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bedrest.errors import ManifestError
from bedrest.io.tables.frames import typed_frame, validated
from bedrest.schemas import CHANGE, FLOW, MEASURES, SCAN_RECORDS, SENSITIVITY, SESSIONS, SUBJECTS
from bedrest.statistics.estimators.t_tests import one_sample_t, welch_t
from bedrest.statistics.study.families import FAMILY_NAMES
from bedrest.statistics.study.flow import StudyTables, flow_frame
from bedrest.statistics.study.responses import AnalysisPlan
from bedrest.statistics.study.sensitivity import T_TEST, change_score_frame
from bedrest.statistics.study.summary import GROUP_MEANS, group_means
from bedrest.vocabulary import LEVELS, Family

REFERENCE = Path(__file__).parent / "reference"
STUDY = {"ses-2": 20.0, "ses-3": 70.0}


def subjects_of(groups: dict[str, list[str]]) -> pd.DataFrame:
    rows = [{"subject": s, "group": g} for g, members in groups.items() for s in members]
    return typed_frame(rows, SUBJECTS)[["subject", "group"]]


def change_row(
    subject: str, group: str, level: str, percent: float, *, session: str = "ses-2", status: str = "ok"
) -> dict:
    return {
        "subject": subject, "group": group, "level": level, "source": "automatic", "reference_session": "ses-1",
        "session": session, "study_day": STUDY[session], "phase": "bed_rest", "measure": "volume_mm3", "unit": "mm3",
        "reference_value": 100.0, "value": 100 + percent, "change": percent,
        "change_percent": math.nan if status == "failed" else percent, "status": status,
        "reason": "" if status == "ok" else "why",
    }


def t_frame(change: pd.DataFrame, subjects: pd.DataFrame) -> pd.DataFrame:
    """The t tests of change scores, with their families named as the primary ones."""
    plan = AnalysisPlan(tuple(dict.fromkeys(subjects["group"])), ("ses-1", *STUDY), "ses-1")
    frame = change_score_frame(change, subjects, test=T_TEST, plan=plan)
    validated(frame, SENSITIVITY)
    return frame.assign(family=frame["family"].str.removesuffix(f": {T_TEST.name}"))


def r_data() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The R data set as a change table of two levels (column a: L5-S1, b: L4-L5), with its subjects."""
    data = pd.read_csv(REFERENCE / "t_tests_data.csv")
    rows, groups = [], {}
    for n, row in enumerate(data.to_dict("records")):
        groups.setdefault(row["group"], []).append(f"{n:02d}")
        rows += [change_row(f"{n:02d}", row["group"], lv, row[c]) for lv, c in (("L5-S1", "a"), ("L4-L5", "b"))]
    return typed_frame(rows, CHANGE), subjects_of(groups)


def test_every_number_as_in_r() -> None:
    expected = pd.read_csv(REFERENCE / "t_tests.csv")
    found = t_frame(*r_data())
    single = found[found["family"].isin([FAMILY_NAMES[Family.WITHIN], FAMILY_NAMES[Family.BETWEEN]])].set_index(["level", "group"])
    names = {n: f"{n}_percent" for n in ("estimate", "se", "ci_low", "ci_high")}
    assert len(single) == len(expected) == 6
    for row in expected.to_dict("records"):
        column, group = row.pop("test").split(" ", 1)
        ours = single.loc[("L5-S1" if column == "a" else "L4-L5", group)]
        for name, value in row.items():
            assert ours[names.get(name, name)] == pytest.approx(value, rel=1e-8), (column, group, name)
        assert ours["family_size"] == (2 if " - " in group else 4)


def test_families_and_the_mean_of_a_subjects_discs() -> None:
    change, subjects = r_data()
    found = t_frame(change, subjects)
    every = found[found["level"] == "all"]
    assert set(every["family"]) == {f"{FAMILY_NAMES[Family.WITHIN]}, mean of all discs", f"{FAMILY_NAMES[Family.BETWEEN]}, mean of all discs"}
    own = change[change["group"] == "control"].groupby("subject")["change_percent"].mean()
    row = every[every["group"] == "control"].iloc[0]
    assert row["estimate_percent"] == pytest.approx(own.mean())
    assert (row["n"], row["df"], row["status"]) == (7, 6, "ok")


def test_failed_and_absent_subjects_are_missing_and_flagged_ones_are_said() -> None:
    change, _ = r_data()
    change.loc[0, ["status", "change_percent"]] = ["failed", math.nan]
    change.loc[2, "status"] = "flagged"
    members = change.groupby("group", sort=False)["subject"].unique().map(list).to_dict()
    members["control"].append("99")  # enrolled, never scanned
    found = t_frame(change, subjects_of(members)).set_index(["level", "group"])
    row = found.loc[("L5-S1", "control")]
    assert (row["n"], row["n_missing"], row["status"]) == (6, 2, "flagged")
    assert row["reason"] == "1 of 6 subjects bring a flagged disc"
    both = found.loc[("L5-S1", "control - exercise")]
    assert (both["n"], both["n_missing"]) == (15, 2)
    mean = found.loc[("all", "control")]
    assert (mean["n"], mean["n_missing"]) == (7, 1)
    assert "1 of 7 subjects bring fewer than 2 discs" in mean["reason"]


def test_the_mean_of_all_follows_the_same_discs_through_the_study() -> None:
    rows = []
    for n in range(4):
        for session in STUDY:
            status = "failed" if n == 0 and session == "ses-3" else "ok"
            rows.append(change_row(f"{n}", "g", "L5-S1", 1.0 + n / 10, session=session))
            rows.append(change_row(f"{n}", "g", "L4-L5", 9.0 + n / 10, session=session, status=status))
    found = t_frame(typed_frame(rows, CHANGE), subjects_of({"g": list("0123")}))
    means = found[found["level"] == "all"].set_index("session")["estimate_percent"]
    # Subject 0 is followed by L5-S1 at both visits: nothing changed between them, so nothing may appear to.
    assert means["ses-2"] == pytest.approx(means["ses-3"])
    assert means["ses-2"] == pytest.approx((1.0 + 5.1 + 5.2 + 5.3) / 4)


def test_too_few_or_no_variance_keeps_the_row() -> None:
    rows = [change_row(f"{n}", "a", "L5-S1", p) for n, p in enumerate((1.0, 2.0))]
    rows += [change_row(f"{n}", "b", "L5-S1", 3.0) for n in range(5, 9)]
    groups = {"a": ["0", "1"], "b": ["5", "6", "7", "8"]}
    found = t_frame(typed_frame(rows, CHANGE), subjects_of(groups))
    assert set(found["status"]) == {"failed"}
    assert found[["estimate_percent", "p", "p_holm", "hedges_g"]].isna().all().all()
    assert set(found["family_size"]) == {0}
    reasons = found[found["level"] == "L5-S1"].set_index("group")["reason"]
    assert reasons["a"] == "2 subjects, at least 3 are needed"
    assert reasons["b"] == "no variance between subjects"
    assert "first group: 2 subjects" in reasons["a - b"] and "second group: no variance" in reasons["a - b"]


def test_one_visit_gives_no_tests() -> None:
    found = t_frame(typed_frame([], CHANGE), subjects_of({"a": ["0"]}))
    assert found.empty


def test_every_change_failed_gives_rows_that_say_so() -> None:
    rows = [change_row(f"{n}", "a", "L5-S1", 1.0, status="failed") for n in range(4)]
    found = t_frame(typed_frame(rows, CHANGE), subjects_of({"a": list("0123")}))
    assert found["n_missing"].tolist() == [4, 4]
    assert found["n"].tolist() == [0, 0]


def test_a_table_that_mixes_references_or_unknown_subjects_is_refused() -> None:
    change, subjects = r_data()
    with pytest.raises(ManifestError, match="found 00"):
        t_frame(change, subjects[subjects["subject"] != "00"])
    change.loc[0, "reference_session"] = "ses-0"
    with pytest.raises(ManifestError, match="one reference visit"):
        t_frame(change, subjects)


def simulated(draw: np.random.Generator, *, n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two groups, true change +4 % and +1 % at ses-2, 0 at ses-3, subject SD 1 % and disc SD 0.8 %."""
    truth = {("control", "ses-2"): 4.0, ("exercise", "ses-2"): 1.0}
    groups = {g: [f"{g[0]}{i:02d}" for i in range(n)] for g in ("control", "exercise")}
    rows = []
    for group, members in groups.items():
        for subject in members:
            for session in STUDY:
                mean = truth.get((group, session), 0.0) + draw.normal(0, 1)
                rows += [change_row(subject, group, lv, mean + draw.normal(0, 0.8), session=session) for lv in LEVELS]
    return typed_frame(rows, CHANGE), subjects_of(groups)


def test_a_known_effect_is_recovered_inside_its_interval() -> None:
    found = t_frame(*simulated(np.random.default_rng(11), n=10))
    every = found[found["level"] == "all"].set_index(["group", "session"])
    truth = {("control", "ses-2"): 4, ("exercise", "ses-2"): 1, ("control - exercise", "ses-2"): 3,
             ("control", "ses-3"): 0, ("control - exercise", "ses-3"): 0}
    for key, value in truth.items():
        assert every.loc[key, "ci_low_percent"] < value < every.loc[key, "ci_high_percent"], key
    assert every.loc[("control", "ses-2"), "p_holm"] < 0.001
    assert every.loc[("control - exercise", "ses-2"), "p_holm"] < 0.001
    within = found[(found["family"] == FAMILY_NAMES[Family.WITHIN]) & (found["session"] == "ses-2") & (found["group"] == "control")]
    assert len(within) == 7 and set(within["family_size"]) == {28}
    assert (within["p_holm"] < 0.01).all()


def test_null_within_group_is_rejected_in_five_per_cent() -> None:
    # 2000 cohorts of 8: the binomial 99 % band around 5 % is 3.8 to 6.3 %. A z test would reject in about 9 %.
    draws = np.random.default_rng(5).normal(0, 1, (2000, 8))
    rate = np.mean([one_sample_t(row).p < 0.05 for row in draws])
    assert 0.038 < rate < 0.063


def test_null_between_groups_of_unequal_spread_is_rejected_in_five_per_cent() -> None:
    draw = np.random.default_rng(6)
    first, second = draw.normal(0, 1, (1500, 8)), draw.normal(0, 3, (1500, 12))
    rate = np.mean([welch_t(a, b).p < 0.05 for a, b in zip(first, second, strict=True)])
    assert 0.035 < rate < 0.066


def _measures() -> pd.DataFrame:
    rows = [
        {"subject": f"{n}", "group": "a", "session": s, "study_day": d, "phase": "bed_rest", "level": "L5-S1",
         "source": "automatic", "volume_mm3": v, "status": "ok"}
        for n, volumes in enumerate(((10.0, 12.0), (20.0, 21.0), (30.0, math.nan)))
        for (s, d), v in zip((("ses-1", -2.0), ("ses-2", 20.0)), volumes, strict=True)
    ]
    rows[-1].update(status="failed", reason="why")
    return typed_frame(rows, MEASURES)


def test_group_means_count_what_is_left() -> None:
    found = group_means(_measures())
    validated(found, GROUP_MEANS)
    first, second = found.to_dict("records")
    assert (first["n"], first["mean_mm3"], first["sd_mm3"]) == (3, 20, 10)
    # t(0.975, 2) = 4.302653, standard error 10/sqrt(3)
    assert first["ci_high_mm3"] - 20 == pytest.approx(4.302652729749464 * 10 / math.sqrt(3))
    assert (second["n"], second["mean_mm3"]) == (2, 16.5)


def test_flow_counts_every_step() -> None:
    visits = [("0", "ses-1"), ("0", "ses-2"), ("1", "ses-1"), ("1", "ses-2"), ("2", "ses-1"), ("2", "ses-2")]
    day = {"ses-1": -2.0, "ses-2": 20.0}
    sessions = typed_frame(
        ({"subject": s, "session": v, "study_day": day[v], "phase": "bed_rest"} for s, v in visits), SESSIONS)
    records = typed_frame(
        ({"subject": s, "session": v, "source": "automatic", "status": "ok"} for s, v in visits), SCAN_RECORDS)
    change = typed_frame([change_row("0", "a", "L5-S1", 20), change_row("2", "a", "L5-S1", 0, status="failed")], CHANGE)
    measures = _measures()
    measures.loc[0, "status"] = "flagged"
    found = flow_frame(StudyTables(subjects_of({"a": list("0123"), "b": ["9"]}), sessions, records, measures, change))
    validated(found, FLOW)
    # enrolled, scanned, segmented, measured, passed QC, analysed, discs expected and analysed
    assert found.drop(columns=["group", "session"]).to_numpy().tolist() == [
        [4, 3, 3, 3, 2, 1, 3, 1], [4, 3, 3, 2, 2, 1, 3, 1], [1, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]]
    assert found["session"].tolist() == ["ses-1", "ses-2"] * 2
