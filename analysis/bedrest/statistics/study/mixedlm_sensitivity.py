"""The primary changes by statsmodels' MixedLM with one residual variance for all visits: a sensitivity analysis.

Its standard errors have no small-sample correction; t on subjects minus groups degrees of freedom is used, never z.
Must not know images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bedrest.errors import ModelError
from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import MODELS, SENSITIVITY
from bedrest.statistics.estimators.mixedlm import MixedLMFit, fit_mixedlm
from bedrest.statistics.estimators.small_sample import Comparison
from bedrest.statistics.study.cohort_models import CohortModel
from bedrest.statistics.study.estimates import contrast_row, family_rows, model_columns
from bedrest.statistics.study.families import Row
from bedrest.vocabulary import ModelKind, Status

MAX_SUBJECTS = 60  # beyond, statsmodels takes minutes, and small-sample corrections no longer matter
NAME = "MixedLM"
DF_METHOD = "subjects minus groups"


@dataclass(frozen=True)
class MixedLMModel:
    """MixedLM on the data and fixed effects of a primary model, or the reason why not."""

    primary: CohortModel
    fit: MixedLMFit | None
    reason: str = ""

    @property
    def notes(self) -> list[str]:
        return [f"singular: {self.fit.singular}"] if self.fit and self.fit.singular else []


def mixedlm_models(models: Sequence[CohortModel]) -> list[MixedLMModel]:
    """One for each primary model that could be fitted; the joint model is left to REML."""
    return [_fit(m) for m in models if m.kind == ModelKind.PRIMARY and m.design is not None]


def _fit(model: CohortModel) -> MixedLMModel:
    assert model.design is not None
    if model.frame["subject"].nunique() > MAX_SUBJECTS:
        return MixedLMModel(model, None, f"not run for more than {MAX_SUBJECTS} subjects")
    try:
        return MixedLMModel(model, fit_mixedlm(model.frame["y"].to_numpy(), model.design.x,
                                               subjects=model.frame["subject"].to_numpy()))
    except ModelError as error:
        return MixedLMModel(model, None, str(error))


def mixedlm_contrasts(mixedlm: Sequence[MixedLMModel], subjects: pd.DataFrame) -> pd.DataFrame:
    """The contrasts of the primary models by MixedLM, as in `schemas.SENSITIVITY`; `subjects` are all enrolled."""
    fits = {(m.primary.source, m.primary.level): m for m in mixedlm}

    def rows_of(model: CohortModel, groups: tuple[str, ...]) -> list[Row]:
        return [_row(fits[model.source, model.level], groups, session, subjects)
                for session in model.plan.later_sessions]

    return typed_frame([row for source in dict.fromkeys(source for source, _ in fits)
                        for row in family_rows([m.primary for m in mixedlm if m.primary.source == source], rows_of,
                                               detail=f": {NAME}")], SENSITIVITY)


def _row(mixedlm: MixedLMModel, groups: tuple[str, ...], session: str, subjects: pd.DataFrame) -> Row:
    model, fit = mixedlm.primary, mixedlm.fit
    df = model.frame["subject"].nunique() - model.frame["group"].nunique()

    def test(weights: np.ndarray) -> Comparison:
        assert fit is not None
        return Comparison(float(weights @ fit.estimates), float(np.sqrt(weights @ fit.covariance @ weights)), df)

    row = contrast_row(model, groups, session, subjects=subjects, test=test if fit is not None else None,
                       reason=mixedlm.reason, notes=mixedlm.notes)
    what = "first group minus second" if len(groups) > 1 else "change"
    return {**row, "analysis": f"{NAME}, one residual variance, {what}", "df_method": DF_METHOD,
            "hedges_g": math.nan, "hedges_g_low": math.nan, "hedges_g_high": math.nan}


def mixedlm_models_frame(mixedlm: Sequence[MixedLMModel]) -> pd.DataFrame:
    """What was fitted and whether it is trusted, as in `schemas.MODELS`."""
    return typed_frame([{
        "model": str(ModelKind.MIXEDLM), **model_columns(m.primary),
        "random": "random subject; one residual variance (statsmodels MixedLM)", "df_method": DF_METHOD,
        "log_likelihood": m.fit.log_likelihood if m.fit else math.nan,
        "converged": m.fit is not None, "singular": bool(m.notes),
        "status": str(Status.FAILED if m.fit is None else Status.FLAGGED if m.notes else Status.OK),
        "reason": m.reason or "; ".join(m.notes),
    } for m in mixedlm], MODELS)
