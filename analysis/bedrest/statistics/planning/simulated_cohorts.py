"""Synthetic cohorts as tables of observations, for error rates and for the size of a study. Must not know images.

Everything is synthetic. Effects are in per cent of volume; the response is 100 ln(volume), as in `responses`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bedrest.statistics.study.responses import LOG_SCALE, AnalysisPlan, Observations
from bedrest.vocabulary import LEVELS

GROUPS = ("group a", "group b")
_PARTS = 16


@dataclass(frozen=True)
class Scenario:
    """What a synthetic cohort is drawn from; SDs in per cent of volume.

    The true changes are those from the first visit at each later visit, the same in both groups; subjects go to the
    groups in turn. `between`: lasting differences of disc volume between subjects. `error`: of one disc at the first
    visit, measurement and day-to-day change; its variance grows linearly to `variance_growth` times that at the last
    visit. `response`: differences between subjects in their true change at the last visit in bed, shared by all discs.
    `missing`: share of visits that never took place, completely at random. `levels`: discs of a subject, 1 to 7.
    """

    subjects: int
    groups: int = 2
    changes_percent: tuple[float, ...] = (2.0, 4.0, 0.0)
    between_sd_percent: float = 15.0
    error_sd_percent: float = 1.0
    variance_growth: float = 3.0
    response_sd_percent: float = 0.0
    missing: float = 0.0
    levels: int = 1

    @property
    def sessions(self) -> tuple[str, ...]:
        return tuple(f"ses-{v + 1}" for v in range(len(self.changes_percent) + 1))

    @property
    def plan(self) -> AnalysisPlan:
        return AnalysisPlan(GROUPS[: self.groups], self.sessions, self.sessions[0])


def draw_cohort(scenario: Scenario, rng: np.random.Generator) -> Observations:
    """One cohort; discs, visits and subjects independent and normal on the log scale."""
    n, v, d = scenario.subjects, len(scenario.sessions), scenario.levels
    truth = LOG_SCALE * np.log1p(np.array([0.0, *scenario.changes_percent]) / 100)
    sd = scenario.error_sd_percent * np.sqrt(np.linspace(1.0, scenario.variance_growth, v))
    size = np.abs(truth) / np.abs(truth).max() if np.abs(truth).max() > 0 else np.arange(v) / (v - 1)
    subjects = rng.normal(0, scenario.between_sd_percent, (n, 1, 1))
    discs = rng.normal(0, scenario.between_sd_percent / 2, (n, 1, d)) if d > 1 else np.zeros((n, 1, 1))
    response = rng.normal(0, scenario.response_sd_percent, (n, 1, 1)) * size[None, :, None]
    error = rng.normal(0, 1, (n, v, d)) * sd[None, :, None]
    y = LOG_SCALE * math.log(10_000) + truth[None, :, None] + subjects + discs + response + error
    took_place = np.repeat(rng.random((n, v)) >= scenario.missing, d)
    subject, visit, disc = (a.ravel()[took_place] for a in np.indices(y.shape))
    frame = pd.DataFrame({
        "subject": np.char.add("s", (subject + 1).astype(str)),
        "group": np.array(GROUPS)[subject % scenario.groups],
        "session": np.array(scenario.sessions)[visit],
        "level": np.array(LEVELS[-d:])[disc],
        "y": y.ravel()[took_place],
        "flagged": False,
    })
    return Observations("automatic", frame)


Work = Callable[[np.random.SeedSequence, int], np.ndarray]


def simulate(work: Work, *, replicates: int, entropy: Sequence[int], processes: int = 1) -> np.ndarray:
    """Results of `work`, from a seed and a number of cohorts, of all cohorts, shape (replicates, ...).

    In parts, in this process or in several; the results do not depend on `processes`.
    """
    seeds = np.random.SeedSequence(list(entropy)).spawn(_PARTS)
    shares = [len(part) for part in np.array_split(np.arange(replicates), _PARTS)]
    with ProcessPoolExecutor(processes) if processes > 1 else nullcontext() as pool:
        return np.concatenate(list((map if pool is None else pool.map)(work, seeds, shares)))
