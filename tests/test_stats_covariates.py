"""Covariates that a model cannot use: the true reason in `check`, in the models, and in each row that fails.

R is the reference: lme4 drops columns that repeat others (lmerControl, check.rankX = "message+drop.cols"); emmeans
calls what then has no answer not estimable. Changes that can be estimated are those of the model without the column.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from bedrest.errors import ManyProblems, StudyError
from bedrest.schemas import CONTRASTS, MARGINAL_MEANS, MODELS, TERMS
from bedrest.settings import load_study
from bedrest.statistics.planning.simulated_cohorts import Scenario
from bedrest.statistics.study.analysis import Analysis, AnalysisOptions
from bedrest.statistics.study.covariates import aliases, check_covariates, covariate_doubts
from bedrest.statistics.study.flow import StudyTables
from bedrest.statistics.study.paper_text import Records, paper_text
from bedrest.statistics.study.sensitivity import Resampling
from bedrest.vocabulary import Family
from command_line import bedrest
from study_folders import BOTH, csv_study

from pipelines.benchmarks.simulated_study import draw_study

SCENARIO = Scenario(12, changes_percent=(2.0, 5.0), levels=1, response_sd_percent=0.5)
SEXES = ["F", "M", "M", "F", "F", "M", "M", "M", "F", "F", "M", "F"]
AGES = [31.0, 24, 29, 45, 38, 27, 33, 41, 26, 36, 30, 28]


@pytest.fixture(scope="module")
def study() -> StudyTables:
    return draw_study(SCENARIO, np.random.default_rng(8))


def analysed(study: StudyTables, *covariates: str) -> Analysis:
    return Analysis(study, replace(SCENARIO.plan, covariates=covariates), AnalysisOptions(resampling=Resampling(200)))


def with_subjects(study: StudyTables, **columns: object) -> StudyTables:
    return replace(study, subjects=study.subjects.drop(columns=[c for c in columns if c in study.subjects])
                   .assign(**columns))


def doubts(study: StudyTables, *covariates: str) -> list[str]:
    visits = study.measures[["subject", "session"]]
    found = covariate_doubts(covariates, study.subjects, study.sessions, visits)
    assert all((p.where, p.expected, p.actual, p.remedy) for p in found)
    return [str(p) for p in found]


def terms(analysis: Analysis) -> pd.DataFrame:
    return analysis.table(TERMS).query("model == 'primary'").set_index("term")[["status", "reason"]]


def primary(analysis: Analysis) -> pd.Series:
    return analysis.table(MODELS).query("model == 'primary'").iloc[0]


def of_group(study: StudyTables) -> list[bool]:
    return (study.subjects["group"] == "group b").tolist()


CHANGES = ["estimate_percent", "se_percent", "df", "p"]


def test_sex_is_the_group(study):
    told = with_subjects(study, sex=np.where(of_group(study), "M", "F"))
    assert doubts(told, "sex") == [
        "covariate sex: expected values that the other terms of the models do not decide, found sex and group cannot "
        "be told apart in all 12 subjects. Leave sex out of statistics.covariates."]
    analysis = analysed(told, "sex")
    assert terms(analysis).loc["group"].tolist() == ["failed", "sex and group cannot be told apart"]
    assert set(terms(analysis).drop("group")["status"]) == {"ok"}
    assert primary(analysis)["reason"] == "sex and group cannot be told apart: the column sex is left out"
    means = analysis.table(MARGINAL_MEANS)
    assert set(means["status"]) == {"failed"} and set(means["reason"]) == {"sex and group cannot be told apart"}
    without = analysed(told).table(CONTRASTS)
    assert analysis.table(CONTRASTS)[CHANGES].to_numpy() == pytest.approx(without[CHANGES].to_numpy(), nan_ok=True)
    text = paper_text(Records.of(analysis, version="0", description="synthetic"), source="automatic")
    assert "sex and group cannot be told apart: the column sex is left out" in text
    # The remedy works.
    assert doubts(told) == [] and set(terms(analysed(told))["status"]) == {"ok"}


@pytest.mark.parametrize(("columns", "covariates", "message"), [
    ({"dose": 70.3}, ("dose",), "dose has one value"),
    ({"age": AGES, "birth_year": [2024 - a for a in AGES]}, ("age", "birth_year"),
     "birth_year and age cannot be told apart"),
    ({"age": AGES, "sex": SEXES, "score": [2 * a + 30 * (s == "M") for a, s in zip(AGES, SEXES, strict=True)]},
     ("age", "sex", "score"), "score and age and sex cannot be told apart"),
])
def test_what_one_value_or_other_covariates_decide(study, columns, covariates, message):
    told = with_subjects(study, **columns)
    found = doubts(told, *covariates)
    assert any(message in doubt for doubt in found), found
    analysis = analysed(told, *covariates)
    assert message in primary(analysis)["reason"] and primary(analysis)["status"] == "flagged"
    assert set(terms(analysis)["status"]) == {"ok"}  # the design does not need it
    assert doubts(told, *covariates[:-1]) == []  # the remedy


def test_the_planned_day_is_the_visit(study):
    days = {"ses-1": -3, "ses-2": 30, "ses-3": 60}
    told = replace(study, sessions=study.sessions.assign(day=[days[s] for s in study.sessions["session"]]))
    (doubt,) = doubts(told, "day")
    assert "day and visit cannot be told apart in all 12 subjects" in doubt
    analysis = analysed(told, "day")
    rows = analysis.table(CONTRASTS)
    within = rows[rows["comparison"] == Family.WITHIN]
    assert set(within["reason"]) == {"day and visit cannot be told apart"} and set(within["status"]) == {"failed"}
    between = rows.drop(within.index)
    assert set(between["status"]) == {"ok"}  # the difference between groups does not need the visit's own effect
    assert terms(analysis).loc["session", "reason"] == "day and visit cannot be told apart"
    # A day of each group and visit goes with both, and the comparison of groups goes with it.
    shifted = told.sessions["day"] + 7 * told.sessions["subject"].map(told.subjects.set_index("subject")["group"]).eq(
        "group b") * (told.sessions["session"] == "ses-3")
    crossed = replace(told, sessions=told.sessions.assign(day=shifted))
    assert "day and group and visit cannot be told apart" in doubts(crossed, "day")[0]


def test_missing_for_a_whole_group(study):
    told = with_subjects(study, age=[a if b else math.nan for a, b in zip(AGES, of_group(study), strict=True)])
    (doubt,) = doubts(told, "age")
    assert "expected a value for every subject and visit, found none in group group a" in doubt
    analysis = analysed(told, "age")
    rows = analysis.table(CONTRASTS).set_index(["group", "session"])
    reason = "group a: 0 subjects with both visits, at least 3 are needed; 6 more without a covariate"
    assert rows.loc[("group a", "ses-2"), ["n_pairs", "reason"]].tolist() == [0, reason]
    assert rows.loc[("group a - group b", "ses-3"), "reason"] == reason
    assert rows.loc[("group b", "ses-2"), "status"] == "ok"
    assert primary(analysis)["reason"] == "18 discs left out: no age"


def test_missing_at_a_visit_and_everywhere(study):
    weights = study.sessions.assign(weight_now=np.where(study.sessions["session"] == "ses-1", math.nan, 70.0)
                                    + np.arange(len(study.sessions)) % 7)
    told = replace(study, sessions=weights)
    assert any("found none in visit ses-1" in doubt for doubt in doubts(told, "weight_now"))
    model = primary(analysed(told, "weight_now"))
    assert model["status"] == "failed" and model["reason"].startswith("fewer than 3 subjects at the reference visit")
    assert model["reason"].endswith("12 discs left out: no weight_now")
    nothing = with_subjects(study, height_cm=math.nan)
    assert "found none at all" in doubts(nothing, "height_cm")[0]
    model = primary(analysed(nothing, "height_cm"))
    assert model["status"] == "failed" and "36 discs left out: no height_cm" in model["reason"]
    assert len(analysed(nothing, "height_cm").table(CONTRASTS)) == 6
    some = with_subjects(study, age=[math.nan, *AGES[1:]])
    assert "found none for s1. Discs without it are in no model" in doubts(some, "age")[0]


def test_one_subject_alone(study):
    smoker = with_subjects(study, smoker=[0] * 4 + [1] + [0] * 7)
    (doubt,) = doubts(smoker, "smoker")
    assert "found s5 shows it alone: without that subject, smoker has one value" in doubt
    nearly = with_subjects(study, site=[b + 1 if n != 3 else 1 for n, b in enumerate(of_group(study))])
    (doubt,) = doubts(nearly, "site")
    assert "s4 shows it alone: without that subject, site and group cannot be told apart" in doubt
    assert set(terms(analysed(nearly, "site"))["status"]) == {"ok"}


def test_near_repeats_and_the_subject_itself(study):
    told = with_subjects(study, age=AGES, birth_year=[1994 - a + (n % 3 == 0) for n, a in enumerate(AGES)])
    (doubt,) = doubts(told, "age", "birth_year")
    assert "covariate age: expected values that do not go with birth_year, found a correlation of -0.99" in doubt
    numbered = with_subjects(study, participant=[int(s[1:]) for s in study.subjects["subject"]])
    assert "numbers that say which subject it is" in doubts(numbered, "participant")[0]
    shuffled = with_subjects(study, order=[4, 1, 12, 7, 2, 9, 3, 11, 5, 8, 10, 6])
    assert "numbers that say which subject it is" in doubts(shuffled, "order")[0]
    assert doubts(with_subjects(study, age=AGES, sex=SEXES), "age", "sex") == []


def test_no_text_and_nothing_that_is_in_every_model(study):
    told = with_subjects(study, site=[f"clinic {n}" for n in range(12)])
    with pytest.raises(StudyError, match=r"'clinic 0', 12 texts in all.*write two values as 0 and 1"):
        check_covariates(["site"], told.subjects, told.sessions)
    assert doubts(told, "site") == []  # refused already
    for name in ("group", "session", "subject", "level"):
        with pytest.raises(StudyError, match=f"not in every model already, found '{name}'. Leave it out"):
            check_covariates([name], told.subjects, told.sessions)


def test_a_column_of_any_name(study):
    told = with_subjects(study, **{"body mass (kg/m2)": AGES})
    analysis = analysed(told, "body mass (kg/m2)")
    assert primary(analysis)["status"] == "ok" and set(terms(analysis)["status"]) == {"ok"}
    plain = analysed(with_subjects(study, age=AGES), "age").table(CONTRASTS)
    assert analysis.table(CONTRASTS)[CHANGES].to_numpy() == pytest.approx(plain[CHANGES].to_numpy(), nan_ok=True)


def test_a_visit_of_one_subject_counts_that_subject(study):
    rare = study.measures[(study.measures["session"] != "ses-3") | (study.measures["subject"] == "s1")]
    analysis = analysed(replace(study, measures=rare))
    rows = analysis.table(CONTRASTS).set_index(["group", "session"])
    assert rows.loc[("group a", "ses-3"), ["n_pairs", "n_missing", "reason"]].tolist() == [
        1, 5, "group a: 1 subject with both visits, at least 3 are needed"]
    assert rows.loc[("group b", "ses-3"), ["n_pairs", "n_missing"]].tolist() == [0, 6]
    means = analysis.table(MARGINAL_MEANS).set_index(["group", "session"])
    assert means.loc[("group a", "ses-3"), ["n", "reason"]].tolist() == [
        1, "visit ses-3 left out: fewer than 3 subjects"]
    assert means.loc[("group b", "ses-3"), ["n", "reason"]].tolist() == [0, "no subject of the group was measured"]


def test_an_empty_cell_is_named(study):
    gone = study.measures[(study.measures["session"] != "ses-3") | (study.measures["group"] == "group a")]
    assert terms(analysed(replace(study, measures=gone))).loc["group", "reason"] == "no disc of ses-3 and group b"


def test_units_and_the_order_of_rows_decide_nothing():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"group": np.repeat(["a", "b"], 12), "session": ["1", "2", "3"] * 8,
                          "x": np.repeat(rng.normal(size=8), 3)})
    frame["y"] = 1e5 * (frame["x"] + (frame["group"] == "b"))
    for rows in (frame, frame.sample(frac=1, random_state=1), pd.concat([frame, frame])):
        assert aliases(rows, ["x"]) == {}
        assert aliases(rows, ["x", "y"]) == {"x": ("group", "y"), "y": ("group", "x")}


def test_check_prints_it(tmp_path):
    study = csv_study(tmp_path, BOTH, subjects="A,control\nB,exercise\n")
    (tmp_path / "subjects.csv").write_text("subject,group,sex\nA,control,F\nB,exercise,M\n")
    text = study.path.read_text()
    study.path.write_text(text.replace("[images]", '[statistics]\ncovariates = ["sex"]\n[images]'))
    lines = bedrest("check", study.path, cwd=tmp_path).stdout.splitlines()
    assert any("doubtful: covariate sex: " in line and "sex and group cannot be told apart" in line for line in lines)


@pytest.mark.parametrize(("column", "typed"), [("Sporty", "sporty"), ("bmi", "bmj")])
def test_a_covariate_in_other_letters_is_told_with_the_columns_name(study, column, typed):
    table = with_subjects(study, **{column: [str(k) for k in range(12)] if column == "Sporty" else AGES})
    with pytest.raises(StudyError, match=f"Did you mean '{column}'"):
        check_covariates([typed], table.subjects, table.sessions)


def test_a_covariate_listed_twice_is_refused(tmp_path):
    study = csv_study(tmp_path, BOTH)
    study.path.write_text(study.path.read_text() + '\n[statistics]\ncovariates = ["age", "age"]\n')
    with pytest.raises(ManyProblems, match="every covariate once, found 'age' more than once"):
        load_study(study.path)
