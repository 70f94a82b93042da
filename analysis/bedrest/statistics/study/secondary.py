"""The primary questions asked of statsmodels' MixedLM, guarded: one residual variance for all visits.

Its standard errors know nothing of small samples; t on subjects minus groups degrees of freedom is used, never z.
Knows nothing of images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from bedrest.errors import ModelError
from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import MODELS, SENSITIVITY
from bedrest.statistics.estimators.covariance import LinearCovariance, random_term, residual_terms
from bedrest.statistics.estimators.mixedlm import MixedFit, fit_mixedlm
from bedrest.statistics.estimators.reml import fit_reml
from bedrest.statistics.estimators.small_sample import Comparison, contrast_of
from bedrest.statistics.study.cohort_models import CohortModel
from bedrest.statistics.study.estimates import contrast_row
from bedrest.statistics.study.families import BETWEEN, WITHIN, holm
from bedrest.vocabulary import ALL_LEVELS, Status

MOST_SUBJECTS = 60  # beyond, statsmodels' runs take minutes, and the small-sample question is none
NAME = "MixedLM"
DF_METHOD = "subjects minus groups"


@dataclass(frozen=True)
class SecondaryModel:
    """MixedLM on the data and fixed effects of a primary model, or the reason why not."""

    primary: CohortModel
    fit: MixedFit | None
    reason: str = ""


def secondary_models(models: Sequence[CohortModel]) -> list[SecondaryModel]:
    """One for each primary model that could be fitted; the joint model is left to REML."""
    return [_fit(m) for m in models if m.level != ALL_LEVELS and m.design is not None]


def _fit(model: CohortModel) -> SecondaryModel:
    assert model.design is not None
    n = model.frame["subject"].nunique()
    if n > MOST_SUBJECTS:
        return SecondaryModel(model, None, f"not run for more than {MOST_SUBJECTS} subjects")
    y, subject = model.frame["y"].to_numpy(), model.frame["subject"].to_numpy()
    structure = LinearCovariance((random_term("subject", subject), *residual_terms([""] * len(y))))
    try:
        bar = fit_reml(y, model.design.x, clusters=subject, structure=structure).log_likelihood
        return SecondaryModel(model, fit_mixedlm(y, model.design.x, groups=subject, names=model.design.columns,
                                                 known_log_likelihood=bar))
    except ModelError as error:
        return SecondaryModel(model, None, str(error))


def secondary_contrasts(secondary: Sequence[SecondaryModel], subjects: pd.DataFrame) -> pd.DataFrame:
    """The contrasts of the primary models by MixedLM, as in `schemas.SENSITIVITY`."""
    rows: list[dict[str, object]] = []
    for source in dict.fromkeys(s.primary.source for s in secondary):
        own = [s for s in secondary if s.primary.source == source]
        groups = own[0].primary.choices.groups
        for family, units in ((WITHIN, [(g,) for g in groups]), (BETWEEN, list(combinations(groups, 2)))):
            tests = [_row(s, unit, session, subjects) for s in own for unit in units
                     for session in s.primary.choices.later_sessions]
            rows += holm(tests, family=f"{family}: {NAME}")
    return typed_frame(rows, SENSITIVITY)


def _row(
    secondary: SecondaryModel, groups: tuple[str, ...], session: str, subjects: pd.DataFrame
) -> dict[str, object]:
    model, fit = secondary.primary, secondary.fit
    df = model.frame["subject"].nunique() - model.frame["group"].nunique()

    def test(weights: np.ndarray) -> Comparison:
        assert fit is not None
        return contrast_of(float(weights @ fit.estimates), float(np.sqrt(weights @ fit.covariance @ weights)), df)

    row = contrast_row(model, groups, session, subjects=subjects, test=test if fit is not None else None,
                       reason=secondary.reason, notes=[f"singular: {fit.singular}"] if fit and fit.singular else [])
    what = "first group minus second" if len(groups) > 1 else "change"
    return {**row, "analysis": f"{NAME}, one residual variance, {what}", "df_method": DF_METHOD,
            "hedges_g": math.nan, "hedges_g_low": math.nan, "hedges_g_high": math.nan}


def secondary_models_frame(secondary: Sequence[SecondaryModel]) -> pd.DataFrame:
    """What was fitted and whether it is trusted, as in `schemas.MODELS`."""
    rows = []
    for s in secondary:
        notes = [f"singular: {s.fit.singular}"] if s.fit and s.fit.singular else []
        rows.append({
            "model": "secondary", "source": s.primary.source, "level": s.primary.level, "formula": s.primary.formula,
            "random": "random subject; one residual variance (statsmodels MixedLM)",
            "n_subjects": int(s.primary.frame["subject"].nunique()), "n_observations": len(s.primary.frame),
            "df_method": DF_METHOD, "log_likelihood": s.fit.log_likelihood if s.fit else math.nan,
            "converged": s.fit is not None, "singular": bool(notes),
            "status": str(Status.FAILED if s.fit is None else Status.FLAGGED if notes else Status.OK),
            "reason": s.reason or "; ".join(notes),
        })
    return typed_frame(rows, MODELS)
