"""Mixed models and small-sample tests against nlme, lme4, pbkrtest, lmerTest and emmeans; exact cases; invariance.

Reference numbers: tests/reference/mixed_models.R. Tolerances: 1e-4 on estimates, 1e-3 on standard errors, 0.1 on df.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bedrest.errors import ModelError
from bedrest.statistics.estimators.covariance import (
    LinearCovariance,
    random_term,
    residual_terms,
    unstructured_term,
)
from bedrest.statistics.estimators.design import make_design
from bedrest.statistics.estimators.reml import Fit, fit_reml
from bedrest.statistics.estimators.small_sample import SmallSample
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipelines.benchmarks.error_rates.compound_symmetry import HeterogeneousCompoundSymmetry
from pipelines.benchmarks.error_rates.satterthwaite import Satterthwaite

REFERENCE = Path(__file__).parent / "reference"
ALL = pd.read_csv(REFERENCE / "mixed_models.csv")


def r(model: str) -> dict[str, float]:
    own = ALL[ALL["model"] == model]
    return dict(zip(own["quantity"], own["value"], strict=True))


def data(name: str) -> pd.DataFrame:
    return pd.read_csv(REFERENCE / f"{name}.csv")


def one_residual(n: int) -> list:
    return residual_terms([""] * n)


def near(value: float, kind: str = "estimate"):
    if kind == "df":
        return pytest.approx(value, abs=0.1)
    return pytest.approx(value, rel={"estimate": 1e-4, "SE": 1e-3, "p": 2e-3}[kind], abs=1e-12)


def fit_of(frame: pd.DataFrame, response: str, x: np.ndarray, *, subject: str, terms: list) -> Fit:
    return fit_reml(frame[response].to_numpy(float), x, clusters=frame[subject].to_numpy(),
                    structure=LinearCovariance(tuple(terms)))


@pytest.fixture(scope="module")
def sleep() -> SmallSample:
    d = data("sleepstudy")
    x = np.column_stack([np.ones(len(d)), d["Days"]])
    return SmallSample(fit_of(d, "Reaction", x, subject="Subject",
                              terms=[random_term("subject", d["Subject"], x), *one_residual(len(d))]))


def test_sleepstudy(sleep):
    expected = r("sleepstudy")
    for n, name in enumerate(("(Intercept)", "Days")):
        found = sleep.contrast(np.eye(2)[n])
        assert found.estimate == near(expected[f"{name} Estimate"])
        assert found.se == near(expected[f"{name} Std. Error"], "SE")
        assert found.df == near(17, "df") and found.df == near(expected[f"{name} df"], "df")
        assert found.p == near(expected[f"{name} Pr(>|t|)"], "p")
    s11, s21, s22, residual = sleep.fit.phi
    assert np.sqrt([s11, s22, residual]) == near(
        np.array([expected[f"sd {n}"] for n in ("intercept", "Days", "residual")]))
    assert s21 / np.sqrt(s11 * s22) == pytest.approx(expected["correlation"], abs=1e-4)
    assert -2 * sleep.fit.log_likelihood == near(expected["REML criterion"])
    # As the issue has them, printed by lme4.
    assert (sleep.fit.estimates.round(4) == [251.4051, 10.4673]).all()


@pytest.fixture(scope="module")
def orthodont() -> pd.DataFrame:
    return data("orthodont").astype({"age": int})


def factorial(frame: pd.DataFrame):
    typed = frame.assign(age=frame["age"].astype(str))[["age", "Sex"]]
    return make_design("age * Sex", typed, factors={"age": ("8", "10", "12", "14"), "Sex": ("Male", "Female")})


def test_orthodont_kenward_roger_tests_of_terms(orthodont):
    design, expected = factorial(orthodont), r("orthodont KR")
    fit = fit_of(orthodont, "distance", design.x, subject="Subject",
                 terms=[random_term("subject", orthodont["Subject"]), *one_residual(len(orthodont))])
    for ours, theirs in (("age", "fage"), ("Sex", "Sex"), ("age Sex", "fage:Sex")):
        found = SmallSample(fit).f_test(design.term(ours.split()))
        assert found.f == near(expected[f"{theirs} F value"])
        assert found.df_numerator == expected[f"{theirs} NumDF"]
        assert found.df_denominator == near(expected[f"{theirs} DenDF"], "df")
        assert found.p == near(expected[f"{theirs} Pr(>F)"], "p")


def test_orthodont_gls_compound_symmetry_with_an_sd_for_each_age(orthodont):
    design, expected = factorial(orthodont), r("orthodont gls")
    codes = orthodont["age"].map({8: 0, 10: 1, 12: 2, 14: 3}).to_numpy()
    fit = fit_reml(orthodont["distance"].to_numpy(), design.x, clusters=orthodont["Subject"].to_numpy(),
                   structure=HeterogeneousCompoundSymmetry(codes, ("8", "10", "12", "14")))
    assert fit.log_likelihood == near(expected["logLik"]) == near(-210.7118)
    assert fit.phi[:4] / fit.phi[0] == near(np.array([1, *(expected[f"ratio {a}"] for a in (10, 12, 14))]))
    assert (fit.phi[0], fit.phi[-1]) == (near(expected["sigma"]), near(expected["rho"]))
    names = ["(Intercept)", "fage10", "fage12", "fage14", "SexFemale", *(f"fage{a}:SexFemale" for a in (10, 12, 14))]
    assert fit.estimates == near(np.array([expected[f"{n} Value"] for n in names]))
    assert np.sqrt(np.diag(fit.covariance)) == near(np.array([expected[f"{n} Std.Error"] for n in names]), "SE")
    assert Satterthwaite(fit).contrast(np.eye(8)[7]).estimate == near(-1.684659)
    with pytest.raises(ModelError, match="linear in its parameters"):
        SmallSample(fit)


def test_orthodont_unstructured_gives_the_exact_tests_of_complete_data(orthodont):
    design, expected = factorial(orthodont), r("orthodont unstructured")
    ages = orthodont["age"].astype(str)
    fit = fit_of(orthodont, "distance", design.x, subject="Subject",
                 terms=[unstructured_term(ages, orthodont["Subject"], names=("8", "10", "12", "14"))])
    assert fit.log_likelihood == near(expected["logLik"])
    assert np.sqrt(np.diag(fit.covariance))[7] == near(expected["fage14:SexFemale Std.Error"], "SE")
    tests = SmallSample(fit)
    # A contrast of one visit with another is the t test of the differences: 27 subjects, two groups.
    wide = orthodont.pivot(index=["Subject", "Sex"], columns="age", values="distance")
    gain = (wide[14] - wide[8]).reset_index()
    known = stats.ttest_ind(gain.loc[gain["Sex"] == "Female", 0], gain.loc[gain["Sex"] == "Male", 0])
    found = tests.contrast(np.eye(8)[7])
    assert (found.df, found.t) == (pytest.approx(25), pytest.approx(known.statistic))
    assert found.p == pytest.approx(known.pvalue)
    # The test of all of them is Hotelling's: F on T - 1 and n - g - T + 2.
    assert tests.f_test(design.term(["age", "Sex"])).df_denominator == pytest.approx(23)


def test_orthodont_variance_by_sex_and_random_slope(orthodont):
    design, expected = factorial(orthodont), r("orthodont varIdent Sex")
    subject = random_term("subject", orthodont["Subject"])
    both = fit_of(orthodont, "distance", design.x, subject="Subject",
                  terms=[subject, *residual_terms(orthodont["Sex"])])
    one = fit_of(orthodont, "distance", design.x, subject="Subject", terms=[subject, *one_residual(len(orthodont))])
    assert both.log_likelihood == near(expected["logLik"]) == near(-203.4541)
    female, male = both.phi[1:]
    assert np.sqrt(male / female) == near(expected["ratio Male over Female"]) == near(2.08767)
    assert 2 * (both.log_likelihood - one.log_likelihood) == near(expected["LR"]) == near(16.500)
    age = orthodont["age"].to_numpy(float)
    sex = (orthodont["Sex"] == "Female").to_numpy(float)
    x = np.column_stack([np.ones_like(age), age, sex, age * sex])
    slope = fit_of(orthodont, "distance", x, subject="Subject",
                   terms=[random_term("subject", orthodont["Subject"], x[:, :2]), *one_residual(len(orthodont))])
    assert slope.log_likelihood == near(r("orthodont random slope")["logLik"]) == near(-216.2908)
    assert slope.converged and not slope.singular


def test_beets():
    d, expected = data("beets"), r("beets")
    design = make_design("block + sow + harvest", d[["block", "sow", "harvest"]],
                         factors={c: sorted(set(d[c])) for c in ("block", "sow", "harvest")})
    d["plot"] = d["block"] + d["harvest"]
    fit = fit_of(d, "sugpct", design.x, subject="plot", terms=[random_term("plot", d["plot"]), *one_residual(len(d))])
    found = SmallSample(fit).f_test(design.term(["harvest"]))
    assert (found.f, found.df_denominator) == (near(expected["stat"]), near(expected["ddf"], "df"))
    assert (found.scaling, found.p) == (near(expected["F.scaling"]), near(expected["p.value"], "p"))


def test_chickweight_unbalanced():
    d, expected = data("chickweight"), r("chickweight")
    d["Diet"] = d["Diet"].astype(str)
    design = make_design("Time * Diet", d[["Time", "Diet"]], factors={"Diet": ("1", "2", "3", "4")})
    z = np.column_stack([np.ones(len(d)), d["Time"]])
    fit = fit_of(d, "weight", design.x, subject="Chick", terms=[random_term("c", d["Chick"], z), *one_residual(len(d))])
    interaction = np.array(["Time:" in c for c in design.columns])
    found = SmallSample(fit).f_test(np.eye(8)[interaction])
    assert found.f == near(expected["Time:Diet F value"]) == near(5.694)
    assert found.df_denominator == near(expected["Time:Diet DenDF"], "df")
    assert found.p == near(expected["Time:Diet Pr(>F)"], "p")
    names = {"Intercept": "(Intercept)", "Diet[T.2]": "Diet2", "Diet[T.3]": "Diet3", "Diet[T.4]": "Diet4"}
    for n, column in enumerate(design.columns):
        theirs = column.replace("[T.", "").replace("]", "") if column not in names else names[column]
        for tests, word in ((SmallSample, "KR"), (Satterthwaite, "Satterthwaite")):
            one = tests(fit).contrast(np.eye(8)[n])
            assert one.estimate == near(expected[f"{theirs} Estimate"]), theirs
            assert one.se == near(expected[f"{theirs} {word} SE"], "SE"), theirs
            assert one.df == near(expected[f"{theirs} {word} df"], "df"), theirs


@pytest.fixture(scope="module")
def cohort() -> pd.DataFrame:
    return data("cohort_data")


FACTORS = {"session": ("ses-1", "ses-2", "ses-3", "ses-4"), "group": ("rest", "exercise")}


def assert_changes_as_in(expected: dict[str, float], tests: SmallSample, design) -> None:
    for group in FACTORS["group"]:
        for session in FACTORS["session"][1:]:
            found = tests.contrast(design.change("session", to=session, since="ses-1", cell={"group": group}))
            name = f"({session}) - (ses-1) {group}"
            assert found.estimate == near(expected[f"{name} estimate"]), name
            assert found.se == near(expected[f"{name} SE"], "SE"), name
            assert found.df == near(expected[f"{name} df"], "df"), name
            assert found.p == near(expected[f"{name} p.value"], "p"), name


def test_a_disc_with_missing_visits_and_a_variance_for_each_visit(cohort):
    d, expected = cohort[cohort["level"] == "L4-L5"].reset_index(drop=True), r("cohort level")
    design = make_design("session * group", d[["session", "group"]], factors=FACTORS)
    fit = fit_of(d, "y", design.x, subject="subject",
                 terms=[random_term("subject", d["subject"]), *residual_terms(d["session"])])
    assert fit.log_likelihood == near(expected["logLik"])
    for n, column in enumerate(design.columns):
        name = column.replace("[T.", "").replace("]", "").replace("Intercept", "(Intercept)")
        assert fit.estimates[n] == near(expected[f"{name} Value"]), name
        assert np.sqrt(fit.covariance[n, n]) == near(expected[f"{name} Std.Error"], "SE"), name


def test_marginal_means_contrasts_and_joint_tests_as_emmeans(cohort):
    d, expected = cohort[cohort["level"] == "L4-L5"].reset_index(drop=True), r("cohort one variance")
    design = make_design("session * group", d[["session", "group"]], factors=FACTORS)
    tests = SmallSample(fit_of(d, "y", design.x, subject="subject",
                               terms=[random_term("subject", d["subject"]), *one_residual(len(d))]))
    for group in FACTORS["group"]:
        for session in FACTORS["session"]:
            mean, name = tests.contrast(design.mean(session=session, group=group)), f"mean {session} {group}"
            assert mean.estimate == near(expected[f"{name} emmean"])
            assert mean.se == near(expected[f"{name} SE"], "SE")
            assert mean.df == near(expected[f"{name} df"], "df")
    assert_changes_as_in(expected, tests, design)
    for term in ("session", "group", "session:group"):
        assert tests.f_test(design.term(term.split(":"))).p == near(expected[f"{term} p.value"], "p")


def test_the_joint_model_of_all_discs_with_nested_random_terms(cohort):
    expected = r("cohort joint")
    factors = {**FACTORS, "level": ("L3-L4", "L4-L5", "L5-S1")}
    design = make_design("session * group + level * session + level * group", cohort[list(factors)], factors=factors)
    s = cohort["subject"]
    fit = fit_of(cohort, "y", design.x, subject="subject", terms=[
        random_term("subject", s), random_term("disc", s + cohort["level"]),
        random_term("visit", s + cohort["session"]), *one_residual(len(cohort))])
    assert fit.log_likelihood == near(expected["logLik"])
    theirs = ("subject", "subject:level", "subject:session", "Residual")
    assert fit.phi == pytest.approx(np.array([expected[f"variance {n}"] for n in theirs]), rel=1e-3)
    assert_changes_as_in(expected, SmallSample(fit), design)


def cohort_fit(d: pd.DataFrame, *, factor: float = 1.0, shift: float = 0.0) -> tuple[SmallSample, np.ndarray]:
    design = make_design("session * group", d[["session", "group"]], factors=FACTORS)
    y = d["y"].to_numpy() * factor + shift
    fit = fit_reml(y, design.x, clusters=d["subject"].to_numpy(), structure=LinearCovariance(
        (random_term("subject", d["subject"]), *residual_terms(d["session"]))))
    weights = design.change("session", to="ses-3", since="ses-1", cell={"group": "rest"})
    assert weights is not None
    return SmallSample(fit), weights


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.sampled_from([1e-4, 0.3, 50.0, 1e5]))
def test_unit_and_order_of_rows_change_nothing_but_the_unit(seed, factor):
    d = data("cohort_data").query("level == 'L5-S1'").reset_index(drop=True)
    tests, weights = cohort_fit(d)
    again, _ = cohort_fit(d.sample(frac=1, random_state=seed).reset_index(drop=True), factor=factor, shift=7.0)
    first, second = tests.contrast(weights), again.contrast(weights)
    assert second.estimate == pytest.approx(first.estimate * factor, rel=1e-5)
    assert second.se == pytest.approx(first.se * factor, rel=1e-4)
    assert (second.df, second.p) == (pytest.approx(first.df, rel=1e-3), pytest.approx(first.p, rel=1e-3))
    gap = again.fit.log_likelihood - tests.fit.log_likelihood
    assert gap == pytest.approx(-(len(d) - 8) * np.log(factor), abs=1e-4)


def test_the_gradient_is_that_of_the_likelihood(cohort, rng):
    from bedrest.statistics.estimators.reml import deviance, gather_layouts

    d = cohort.reset_index(drop=True)
    design = make_design("session * group + level", d[["session", "group", "level"]],
                         factors={**FACTORS, "level": ("L3-L4", "L4-L5", "L5-S1")})
    codes = d["session"].str[-1].astype(int).to_numpy() - 1
    x = np.column_stack([np.ones(len(d)), rng.normal(size=len(d))])
    linear = LinearCovariance((random_term("s", d["subject"], x), *residual_terms(d["session"])))
    single = d[d["level"] == "L4-L5"].index.to_numpy()
    for structure, rows in ((linear, d.index.to_numpy()),
                            (HeterogeneousCompoundSymmetry(codes[single], FACTORS["session"]), single)):
        y, own_x = d["y"].to_numpy()[rows] / 10, np.unique(design.x[rows], axis=1)
        lays = gather_layouts(y, own_x[:, np.linalg.qr(own_x)[1].diagonal().round(9) != 0],
                              d["subject"].to_numpy()[rows], structure)
        theta = structure.start(0.4) + rng.normal(0, 0.1, len(structure.names))
        value, gradient = deviance(structure.natural(theta), structure, lays)
        ours = structure.jacobian(theta).T @ gradient
        for k in range(theta.size):
            step = np.zeros_like(theta)
            step[k] = 1e-5
            up, down = (deviance(structure.natural(theta + s), structure, lays)[0] for s in (step, -step))
            assert ours[k] == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-4), k
        assert np.isfinite(value)


def test_a_random_effect_of_zero_is_found_and_said():
    # Two subjects' means are equal and the visits differ within: no variance between subjects at all.
    y = np.array([1.0, -1.0, 2.0, -2.0, 1.5, -1.5, 0.5, -0.5])
    subject = np.repeat(np.arange(4), 2)
    fit = fit_reml(y, np.ones((8, 1)), clusters=subject, structure=LinearCovariance(
        (random_term("subject", subject), *one_residual(8))))
    assert fit.singular and "singular" in fit.warnings[0] and "subject" in fit.warnings[0]
    assert fit.parameters["subject"] == pytest.approx(0, abs=1e-5)
    assert fit.parameters["residual"] == pytest.approx(y @ y / 7, rel=1e-6)
    assert np.isfinite(SmallSample(fit).contrast(np.ones(1)).p)


def test_what_cannot_be_fitted_is_refused_in_words():
    subject = np.repeat(np.arange(4), 2)
    structure = LinearCovariance((random_term("subject", subject), *one_residual(8)))
    y, x = np.arange(8.0), np.ones((8, 2))
    with pytest.raises(ModelError, match="rank 1"):
        fit_reml(y, x, clusters=subject, structure=structure)
    with pytest.raises(ModelError, match="varies"):
        fit_reml(np.ones(8), x[:, :1], clusters=subject, structure=structure)
    with pytest.raises(ModelError, match="missing or infinite"):
        fit_reml(np.where(y == 3, np.nan, y), x[:, :1], clusters=subject, structure=structure)
    with pytest.raises(ModelError, match="more than 8 observations"):
        fit_reml(y, np.eye(8), clusters=subject, structure=structure)


def test_an_empty_cell_takes_only_the_contrasts_that_need_it(cohort):
    d = cohort[(cohort["level"] == "L4-L5") & ~((cohort["group"] == "rest") & (cohort["session"] == "ses-4"))]
    design = make_design("session * group", d[["session", "group"]].reset_index(drop=True), factors=FACTORS)
    assert np.linalg.matrix_rank(design.x) == design.x.shape[1] == 7
    cell = {"group": "rest"}
    assert design.change("session", to="ses-4", since="ses-1", cell=cell) is None
    assert design.mean(session="ses-4", group="rest") is None and design.term(["session", "group"]) is None
    assert design.change("session", to="ses-4", since="ses-1", cell={"group": "exercise"}) is not None
    assert design.change("session", to="ses-3", since="ses-1", cell=cell) is not None
    with pytest.raises(ModelError, match="ses-9"):
        make_design("session", pd.DataFrame({"session": ["ses-1", "ses-9"]}), factors={"session": ("ses-1",)})
