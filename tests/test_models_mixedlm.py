"""The guarded mixed model against nlme and lme4, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bedrest.errors import ModelError
from bedrest.statistics.estimators.mixedlm import AGREE, OPTIMISERS, STARTS, MixedFit, fit_mixedlm
from statsmodels.regression.mixed_linear_model import MixedLM
from statsmodels.tools.sm_exceptions import ConvergenceWarning

REFERENCE = Path(__file__).parent / "reference"


def ones(frame: pd.DataFrame) -> np.ndarray:
    return np.ones(len(frame))


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(REFERENCE / f"{name}.csv")


def expected(model: str) -> tuple[pd.DataFrame, dict[str, float], float]:
    """Fixed effects, variances and restricted log-likelihood of R."""
    own = read("mixedlm").query("model == @model")
    fixed, variances, likelihood = (own[own["kind"] == kind] for kind in ("fixed", "variance", "loglik"))
    return fixed, dict(zip(variances["name"], variances["estimate"], strict=True)), likelihood["estimate"].item()


def agrees_with_r(found: MixedFit, model: str) -> dict[str, float]:
    fixed, variances, likelihood = expected(model)
    assert found.estimates == pytest.approx(fixed["estimate"].to_numpy(), rel=1e-4)
    assert found.standard_errors == pytest.approx(fixed["se"].to_numpy(), rel=1e-3)
    assert found.standard_errors**2 == pytest.approx(np.diag(found.covariance))
    assert found.log_likelihood == pytest.approx(likelihood, abs=AGREE)
    assert found.residual_variance == pytest.approx(variances["residual"], rel=1e-3)
    assert found.converged
    return variances


def beets(response: str) -> MixedFit:
    """Split plot: harvests within blocks, sowings within harvests."""
    data = read("beets")
    sowings = np.column_stack([data["sow"] == f"sow{k}" for k in range(2, 6)])
    x = np.column_stack([ones(data), sowings, data["harvest"] == "harv2"]).astype(float)
    return fit_mixedlm(data[response], x, groups=data["block"], names=["1", *"2345", "harvest"],
                       components={"plot": data["harvest"]})


def test_sleepstudy_as_in_lme4() -> None:
    data = read("sleepstudy")
    x = np.column_stack([ones(data), data["Days"]])
    found = fit_mixedlm(data["Reaction"], x, groups=data["Subject"], names=["1", "days"], z=x)
    variances = agrees_with_r(found, "sleepstudy")
    assert -2 * found.log_likelihood == pytest.approx(1743.628, abs=1e-3)
    g = found.random_covariance
    assert math.sqrt(g[0, 0]) == pytest.approx(24.7407, rel=1e-3)
    assert math.sqrt(g[1, 1]) == pytest.approx(5.9221, rel=1e-3)
    assert g[0, 1] == pytest.approx(variances["Subject|(Intercept)|Days"], rel=1e-3)
    assert not found.singular and (found.n_observations, found.n_subjects) == (180, 18)


def test_a_known_maximum_ends_the_search_early_and_is_not_believed_blindly() -> None:
    data = read("sleepstudy")
    x = np.column_stack([ones(data), data["Days"]])
    take = {"groups": data["Subject"], "names": ["1", "days"], "z": x}
    whole = fit_mixedlm(data["Reaction"], x, **take)
    early = fit_mixedlm(data["Reaction"], x, known_log_likelihood=whole.log_likelihood, **take)
    assert len(early.runs) < len(whole.runs) and len(early.agreeing) == 2
    assert early.estimates == pytest.approx(whole.estimates, rel=1e-4)
    # A bar that nobody can reach: every run is made, and the agreement among them decides as before.
    high = fit_mixedlm(data["Reaction"], x, known_log_likelihood=whole.log_likelihood + 1, **take)
    assert len(high.runs) == len(whole.runs) and high.log_likelihood == pytest.approx(whole.log_likelihood, abs=1e-6)


def test_orthodont_beyond_where_statsmodels_stops() -> None:
    data = read("orthodont")
    female = (data["Sex"] == "Female").to_numpy(float)
    z = np.column_stack([ones(data), data["age"]])
    x = np.column_stack([z, female, female * data["age"]])
    with pytest.warns(ConvergenceWarning):
        alone = MixedLM(data["distance"].to_numpy(), x, groups=data["Subject"], exog_re=z).fit(method="bfgs")
    assert alone.llf == pytest.approx(-217.6636, abs=1e-3)
    found = fit_mixedlm(data["distance"], x, groups=data["Subject"], names=list("abcd"), z=z)
    variances = agrees_with_r(found, "orthodont")
    assert found.log_likelihood == pytest.approx(-216.2908, abs=1e-4)
    for (i, j), name in {(0, 0): "(Intercept)|(Intercept)", (0, 1): "(Intercept)|age", (1, 1): "age|age"}.items():
        assert found.random_covariance[i, j] == pytest.approx(variances[f"Subject|{name}"], rel=1e-3)
    assert {(r.optimiser, r.start) for r in found.runs} == {(o, s) for o in OPTIMISERS for s in STARTS}


def test_a_component_within_subjects_as_in_lme4() -> None:
    found = beets("sugpct")
    variances = agrees_with_r(found, "sugar")
    assert found.components["plot"] == pytest.approx(variances["block:harvest|(Intercept)|(Intercept)"], rel=1e-3)
    assert found.random_covariance[0, 0] == pytest.approx(variances["block|(Intercept)|(Intercept)"], rel=1e-3)


def test_zero_variances_are_said_and_the_fit_is_least_squares() -> None:
    found = beets("yield")
    agrees_with_r(found, "beets")
    assert "the random effect has a variance of" in found.singular
    assert "component plot has a variance of" in found.singular


def test_a_zero_variance_kills_one_optimiser_and_not_the_fit() -> None:
    data = read("sleepstudy").query("Days < 4")
    y = data["Reaction"] - data.groupby("Subject")["Reaction"].transform("mean") + 300
    x = np.column_stack([ones(data), data["Days"]])
    found = fit_mixedlm(y, x, groups=data["Subject"], names=["1", "days"])
    agrees_with_r(found, "flat")
    assert "variance" in found.singular
    # lbfgs dies at the zero; the others answer, and the warnings say so.
    assert [(r.optimiser, r.start) for r in found.runs if "died" in r.problem] == [("lbfgs", 1.0)]
    assert any(words.startswith("lbfgs from 1: died: LinAlgError") for words in found.warnings)


def cohort(rng: np.random.Generator, *, n: int = 9, sd: float = 2.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y, x and subjects of n subjects at five study days, subject SD as given, residual SD 1."""
    groups, days = np.repeat(np.arange(n), 5), np.tile([-2.0, 8.0, 30.0, 55.0, 70.0], n)
    y = 50 + 0.1 * days + sd * rng.normal(size=n)[groups] + rng.normal(size=groups.size)
    return y, np.column_stack([np.ones(groups.size), days]), groups


