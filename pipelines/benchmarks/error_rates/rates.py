"""How often the tests of a study are wrong: type-I error and coverage on synthetic cohorts of known truth.

Every analysis is given the same cohorts. Must not know images, or how the table is printed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from bedrest.errors import ModelError
from bedrest.statistics.estimators.design import make_design
from bedrest.statistics.estimators.reml import fit_reml
from bedrest.statistics.estimators.small_sample import SmallSample
from bedrest.statistics.planning.simulated_cohorts import Scenario, draw_cohort, simulate
from bedrest.statistics.study.cohort_models import CohortModel, joint_model, level_model
from bedrest.statistics.study.responses import LOG_SCALE, Observations
from bedrest.vocabulary import LEVELS
from scipy import stats

from pipelines.benchmarks.error_rates.compound_symmetry import HeterogeneousCompoundSymmetry
from pipelines.benchmarks.error_rates.satterthwaite import Satterthwaite

QUESTIONS = ("no change within a group", "no difference between groups", "no visit x group", "coverage, change within")
Answers = tuple[bool | None, ...]
NO_ANSWER: Answers = (None,) * len(QUESTIONS)


@dataclass(frozen=True)
class Analysis:
    """One way to analyse a cohort.

    Attributes
    ----------
    name : as printed
    levels : discs it needs
    share : of the replicates that it is run on, for slow ones
    run : observations and scenario -> an answer to each of `QUESTIONS`: True when a true null is rejected (or, for
        coverage, when the interval holds the truth), None when it gave no answer
    """

    name: str
    levels: int
    share: float
    run: Callable[[Observations, Scenario], Answers]


def error_rates(
    scenarios: Sequence[Scenario], analyses: Sequence[Analysis], *, replicates: int, seed: int, processes: int = 1
) -> Iterator[dict[str, Any]]:
    """One row per analysis and scenario: rate of each question in per cent, and how often there was no answer.

    Parameters
    ----------
    scenarios : drawn with the number of discs that each analysis needs
    replicates : cohorts a scenario
    seed : of all; the rows do not depend on `processes`

    Yields
    ------
    dict
        analysis, subjects, missing_percent, response_sd_percent, replicates, a rate for each of `QUESTIONS`,
        no_answer_percent.
    """
    for number, scenario in enumerate(scenarios):
        for levels in sorted({a.levels for a in analyses}):
            alike = [a for a in analyses if a.levels == levels]
            answers = simulate(partial(_answers, replace(scenario, levels=levels), alike), replicates=replicates,
                               entropy=(seed, number, levels), processes=processes)
            for a, analysis in enumerate(alike):
                yield _row(analysis, scenario, answers[:, a])


def _answers(
    scenario: Scenario, analyses: Sequence[Analysis], seed: np.random.SeedSequence, replicates: int
) -> np.ndarray:
    """Shape (replicates, analyses, questions): 1 yes, 0 no, NaN no answer, -1 not run."""
    rng = np.random.default_rng(seed)
    out = np.full((replicates, len(analyses), len(QUESTIONS)), -1.0)
    for r in range(replicates):
        cohort = draw_cohort(scenario, rng)
        for a, analysis in enumerate(analyses):
            if r >= math.ceil(analysis.share * replicates):
                continue
            try:
                answers = analysis.run(cohort, scenario)
            except (ModelError, np.linalg.LinAlgError):
                answers = NO_ANSWER
            out[r, a] = [math.nan if x is None else float(x) for x in answers]
    return out


def _row(analysis: Analysis, scenario: Scenario, answers: np.ndarray) -> dict[str, Any]:
    answers = answers[answers[:, 0] != -1]
    given = ~np.isnan(answers)
    rates = [100 * float(answers[given[:, q], q].mean()) if given[:, q].any() else math.nan
             for q in range(len(QUESTIONS))]
    return {"analysis": analysis.name, "subjects": scenario.subjects, "missing_percent": 100 * scenario.missing,
            "response_sd_percent": scenario.response_sd_percent, "replicates": len(answers),
            **dict(zip(QUESTIONS, rates, strict=True)),
            "no_answer_percent": 100 * float((~given[:, 0]).mean())}


def _answers_of(tests: SmallSample | Satterthwaite | None, model: CohortModel, scenario: Scenario) -> Answers:
    """The four questions of a fitted model, at 5 %."""
    if tests is None or model.design is None or "group" not in model.design.factors:
        return NO_ANSWER
    (first, second), (*_, in_bed, after) = scenario.plan.groups, scenario.sessions
    null = model.change_weights(after, group=first)
    between = model.change_weights(in_bed, group=first, minus=second)
    change = model.change_weights(in_bed, group=first)
    term = model.design.term(["session", "group"])
    if null is None or between is None or change is None or term is None:
        return NO_ANSWER
    truth = LOG_SCALE * math.log1p(scenario.changes_percent[-2] / 100)
    low, high = tests.contrast(change).interval(0.95)
    return (tests.contrast(null).p < 0.05, tests.contrast(between).p < 0.05, tests.f_test(term).p < 0.05,
            low <= truth <= high)


def _primary(data: Observations, scenario: Scenario, *, covariance: str) -> Answers:
    model = level_model(data, replace(scenario.plan, covariance=covariance), level=LEVELS[-1])
    return _answers_of(model.tests, model, scenario)


def _joint(data: Observations, scenario: Scenario) -> Answers:
    model = joint_model(data, scenario.plan)
    return NO_ANSWER if model is None else _answers_of(model.tests, model, scenario)


def _gls(data: Observations, scenario: Scenario) -> Answers:
    """nlme's gls(corCompSymm, varIdent): one correlation, an SD for each visit; Satterthwaite."""
    sessions, frame = scenario.sessions, data.frame
    design = make_design("session * group", frame, factors={"session": sessions, "group": scenario.plan.groups})
    codes = frame["session"].map({s: n for n, s in enumerate(sessions)}).to_numpy()
    fit = fit_reml(frame["y"].to_numpy(), design.x, clusters=frame["subject"].to_numpy(),
                   structure=HeterogeneousCompoundSymmetry(codes, sessions))
    model = CohortModel(data, LEVELS[-1], "", "", frame, sessions, scenario.plan, design)
    return _answers_of(Satterthwaite(fit), model, scenario)


