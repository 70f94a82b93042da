"""Permutation tests and bootstrap intervals against R, and their error rates at the sizes of bed-rest studies."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bedrest.errors import ModelError
from bedrest.statistics.estimators.resampling import cluster_bootstrap, permutation_test, sign_flip_test
from scipy import stats

REFERENCE = Path(__file__).parent / "reference"


def r_values(column: str, group: str) -> np.ndarray:
    data = pd.read_csv(REFERENCE / "t_tests_data.csv")
    return data.loc[data["group"] == group, column].to_numpy()


def r_rows(start: str) -> list[dict]:
    rows = pd.read_csv(REFERENCE / "resampling.csv")
    return rows[rows["test"].str.startswith(start)].to_dict("records")


@pytest.mark.parametrize("column", ["a", "b"])
def test_every_assignment_counted_as_in_r(column: str, rng: np.random.Generator) -> None:
    rows = r_rows(f"{column} ")
    assert len(rows) == 3
    for row in rows:
        groups = row["test"].split(" ", 1)[1].split(" - ")
        test = sign_flip_test if len(groups) == 1 else permutation_test
        found = test(*(r_values(column, g) for g in groups), rng=rng)
        for name in ("n", "estimate", "t", "p"):
            assert getattr(found, name) == pytest.approx(row[name], rel=1e-8), (row["test"], name)
        possible = 2**found.n if len(groups) == 1 else math.comb(16, 7)
        assert f"all {possible} counted" in found.method and not found.reason


def test_by_hand(rng: np.random.Generator) -> None:
    # 1, 2, 3 against 11, 12, 13: of 20 assignments only this one and its mirror lie so far apart.
    apart = permutation_test([1.0, 2.0, 3.0], [11.0, 12.0, 13.0], rng=rng)
    assert (apart.p, apart.smallest_p) == (0.1, 0.1) and "all 20 counted" in apart.method
    # +1, +2, +3, -1: |sum| is 5, reached or passed by +++-, -+++ (5), ++++ (7) and their mirrors: 6 of 16.
    flips = sign_flip_test([1.0, 2.0, 3.0, -1.0], rng=rng)
    assert (flips.p, flips.smallest_p) == (6 / 16, 2 / 16) and "all 16 counted" in flips.method
    # No variance within groups is no obstacle: C(6, 3) = 20 again.
    assert permutation_test([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], rng=rng).p == 0.1


def test_ties_are_counted_whatever_the_unit(rng: np.random.Generator) -> None:
    first, second = np.array([0.1, 0.2, 0.3, 0.7]), np.array([0.3, 0.1, 0.2, 0.4, 0.6])
    p = permutation_test(first, second, rng=rng).p
    for unit in (10.0, 1 / 3, 1e-6, 1e6):
        assert permutation_test(first * unit, second * unit, rng=rng).p == p
        assert permutation_test(second * unit, first * unit, rng=rng).p == p
        assert sign_flip_test(first * unit, rng=rng).p == sign_flip_test(-first[::-1], rng=rng).p == 0.125


def test_many_assignments_are_sampled_with_the_seed(rng: np.random.Generator) -> None:
    x, y = rng.normal(0, 1, 15), rng.normal(0.9, 1, 14)
    found = permutation_test(x, y, rng=np.random.default_rng(1), n_permutations=4999)
    again = permutation_test(x, y, rng=np.random.default_rng(1), n_permutations=4999)
    assert found == again and "drawn of" in found.method and found.smallest_p == 1 / 5000
    assert found.p * 5000 == pytest.approx(round(found.p * 5000))  # (b + 1) / (m + 1)
    assert found.p == pytest.approx(stats.ttest_ind(x, y, equal_var=False).pvalue, abs=0.01)
    assert "77558760" in found.method
    far = permutation_test(x, y + 100, rng=rng, n_permutations=199)
    assert far.p == 1 / 200  # never 0
    flips = sign_flip_test(np.r_[x, y], rng=rng, n_permutations=4999)
    assert "drawn of" in flips.method and flips.p == pytest.approx(stats.ttest_1samp(np.r_[x, y], 0).pvalue, abs=0.02)


def test_group_labels_hold_their_error_rate_where_variances_differ() -> None:
    # The larger spread in the smaller group is the worst case: 1000 cohorts, true rate 6.4 %, 99 % band 4.4 to 8.4 %.
    # The plain difference of means would reject in 10.9 %.
    draw = np.random.default_rng(12)
    p = [
        permutation_test(draw.normal(0, 1, 12), draw.normal(0, 3, 8), rng=draw, n_permutations=399).p
        for _ in range(1000)
    ]
    assert 0.044 < np.mean(np.array(p) <= 0.05) < 0.084


def test_group_labels_are_exact_where_groups_are_alike() -> None:
    # C(10, 5) = 252: the largest attainable level at or below 5 % is 12 / 252 = 4.76 %. Skewed values on purpose.
    draw = np.random.default_rng(13)
    p = [permutation_test(draw.exponential(size=5), draw.exponential(size=5), rng=draw).p for _ in range(1000)]
    assert 0.030 < np.mean(np.array(p) <= 0.05) < 0.066


def test_sign_flips_hold_their_error_rate_without_normality() -> None:
    # Heavy tails, 2^8 = 256 patterns: level 12 / 256 = 4.69 %; 1500 cohorts, 99 % band 3.3 to 6.1 %.
    draw = np.random.default_rng(14)
    p = [sign_flip_test(draw.standard_t(2, size=8), rng=draw).p for _ in range(1500)]
    assert 0.033 < np.mean(np.array(p) <= 0.05) < 0.061


def test_permutation_reasons(rng: np.random.Generator) -> None:
    few = permutation_test([1.0, 2.0], [1.0, 2.0, 3.0], rng=rng)
    assert few.reason == "first group: 2 subjects, at least 3 are needed" and math.isnan(few.p) and few.n == 5
    assert permutation_test([1.0] * 3, [1.0] * 4, rng=rng).reason == "all values are equal"
    assert sign_flip_test([0.0] * 5, rng=rng).reason == "all values are 0"
    with pytest.raises(ModelError, match="1 missing or infinite"):
        sign_flip_test([1.0, 2.0, math.nan], rng=rng)


def test_the_bootstrap_interval_as_in_the_boot_package() -> None:
    (row,) = r_rows("bootstrap")
    found = cluster_bootstrap([r_values("a", "exercise")], rng=np.random.default_rng(0), n_resamples=100_000)
    assert found.estimate == pytest.approx(row["estimate"])
    assert found.se == pytest.approx(row["se"])
    width = row["ci_high"] - row["ci_low"]
    assert found.ci_low == pytest.approx(row["ci_low"], abs=0.02 * width)
    assert found.ci_high == pytest.approx(row["ci_high"], abs=0.02 * width)
    assert found.n == 9 and not found.reason


def test_bootstrap_coverage_at_eight_subjects_with_several_discs() -> None:
    # 1000 cohorts, 1 to 7 discs a subject, subject SD 1, disc SD 0.5: 95 % +- 1.8 % (99 % band).
    draw = np.random.default_rng(15)
    hits = []
    for _ in range(1000):
        means = [np.mean(draw.normal() + 0.5 * draw.normal(size=draw.integers(1, 8))) for _ in range(8)]
        found = cluster_bootstrap([means], rng=draw, n_resamples=499)
        hits.append(found.ci_low < 0 < found.ci_high)
    assert 0.932 < np.mean(hits) < 0.968


def test_bootstrap_coverage_of_a_difference_where_variances_differ() -> None:
    draw = np.random.default_rng(16)
    hits = []
    for _ in range(1000):
        found = cluster_bootstrap([draw.normal(2, 1, 8), draw.normal(1, 3, 8)], rng=draw, n_resamples=499)
        hits.append(found.ci_low < 1 < found.ci_high)
    assert 0.932 < np.mean(hits) < 0.968


def test_bootstrap_is_seeded_and_follows_the_unit_and_the_sign() -> None:
    x, y = np.random.default_rng(2).exponential(size=(2, 9))
    first, again, scaled, other = (
        cluster_bootstrap(s, rng=np.random.default_rng(3), n_resamples=999)
        for s in ([x, y], [x, y], [1000 * x, 1000 * y], [-x, -y]))
    assert first == again and first.estimate == pytest.approx(x.mean() - y.mean())
    assert first.se == pytest.approx(math.sqrt(x.var(ddof=1) / 9 + y.var(ddof=1) / 9))
    assert scaled.ci_high == pytest.approx(1000 * first.ci_high)
    assert other.ci_high == pytest.approx(-first.ci_low, abs=0.05 * first.se)


def test_bootstrap_reasons(rng: np.random.Generator) -> None:
    few = cluster_bootstrap([[1.0, 2.0, 3.0, 4.0], range(8)], rng=rng)
    assert few.reason == "first group: 4 subjects, at least 5 are needed" and math.isnan(few.ci_low) and few.n == 12
    flat = cluster_bootstrap([[3.0] * 8], rng=rng)
    assert flat.reason == "no variance between subjects" and math.isnan(flat.ci_low)
    with pytest.raises(ModelError, match="1 missing or infinite"):
        cluster_bootstrap([[1.0] * 5 + [math.nan]], rng=rng)
