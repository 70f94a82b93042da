"""Residuals of the models, so that a reader can see whether they fit. Judges nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import RESIDUALS
from bedrest.statistics.estimators.reml import Fit
from bedrest.statistics.study.cohort_models import CohortModel
from bedrest.statistics.study.responses import LOG_SCALE


def residuals_frame(models: Sequence[CohortModel]) -> pd.DataFrame:
    """Residuals about the fixed effects of every fitted model, as in `schemas.RESIDUALS`.

    Notes
    -----
    A subject's raw residuals are correlated and of unequal variance by design of the model. Scaled by the Cholesky
    factor L of their covariance, L^-1 r (Fitzmaurice, Laird and Ware 2011, section 10.2), they are not.
    """
    rows: list[dict[str, object]] = []
    for model in models:
        if model.design is None or model.fit is None:
            continue
        frame = model.frame
        fitted = model.design.x @ model.fit.estimates
        residual = frame["y"].to_numpy() - fitted
        scaled = _scaled(model.fit, frame["subject"], residual)
        key = {"model": str(model.kind), "source": model.source, "model_level": model.level}
        discs = frame[["subject", "session", "level"]].to_dict("records")
        rows += [{**key, **disc, "fitted_mm3": float(np.exp(f / LOG_SCALE)), "residual_percent": float(r),
                  "residual_scaled": float(z)} for disc, f, r, z in zip(discs, fitted, residual, scaled, strict=True)]
    return typed_frame(rows, RESIDUALS)


def _scaled(fit: Fit, subjects: pd.Series, residual: np.ndarray) -> np.ndarray:
    scaled = np.empty_like(residual)
    for rows in subjects.groupby(subjects, sort=False).indices.values():
        factor = np.linalg.cholesky(fit.structure.value(fit.phi, fit.structure.components(rows)))
        scaled[rows] = np.linalg.solve(factor, residual[rows])
    return scaled
