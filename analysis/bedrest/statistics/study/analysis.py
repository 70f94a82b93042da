"""The statistical analysis of a study: its tables in, every statistical table out, each one entry of `STATISTICS`.

Must not know how a table is computed, or where it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from bedrest import schemas
from bedrest.schemas import Table
from bedrest.statistics.study.baseline import baseline_frame
from bedrest.statistics.study.cohort_models import CohortModel, joint_model, level_models
from bedrest.statistics.study.detection import detections_frame, smallest_detectable
from bedrest.statistics.study.estimates import (
    contrasts_frame,
    marginal_means_frame,
    models_frame,
    residuals_frame,
    terms_frame,
    variances_frame,
)
from bedrest.statistics.study.flow import StudyTables, flow_frame
from bedrest.statistics.study.mixedlm_sensitivity import MixedLMModel, mixedlm_models, mixedlm_models_frame
from bedrest.statistics.study.recovery import Band, band_of, recovery_frame
from bedrest.statistics.study.responses import AnalysisPlan, observations
from bedrest.statistics.study.sensitivity import Resampling, sensitivity_frame
from bedrest.statistics.study.summary import change_bands
from bedrest.statistics.study.validation import agreement_frame, repeatability_frame


@dataclass(frozen=True)
class AnalysisOptions:
    """Options beyond the plan.

    The band of recovery is the smallest detectable change of the method where none is given; `excluded` are subjects
    whose input could not be used.
    """

    recovery_band_percent: float | None = None
    resampling: Resampling = field(default_factory=Resampling)
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Analysis:
    """The statistics of one study. Models are fitted once, tables are made when they are first needed."""

    study: StudyTables
    plan: AnalysisPlan
    options: AnalysisOptions = field(default_factory=AnalysisOptions)
    _frames: dict[str, pd.DataFrame] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def models(self) -> list[CohortModel]:
        """The primary and joint models of each series of masks."""
        models: list[CohortModel] = []
        for source in ("automatic", "reference"):
            if (self.study.measures["source"] == source).any():
                data = observations(self.study.measures, source=source, subjects=self.study.subjects,
                                    sessions=self.study.sessions, plan=self.plan)
                models += level_models(data, self.plan)
                joint = joint_model(data, self.plan)
                models += [joint] if joint is not None else []
        return models

    @cached_property
    def mixedlm(self) -> list[MixedLMModel]:
        """MixedLM on the data of every primary model that could be fitted."""
        return mixedlm_models(self.models)

    def recovery_band(self, source: str, level: str) -> Band:
        """How far from no change a group may be to count as back."""
        smallest = smallest_detectable(self.table(schemas.REPEATABILITY), source=source, level=level)
        return band_of(wanted_percent=self.options.recovery_band_percent,
                       smallest_detectable_percent=smallest.high_percent)

    def table(self, table: Table) -> pd.DataFrame:
        """One table of `STATISTICS`, made once."""
        if table.name not in self._frames:
            (frame,) = (s.frame for s in STATISTICS if s.table == table)
            self._frames[table.name] = frame(self)
        return self._frames[table.name]

    def tables(self) -> Iterator[tuple[Table, pd.DataFrame]]:
        """Every table of `STATISTICS`."""
        return ((s.table, self.table(s.table)) for s in STATISTICS)


@dataclass(frozen=True)
class Statistic:
    """One table and the function that makes it from an analysis."""

    table: Table
    frame: Callable[[Analysis], pd.DataFrame]


STATISTICS = [
    Statistic(schemas.FLOW, lambda a: flow_frame(a.study, excluded=a.options.excluded)),
    Statistic(schemas.BASELINE, lambda a: baseline_frame(a.study.subjects, a.study.measures, a.plan)),
    Statistic(schemas.CHANGE_BANDS, lambda a: change_bands(a.study.change)),
    Statistic(schemas.MODELS, lambda a: pd.concat([models_frame(a.models), mixedlm_models_frame(a.mixedlm)],
                                                  ignore_index=True)),
    Statistic(schemas.VARIANCES, lambda a: variances_frame(a.models)),
    Statistic(schemas.TERMS, lambda a: terms_frame(a.models)),
    Statistic(schemas.CONTRASTS, lambda a: contrasts_frame(a.models, a.study.subjects)),
    Statistic(schemas.MARGINAL_MEANS, lambda a: marginal_means_frame(a.models)),
    Statistic(schemas.SENSITIVITY, lambda a: sensitivity_frame(a.models, a.mixedlm, a.study,
                                                               resampling=a.options.resampling)),
    Statistic(schemas.REPEATABILITY, lambda a: repeatability_frame(
        a.study.measures, confidence_level=a.plan.confidence_level, seed=a.options.resampling.seed)),
    Statistic(schemas.RECOVERY, lambda a: recovery_frame(a.models, a.table(schemas.CONTRASTS), a.study.sessions,
                                                         band=a.recovery_band)),
    Statistic(schemas.AGREEMENT, lambda a: agreement_frame(
        a.study.accuracy, a.study.arvd, confidence_level=a.plan.confidence_level, seed=a.options.resampling.seed)),
    Statistic(schemas.DETECTIONS, lambda a: detections_frame(
        a.study.change, a.table(schemas.REPEATABILITY), confidence_level=a.plan.confidence_level)),
    Statistic(schemas.RESIDUALS, lambda a: residuals_frame(a.models)),
]
