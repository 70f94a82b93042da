"""MixedLM against lme4 and our own REML, and the runs of it that are not believed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bedrest.errors import ModelError
from bedrest.statistics.estimators.mixedlm import OPTIMISERS, fit_mixedlm
from bedrest.statistics.estimators.reml import AGREE
from statsmodels.regression.mixed_linear_model import MixedLM

REFERENCE = Path(__file__).parent / "reference"


def test_a_zero_variance_is_least_squares_as_in_lme4() -> None:
    # Every subject's own mean replaced by 300 ms: no variance between subjects.
    data = pd.read_csv(REFERENCE / "sleepstudy.csv").query("Days < 4")
    y = data["Reaction"] - data.groupby("Subject")["Reaction"].transform("mean") + 300
    x = np.column_stack([np.ones(len(data)), data["Days"]])
    fit = fit_mixedlm(y.to_numpy(), x, subjects=data["Subject"].to_numpy())
    known = pd.read_csv(REFERENCE / "mixedlm.csv").set_index("name")
    assert fit.estimates == pytest.approx(known.loc[["(Intercept)", "Days"], "estimate"].to_numpy(), rel=1e-4)
    assert np.sqrt(np.diag(fit.covariance)) == pytest.approx(known.loc[["(Intercept)", "Days"], "se"].to_numpy(),
                                                             rel=1e-3)
    assert fit.log_likelihood == pytest.approx(known.loc["restricted", "estimate"], abs=AGREE)
    assert fit.residual_variance == pytest.approx(known.loc["residual", "estimate"], rel=1e-3)
    assert "the random effect has a variance of" in fit.singular


def cohort(rng: np.random.Generator, *, n: int = 9, sd: float = 2.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y, x and subjects of n subjects at five study days, subject SD as given, residual SD 1."""
    subjects, days = np.repeat(np.arange(n), 5), np.tile([-2.0, 8.0, 30.0, 55.0, 70.0], n)
    y = 50 + 0.1 * days + sd * rng.normal(size=n)[subjects] + rng.normal(size=subjects.size)
    return y, np.column_stack([np.ones(subjects.size), days]), subjects


def test_balanced_variances_by_hand(rng: np.random.Generator) -> None:
    # Balanced data: residual mean square, and (mean square of subjects - residual) / visits.
    y, x, subjects = cohort(rng)
    fit = fit_mixedlm(y, x, subjects=subjects)
    table = y.reshape(9, 5)
    slope = float(np.polyfit(x[:, 1], y, 1)[0])
    rest = table - table.mean(axis=1, keepdims=True) - slope * (x[:5, 1] - x[:5, 1].mean())
    residual = float((rest**2).sum()) / (45 - 9 - 1)
    assert fit.residual_variance == pytest.approx(residual, rel=1e-4)
    assert fit.subject_variance == pytest.approx(table.mean(axis=1).var(ddof=1) - residual / 5, rel=1e-3)
    assert fit.estimates[1] == pytest.approx(slope) and not fit.singular


def test_units_origin_and_order_do_not_matter(rng: np.random.Generator) -> None:
    y, x, subjects = cohort(rng)
    first = fit_mixedlm(y, x, subjects=subjects)
    order = rng.permutation(y.size)
    moved = np.column_stack([x[:, 0], x[:, 1] / 365.25 + 2000])
    names = np.array([f"sub-{9 - g:02d}" for g in subjects])
    second = fit_mixedlm(1000 * y[order], moved[order], subjects=names[order])
    assert second.estimates[1] == pytest.approx(first.estimates[1] * 1000 * 365.25, rel=1e-6)
    assert second.covariance[1, 1] == pytest.approx(first.covariance[1, 1] * (1000 * 365.25) ** 2, rel=1e-4)
    assert second.subject_variance == pytest.approx(first.subject_variance * 1e6, rel=1e-3)
    scale = (y.size - 2) * math.log(1000) - math.log(365.25)
    assert second.log_likelihood == pytest.approx(first.log_likelihood - scale, abs=1e-5)


def test_one_optimiser_that_dies_or_stops_early_does_not_matter(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    y, x, subjects = cohort(rng)
    whole = fit_mixedlm(y, x, subjects=subjects)
    true_fit = MixedLM.fit

    def fit(self: MixedLM, *args: object, method: str, **kwargs: object) -> object:
        if method == "bfgs":
            raise np.linalg.LinAlgError("Singular matrix")
        result = true_fit(self, *args, method=method, **kwargs)
        if method == "cg":  # says that it converged, far from the maximum
            result._results.cov_re = result._results.cov_re * 100
        return result

    monkeypatch.setattr(MixedLM, "fit", fit)
    found = fit_mixedlm(y, x, subjects=subjects)
    assert found.optimiser in ("powell", "nm")
    assert found.estimates == pytest.approx(whole.estimates, rel=1e-4)


def test_no_converged_optimiser_is_refused_with_every_value(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    y, x, subjects = cohort(rng)
    true_fit = MixedLM.fit

    def fit(self: MixedLM, *args: object, **kwargs: object) -> object:
        result = true_fit(self, *args, **kwargs)
        result._results.converged = False
        return result

    monkeypatch.setattr(MixedLM, "fit", fit)
    with pytest.raises(ModelError, match=r"converges within 0\.001 of the restricted log-likelihood") as refused:
        fit_mixedlm(y, x, subjects=subjects)
    for optimiser in OPTIMISERS:
        assert f"{optimiser} -" in refused.value.actual and "(not converged)" in refused.value.actual


def test_fixed_effects_of_zero_are_refused(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    # With missing visits an optimiser may end at a variance of 0 and an intercept of 0: statsmodels #10239.
    y, x, subjects = cohort(rng)
    true_solution = MixedLM.get_fe_params

    def zero_intercept(self: MixedLM, *args: object) -> tuple[np.ndarray, bool]:
        fixed, singular = true_solution(self, *args)
        return fixed * np.array([0.0, 1.0]), singular

    monkeypatch.setattr(MixedLM, "get_fe_params", zero_intercept)
    with pytest.raises(ModelError, match="statsmodels issue #10239"):
        fit_mixedlm(y, x, subjects=subjects)
