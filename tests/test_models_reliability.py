"""Intraclass correlations and measurement error: against R, worked-out cases, and how often the interval is right."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bedrest.errors import ModelError
from bedrest.statistics.estimators.intervals import Clusters, jackknife_interval
from bedrest.statistics.estimators.reliability import Intraclass, intraclass, measurement_error
from hypothesis import given, settings
from hypothesis import strategies as st

REFERENCE = Path(__file__).parent / "reference"
SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
NAMES = {"ICC2": "agreement", "ICC3": "consistency"}


def expected(case: str) -> dict[str, float]:
    table = pd.read_csv(REFERENCE / "reliability.csv")
    return table[table["case"] == case].set_index("name")["value"].to_dict()


def r_data() -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "reliability_data.csv")


def check(found: Intraclass, case: str) -> None:
    values = expected(case)
    assert len(values) == 6 and found.reason == ""
    for name, value in values.items():
        kind, part = name.split("_")
        assert getattr(getattr(found, NAMES[kind]), part) == pytest.approx(value, rel=1e-8), (case, name)


def test_shrout_and_fleiss_as_published() -> None:
    found = intraclass(SHROUT_FLEISS)
    values = [getattr(found, name).value for name in NAMES.values()]
    assert np.round(values, 3).tolist() == [0.290, 0.715]


def test_every_coefficient_and_interval_as_psych() -> None:
    check(intraclass(SHROUT_FLEISS), "shrout_fleiss")
    wide = r_data().pivot(index="target", columns="visit", values="value")[[1, 2]].to_numpy()
    check(intraclass(wide), "two_visits")
    check(intraclass(wide, confidence_level=0.9), "two_visits_90")


def test_unequal_repeats_as_r() -> None:
    data = r_data()
    found = measurement_error(data["value"], targets=data["target"])
    values = expected("error")
    assert found.df == values.pop("df") and found.reason == "" and len(values) == 12
    for name, value in values.items():
        quantity, part = name.rsplit("_", 1)
        assert getattr(getattr(found, quantity), part) == pytest.approx(value, rel=1e-9), name


def test_error_by_hand() -> None:
    # Pairs (9, 11), (19, 21), (29, 31): every SD is sqrt(2), so the SEM is sqrt(2) and the SDC 1.96 * 2.
    found = measurement_error([9, 11, 19, 21, 29, 31, 40], targets=[0, 0, 1, 1, 2, 2, 3])
    assert (found.n_subjects, found.df) == (3, 3)  # 40 was measured once
    assert found.sem.value == pytest.approx(math.sqrt(2))
    assert found.sdc.value == pytest.approx(2 * 1.959963984540054)
    squares = [math.log(b / a) ** 2 / 2 for a, b in ((9, 11), (19, 21), (29, 31))]
    assert found.cv_percent.value == pytest.approx(100 * (math.exp(math.sqrt(sum(squares) / 3)) - 1))


def test_a_shift_between_raters_lowers_agreement_alone() -> None:
    shifted = SHROUT_FLEISS + np.array([0, 0, 0, 5.0])
    before, after = intraclass(SHROUT_FLEISS), intraclass(shifted)
    assert after.consistency.value == pytest.approx(before.consistency.value)
    assert after.consistency.low == pytest.approx(before.consistency.low)
    assert after.agreement.value < before.agreement.value


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-1e3, 1e3), seed=st.integers(0, 99))
def test_unit_origin_and_order_do_not_matter(scale: float, shift: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    x = draw.normal(0, 3, (9, 1)) + draw.normal(0, 1, (9, 3))
    mixed = draw.permutation(draw.permutation(x, axis=0), axis=1)
    first, second = intraclass(x), intraclass(scale * (mixed + shift))
    for name in NAMES.values():
        a, b = getattr(first, name), getattr(second, name)
        assert (b.value, b.low, b.high) == pytest.approx((a.value, a.low, a.high), rel=1e-5, abs=1e-7)


def test_errors_scale_with_the_unit_and_cv_does_not() -> None:
    data = r_data()
    clusters = Clusters.of(data["target"].to_numpy() // 2, rng=np.random.default_rng(1))
    for given_clusters in (None, clusters):
        mm3 = measurement_error(data["value"], targets=data["target"], clusters=given_clusters)
        ml = measurement_error(data["value"] / 1000, targets=data["target"], clusters=given_clusters)
        for part in ("value", "low", "high"):
            assert getattr(ml.sem, part) == pytest.approx(getattr(mm3.sem, part) / 1000)
            assert getattr(ml.sdc, part) == pytest.approx(getattr(mm3.sdc, part) / 1000)
            assert getattr(ml.cv_percent, part) == pytest.approx(getattr(mm3.cv_percent, part))
            assert getattr(ml.sdc_percent, part) == pytest.approx(getattr(mm3.sdc_percent, part))


def test_a_target_measured_once_adds_nothing() -> None:
    data = r_data()
    subjects = data["target"].to_numpy() // 3
    once = np.array([100.0, 101, 102])  # new targets, one value each, of subjects that are there already
    found = [measurement_error(np.append(data["value"], v), targets=np.append(data["target"], v),
                               clusters=Clusters.of(np.append(subjects, s), rng=np.random.default_rng(2)))
             for v, s in ((np.array([]), []), (once, [0, 0, 1]))]
    assert found[0] == found[1] and found[0].sem.low < found[0].sem.value < found[0].sem.high


def test_missing_ratings_are_refused() -> None:
    with pytest.raises(ModelError, match="1 missing or infinite of 24"):
        intraclass(np.where(SHROUT_FLEISS == 10, np.nan, SHROUT_FLEISS))
    with pytest.raises(ModelError, match="two raters"):
        intraclass(SHROUT_FLEISS[:, :1])
    with pytest.raises(ModelError, match="6 subject labels"):
        intraclass(SHROUT_FLEISS, clusters=Clusters.of([1, 2], rng=np.random.default_rng(0)))


def test_too_little_says_why() -> None:
    assert intraclass(SHROUT_FLEISS[:2]).reason == "2 subjects, at least 3 are needed"
    assert math.isnan(intraclass(SHROUT_FLEISS[:2]).agreement.value)
    assert intraclass(np.empty((0, 2))).reason == "0 subjects, at least 3 are needed"
    assert "up to a constant" in intraclass(SHROUT_FLEISS[:, :1] + np.array([0, 1])).reason
    assert intraclass(np.ones((5, 2))).reason == "all ratings are the same"
    few = measurement_error([1.0, 2, 3], targets=[0, 0, 1])
    assert few.reason == "1 subjects, at least 3 are needed" and math.isnan(few.sem.value)
    same = measurement_error([5.0, 5, 6, 6, 7, 7], targets=[0, 0, 1, 1, 2, 2])
    assert "identical" in same.reason and math.isnan(same.sem.value)
    negative = measurement_error([-1.0, 1, 6, 7, 7, 8], targets=[0, 0, 1, 1, 2, 2])
    assert negative.reason == "values at or below 0 have no CV"
    assert math.isfinite(negative.sem.low) and math.isnan(negative.cv_percent.value)
    assert all(math.isnan(b) for b in jackknife_interval(1.0, np.array([1.0, np.nan, 1.0]), confidence_level=0.95))


def test_one_target_a_subject_needs_no_resampling() -> None:
    clusters = Clusters.of(list("fedcba"), rng=np.random.default_rng(0))
    assert intraclass(SHROUT_FLEISS, clusters=clusters) == intraclass(SHROUT_FLEISS)


def test_order_of_subjects_does_not_change_the_bootstrap() -> None:
    draw = np.random.default_rng(4)
    labels = np.repeat(["s3", "s1", "s2", "s4"], 3)
    x = draw.normal(0, 3, (12, 1)) + draw.normal(0, 1, (12, 2))
    order = draw.permutation(12)
    found = [intraclass(x[o], clusters=Clusters.of(labels[o], rng=np.random.default_rng(7))).agreement
             for o in (np.arange(12), order)]
    assert (found[0].low, found[0].high) == pytest.approx((found[1].low, found[1].high), rel=1e-9)
    assert found[0].low < found[0].value < found[0].high


def test_clustered_intervals_hold_the_truth_in_about_95_per_cent() -> None:
    # 8 subjects, 7 discs, two methods that differ by a subject's own shift (SD 0.7) and by error (SD 0.7 each).
    # Binomial 99.9 % band of 300 around 95 %: 90.3 to 98.7 %. Intervals that take the discs as independent hold the
    # error in about 86 %.
    draw = np.random.default_rng(12)
    labels = np.repeat(np.arange(8), 7)
    targets = np.tile(np.arange(56), 2)
    error_variance = (0.7**2 + 2 * 0.7**2) / 2  # half the variance of the difference
    between = 2 * 3.0**2
    hits, naive = np.zeros(2), 0
    for _ in range(300):
        truth = draw.normal(0, 3, 56) + draw.normal(0, 3, 8)[labels]
        a = truth + draw.normal(0, 0.7, 8)[labels] + draw.normal(0, 0.7, 56)
        b = truth + draw.normal(0, 0.7, 56)
        icc = intraclass(np.column_stack([a, b]), clusters=Clusters.of(labels, rng=draw, replicates=400))
        twice = Clusters.of(np.tile(labels, 2), rng=draw, replicates=400)
        values = 50 + np.concatenate([a, b])
        sem, plain = (measurement_error(values, targets=targets, clusters=c).sem for c in (twice, None))
        icc_truth = between / (between + error_variance)
        hits += [icc.agreement.low < icc_truth < icc.agreement.high,
                 sem.low < math.sqrt(error_variance) < sem.high]
        naive += plain.low < math.sqrt(error_variance) < plain.high
    assert (hits / 300 > 0.903).all() and (hits / 300 < 0.987).all(), hits / 300
    assert naive / 300 < 0.903
