"""The cohort's models: exact cases, known effects, what is missing, what cannot be told, sentences."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from bedrest.errors import StudyError
from bedrest.io.tables.frames import empty_table, validated
from bedrest.schemas import ACCURACY, ARVD, CONTRASTS, MARGINAL_MEANS, MODELS
from bedrest.statistics.estimators.covariance import LinearCovariance, random_term, residual_terms
from bedrest.statistics.estimators.reml import fit_reml
from bedrest.statistics.planning.simulated_cohorts import Scenario, draw_cohort, draw_study
from bedrest.statistics.study.cohort import AnalysisOptions, CohortTables, analyse
from bedrest.statistics.study.cohort_models import joint_model, level_model, level_models
from bedrest.statistics.study.estimates import contrasts_frame, marginal_means_frame
from bedrest.statistics.study.families import BETWEEN, WITHIN
from bedrest.statistics.study.flow import LEFT_OUT, StudyTables
from bedrest.statistics.study.paper_text import Records, paper_text
from bedrest.statistics.study.responses import AnalysisPlan, Observations, observations
from bedrest.statistics.study.sensitivity import Resampling
from bedrest.vocabulary import LEVELS
from scipy import stats

PLAN = Scenario(12, changes_percent=(2.0, 5.0, 0.0), levels=7, response_sd_percent=0.5)


def people(data: Observations) -> pd.DataFrame:
    return data.frame[["subject", "group"]].drop_duplicates()


def wide(data: Observations) -> pd.DataFrame:
    return data.frame.pivot(index=["subject", "group"], columns="session", values="y")


def analysed(study: StudyTables, choices: AnalysisPlan, **asked) -> CohortTables:
    wanted = {"recovery_band_percent": None, "resampling": Resampling(resamples=200), **asked}
    return analyse(study, choices, AnalysisOptions(**wanted), accuracy=empty_table(ACCURACY), arvd=empty_table(ARVD))


@pytest.fixture(scope="module")
def study() -> StudyTables:
    return draw_study(PLAN, np.random.default_rng(3))


@pytest.fixture(scope="module")
def found(study) -> CohortTables:
    return analysed(study, PLAN.choices)


def test_two_complete_visits_give_the_paired_t_test(rng):
    plan = Scenario(9, groups=1, changes_percent=(3.0,))
    data = draw_cohort(plan, rng)
    row = contrasts_frame(level_models(data, plan.choices), people(data)).iloc[0]
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
    plan = Scenario(14, changes_percent=(3.0, 1.0))
    data = draw_cohort(plan, rng)
    model = level_model(data, replace(plan.choices, covariance="unstructured"), level="L5-S1")
    rows = contrasts_frame([model], people(data)).set_index(["group", "session"])
    change = wide(data)["ses-2"] - wide(data)["ses-1"]
    known = stats.ttest_ind(change.xs("group a", level="group"), change.xs("group b", level="group"))
    row = rows.loc[("group a - group b", "ses-2")]
    assert (row["t"], row["df"], row["p"]) == (
        pytest.approx(known.statistic, rel=1e-4), pytest.approx(12, abs=1e-3), pytest.approx(known.pvalue, rel=1e-3))


def test_known_effects_lie_inside_their_intervals(found):
    validated(found.contrasts, CONTRASTS)
    every = found.contrasts[found.contrasts["level"] == "all"].set_index(["group", "session"])
    for group in PLAN.choices.groups:
        for session, truth in zip(PLAN.sessions[1:], PLAN.changes_percent, strict=True):
            row = every.loc[(group, session)]
            assert row["ci_low_percent"] < truth < row["ci_high_percent"], (group, session)
    assert every.loc[("group a", "ses-3"), "p_holm"] < 1e-4
    between = every.loc["group a - group b"]
    assert ((between["ci_low_percent"] < 0) & (between["ci_high_percent"] > 0)).all()
    single = found.contrasts[found.contrasts["family"] == WITHIN]
    assert len(single) == 7 * 2 * 3 and set(single["family_size"]) == {42}
    assert set(found.contrasts.loc[found.contrasts["family"] == BETWEEN, "family_size"]) == {21}


def test_every_change_has_its_verdict(found, study):
    key = ["subject", "level", "source", "session"]
    assert found.detections[key].equals(study.change[key]) and len(found.detections) > 0
    assert set(found.detections["verdict"]) == {"not judged"}  # one baseline visit, no standard errors
    assert ("detections", len(study.change)) in [(table.name, len(frame)) for table, frame in found.tables()]


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    # 150 cohorts of 8 with a fifth of the visits missing: outside 88.0-99.3 % is a 1 in 1000 event at 95 %.
    plan = Scenario(8, missing=0.2)
    generator, hits, n = np.random.default_rng(8), 0, 0
    for _ in range(150):
        model = level_model(draw_cohort(plan, generator), plan.choices, level="L5-S1")
        if model.design is None or model.tests is None:
            continue
        weights = model.design.change("session", to="ses-4", since="ses-1", cell={"group": "group a"})
        low, high = model.tests.contrast(weights).interval(0.95)
        hits, n = hits + (low <= 0 <= high), n + 1
    assert n > 140 and 0.88 < hits / n < 0.993


def test_units_and_order_of_rows_do_not_matter(study, found):
    mixed = study.measures.sample(frac=1, random_state=1).assign(volume_mm3=lambda d: d["volume_mm3"] * 2)
    again = analysed(replace(study, measures=mixed), PLAN.choices)
    key = ["family", "level", "group", "session"]
    first, second = (f.contrasts.sort_values(key)[["estimate_percent", "se_percent", "df", "p"]].to_numpy()
                     for f in (found, again))
    assert first == pytest.approx(second, rel=2e-3, abs=1e-6)
    means = again.marginal_means.set_index(["level", "group", "session"])["mean_mm3"]
    assert means.to_numpy() == pytest.approx(2 * found.marginal_means.set_index(
        ["level", "group", "session"])["mean_mm3"].reindex(means.index).to_numpy(), rel=1e-4)


def test_what_is_missing_is_counted_and_nothing_vanishes(study):
    gone = study.measures["subject"].isin(["s1", "s3"]) & (study.measures["session"] == "ses-2")
    lost = study.measures.assign(status=np.where(gone, "failed", study.measures["status"]),
                                 volume_mm3=study.measures["volume_mm3"].mask(gone))
    more = pd.concat([study.subjects, pd.DataFrame([{"subject": "s99", "group": "group a"}])], ignore_index=True)
    result = analysed(replace(study, measures=lost, subjects=more), PLAN.choices, excluded=("s100",))
    row = result.contrasts.set_index(["level", "group", "session"]).loc[("L4-L5", "group a", "ses-2")]
    assert (row["n"], row["n_pairs"], row["n_missing"], row["status"]) == (6, 4, 3, "ok")
    flow = result.flow.set_index(["group", "session"])
    assert flow.loc[("group a", "ses-2"), ["enrolled", "scanned", "measured"]].tolist() == [7, 6, 4]
    assert flow.loc[(LEFT_OUT, "ses-1"), "enrolled"] == 1


def test_too_few_pairs_keep_their_rows_with_the_reason(study):
    few = study.measures[~((study.measures["session"] == "ses-3")
                           & study.measures["subject"].isin(["s1", "s3", "s5", "s7"]))]
    rare = few[~((few["session"] == "ses-4") & ~few["subject"].isin(["s1", "s2"]))]
    result = analysed(replace(study, measures=rare), PLAN.choices)
    rows = result.contrasts.set_index(["level", "group", "session"])
    assert rows.loc[("L4-L5", "group a", "ses-3"), "status"] == "failed"
    assert "2 subjects with both visits" in rows.loc[("L4-L5", "group a", "ses-3"), "reason"]
    assert rows.loc[("L4-L5", "group b", "ses-3"), "status"] == "ok"
    assert rows.loc[("L4-L5", "group b", "ses-4"), "status"] == "failed"
    models = result.models[result.models["model"] == "primary"].set_index("level")
    assert "visit ses-4 left out" in models.loc["L4-L5", "reason"]
    validated(result.models, MODELS)
    validated(result.marginal_means, MARGINAL_MEANS)
    lost = result.marginal_means.set_index(["level", "group", "session"]).loc[("L4-L5", "group b", "ses-4")]
    assert lost["status"] == "failed" and math.isnan(lost["mean_mm3"])


def test_one_visit_one_group_and_nothing_at_all(study):
    one = study.measures[study.measures["session"] == "ses-1"]
    visits = study.sessions[study.sessions["session"] == "ses-1"]
    single = analysed(replace(study, measures=one, change=study.change[:0], sessions=visits),
                      replace(PLAN.choices, sessions=("ses-1",)))
    assert single.contrasts.empty and set(single.models["status"]) == {"failed"}
    assert set(single.marginal_means["status"]) == {"failed"}
    alone = draw_study(replace(PLAN, groups=1), np.random.default_rng(4))
    group = analysed(alone, replace(PLAN, groups=1).choices)
    assert set(group.contrasts["group"]) == {"group a"} and set(group.terms["term"]) == {"session", "level x session"}
    nothing = analysed(replace(study, measures=one[:0], change=study.change[:0]), PLAN.choices)
    assert nothing.contrasts.empty and nothing.models.empty and nothing.sensitivity.empty


def test_a_covariate_that_goes_with_the_visit_is_told_from_change(study):
    minutes = {"ses-1": 30.0, "ses-2": 90.0, "ses-3": 60.0, "ses-4": 45.0}
    draw = np.random.default_rng(2)
    visits = study.sessions["session"]
    sessions = study.sessions.assign(minutes_supine=[minutes[s] + draw.normal(0, 20) for s in visits])
    at = sessions.set_index(["subject", "session"])["minutes_supine"]
    shift = [0.05 * at[(r.subject, r.session)] for r in study.measures.itertuples()]
    moved = study.measures.assign(volume_mm3=study.measures["volume_mm3"] * np.exp(np.array(shift) / 100))
    lying = replace(study, measures=moved, sessions=sessions)
    plain = analysed(lying, PLAN.choices).contrasts
    adjusted = analysed(lying, replace(PLAN.choices, covariates=("minutes_supine",))).contrasts
    rows = [f[(f["level"] == "all") & (f["group"] == "group a") & (f["session"] == "ses-2")].iloc[0]
            for f in (plain, adjusted)]
    assert not rows[0]["ci_low_percent"] < 2.0 < rows[0]["ci_high_percent"]
    assert rows[1]["ci_low_percent"] < 2.0 < rows[1]["ci_high_percent"]
    with pytest.raises(StudyError, match=r"minutes_supine.*'weather'"):
        analysed(lying, replace(PLAN.choices, covariates=("weather",)))


def test_missing_covariates_are_left_out_aloud(study):
    subjects = study.subjects.assign(age=[30.0] * 11 + [math.nan])
    data = observations(study.measures, source="automatic", subjects=subjects, sessions=study.sessions,
                        choices=replace(PLAN.choices, covariates=("age",)))
    assert data.n_without_covariate == 28 and data.frame["subject"].nunique() == 11
    with pytest.raises(StudyError, match="numbers"):
        observations(study.measures, source="automatic", subjects=subjects.assign(age="old"), sessions=study.sessions,
                     choices=replace(PLAN.choices, covariates=("age",)))


def test_flagged_discs_are_said_and_the_models_run_again_without_them(study):
    status = np.where((study.measures["level"] == "L5-S1") & (study.measures["subject"] == "s2"), "flagged", "ok")
    result = analysed(replace(study, measures=study.measures.assign(status=status, reason="touches the edge")),
                      PLAN.choices)
    row = result.contrasts.set_index(["level", "group", "session"]).loc[("L5-S1", "group b", "ses-2")]
    assert row["status"] == "flagged" and row["reason"] == "1 of 6 subjects bring a flagged disc"
    again = result.sensitivity[result.sensitivity["family"] == f"{WITHIN}: without flagged discs"]
    without = again.set_index(["level", "group", "session"]).loc[("L5-S1", "group b", "ses-2")]
    assert (without["n_pairs"], without["n_missing"]) == (5, 1)
    assert without["estimate_percent"] != row["estimate_percent"]


def test_mixedlm_gives_the_same_changes_where_its_one_variance_is_right():
    # Balanced data: the estimates are differences of cell means in both; with equal variances the errors are close too.
    study = draw_study(replace(PLAN, variance_growth=1.0, response_sd_percent=0.0, levels=1), np.random.default_rng(5))
    found = analysed(study, PLAN.choices)
    key = ["level", "group", "session"]
    primary = found.contrasts[found.contrasts["level"] == "L5-S1"].set_index(key)
    second = found.sensitivity[found.sensitivity["family"].str.endswith(": MixedLM")].set_index(key).loc[primary.index]
    assert second["estimate_percent"].to_numpy() == pytest.approx(primary["estimate_percent"].to_numpy(), abs=1e-6)
    assert set(second["df"]) == {10}
    data = observations(study.measures, source="automatic", subjects=study.subjects, sessions=study.sessions,
                        choices=PLAN.choices)
    frame = data.frame.reset_index(drop=True)
    design = level_model(data, PLAN.choices, level="L5-S1").design
    known = fit_reml(frame["y"].to_numpy(), design.x, clusters=frame["subject"].to_numpy(), structure=LinearCovariance(
        (random_term("subject", frame["subject"]), *residual_terms([""] * len(frame)))))
    row = found.models[found.models["model"] == "secondary"].iloc[0]
    assert row["log_likelihood"] == pytest.approx(known.log_likelihood, abs=1e-3)
    weights = design.change("session", to="ses-3", since="ses-1", cell={"group": "group a"})
    error = float(np.sqrt(weights @ known.covariance @ weights))
    shown = second.loc[("L5-S1", "group a", "ses-3")]
    assert shown["se_percent"] == pytest.approx(error * (1 + shown["estimate_percent"] / 100), rel=1e-3)


def test_resampling_rows_are_seeded_and_say_what_they_can_do(found, study):
    again = analysed(study, PLAN.choices)
    assert again.sensitivity.equals(found.sensitivity)
    rows = found.sensitivity[found.sensitivity["level"] == "all"].set_index(["analysis", "group", "session"])
    flips = rows.loc["sign flips of subjects' per-cent changes"].loc[("group a", "ses-3")]
    assert flips["p"] == pytest.approx(2 / 64) and "all 64 counted" in flips["df_method"]
    boot = rows.loc["bootstrap of subjects, mean per-cent change"].loc[("group a", "ses-3")]
    assert boot["ci_low_percent"] < 5.0 < boot["ci_high_percent"] and math.isnan(boot["p"])


def test_the_joint_model_says_which_variance_it_did_not_find(study):
    data = observations(study.measures, source="automatic", subjects=study.subjects, sessions=study.sessions,
                        choices=PLAN.choices)
    model = joint_model(data, PLAN.choices)
    assert model is not None and model.fit is not None
    kept = {name for name in model.fit.parameters if name.startswith("subject x visit")}
    said = " ".join(model.notes)
    for session in PLAN.sessions:
        name = f"subject x visit, {session}"
        assert (name in kept) != (name in said)
    assert model.singular == bool(said)
    assert joint_model(replace(data, frame=data.frame[data.frame["level"] == "L5-S1"]), PLAN.choices) is None


def test_marginal_means_of_complete_data_are_the_geometric_means(study, found):
    own = study.measures.groupby(["level", "group", "session"])["volume_mm3"].agg(lambda v: math.exp(np.log(v).mean()))
    means = marginal_means_frame([]) if found.marginal_means.empty else found.marginal_means
    for row in means[means["level"] != "all"].to_dict("records"):
        assert row["mean_mm3"] == pytest.approx(own[(row["level"], row["group"], row["session"])], rel=1e-6)
        assert row["ci_low_mm3"] < row["mean_mm3"] < row["ci_high_mm3"]
    assert len(means) == 8 * 2 * 4 and [lv for lv in LEVELS if lv not in set(means["level"])] == []


def test_every_number_of_the_text_comes_from_the_records(found):
    records = Records(PLAN.choices, found.flow, found.models, found.terms, found.contrasts, found.sensitivity,
                      found.recovery, "0", "synthetic")
    text = paper_text(records, source="automatic")
    for row in found.contrasts[found.contrasts["level"] == "all"].to_dict("records"):
        assert f"{row['estimate_percent']:+.1f} % (95 % CI {row['ci_low_percent']:+.1f}" in text
        assert f"t({row['df']:.1f}) = {row['t']:.2f}" in text
    assert "12 subjects, 48 observations a level" in text and "336 observations" in text
    moved = replace(records, contrasts=found.contrasts.assign(estimate_percent=77.7))
    assert "+77.7 %" in paper_text(moved, source="automatic") and "+77.7 %" not in text
    assert "No model could be fitted" in paper_text(records, source="given")


def test_people_of_one_size_are_no_obstacle() -> None:
    # Variances at 0 in few subjects bring Kenward and Roger's formulas to a division by 0.
    scenario = Scenario(subjects=8, between_sd_percent=0.0, variance_growth=1.0, missing=0.2, levels=2)
    observations = draw_cohort(scenario, np.random.default_rng(5))
    models = [*level_models(observations, scenario.choices), joint_model(observations, scenario.choices)]
    means = marginal_means_frame([m for m in models if m is not None])
    assert len(means) and means["mean_mm3"].notna().any()
