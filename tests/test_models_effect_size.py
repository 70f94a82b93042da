"""Hedges g and its interval against R, by quadrature, and by coverage."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bedrest.errors import ModelError
from bedrest.statistics.estimators.effect_size import (
    hedges_g_one_sample,
    hedges_g_two_samples,
    noncentral_interval,
    small_sample_correction,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

REFERENCE = Path(__file__).parent / "reference"


def test_every_number_as_in_r() -> None:
    data = pd.read_csv(REFERENCE / "t_tests_data.csv").groupby("group")
    rows = pd.read_csv(REFERENCE / "effect_size.csv").to_dict("records")
    assert len(rows) == 12
    for row in rows:
        column, groups = row["test"].split(" ", 1)
        values = [data.get_group(g)[column].tolist() for g in groups.split(" - ")]
        effect = hedges_g_one_sample if len(values) == 1 else hedges_g_two_samples
        found = effect(*values, confidence_level=row["confidence_level"])
        for name in ("g", "ci_low", "ci_high"):
            assert getattr(found, name) == pytest.approx(row[name], rel=1e-6), (row["test"], name)
        assert not found.reason


@pytest.mark.parametrize(("t", "df"), [(0.0, 7), (2.3, 2), (-2.3, 2), (5.0, 11), (30.0, 22), (-80.0, 4)])
def test_the_limits_leave_their_tails(t: float, df: int) -> None:
    def tail(ncp: float) -> float:
        # P(T <= t), T = (Z + ncp) / sqrt(V / df), written out: no noncentral t of any library.
        def density(v: float) -> float:
            return float(stats.norm.cdf(t * math.sqrt(v / df) - ncp) * stats.chi2.pdf(v, df))

        edges = stats.chi2.ppf([1e-14, 0.01, 0.1, 0.5, 0.9, 0.99, 1 - 1e-14], df)
        return sum(integrate.quad(density, a, b)[0] for a, b in itertools.pairwise(edges))

    low, high = noncentral_interval(t, df)
    assert tail(low) == pytest.approx(0.975, abs=5e-6)
    assert tail(high) == pytest.approx(0.025, abs=5e-6)


def test_the_correction_makes_the_estimate_unbiased(rng: np.random.Generator) -> None:
    draws = rng.normal(1.0, 1.0, (40_000, 6))
    d = draws.mean(axis=1) / draws.std(axis=1, ddof=1)
    assert d.mean() > 1.15
    assert d.mean() * small_sample_correction(5) == pytest.approx(1.0, abs=0.01)


def test_the_interval_covers_the_population_effect(rng: np.random.Generator) -> None:
    # 2000 cohorts: the binomial 99 % band around 95 % is 93.7 to 96.3 %.
    alone, both = [], []
    for _ in range(2000):
        one = hedges_g_one_sample(rng.normal(0.8, 1, 8))
        two = hedges_g_two_samples(rng.normal(0.8, 1, 8), rng.normal(0, 1, 12))
        alone.append(one.ci_low < 0.8 < one.ci_high)
        both.append(two.ci_low < 0.8 < two.ci_high)
    assert 0.937 < np.mean(alone) < 0.963
    assert 0.937 < np.mean(both) < 0.963


@given(st.lists(st.floats(-50, 50), min_size=4, max_size=12, unique=True), st.floats(0.01, 100))
def test_sign_and_unit(values: list[float], unit: float) -> None:
    x = np.round(values, 3)
    found = hedges_g_one_sample(x)
    if found.reason:
        return
    flipped, scaled = hedges_g_one_sample(-x), hedges_g_one_sample(x * unit)
    assert (flipped.g, flipped.ci_low, flipped.ci_high) == pytest.approx((-found.g, -found.ci_high, -found.ci_low))
    assert (scaled.g, scaled.ci_low) == pytest.approx((found.g, found.ci_low), rel=1e-6, abs=1e-9)
    assert found.ci_low < found.g < found.ci_high


def test_swapped_groups_and_a_shift_of_both(rng: np.random.Generator) -> None:
    x, y = rng.normal(1, 1, 7), rng.normal(0, 1, 9)
    found, swapped = hedges_g_two_samples(x, y), hedges_g_two_samples(y + 40, x + 40)
    assert (swapped.g, swapped.ci_low, swapped.ci_high) == pytest.approx((-found.g, -found.ci_high, -found.ci_low))


def test_what_cannot_be_standardised_says_why() -> None:
    few = hedges_g_one_sample([1.0, 2.0])
    assert math.isnan(few.g) and few.reason == "2 subjects, at least 3 are needed"
    flat = hedges_g_two_samples([1.0, 2.0], [5.0, 5.0, 5.0])
    assert flat.reason == "first group: 2 subjects, at least 3 are needed; second group: no variance between subjects"
    nearly = hedges_g_one_sample([1.0, 1.0 + 1e-8, 1.0])
    assert nearly.reason == "practically no variance between subjects" and math.isnan(nearly.ci_low)
    with pytest.raises(ModelError, match="1 missing or infinite"):
        hedges_g_one_sample([1.0, math.nan, 2.0, 3.0])
