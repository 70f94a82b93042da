"""Error rates, power and recovery against what can be worked out exactly."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from bedrest.errors import StudyError
from bedrest.io.tables.frames import validated
from bedrest.schemas import POWER
from bedrest.statistics.planning.power import QUESTIONS as POWER_QUESTIONS
from bedrest.statistics.planning.power import PlannedStudy, power_frame, power_of
from bedrest.statistics.planning.simulated_cohorts import Scenario, draw_cohort
from bedrest.statistics.study.recovery import Band, Course, band_of, half_time, recovery_frame
from scipy import stats

from pipelines.benchmarks.error_rates.rates import ANALYSES, PRIMARY, QUESTIONS, error_rates
from pipelines.benchmarks.simulated_study import draw_study

Z = next(a for a in ANALYSES if a.name.startswith("z test"))


def test_the_simulation_finds_the_known_error_of_a_z_test():
    # Four subjects a group and complete data: P(|t_3| > 1.96) = 14.5 % within a group.
    scenario = Scenario(8)
    rows = {p: list(error_rates([scenario], [Z], replicates=400, seed=3, processes=p)) for p in (1, 2)}
    assert rows[1] == rows[2]
    expected = 100 * 2 * float(stats.t.sf(stats.norm.ppf(0.975), 3))
    assert rows[1][0][QUESTIONS[0]] == pytest.approx(expected, abs=3 * 100 * math.sqrt(0.145 * 0.855 / 400))
    assert rows[1][0][QUESTIONS[3]] == pytest.approx(100 - expected, abs=3 * 100 * math.sqrt(0.145 * 0.855 / 400))
    assert rows[1][0]["replicates"] == 400 and rows[1][0]["no_answer_percent"] == 0


@pytest.mark.parametrize(("replicates", "low", "high"), [
    (100, 0.0, 13.0),  # a rate above 13 % is a 1 in 1000 event when it is 5 %; a z test has 15 to 21 %
    pytest.param(320, 1.6, 9.4, marks=pytest.mark.slow),  # so is one outside 1.6-9.4 %
])
def test_the_primary_test_holds_its_level(replicates, low, high):
    row = next(iter(error_rates([Scenario(8, missing=0.2)], [PRIMARY], replicates=replicates, seed=5)))
    assert all(low <= row[q] <= high for q in QUESTIONS[:3]), row
    assert 100 - high <= row[QUESTIONS[3]] <= 100 - low


def test_slow_analyses_are_run_on_their_share_of_the_cohorts():
    part = replace(Z, name="part", share=0.25)
    rows = list(error_rates([Scenario(8)], [Z, part], replicates=64, seed=1))
    assert [r["replicates"] for r in rows] == [64, 16]


def test_power_is_that_of_the_t_test_where_the_t_test_is_exact():
    # One group, two complete visits: paired t test; SD of change sqrt(1 + 3 + 1) %.
    study = PlannedStudy(Scenario(10, groups=1, changes_percent=(0.0,), response_sd_percent=1.0), change_percent=2.0)
    frame = power_frame([study], replicates=250, seed=2)
    validated(frame, POWER)

    def exact(percent: float) -> float:
        shift = 100 * math.log1p(percent / 100) / math.sqrt(5 / 10)
        limit = stats.t.ppf(0.975, 9)
        return float(stats.nct.sf(limit, 9, shift) + stats.nct.cdf(-limit, 9, shift))

    row = frame.iloc[0]
    assert row["question"] == POWER_QUESTIONS[0] and len(frame) == 1
    assert row["power"] == pytest.approx(exact(2.0), abs=0.09)
    assert exact(row["smallest_change_percent"]) == pytest.approx(0.8, abs=0.09)


def test_more_subjects_and_more_discs_see_smaller_changes():
    sizes = ((8, 1), (16, 1), (16, 4))
    studies = [PlannedStudy(Scenario(n, changes_percent=(0.0, 0.0), levels=d), 3.0) for n, d in sizes]
    frame = power_frame(studies, replicates=40, seed=2, processes=2)
    smallest = frame[frame["question"] == POWER_QUESTIONS[1]]["smallest_change_percent"].to_list()
    assert smallest[0] > smallest[1] > smallest[2]
    assert power_frame(studies[:1], replicates=40, seed=2).equals(frame[:2])


def test_a_cohort_without_an_answer_counts_as_not_significant():
    known = np.array([[5.0, 1.0, 10.0], [np.nan] * 3])
    assert power_of(0.0, known, confidence_level=0.95) == 0.5


def test_drawn_cohorts_have_the_spread_they_were_asked_for(rng):
    scenario = Scenario(4000, changes_percent=(4.0, 0.0), missing=0.25, response_sd_percent=2.0)
    data = draw_cohort(scenario, rng)
    assert len(data.frame) / 12000 == pytest.approx(0.75, abs=0.02)
    wide = data.frame.pivot(index="subject", columns="session", values="y")
    assert wide["ses-1"].std() == pytest.approx(math.sqrt(15**2 + 1), rel=0.05)
    bed, after = (wide[s] - wide["ses-1"] for s in ("ses-2", "ses-3"))
    assert bed.mean() == pytest.approx(100 * math.log(1.04), abs=0.2)
    assert bed.std() == pytest.approx(math.sqrt(1 + 2 + 4), rel=0.05)  # error before, error then, response
    assert after.std() == pytest.approx(math.sqrt(1 + 3), rel=0.05)


def course(changes: np.ndarray, se: float, days=(60.0, 63.0, 67.0, 75.0, 90.0)) -> Course:
    return Course(np.array(days), changes, np.eye(len(days)) * se**2, 20)


def test_half_time_and_its_interval():
    days = np.array((60.0, 63.0, 67.0, 75.0, 90.0))
    truth, draw, held = 6.0, np.random.default_rng(1), 0
    exact = half_time(course(7 * 2 ** (-(days - 60) / truth), 0.05), confidence_level=0.95)
    assert exact["half_time_days"] == pytest.approx(truth, rel=1e-4)
    for _ in range(200):
        found = half_time(course(7 * 2 ** (-(days - 60) / truth) + draw.normal(0, 0.4, 5), 0.4), confidence_level=0.95)
        held += found["half_time_low_days"] <= truth <= found["half_time_high_days"]
    assert 180 <= held <= 199


def test_no_half_time_where_the_data_do_not_support_one():
    flat = half_time(course(np.array([5.0, 5.1, 4.9, 5.0, 5.0]), 0.1), confidence_level=0.95)
    assert "half_time_days" not in flat and "no return" in str(flat["reason"])
    nothing = half_time(course(np.array([0.1, 0.0, 0.1, 0.0, 0.1]), 0.5), confidence_level=0.95)
    assert "does not differ from 0" in str(nothing["reason"])
    at_once = half_time(course(np.array([5.0, 0.0, 0.0, 0.0, 0.0]), 0.1), confidence_level=0.95)
    assert "back at the first visit" in str(at_once["reason"])


def verdicts(intervals: list[tuple[float, float]], band: Band) -> pd.Series:
    from bedrest.statistics.study.cohort_models import level_model

    scenario = Scenario(8, groups=1, changes_percent=(4.0, 2.0, 0.0))
    study = draw_study(scenario, np.random.default_rng(0))
    phase = {"ses-1": "baseline", "ses-2": "bed_rest", "ses-3": "recovery", "ses-4": "recovery"}
    sessions = study.sessions.assign(phase=study.sessions["session"].map(phase))
    model = level_model(draw_cohort(scenario, np.random.default_rng(0)), scenario.plan, level="L5-S1")
    rows = pd.DataFrame([
        {"source": "automatic", "level": "L5-S1", "group": "group a", "session": s, "estimate_percent": sum(i) / 2,
         "ci_low_percent": i[0], "ci_high_percent": i[1]} for s, i in zip(("ses-3", "ses-4"), intervals, strict=True)])
    return recovery_frame([model], rows, sessions, band=lambda source, level: band).iloc[0]


@pytest.mark.parametrize(("intervals", "verdict", "back"), [
    ([(-1.0, 1.5), (-0.5, 1.0)], "back", "ses-3"),
    ([(1.0, 3.0), (-0.5, 1.0)], "back", "ses-4"),
    ([(-1.0, 1.0), (1.0, 3.0)], "undecided", ""),
    ([(-1.0, 1.0), (2.5, 3.0)], "not back", ""),
    ([(0.0, 0.1), (-5.0, 5.0)], "undecided", ""),  # does not differ from 0, yet is not shown to be back
])
def test_back_means_inside_the_band_and_staying_there(intervals, verdict, back):
    row = verdicts(intervals, Band(2.0, "asked for"))
    assert (row["verdict"], row["back_session"]) == (verdict, back)


def test_no_band_no_verdict():
    row = verdicts([(0.0, 0.1), (0.0, 0.1)], band_of(wanted_percent=None, smallest_detectable_percent=math.nan))
    assert (row["verdict"], row["status"]) == ("not tested", "failed") and "recovery_band_percent" in row["reason"]
    assert band_of(wanted_percent=3.0, smallest_detectable_percent=1.0).percent == 3.0
    assert band_of(wanted_percent=None, smallest_detectable_percent=1.0).percent == 1.0


def test_bedrest_power_prints_and_writes_its_table(tmp_path, capsys):
    from bedrest.cli import main
    from bedrest.io.tables.typed_csv import read_table

    assert main(["power", "--subjects", "8", "--visits", "2", "--replicates", "16", "-o", str(tmp_path / "p.csv")]) == 0
    frame = read_table(tmp_path / "p.csv", POWER)
    assert len(frame) == 2 and f"{frame['power'].iloc[0]:.2f}" in capsys.readouterr().out
    assert main(["power", "--subjects", "8", "0"]) == 1
    assert "--subjects" in capsys.readouterr().err
    assert main(["power", "--missing", "1"]) == 1


def test_the_page_of_error_rates_has_a_row_for_every_analysis_and_scenario(tmp_path, monkeypatch, capsys):
    from pipelines.benchmarks.error_rates import rates
    from pipelines.benchmarks.error_rates.__main__ import ErrorRates, run

    monkeypatch.setattr(rates, "SCENARIOS", (Scenario(8), Scenario(12)))
    monkeypatch.setattr(rates, "ANALYSES", (Z, PRIMARY))
    assert run(ErrorRates(replicates=16, seed=7, output=tmp_path / "rates.md")) == 0
    text = (tmp_path / "rates.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith(("| primary", "| z test"))]
    assert len(rows) == 4 and rows[0].startswith("| primary (one level) | 8 |")
    assert "error_rates --replicates 16 --seed 7`" in text and text in capsys.readouterr().out
    with pytest.raises(StudyError, match="--replicates"):
        run(ErrorRates(replicates=0))
