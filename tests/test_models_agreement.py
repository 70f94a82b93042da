"""Limits of agreement, proportional bias and Passing-Bablok: against R, worked-out cases and simulated samples."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bedrest.errors import ModelError
from bedrest.statistics.estimators.bland_altman import limits_of_agreement, proportional_bias
from bedrest.statistics.estimators.intervals import Z95, Clusters, Estimate
from bedrest.statistics.estimators.method_comparison import MAX_POINTS, passing_bablok
from hypothesis import given, settings
from hypothesis import strategies as st

REFERENCE = Path(__file__).parent / "reference"


def expected(case: str) -> dict[str, float]:
    table = pd.read_csv(REFERENCE / "agreement.csv")
    return table[table["case"] == case].set_index("name")["value"].to_dict()


def r_data() -> tuple[np.ndarray, np.ndarray, Clusters]:
    data = pd.read_csv(REFERENCE / "agreement_data.csv")
    clusters = Clusters.of(data["subject"].to_numpy(), rng=np.random.default_rng(0))
    return data["first"].to_numpy(), data["second"].to_numpy(), clusters


def parts(**estimates: Estimate) -> dict[str, float]:
    return {f"{n}_{p}": getattr(e, p) for n, e in estimates.items() for p in ("value", "low", "high")}


def triple(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def test_exact_limits_as_r() -> None:
    first, second, _ = r_data()
    found = limits_of_agreement(first - second)
    ours = {**parts(bias=found.bias, lower=found.lower, upper=found.upper), "sd": found.sd}
    assert ours == pytest.approx(expected("limits"), rel=1e-8)


def test_variance_components_as_r() -> None:
    first, second, clusters = r_data()
    found = limits_of_agreement(first - second, clusters=clusters)
    values = expected("components")
    ours = {**parts(bias=found.bias, lower=found.lower, upper=found.upper), "sd": found.sd,
            "sd_between": found.sd_between, "sd_within": found.sd_within}
    assert {n: ours[n] for n in values} == pytest.approx(values, rel=1e-10)


def test_proportional_slope_as_r() -> None:
    first, second, clusters = r_data()
    for case, given_clusters in (("slope", None), ("slope_clustered", clusters)):
        found = proportional_bias(first, second, clusters=given_clusters)
        ours = {"value": found.slope.value, "low": found.slope.low, "high": found.slope.high, "df": found.df,
                "p": found.p}
        assert ours == pytest.approx(expected(case), rel=1e-8), case


@pytest.mark.parametrize("case", ["passing_bablok", "passing_bablok_few", "passing_bablok_weak"])
def test_passing_bablok_as_written_out_in_r(case: str) -> None:
    data = pd.read_csv(REFERENCE / "agreement_data.csv")
    y, x = (np.round(10 * data[c].to_numpy()) for c in ("first", "second"))
    if case.endswith("few"):
        x, y = x[:9], y[:9]
    if case.endswith("weak"):
        x = data["weak"].to_numpy()
    found = passing_bablok(x, y)
    values = expected(case)
    ours = parts(slope=found.slope, intercept=found.intercept)
    assert ours == pytest.approx({n: values[n] for n in ours}, rel=1e-12)


def test_components_by_hand() -> None:
    # Subjects (0, 2), (4, 6), (8, 10): within 2, between (32 - 2) / 2 = 15, so sd = sqrt(17) about a bias of 5.
    clusters = Clusters.of([0, 0, 1, 1, 2, 2], rng=np.random.default_rng(0))
    found = limits_of_agreement([0, 2, 4, 6, 8, 10], clusters=clusters)
    assert (found.bias.value, found.sd) == pytest.approx((5, math.sqrt(17)))
    assert (found.sd_between**2, found.sd_within**2) == pytest.approx((15, 2))
    assert found.upper.value == pytest.approx(5 + 1.959963984540054 * math.sqrt(17))
    # No component below 0: subjects (-1, 1) three times have no spread between them, and 2 within.
    flat = limits_of_agreement([-1, 1, -1, 1, -1, 1], clusters=clusters)
    assert (flat.sd_between, flat.sd) == pytest.approx((0, math.sqrt(2)))


def test_bias_of_balanced_subjects_is_the_t_interval_of_their_means() -> None:
    # With equal numbers the widened bootstrap error of the mean is SD(subject means) / sqrt(G), and df is G - 1.
    draw = np.random.default_rng(5)
    labels = np.repeat(np.arange(6), 7)
    d = draw.normal(0, 1, 6)[labels] + draw.normal(0, 1, 42)
    found = limits_of_agreement(d, clusters=Clusters.of(labels, rng=draw, replicates=40_000))
    plain = limits_of_agreement(d.reshape(6, 7).mean(axis=1)).bias
    assert found.bias.value == pytest.approx(plain.value)
    assert found.bias.high - found.bias.value == pytest.approx(plain.high - plain.value, rel=0.02)


def test_passing_bablok_by_hand() -> None:
    # Five points on y = 2x + 1 and one far off it: the ten slopes of 2 among fifteen are the median.
    x = np.array([1.0, 2, 3, 4, 5, 6])
    y = np.array([3.0, 5, 7, 9, 11, 40])
    found = passing_bablok(x, y)
    assert (found.slope.value, found.intercept.value, found.slope.low) == (2, 1, 2)
    # Pairs of equal points and slopes of exactly -1 do not count.
    again = passing_bablok(np.append(x, [1.0]), np.append(y, [3.0]))
    assert again.slope.value == 2


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.sampled_from([6, 7, 10, 11, 23]))
def test_exchanging_methods_inverts_the_line(seed: int, n: int) -> None:
    draw = np.random.default_rng(seed)
    truth = draw.normal(10, 3, n)
    x, y = truth + draw.normal(0, 0.5, n), 1 + 1.2 * truth + draw.normal(0, 0.5, n)
    line, inverse = passing_bablok(x, y), passing_bablok(y, x)
    odd = n * (n - 1) // 2 % 2 == 1
    # With an even number of slopes the paper takes the arithmetic mean of two: not quite its own inverse.
    assert line.slope.value * inverse.slope.value == pytest.approx(1, rel=1e-10 if odd else 0.1)
    if line.slope.low > 0 and inverse.slope.low > 0:  # else it holds the vertical: open on one side
        assert line.slope.low == pytest.approx(1 / inverse.slope.high)
        assert line.slope.high == pytest.approx(1 / inverse.slope.low)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3))
def test_units_and_order(seed: int, scale: float) -> None:
    first, second, clusters = r_data()
    for given_clusters in (None, clusters):
        line = passing_bablok(second, first, clusters=given_clusters)
        scaled = passing_bablok(scale * second, scale * first, clusters=given_clusters)
        assert triple(scaled.slope) == pytest.approx(triple(line.slope), rel=1e-6)
        wanted = [scale * v for v in triple(line.intercept)]
        assert triple(scaled.intercept) == pytest.approx(wanted, rel=1e-6, abs=1e-9 * scale)
        limits = limits_of_agreement(first - second, clusters=given_clusters)
        in_other_unit = limits_of_agreement(scale * (first - second), clusters=given_clusters)
        assert triple(in_other_unit.upper) == pytest.approx([scale * v for v in triple(limits.upper)], rel=1e-9)
    order = np.random.default_rng(seed).permutation(first.size)
    line, mixed = passing_bablok(second, first), passing_bablok(second[order], first[order])
    assert triple(mixed.slope) == pytest.approx(triple(line.slope), rel=1e-9)


def test_swapping_methods_turns_signs() -> None:
    first, second, clusters = r_data()
    for given_clusters in (None, clusters):
        a, b = (limits_of_agreement(s * (first - second), clusters=given_clusters) for s in (1, -1))
        assert (b.bias.value, b.bias.low, b.bias.high) == pytest.approx((-a.bias.value, -a.bias.high, -a.bias.low))
        assert (b.lower.low, b.lower.high) == pytest.approx((-a.upper.high, -a.upper.low))
        p, q = (proportional_bias(*pair, clusters=given_clusters) for pair in ((first, second), (second, first)))
        assert (q.slope.value, q.slope.low, q.p) == pytest.approx((-p.slope.value, -p.slope.high, p.p))


def test_slope_of_the_difference_is_not_0_when_only_errors_differ() -> None:
    # What the docstring warns of: no proportional bias at all, error SD 3 against 0, true SD 3.
    draw = np.random.default_rng(8)
    truth = draw.normal(50, 3, 400)
    noisy = truth + draw.normal(0, 3, 400)
    found = proportional_bias(noisy, truth)
    # 2 (18 - 9) / (18 + 9 + 2 * 9) = 0.4
    assert found.slope.low < 0.4 < found.slope.high and found.p < 1e-6


def test_exact_limits_hold_the_truth_in_95_per_cent() -> None:
    # 8 subjects. Binomial 99.9 % band of 1000 around 95 %: 92.6 to 97.1 %.
    draws = np.random.default_rng(1).normal(2, 1, (1000, 8))
    found = [limits_of_agreement(d) for d in draws]
    rates = [np.mean([f.lower.low < 2 - Z95 < f.lower.high for f in found]),
             np.mean([f.upper.low < 2 + Z95 < f.upper.high for f in found]),
             np.mean([f.bias.low < 2 < f.bias.high for f in found])]
    assert all(0.926 < r < 0.971 for r in rates), rates


def test_clustered_intervals_hold_the_truth_where_plain_ones_do_not() -> None:
    # 8 subjects, 7 discs; the difference varies between subjects (SD 0.7) and discs (SD 1).
    # Binomial 99.9 % band of 400 around 95 %: 91.0 to 98.3 %.
    draw = np.random.default_rng(2)
    labels, upper = np.repeat(np.arange(8), 7), Z95 * math.hypot(0.7, 1)
    hits, plain = np.zeros(3), 0
    for _ in range(400):
        d = draw.normal(0, 0.7, 8)[labels] + draw.normal(0, 1, 56)
        found = limits_of_agreement(d, clusters=Clusters.of(labels, rng=draw, replicates=400))
        hits += [found.bias.low < 0 < found.bias.high, found.upper.low < upper < found.upper.high,
                 found.lower.low < -upper < found.lower.high]
        alone = limits_of_agreement(d)
        plain += alone.bias.low < 0 < alone.bias.high
    assert (hits / 400 > 0.91).all() and (hits / 400 < 0.983).all(), hits / 400
    assert plain / 400 < 0.8


def test_lines_hold_the_truth() -> None:
    # y = x in truth, equal errors; 8 subjects with 5 discs that share a shift, or 25 points without one.
    # Binomial 99.9 % band of 200 around 95 %: 88.8 to 99.3 %.
    draw = np.random.default_rng(3)
    labels = np.repeat(np.arange(8), 5)
    hits = np.zeros(2)
    for _ in range(200):
        truth = draw.normal(10, 3, 40)
        x, y = truth + draw.normal(0, 0.5, 40), truth + draw.normal(0, 0.5, 40)
        shift = draw.normal(0, 0.3, 8)[labels]
        clusters = Clusters.of(labels, rng=draw, replicates=2)
        found = passing_bablok(x[:25], y[:25]), passing_bablok(x + shift, y - shift, clusters=clusters)
        hits += [f.slope.low < 1 < f.slope.high for f in found]
    assert (hits / 200 > 0.888).all() and (hits / 200 < 0.993).all(), hits / 200


def test_too_little_says_why() -> None:
    two = limits_of_agreement([1.0, 2.0])
    assert two.reason == "2 subjects, at least 3 are needed" and math.isnan(two.bias.value)
    assert limits_of_agreement([]).reason == "0 subjects, at least 3 are needed"
    assert limits_of_agreement([1.0, 1, 1]).reason == "all differences are the same"
    clusters = Clusters.of([0, 0, 0, 1, 1, 1], rng=np.random.default_rng(0))
    assert limits_of_agreement(np.arange(6.0), clusters=clusters).reason == "2 subjects, at least 3 are needed"
    assert proportional_bias([1.0, 2], [1.0, 3]).reason == "2 subjects, at least 3 are needed"
    assert "on a line" in proportional_bias([1.0, 2, 3], [2.0, 4, 6]).reason
    assert "same" in proportional_bias([1.0, 2, 3], [3.0, 2, 1]).reason
    assert passing_bablok([1.0, 2, 3, 4], [1.0, 2, 3, 4]).reason == "4 points, at least 5 are needed"
    assert "same value" in passing_bablok([1.0] * 6, np.arange(6.0)).reason
    falling = passing_bablok(np.arange(7.0), -2 * np.arange(7.0))
    assert "do not rise together" in falling.reason and math.isnan(falling.slope.value)


def test_too_many_points_or_missing_ones() -> None:
    n = MAX_POINTS + 1
    assert passing_bablok(np.arange(n), np.arange(n)).reason.startswith("3001 points, at most 3000")
    with pytest.raises(ModelError, match="1 missing"):
        passing_bablok([1.0, np.nan], [1.0, 2])
    with pytest.raises(ModelError, match="2 and 3 values"):
        passing_bablok([1.0, 2], [1.0, 2, 3])


def test_an_open_kendall_interval_says_so() -> None:
    draw = np.random.default_rng(0)
    found = passing_bablok(draw.normal(0, 1, 6), draw.normal(0, 1, 6), confidence_level=0.999)
    assert found.reason and math.isnan(found.slope.low)
