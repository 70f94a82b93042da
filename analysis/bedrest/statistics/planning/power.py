"""How large a study must be: power and smallest detectable change, by simulation with the model of the analysis.

`bedrest power` prints the table. The tests do not depend on where the truth lies, so one set of cohorts without any
effect gives the power for every effect. Everything is synthetic. Must not know images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from scipy import optimize, stats

from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import POWER
from bedrest.statistics.planning.simulated_cohorts import Scenario, draw_cohort, simulate
from bedrest.statistics.study.cohort_models import CohortModel, joint_model, level_model
from bedrest.statistics.study.responses import LOG_SCALE
from bedrest.vocabulary import LEVELS

QUESTIONS = ("change within a group", "difference of change between groups")


@dataclass(frozen=True)
class PlannedStudy:
    """A study that is being planned; the true changes of its scenario are ignored.

    `change_percent` is the effect to compute the power for, `power` that wanted of the smallest detectable change,
    `confidence_level` that of the two-sided test.
    """

    scenario: Scenario
    change_percent: float
    power: float = 0.8
    confidence_level: float = 0.95


def power_frame(studies: Sequence[PlannedStudy], *, replicates: int, seed: int, processes: int = 1) -> pd.DataFrame:
    """Power of the test of the last visit in bed against the first visit, within a group and between two.

    From `replicates` cohorts of each study, as in `schemas.POWER`; results do not depend on `processes`.
    """
    rows = []
    for number, planned in enumerate(studies):
        null = replace(planned.scenario, changes_percent=(0.0,) * len(planned.scenario.changes_percent))
        estimates = simulate(partial(_estimates, null), replicates=replicates, entropy=(seed, number),
                             processes=processes)
        rows += [_row(planned, question, estimates[:, n], replicates)
                 for n, question in enumerate(QUESTIONS[: null.groups])]
    return typed_frame(rows, POWER)


def power_of(effect: float, estimates: np.ndarray, *, confidence_level: float) -> float:
    """Share of cohorts in which an effect is significant in the two-sided test.

    The effect, on the log scale, is added to every estimate. `estimates`, shape (r, 3): estimate without effect,
    standard error, degrees of freedom; NaN where there was no answer, which counts as not significant.

    Examples
    --------
    >>> power_of(0.0, np.array([[1.0, 1.0, 10.0], [3.0, 1.0, 10.0]]), confidence_level=0.95)
    0.5
    """
    limit = stats.t.ppf((1 + confidence_level) / 2, estimates[:, 2])
    with np.errstate(invalid="ignore"):
        significant = np.abs(estimates[:, 0] + effect) > limit * estimates[:, 1]
    return float(significant.mean())


def _estimates(scenario: Scenario, seed: np.random.SeedSequence, replicates: int) -> np.ndarray:
    """Shape (replicates, groups, 3): estimate, standard error, df within the first group, and between groups."""
    rng = np.random.default_rng(seed)
    out = np.full((replicates, scenario.groups, 3), np.nan)
    for r in range(replicates):
        cohort = draw_cohort(scenario, rng)
        model = (level_model(cohort, scenario.plan, level=LEVELS[-1]) if scenario.levels == 1
                 else joint_model(cohort, scenario.plan))
        if model is not None:
            out[r] = _contrasts(model, scenario)
    return out


def _contrasts(model: CohortModel, scenario: Scenario) -> np.ndarray:
    out = np.full((scenario.groups, 3), np.nan)
    first, *others = scenario.plan.groups
    if model.design is None or model.tests is None:
        return out
    for n, minus in enumerate([None, *(others if model.cell(first) else [])]):
        weights = model.change_weights(scenario.sessions[-1], group=first, minus=minus)
        if weights is not None:
            comparison = model.tests.contrast(weights)
            out[n] = comparison.estimate, comparison.se, comparison.df
    return out


def _row(planned: PlannedStudy, question: str, estimates: np.ndarray, replicates: int) -> dict[str, object]:
    scenario = planned.scenario

    def power(percent: float) -> float:
        return power_of(LOG_SCALE * math.log1p(percent / 100), estimates, confidence_level=planned.confidence_level)

    highest = 1000.0
    reached = power(highest) >= planned.power
    smallest = optimize.brentq(lambda c: power(c) - planned.power, 1e-6, highest, xtol=1e-4) if reached else math.nan
    return {
        "question": question, "subjects": scenario.subjects, "groups": scenario.groups,
        "visits": len(scenario.sessions), "levels": scenario.levels, "error_sd_percent": scenario.error_sd_percent,
        "variance_growth": scenario.variance_growth, "response_sd_percent": scenario.response_sd_percent,
        "missing_percent": 100 * scenario.missing, "change_percent": planned.change_percent,
        "power": power(planned.change_percent), "wanted_power": planned.power, "smallest_change_percent": smallest,
        "confidence_level": planned.confidence_level, "replicates": replicates,
        "no_answer_percent": 100 * float(np.isnan(estimates[:, 0]).mean()),
    }
