"""Synthetic cohorts as tables of observations, for error rates and for the size of a study. No images.

Everything is synthetic. Effects are in per cent of volume; the response is 100 ln(volume), as in `responses`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import MEASURES, SCAN_RECORDS, SESSIONS, SUBJECTS
from bedrest.statistics.study.flow import StudyTables
from bedrest.statistics.study.responses import LOG_SCALE, AnalysisPlan, Observations
from bedrest.tables.change import change_frame
from bedrest.vocabulary import LEVELS, Phase, Status

GROUPS = ("group a", "group b")
_PARTS = 16


@dataclass(frozen=True)
class Scenario:
    """What a synthetic cohort is drawn from.

    Attributes
    ----------
    subjects : in all, dealt out to the groups in turn
    groups : 1 or 2
    changes_percent : true change from the first visit at each later visit, the same in both groups
    between_sd_percent : lasting spread of disc volume between people
    error_sd_percent : of one disc at the first visit: measurement and day-to-day change
    variance_growth : variance of that error at the last visit over that at the first; linear in between
    response_sd_percent : spread between people of their true change at the last visit in bed, shared by all discs
    missing : share of visits that never took place, completely at random
    levels : discs of a subject, 1 to 7
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
    """One cohort; discs, visits and people independent and normal on the log scale.

    Parameters
    ----------
    scenario : Scenario
    rng : numpy Generator
    """
    n, v, d = scenario.subjects, len(scenario.sessions), scenario.levels
    truth = LOG_SCALE * np.log1p(np.array([0.0, *scenario.changes_percent]) / 100)
    sd = scenario.error_sd_percent * np.sqrt(np.linspace(1.0, scenario.variance_growth, v))
    size = np.abs(truth) / np.abs(truth).max() if np.abs(truth).max() > 0 else np.arange(v) / (v - 1)
    people = rng.normal(0, scenario.between_sd_percent, (n, 1, 1))
    discs = rng.normal(0, scenario.between_sd_percent / 2, (n, 1, d)) if d > 1 else np.zeros((n, 1, 1))
    response = rng.normal(0, scenario.response_sd_percent, (n, 1, 1)) * size[None, :, None]
    error = rng.normal(0, 1, (n, v, d)) * sd[None, :, None]
    y = LOG_SCALE * math.log(10_000) + truth[None, :, None] + people + discs + response + error
    there = np.repeat(rng.random((n, v)) >= scenario.missing, d)
    who, visit, disc = (a.ravel()[there] for a in np.indices(y.shape))
    frame = pd.DataFrame({
        "subject": np.char.add("s", (who + 1).astype(str)),
        "group": np.array(GROUPS)[who % scenario.groups],
        "session": np.array(scenario.sessions)[visit],
        "level": np.array(LEVELS[-d:])[disc],
        "y": y.ravel()[there],
        "flagged": False,
    })
    return Observations("automatic", frame, 0, 0)


def work_units(replicates: int, *, entropy: Sequence[int]) -> tuple[list[np.random.SeedSequence], list[int]]:
    """Seeds and numbers of cohorts of the parts a simulation is split into, whatever the number of processes."""
    shares = [len(part) for part in np.array_split(np.arange(replicates), _PARTS)]
    return np.random.SeedSequence(list(entropy)).spawn(_PARTS), shares


def draw_study(scenario: Scenario, rng: np.random.Generator) -> StudyTables:
    """One cohort as the tables of a study: what the statistics of a real one start from.

    Parameters
    ----------
    scenario : Scenario
    rng : numpy Generator
    """
    frame = draw_cohort(scenario, rng).frame
    days = {s: 30.0 * n - 3 for n, s in enumerate(scenario.sessions)}
    last = len(scenario.sessions) - 1
    phases = [Phase.BASELINE, *[Phase.BED_REST] * (last - 1), Phase.RECOVERY]
    phase = dict(zip(scenario.sessions, map(str, phases), strict=True))
    rows = frame.assign(
        volume_mm3=np.exp(frame["y"] / LOG_SCALE), study_day=frame["session"].map(days), source="automatic",
        phase=frame["session"].map(phase), status=str(Status.OK), reason="")
    measures = typed_frame(rows.drop(columns=["y", "flagged"]).to_dict("records"), MEASURES)
    visits = measures[["subject", "session", "study_day", "phase"]].drop_duplicates().to_dict("records")
    names = [f"s{n + 1}" for n in range(scenario.subjects)]
    people = [{"subject": s, "group": scenario.plan.groups[n % scenario.groups]} for n, s in enumerate(names)]
    records = [{"subject": v["subject"], "session": v["session"], "source": "automatic", "status": str(Status.OK)}
               for v in visits]
    return StudyTables(typed_frame(people, SUBJECTS), typed_frame(visits, SESSIONS),
                       typed_frame(records, SCAN_RECORDS), measures,
                       change_frame(measures, reference_session=scenario.sessions[0]))
