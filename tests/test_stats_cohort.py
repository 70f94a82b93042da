"""The cohort's models: exact cases, known effects, missing data, what cannot be estimated, sentences."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from bedrest.errors import StudyError
from bedrest.io.tables.frames import validated
from bedrest.schemas import CONTRASTS, DETECTIONS, FLOW, MARGINAL_MEANS, MODELS, SENSITIVITY, TERMS, Table
from bedrest.statistics.estimators.covariance import LinearCovariance, random_term, residual_terms
from bedrest.statistics.estimators.reml import fit_reml
from bedrest.statistics.planning.simulated_cohorts import Scenario, draw_cohort
from bedrest.statistics.study.analysis import Analysis, AnalysisOptions
from bedrest.statistics.study.cohort_models import joint_model, level_model, level_models
from bedrest.statistics.study.estimates import contrasts_frame, marginal_means_frame
from bedrest.statistics.study.families import FAMILY_NAMES
from bedrest.statistics.study.flow import LEFT_OUT, StudyTables
from bedrest.statistics.study.paper_text import Records, paper_text
from bedrest.statistics.study.responses import AnalysisPlan, Observations, observations
from bedrest.statistics.study.sensitivity import Resampling
from bedrest.vocabulary import LEVELS, Family, ModelKind
from scipy import stats

from pipelines.benchmarks.simulated_study import draw_study

SCENARIO = Scenario(12, changes_percent=(2.0, 5.0, 0.0), levels=3, response_sd_percent=0.5)


def subjects_of(data: Observations) -> pd.DataFrame:
    return data.frame[["subject", "group"]].drop_duplicates()


def wide(data: Observations) -> pd.DataFrame:
    return data.frame.pivot(index=["subject", "group"], columns="session", values="y")


def analysed(study: StudyTables, plan: AnalysisPlan, **options) -> Analysis:
    return Analysis(study, plan, AnalysisOptions(**{"resampling": Resampling(resamples=200), **options}))


def rows_of(analysis: Analysis, table: Table, **values: object) -> pd.DataFrame:
    """Rows of a table by level, group and session, where columns have these values."""
    frame = analysis.table(table)
    for name, value in values.items():
        frame = frame[frame[name] == value]
    return frame.set_index(["level", "group", "session"])


@pytest.fixture(scope="module")
def study() -> StudyTables:
    return draw_study(SCENARIO, np.random.default_rng(8))


@pytest.fixture(scope="module")
def analysis(study) -> Analysis:
    return analysed(study, SCENARIO.plan)


def test_two_complete_visits_give_the_paired_t_test(rng):
    scenario = Scenario(9, groups=1, changes_percent=(3.0,))
    data = draw_cohort(scenario, rng)
    row = contrasts_frame(level_models(data, scenario.plan), subjects_of(data)).iloc[0]
    table = wide(data)
    known = stats.ttest_rel(table["ses-2"], table["ses-1"])
    mean = (table["ses-2"] - table["ses-1"]).mean()
    assert row["estimate_percent"] == pytest.approx(100 * math.expm1(mean / 100), rel=1e-6)
    assert (row["t"], row["df"], row["p"]) == (
        pytest.approx(known.statistic, rel=1e-5), pytest.approx(8, rel=1e-4), pytest.approx(known.pvalue, rel=1e-4))
    low, high = known.confidence_interval(0.95)
    assert row["ci_low_percent"] == pytest.approx(100 * math.expm1(low / 100), rel=1e-4)
    assert row["ci_high_percent"] == pytest.approx(100 * math.expm1(high / 100), rel=1e-4)
    # Hedges g of a paired design: d_z times J(n - 1).
    change = table["ses-2"] - table["ses-1"]
    assert row["hedges_g"] == pytest.approx(change.mean() / change.std(ddof=1) * 0.9033, rel=1e-3)
    assert row["hedges_g_low"] < row["hedges_g"] < row["hedges_g_high"]


def test_unstructured_and_complete_gives_the_pooled_t_test_of_changes(rng):
    scenario = Scenario(14, changes_percent=(3.0, 1.0))
    data = draw_cohort(scenario, rng)
    model = level_model(data, replace(scenario.plan, covariance="unstructured"), level="L5-S1")
    rows = contrasts_frame([model], subjects_of(data)).set_index(["group", "session"])
    change = wide(data)["ses-2"] - wide(data)["ses-1"]
    known = stats.ttest_ind(change.xs("group a", level="group"), change.xs("group b", level="group"))
    row = rows.loc[("group a - group b", "ses-2")]
    assert (row["t"], row["df"], row["p"]) == (
        pytest.approx(known.statistic, rel=1e-4), pytest.approx(12, abs=1e-3), pytest.approx(known.pvalue, rel=1e-3))


def test_known_effects_lie_inside_their_intervals(analysis):
    validated(analysis.table(CONTRASTS), CONTRASTS)
    every = rows_of(analysis, CONTRASTS).loc["all"]
    for group in SCENARIO.plan.groups:
        for session, truth in zip(SCENARIO.sessions[1:], SCENARIO.changes_percent, strict=True):
            row = every.loc[(group, session)]
            assert row["ci_low_percent"] < truth < row["ci_high_percent"], (group, session)
    assert every.loc[("group a", "ses-3"), "p_holm"] < 1e-4
    between = every.loc["group a - group b"]
    assert ((between["ci_low_percent"] < 0) & (between["ci_high_percent"] > 0)).all()
    single, between = (rows_of(analysis, CONTRASTS, family=FAMILY_NAMES[f]) for f in Family)
    assert len(single) == 3 * 2 * 3 and set(single["family_size"]) == {18} and set(between["family_size"]) == {9}
    assert set(single["comparison"]) == {Family.WITHIN} and set(between["comparison"]) == {Family.BETWEEN}


def test_every_change_has_its_verdict(analysis, study):
    key = ["subject", "level", "source", "session"]
    assert analysis.table(DETECTIONS)[key].equals(study.change[key]) and len(analysis.table(DETECTIONS)) > 0
    assert set(analysis.table(DETECTIONS)["verdict"]) == {"not judged"}  # one baseline visit, no standard errors
    assert ("detections", len(study.change)) in [(table.name, len(frame)) for table, frame in analysis.tables()]
    for table, frame in analysis.tables():
        validated(frame, table)


def test_units_and_order_of_rows_do_not_matter(study, analysis):
    mixed = study.measures.sample(frac=1, random_state=1).assign(volume_mm3=lambda d: d["volume_mm3"] * 2)
    again = analysed(replace(study, measures=mixed), SCENARIO.plan)
    key = ["family", "level", "group", "session"]
    first, second = (f.table(CONTRASTS).sort_values(key)[["estimate_percent", "se_percent", "df", "p"]].to_numpy()
                     for f in (analysis, again))
    assert first == pytest.approx(second, rel=2e-3, abs=1e-6)
    means = again.table(MARGINAL_MEANS).set_index(["level", "group", "session"])["mean_mm3"]
    assert means.to_numpy() == pytest.approx(2 * analysis.table(MARGINAL_MEANS).set_index(
        ["level", "group", "session"])["mean_mm3"].reindex(means.index).to_numpy(), rel=1e-4)


def test_what_is_missing_is_counted_and_nothing_vanishes(study):
    gone = study.measures["subject"].isin(["s1", "s3"]) & (study.measures["session"] == "ses-2")
    lost = study.measures.assign(status=np.where(gone, "failed", study.measures["status"]),
                                 volume_mm3=study.measures["volume_mm3"].mask(gone))
    more = pd.concat([study.subjects, pd.DataFrame([{"subject": "s99", "group": "group a"}])], ignore_index=True)
    result = analysed(replace(study, measures=lost, subjects=more), SCENARIO.plan, excluded=("s100",))
    row = rows_of(result, CONTRASTS).loc[("L4-L5", "group a", "ses-2")]
    assert (row["n"], row["n_pairs"], row["n_missing"]) == (6, 4, 3) and row["status"] != "failed"
    flow = result.table(FLOW).set_index(["group", "session"])
    assert flow.loc[("group a", "ses-2"), ["enrolled", "scanned", "measured"]].tolist() == [7, 6, 4]
    assert flow.loc[(LEFT_OUT, "ses-1"), "enrolled"] == 1


def test_too_few_pairs_keep_their_rows_with_the_reason(study):
    few = study.measures[~((study.measures["session"] == "ses-3")
                           & study.measures["subject"].isin(["s1", "s3", "s5", "s7"]))]
    rare = few[~((few["session"] == "ses-4") & ~few["subject"].isin(["s1", "s2"]))]
    result = analysed(replace(study, measures=rare), SCENARIO.plan)
    rows = rows_of(result, CONTRASTS)
    assert rows.loc[("L4-L5", "group a", "ses-3"), "status"] == "failed"
    assert "2 subjects with both visits" in rows.loc[("L4-L5", "group a", "ses-3"), "reason"]
    assert rows.loc[("L4-L5", "group b", "ses-3"), "status"] == "ok"
    assert rows.loc[("L4-L5", "group b", "ses-4"), "status"] == "failed"
    models = result.table(MODELS).query("model == 'primary'").set_index("level")
    assert "visit ses-4 left out" in models.loc["L4-L5", "reason"]
    validated(result.table(MODELS), MODELS)
    validated(result.table(MARGINAL_MEANS), MARGINAL_MEANS)
    lost = rows_of(result, MARGINAL_MEANS).loc[("L4-L5", "group b", "ses-4")]
    assert lost["status"] == "failed" and math.isnan(lost["mean_mm3"])


def test_one_visit_one_group_and_nothing_at_all(study):
    one = study.measures[study.measures["session"] == "ses-1"]
    visits = study.sessions[study.sessions["session"] == "ses-1"]
    single = analysed(replace(study, measures=one, change=study.change[:0], sessions=visits),
                      replace(SCENARIO.plan, sessions=("ses-1",)))
    assert single.table(CONTRASTS).empty and set(single.table(MODELS)["status"]) == {"failed"}
    assert set(single.table(MARGINAL_MEANS)["status"]) == {"failed"}
    alone = draw_study(replace(SCENARIO, groups=1), np.random.default_rng(4))
    group = analysed(alone, replace(SCENARIO, groups=1).plan)
    assert set(group.table(CONTRASTS)["group"]) == {"group a"}
    assert set(group.table(TERMS)["term"]) == {"session", "level x session"}
    nothing = analysed(replace(study, measures=one[:0], change=study.change[:0]), SCENARIO.plan)
    assert nothing.table(CONTRASTS).empty and nothing.table(MODELS).empty and nothing.table(SENSITIVITY).empty


def test_a_covariate_that_goes_with_the_visit_is_told_from_change(study):
    minutes = {"ses-1": 30.0, "ses-2": 90.0, "ses-3": 60.0, "ses-4": 45.0}
    draw = np.random.default_rng(2)
    visits = study.sessions["session"]
    sessions = study.sessions.assign(minutes_supine=[minutes[s] + draw.normal(0, 20) for s in visits])
    at = sessions.set_index(["subject", "session"])["minutes_supine"]
    shift = [0.05 * at[(r.subject, r.session)] for r in study.measures.itertuples()]
    moved = study.measures.assign(volume_mm3=study.measures["volume_mm3"] * np.exp(np.array(shift) / 100))
    lying = replace(study, measures=moved, sessions=sessions)
    plain = analysed(lying, SCENARIO.plan).table(CONTRASTS)
    adjusted = analysed(lying, replace(SCENARIO.plan, covariates=("minutes_supine",))).table(CONTRASTS)
    rows = [f[(f["level"] == "all") & (f["group"] == "group a") & (f["session"] == "ses-2")].iloc[0]
            for f in (plain, adjusted)]
    assert not rows[0]["ci_low_percent"] < 2.0 < rows[0]["ci_high_percent"]
    assert rows[1]["ci_low_percent"] < 2.0 < rows[1]["ci_high_percent"]
    with pytest.raises(StudyError, match=r"minutes_supine.*'weather'"):
        analysed(lying, replace(SCENARIO.plan, covariates=("weather",))).table(CONTRASTS)


def test_missing_covariates_are_left_out_aloud(study):
    subjects = study.subjects.assign(age=[30.0] * 11 + [math.nan])
    data = observations(study.measures, source="automatic", subjects=subjects, sessions=study.sessions,
                        plan=replace(SCENARIO.plan, covariates=("age",)))
    assert len(data.incomplete) == 12 and data.frame["subject"].nunique() == 11
    with pytest.raises(StudyError, match="numbers"):
        observations(study.measures, source="automatic", subjects=subjects.assign(age="old"), sessions=study.sessions,
                     plan=replace(SCENARIO.plan, covariates=("age",)))


def test_flagged_discs_are_said_and_the_models_run_again_without_them(study):
    status = np.where((study.measures["level"] == "L5-S1") & (study.measures["subject"] == "s2"), "flagged", "ok")
    result = analysed(replace(study, measures=study.measures.assign(status=status, reason="touches the edge")),
                      SCENARIO.plan)
    row = rows_of(result, CONTRASTS).loc[("L5-S1", "group b", "ses-2")]
    assert row["status"] == "flagged" and row["reason"] == "1 of 6 subjects bring a flagged disc"
    family = f"{FAMILY_NAMES[Family.WITHIN]}: without flagged discs"
    without = rows_of(result, SENSITIVITY, family=family).loc[("L5-S1", "group b", "ses-2")]
    assert (without["n_pairs"], without["n_missing"]) == (5, 1)
    assert without["estimate_percent"] != row["estimate_percent"]


def test_mixedlm_gives_the_same_changes_where_its_one_variance_is_right():
    # Balanced data: the estimates are differences of cell means in both; with equal variances the errors are close too.
    scenario = replace(SCENARIO, variance_growth=1.0, response_sd_percent=0.0, levels=1)
    study = draw_study(scenario, np.random.default_rng(5))
    analysis = analysed(study, SCENARIO.plan)
    primary = rows_of(analysis, CONTRASTS)
    second = rows_of(analysis, SENSITIVITY, df_method="subjects minus groups").loc[primary.index]
    assert second["estimate_percent"].to_numpy() == pytest.approx(primary["estimate_percent"].to_numpy(), abs=1e-6)
    assert set(second["df"]) == {10}
    data = observations(study.measures, source="automatic", subjects=study.subjects, sessions=study.sessions,
                        plan=SCENARIO.plan)
    frame = data.frame.reset_index(drop=True)
    design = level_model(data, SCENARIO.plan, level="L5-S1").design
    known = fit_reml(frame["y"].to_numpy(), design.x, clusters=frame["subject"].to_numpy(), structure=LinearCovariance(
        (random_term("subject", frame["subject"]), *residual_terms([""] * len(frame)))))
    row = analysis.table(MODELS).set_index("model").loc[ModelKind.MIXEDLM]
    assert row["log_likelihood"] == pytest.approx(known.log_likelihood, abs=1e-3)
    weights = design.change("session", to="ses-3", since="ses-1", cell={"group": "group a"})
    error = float(np.sqrt(weights @ known.covariance @ weights))
    shown = second.loc[("L5-S1", "group a", "ses-3")]
    assert shown["se_percent"] == pytest.approx(error * (1 + shown["estimate_percent"] / 100), rel=1e-3)


def test_resampling_rows_are_seeded_and_say_what_they_can_do(analysis, study):
    again = analysed(study, SCENARIO.plan)
    assert again.table(SENSITIVITY).equals(analysis.table(SENSITIVITY))
    rows = analysis.table(SENSITIVITY).query("level == 'all'").set_index(["analysis", "group", "session"])
    flips = rows.loc["sign flips of subjects' per-cent changes"].loc[("group a", "ses-3")]
    assert flips["p"] == pytest.approx(2 / 64) and "all 64 counted" in flips["df_method"]
    boot = rows.loc["bootstrap of subjects, mean per-cent change"].loc[("group a", "ses-3")]
    assert boot["ci_low_percent"] < 5.0 < boot["ci_high_percent"] and math.isnan(boot["p"])


def test_the_joint_model_says_which_variance_it_did_not_find(study):
    data = observations(study.measures, source="automatic", subjects=study.subjects, sessions=study.sessions,
                        plan=SCENARIO.plan)
    model = joint_model(data, SCENARIO.plan)
    assert model is not None and model.fit is not None
    kept = {name for name in model.fit.parameters if name.startswith("subject x visit")}
    notes = " ".join(model.notes)
    for session in SCENARIO.sessions:
        name = f"subject x visit, {session}"
        assert (name in kept) != (name in notes)
    assert model.singular == bool(notes)
    assert joint_model(replace(data, frame=data.frame[data.frame["level"] == "L5-S1"]), SCENARIO.plan) is None


def test_marginal_means_of_complete_data_are_the_geometric_means(study, analysis):
    own = study.measures.groupby(["level", "group", "session"])["volume_mm3"].agg(lambda v: math.exp(np.log(v).mean()))
    means = analysis.table(MARGINAL_MEANS)
    for row in means[means["level"] != "all"].to_dict("records"):
        assert row["mean_mm3"] == pytest.approx(own[(row["level"], row["group"], row["session"])], rel=1e-6)
        assert row["ci_low_mm3"] < row["mean_mm3"] < row["ci_high_mm3"]
    assert len(means) == 4 * 2 * 4 and set(means["level"]) == {*LEVELS[-3:], "all"}


def test_every_number_of_the_text_comes_from_the_records(analysis):
    records = Records.of(analysis, version="0", description="synthetic")
    text = paper_text(records, source="automatic")
    for row in rows_of(analysis, CONTRASTS).loc["all"].to_dict("records"):
        assert f"{row['estimate_percent']:+.1f} % (95 % CI {row['ci_low_percent']:+.1f}" in text
        assert f"t({row['df']:.1f}) = {row['t']:.2f}" in text
    assert "12 subjects, 48 observations a level" in text and "144 observations" in text
    contrasts = analysis.table(CONTRASTS).assign(estimate_percent=77.7)
    moved = replace(records, tables={**records.tables, "contrasts": contrasts})
    assert "+77.7 %" in paper_text(moved, source="automatic") and "+77.7 %" not in text
    assert "No model could be fitted" in paper_text(records, source="given")


def test_subjects_of_one_size_are_no_obstacle() -> None:
    # Variances at 0 in few subjects bring Kenward and Roger's formulas to a division by 0.
    scenario = Scenario(subjects=8, between_sd_percent=0.0, variance_growth=1.0, missing=0.2, levels=2)
    observations = draw_cohort(scenario, np.random.default_rng(5))
    models = [*level_models(observations, scenario.plan), joint_model(observations, scenario.plan)]
    means = marginal_means_frame([m for m in models if m is not None])
    assert len(means) and means["mean_mm3"].notna().any()
