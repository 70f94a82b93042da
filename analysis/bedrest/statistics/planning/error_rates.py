"""How often the tests of a study are wrong: type-I error and coverage on synthetic cohorts of known truth.

`bedrest simulate` prints the table. Every analysis sees the same cohorts. Knows nothing of images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import stats

from bedrest.errors import ModelError
from bedrest.statistics.estimators.covariance import HeterogeneousCompoundSymmetry
from bedrest.statistics.estimators.design import make_design
from bedrest.statistics.estimators.reml import fit_reml
from bedrest.statistics.estimators.small_sample import SmallSample
from bedrest.statistics.planning.simulated_cohorts import Scenario, draw_cohort, work_units
from bedrest.statistics.study.cohort_models import CohortModel, joint_model, level_model
from bedrest.statistics.study.responses import LOG_SCALE, Observations
from bedrest.vocabulary import LEVELS

QUESTIONS = ("no change within a group", "no difference between groups", "no visit x group", "coverage, change within")


@dataclass(frozen=True)
class Analysis:
    """One way to analyse a cohort.

    Attributes
    ----------
    name : as printed
    levels : discs it needs
    share : of the replicates that it sees, for those that take long
    run : observations and scenario -> right or wrong for each of `QUESTIONS`: True when a true null is rejected (or,
        for coverage, when the interval holds the truth), None when it gave no answer
    """

    name: str
    levels: int
    share: float
    run: Callable[[Observations, Scenario], tuple[bool | None, ...]]


def error_rates(
    scenarios: Sequence[Scenario], analyses: Sequence[Analysis], *, replicates: int, seed: int, processes: int = 1
) -> Iterator[dict[str, object]]:
    """One row an analysis and scenario: rate of each question in per cent, and how often there was no answer.

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
    with ProcessPoolExecutor(processes) as pool:
        for number, scenario in enumerate(scenarios):
            for levels in sorted({a.levels for a in analyses}):
                own = [a for a in analyses if a.levels == levels]
                drawn = replace(scenario, levels=levels)
                work = pool.map(partial(_answers, drawn, own),
                                *work_units(replicates, entropy=(seed, number, levels)))
                answers = np.concatenate([part for part in work if part.size])
                for a, analysis in enumerate(own):
                    yield _row(analysis, scenario, answers[:, a])


def _answers(
    scenario: Scenario, analyses: Sequence[Analysis], seed: np.random.SeedSequence, replicates: int
) -> np.ndarray:
    """Shape (replicates, analyses, questions): 1 yes, 0 no, NaN no answer, -1 not asked."""
    rng = np.random.default_rng(seed)
    out = np.full((replicates, len(analyses), len(QUESTIONS)), -1.0)
    for r in range(replicates):
        cohort = draw_cohort(scenario, rng)
        for a, analysis in enumerate(analyses):
            if r >= math.ceil(analysis.share * replicates):
                continue
            try:
                found = analysis.run(cohort, scenario)
            except (ModelError, np.linalg.LinAlgError):
                found = (None,) * len(QUESTIONS)
            out[r, a] = [math.nan if x is None else float(x) for x in found]
    return out


def _row(analysis: Analysis, scenario: Scenario, answers: np.ndarray) -> dict[str, object]:
    answers = answers[answers[:, 0] != -1]
    known = ~np.isnan(answers)
    rates = [100 * float(answers[known[:, q], q].mean()) if known[:, q].any() else math.nan
             for q in range(len(QUESTIONS))]
    return {"analysis": analysis.name, "subjects": scenario.subjects, "missing_percent": 100 * scenario.missing,
            "response_sd_percent": scenario.response_sd_percent, "replicates": len(answers),
            **dict(zip(QUESTIONS, rates, strict=True)),
            "no_answer_percent": 100 * float((~known[:, 0]).mean())}


def _asked(tests: SmallSample | None, model: CohortModel, scenario: Scenario) -> tuple[bool | None, ...]:
    """The four questions of a fitted model, at 5 %."""
    if tests is None or model.design is None:
        return (None,) * len(QUESTIONS)
    groups, sessions, first = scenario.plan.groups, scenario.sessions, scenario.sessions[0]
    in_bed, after = sessions[-2], sessions[-1]
    if not {first, in_bed, after} <= set(model.sessions) or "group" not in model.design.factors:
        return (None,) * len(QUESTIONS)
    here, there = {"group": groups[0]}, {"group": groups[1]}
    weights = (
        model.design.change("session", to=after, since=first, cell=here),
        model.design.change("session", to=in_bed, since=first, cell=here, minus=there),
        model.design.term(["session", "group"]),
        model.design.change("session", to=in_bed, since=first, cell=here),
    )
    if any(w is None for w in weights):
        return (None,) * len(QUESTIONS)
    null, between, term, change = weights
    truth = LOG_SCALE * math.log1p(scenario.changes_percent[-2] / 100)
    low, high = tests.contrast(np.asarray(change)).interval(0.95)
    return (tests.contrast(np.asarray(null)).p < 0.05, tests.contrast(np.asarray(between)).p < 0.05,
            tests.f_test(np.asarray(term)).p < 0.05, low <= truth <= high)


def _primary(data: Observations, scenario: Scenario, *, covariance: str) -> tuple[bool | None, ...]:
    model = level_model(data, replace(scenario.plan, covariance=covariance), level=LEVELS[-1])
    return _asked(model.tests, model, scenario)


def _joint(data: Observations, scenario: Scenario) -> tuple[bool | None, ...]:
    model = joint_model(data, scenario.plan)
    return (None,) * len(QUESTIONS) if model is None else _asked(model.tests, model, scenario)


def _gls(data: Observations, scenario: Scenario) -> tuple[bool | None, ...]:
    """nlme's gls(corCompSymm, varIdent): one correlation, an SD for each visit; Satterthwaite."""
    sessions, frame = scenario.sessions, data.frame
    design = make_design("session * group", frame, factors={"session": sessions, "group": scenario.plan.groups})
    codes = frame["session"].map({s: n for n, s in enumerate(sessions)}).to_numpy()
    fit = fit_reml(frame["y"].to_numpy(), design.x, clusters=frame["subject"].to_numpy(),
                   structure=HeterogeneousCompoundSymmetry(codes, sessions))
    model = CohortModel("automatic", LEVELS[-1], "", "", frame, sessions, scenario.plan, design)
    return _asked(SmallSample(fit, "satterthwaite"), model, scenario)


def _z(data: Observations, scenario: Scenario) -> tuple[bool | None, ...]:
    """z tests of change scores, as a normal approximation would have it."""
    wide = data.frame.pivot(index=["subject", "group"], columns="session", values="y")
    change = wide.sub(wide[scenario.sessions[0]], axis=0)
    first, second = (change.xs(g, level="group") for g in scenario.plan.groups)
    after, in_bed = scenario.sessions[-1], scenario.sessions[-2]
    samples = [s.dropna().to_numpy() for s in (first[after], first[in_bed], second[in_bed])]
    if any(s.size < 2 for s in samples):
        return (None,) * len(QUESTIONS)
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
