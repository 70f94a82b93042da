"""Table 1 and the models' residuals, against numbers worked out separately. Synthetic cohorts."""

import numpy as np
import pandas as pd
import pytest
from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import BASELINE, MEASURES, RESIDUALS, SUBJECTS
from bedrest.statistics.planning.simulated_cohorts import Scenario, draw_cohort
from bedrest.statistics.study.baseline import ALL_SUBJECTS, baseline_frame, baseline_words
from bedrest.statistics.study.cohort_models import joint_model, level_models
from bedrest.statistics.study.estimates import residuals_frame, variances_frame
from bedrest.statistics.study.responses import AnalysisPlan

CHOICES = AnalysisPlan(("rest", "exercise"), ("ses-1", "ses-2"), "ses-1")


@pytest.fixture
def baseline() -> pd.DataFrame:
    subjects = typed_frame([
        {"subject": "a", "group": "exercise", "age": 20, "sex": "F"},
        {"subject": "b", "group": "rest", "age": 30, "sex": "M"},
        {"subject": "c", "group": "rest", "age": 40, "sex": "F"},
        {"subject": "d", "group": "rest", "age": None, "sex": ""}], SUBJECTS)
    key = {"level": "L4-L5", "source": "automatic", "status": "ok"}
    measures = typed_frame([
        {**key, "subject": "a", "session": "ses-1", "volume_mm3": 9000.0},
        {**key, "subject": "b", "session": "ses-1", "volume_mm3": 10_000.0},
        {**key, "subject": "b", "session": "ses-2", "volume_mm3": 99_999.0},  # not the reference visit
        {**key, "subject": "b", "session": "ses-1", "volume_mm3": 99_999.0, "source": "reference"},
        {**key, "subject": "c", "session": "ses-1", "volume_mm3": 12_000.0},
        {**key, "subject": "d", "session": "ses-1", "volume_mm3": None, "status": "failed"}], MEASURES)
    return baseline_frame(subjects, measures, CHOICES)


def test_table_1_counts_who_is_missing(baseline):
    rows = baseline.set_index(["characteristic", "group"])
    assert list(baseline.columns) == BASELINE.column_names and not rows.index.has_duplicates
    assert rows.loc[("age", "rest"), ["n", "n_missing", "mean"]].tolist() == [2, 1, 35.0]
    assert rows.loc[("age", "rest"), "sd"] == pytest.approx(np.sqrt(50))
    assert rows.loc[("sex F", "rest"), ["n", "n_missing", "count", "percent"]].tolist() == [2, 1, 1, 50.0]
    assert rows.loc[("volume L4-L5", "rest"), ["n", "n_missing", "mean"]].tolist() == [2, 1, 11_000.0]
    assert rows.loc[("volume L4-L5", ALL_SUBJECTS), "mean"] == pytest.approx(31_000 / 3)
    assert np.isnan(rows.loc[("age", "exercise"), "sd"])  # one person has no spread


def test_table_1_in_words(baseline):
    words = baseline_words(baseline.sample(frac=1, random_state=0), groups=CHOICES.groups).set_index("characteristic")
    assert list(words.columns) == ["rest (n = 3)", "exercise (n = 1)", "(all) (n = 4)"]
    assert list(words.index) == ["age (year), mean (SD)", "height (cm), mean (SD)", "weight (kg), mean (SD)",
                                 "sex F, n (%)", "sex M, n (%)", "volume L4-L5 (mm3), mean (SD)"]
    assert words.loc["age (year), mean (SD)"].tolist() == ["35.0 (7.1); 1 missing", "20.0", "30.0 (10.0); 1 missing"]
    assert words.loc["sex F, n (%)"].tolist() == ["1 (50 %); 1 missing", "1 (100 %)", "2 (67 %); 1 missing"]
    assert set(words.loc["height (cm), mean (SD)"]) == {"not known"}


def test_scaled_residuals_carry_the_models_covariance(rng):
    scenario = Scenario(14, levels=2, missing=0.1)
    data = draw_cohort(scenario, rng)
    models = [*level_models(data, scenario.plan), joint_model(data, scenario.plan)]
    residuals = residuals_frame(models)
    assert list(residuals.columns) == RESIDUALS.column_names
    assert residuals.groupby("model_level").size().to_dict() == {
        "all": len(data.frame), **data.frame.groupby("level").size().to_dict()}
    variances = variances_frame(models).query("level == 'L5-S1'").set_index("component")["value"]
    own = residuals[residuals["model_level"] == "L5-S1"]
    for _, rows in own.groupby("subject"):
        covariance = variances["subject"] + np.diag([variances[f"residual, {s}"] for s in rows["session"]])
        raw = rows["residual_percent"].to_numpy()
        assert (rows["residual_scaled"] ** 2).sum() == pytest.approx(raw @ np.linalg.solve(covariance, raw))


def test_volume_is_the_fitted_one_and_its_residual(rng):
    scenario = Scenario(10, groups=1)
    data = draw_cohort(scenario, rng)
    residuals = residuals_frame(level_models(data, scenario.plan))
    volume = residuals["fitted_mm3"] * np.exp(residuals["residual_percent"] / 100)
    assert volume.to_numpy() == pytest.approx(np.exp(data.frame["y"].to_numpy() / 100))
    assert residuals["residual_percent"].std() > 5  # the lasting difference between subjects is in it