def test_a_converged_run_with_fixed_effects_of_zero_does_not_count() -> None:
    # With missing visits lbfgs says it converged, at a variance of 0 and with an intercept of 0: statsmodels #10239.
    y, x, groups = (np.delete(v, [7, 20, 33], axis=0) for v in cohort(np.random.default_rng(1), sd=0.6))
    found = fit_mixedlm(y, x, groups=groups, names=["1", "day"])
    (lost,) = [r for r in found.runs if r.problem]
    assert (lost.optimiser, lost.start, lost.converged) == ("lbfgs", 1.0, True)
    assert "statsmodels issue #10239" in lost.problem and lost.log_likelihood < found.log_likelihood - 10
    assert found.estimates == pytest.approx([50, 0.1], rel=0.1) and not found.singular


def test_units_origin_and_order_do_not_matter(rng: np.random.Generator) -> None:
    y, x, groups = cohort(rng)
    first = fit_mixedlm(y, x, groups=groups, names=["1", "day"])
    order = rng.permutation(y.size)
    moved = np.column_stack([x[:, 0], x[:, 1] / 365.25 + 2000])
    names = np.array([f"sub-{9 - g:02d}" for g in groups])
    second = fit_mixedlm(1000 * y[order], moved[order], groups=names[order], names=["1", "year"])
    assert second.estimates[1] == pytest.approx(first.estimates[1] * 1000 * 365.25, rel=1e-6)
    assert second.standard_errors[1] == pytest.approx(first.standard_errors[1] * 1000 * 365.25, rel=1e-4)
    assert second.random_covariance[0, 0] == pytest.approx(first.random_covariance[0, 0] * 1e6, rel=1e-3)
    scale = (y.size - 2) * math.log(1000) - math.log(365.25)
    assert second.log_likelihood == pytest.approx(first.log_likelihood - scale, abs=1e-5)


def test_no_agreement_is_refused_with_every_value(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    y, x, groups = cohort(rng)
    true_fit = MixedLM.fit

    def fit(self: MixedLM, *args: object, method: str, **kwargs: object) -> object:
        found = true_fit(self, *args, method=method, **kwargs)
        found._results.converged = method == "powell"
        return found

    monkeypatch.setattr(MixedLM, "fit", fit)
    with pytest.raises(ModelError, match=r"two optimisers that converge within 0\.001") as refused:
        fit_mixedlm(y, x, groups=groups, names=["1", "day"])
    for optimiser in set(OPTIMISERS) - {"powell"}:
        assert f"{optimiser} -" in refused.value.found and "(not converged)" in refused.value.found
    assert "(converged)" in refused.value.found


def test_fixed_effects_of_zero_everywhere_are_refused(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    y, x, groups = cohort(rng)
    true_solution = MixedLM.get_fe_params

    def zero_intercept(self: MixedLM, *args: object) -> tuple[np.ndarray, bool]:
        fixed, singular = true_solution(self, *args)
        return fixed * np.array([0.0, 1.0]), singular

    monkeypatch.setattr(MixedLM, "get_fe_params", zero_intercept)
    with pytest.raises(ModelError, match="statsmodels issue #10239"):
        fit_mixedlm(y, x, groups=groups, names=["1", "day"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y, x, g: {"y": np.where(np.arange(y.size) == 3, np.nan, y)}, "1 of y not finite"),
        (lambda y, x, g: {"x": np.column_stack([x[:, 0], x[:, 0]])}, "columns of x that are independent"),
        (lambda y, x, g: {"groups": g % 2}, "2 subjects, at least 3 are needed"),
        (lambda y, x, g: {"groups": g[1:]}, "other lengths"),
        (lambda y, x, g: {"y": x @ [3.0, 1.0]}, "fixed effects that explain y wholly"),
        (lambda y, x, g: {"z": np.vander(x[:, 1], 5)}, "45 observations for 2 fixed and 5 x 9 random effects"),
        (lambda y, x, g: {"components": {"disc": np.arange(y.size)}}, "component disc repeated within subjects"),
        (lambda y, x, g: {"names": ["1"]}, "expected 2 names, found 1"),
    ],
)
def test_data_that_cannot_tell_the_model(change, message: str, rng: np.random.Generator) -> None:
    y, x, groups = cohort(rng)
    given = {"y": y, "x": x, "groups": groups, "names": ["1", "day"]} | change(y, x, groups)
    with pytest.raises(ModelError, match=message):
        fit_mixedlm(given.pop("y"), given.pop("x"), **given)