def _z(data: Observations, scenario: Scenario) -> Answers:
    """z tests of change scores."""
    wide = data.frame.pivot(index=["subject", "group"], columns="session", values="y")
    change = wide.sub(wide[scenario.sessions[0]], axis=0)
    first, second = (change.xs(g, level="group") for g in scenario.plan.groups)
    after, in_bed = scenario.sessions[-1], scenario.sessions[-2]
    samples = [s.dropna().to_numpy() for s in (first[after], first[in_bed], second[in_bed])]
    if any(s.size < 2 for s in samples):
        return NO_ANSWER
    (m1, v1), (m2, v2), (m3, v3) = ((s.mean(), s.var(ddof=1) / s.size) for s in samples)
    limit = stats.norm.ppf(0.975)
    truth = LOG_SCALE * math.log1p(scenario.changes_percent[-2] / 100)
    return (bool(abs(m1) > limit * math.sqrt(v1)), bool(abs(m2 - m3) > limit * math.sqrt(v2 + v3)), None,
            bool(abs(m2 - truth) <= limit * math.sqrt(v2)))


PRIMARY = Analysis("primary (one level)", 1, 1.0, partial(_primary, covariance="compound_symmetry"))
ANALYSES = (
    PRIMARY,
    Analysis("z test of change scores", 1, 1.0, _z),
    Analysis("gls: CS + varIdent, Satterthwaite", 1, 0.25, _gls),
    Analysis("unstructured, Kenward-Roger", 1, 0.25, partial(_primary, covariance="unstructured")),
    Analysis("joint (seven levels)", 7, 0.25, _joint),
)
SCENARIOS = (
    *(Scenario(n, missing=m) for n in (8, 12, 24) for m in (0.0, 0.2)),
    *(Scenario(n, missing=0.2, response_sd_percent=1.0) for n in (8, 12, 24)),
)
