"""The whole statistical analysis of a study: its tables in, every statistical table out. The order of work, no more."""

from __future__ import annotations

from dataclasses import dataclass, fields

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
    terms_frame,
    variances_frame,
)
from bedrest.statistics.study.flow import StudyTables, flow_frame
from bedrest.statistics.study.recovery import Band, band_of, recovery_frame
from bedrest.statistics.study.residuals import residuals_frame
from bedrest.statistics.study.responses import AnalysisPlan, observations
from bedrest.statistics.study.secondary import secondary_models, secondary_models_frame
from bedrest.statistics.study.sensitivity import Resampling, sensitivity_frame
from bedrest.statistics.study.validation import agreement_frame, repeatability_frame


@dataclass(frozen=True)
class CohortTables:
    """Every statistical table of a study; a field is named as its table in `schemas`."""

    flow: pd.DataFrame
    baseline: pd.DataFrame
    models: pd.DataFrame
    variances: pd.DataFrame
    terms: pd.DataFrame
    contrasts: pd.DataFrame
    marginal_means: pd.DataFrame
    sensitivity: pd.DataFrame
    recovery: pd.DataFrame
    agreement: pd.DataFrame
    repeatability: pd.DataFrame
    detections: pd.DataFrame
    residuals: pd.DataFrame

    def tables(self) -> list[tuple[Table, pd.DataFrame]]:
        return [(getattr(schemas, f.name.upper()), getattr(self, f.name)) for f in fields(self)]


@dataclass(frozen=True)
class AnalysisOptions:
    """What a study wants beyond its choices.

    Attributes
    ----------
    recovery_band_percent : None for the smallest detectable change of the method
    resampling : number of resamples and seed
    excluded : subjects whose input could not be used
    """

    recovery_band_percent: float | None
    resampling: Resampling
    excluded: tuple[str, ...] = ()


def analyse(
    study: StudyTables, choices: AnalysisPlan, asked: AnalysisOptions, *, accuracy: pd.DataFrame, arvd: pd.DataFrame
) -> CohortTables:
    """Models, estimates, sensitivity, recovery, agreement, detections and flow.

    Parameters
    ----------
    study : StudyTables
    choices : AnalysisPlan
    asked : AnalysisOptions
    accuracy, arvd : DataFrame, as in `schemas`; empty when there are no reference masks

    Returns
    -------
    CohortTables
    """
    sources = [s for s in ("automatic", "reference") if (study.measures["source"] == s).any()]
    models: list[CohortModel] = []
    for source in sources:
        data = observations(study.measures, source=source, subjects=study.subjects, sessions=study.sessions,
                            choices=choices)
        models += level_models(data, choices)
        joint = joint_model(data, choices)
        models += [joint] if joint is not None else []
    secondary = secondary_models(models)
    contrasts = contrasts_frame(models, study.subjects)
    seed, level = asked.resampling.seed, choices.confidence_level
    repeatability = repeatability_frame(study.measures, confidence_level=level, seed=seed)

    def band(source: str, disc: str) -> Band:
        smallest = smallest_detectable(repeatability, source=source, level=disc)
        return band_of(wanted_percent=asked.recovery_band_percent, smallest_detectable_percent=smallest.high_percent)

    return CohortTables(
        flow=flow_frame(study, excluded=asked.excluded),
        baseline=baseline_frame(study.subjects, study.measures, choices),
        models=pd.concat([models_frame(models), secondary_models_frame(secondary)], ignore_index=True),
        variances=variances_frame(models),
        terms=terms_frame(models),
        contrasts=contrasts,
        marginal_means=marginal_means_frame(models),
        sensitivity=sensitivity_frame(models, secondary, study, resampling=asked.resampling),
        recovery=recovery_frame(models, contrasts, study.sessions, band=band),
        agreement=agreement_frame(accuracy, arvd, confidence_level=level, seed=seed),
        repeatability=repeatability,
        detections=detections_frame(study.change, repeatability, confidence_level=level),
        residuals=residuals_frame(models),
    )
