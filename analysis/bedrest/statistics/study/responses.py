"""Tables of the study -> the observations of a model: 100 ln(volume), visit, group, level, centred covariates.

The response is 100 times the natural logarithm of the volume: a difference of 1 is a change of 1 %, the same for a
small disc and a large one. A disc that failed is left out here and counted. Must not know models.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from bedrest.statistics.study.covariates import covariate_values
from bedrest.vocabulary import LEVELS, Status

LOG_SCALE = 100.0


@dataclass(frozen=True)
class AnalysisPlan:
    """What a study decides before its data are examined.

    Groups and sessions in order: the first group is the one others are subtracted from. Changes are counted from the
    reference session. Covariates are columns of the subjects or sessions table; covariance is compound_symmetry or
    unstructured; the confidence level is that of every interval.
    """

    groups: tuple[str, ...]
    sessions: tuple[str, ...]
    reference_session: str
    covariates: tuple[str, ...] = ()
    covariance: str = "compound_symmetry"
    confidence_level: float = 0.95

    @property
    def later_sessions(self) -> tuple[str, ...]:
        return tuple(s for s in self.sessions if s != self.reference_session)


@dataclass(frozen=True)
class Observations:
    """The observations of one mask source.

    The frame has columns subject, group, session, level, y, flagged, and the covariates; one row per measured disc and
    visit. `incomplete` has the rows that are left out because a covariate is missing.
    """

    source: str
    frame: pd.DataFrame
    incomplete: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["subject", "group", "session",
                                                                                   "level"]))

    def of_level(self, level: str) -> Observations:
        """Those of one level."""
        return Observations(self.source, *(f[f["level"] == level].reset_index(drop=True)
                                           for f in (self.frame, self.incomplete)))


def observations(measures: pd.DataFrame, *, source: str, subjects: pd.DataFrame, sessions: pd.DataFrame,
                 plan: AnalysisPlan) -> Observations:
    """The observations of one mask source; unnamed discs are left out: they may not be the same disc at two visits.

    StudyError if a covariate is in neither table, or is not a number.
    """
    discs = measures[(measures["source"] == source) & measures["level"].isin(LEVELS)]
    discs = discs[discs["session"].isin(plan.sessions) & discs["group"].isin(plan.groups)]
    usable = (discs["status"] != Status.FAILED) & (discs["volume_mm3"] > 0)
    rows = discs.loc[usable, ["subject", "group", "session", "level", "volume_mm3", "status"]]
    frame = pd.DataFrame({
        **{c: rows[c].astype(str) for c in ("subject", "group", "session", "level")},
        "y": LOG_SCALE * np.log(rows["volume_mm3"].to_numpy(dtype=np.float64)),
        "flagged": (rows["status"] == Status.FLAGGED).to_numpy(),
    }).reset_index(drop=True)
    for name in plan.covariates:
        frame[name] = covariate_values(name, frame, subjects, sessions)
    complete = frame[list(plan.covariates)].notna().all(axis=1)
    frame, incomplete = frame[complete].reset_index(drop=True), frame[~complete].reset_index(drop=True)
    for name in plan.covariates:
        frame[name] -= frame.drop_duplicates(["subject", "session"])[name].mean()
    return Observations(source, frame, incomplete)


def used_sessions(data: Observations, plan: AnalysisPlan, *, at_least: int) -> tuple[str, ...]:
    """Visits with enough subjects to estimate a variance from, in the study's order."""
    n = data.frame.groupby("session")["subject"].nunique()
    return tuple(s for s in plan.sessions if n.get(s, 0) >= at_least)
