"""Fitted models of a cohort -> the tables of estimates: contrasts, marginal means, terms, models, variances.

All tables come from the same fits, so no number is computed in two places. Must not know how models are fitted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from bedrest.io.tables.frames import typed_frame
from bedrest.measurement.registry import VOLUME
from bedrest.schemas import CONTRASTS, MARGINAL_MEANS, MODELS, RESIDUALS, TERMS, VARIANCES
from bedrest.statistics.estimators.effect_size import hedges_g_of_t
from bedrest.statistics.estimators.reml import Fit
from bedrest.statistics.estimators.samples import MIN_SUBJECTS
from bedrest.statistics.estimators.small_sample import Comparison
from bedrest.statistics.study.cohort_models import CohortModel
from bedrest.statistics.study.families import Row, family_units, holm
from bedrest.statistics.study.responses import LOG_SCALE
from bedrest.vocabulary import ModelKind, Status

DF_METHOD = "Kenward-Roger"
ALL_DISCS = ", all discs"  # what the families of the joint model are called after


def contrasts_frame(models: Sequence[CohortModel], subjects: pd.DataFrame) -> pd.DataFrame:
    """Change of every visit from the reference visit within each group, and its difference between groups.

    As in `schemas.CONTRASTS`. Holm runs within (family, source): the single levels are one family within groups and one
    between groups, the joint model has families of its own, because it answers the same question once more.
    `family_size` counts the tests that could be done. A contrast without three subjects with both visits in every group
    keeps its row: failed, with reason. `subjects` has every subject enrolled, so that `n_missing` is true.
    """
    rows: list[Row] = []
    for source in dict.fromkeys(m.source for m in models):
        for kind, detail in ((ModelKind.PRIMARY, ""), (ModelKind.JOINT, ALL_DISCS)):
            rows += family_rows([m for m in models if m.source == source and m.kind == kind],
                                lambda m, groups: _contrast_rows(m, groups, subjects), detail=detail)
    return typed_frame(rows, CONTRASTS)


def family_rows(models: Sequence[CohortModel], rows_of: Callable[[CohortModel, tuple[str, ...]], list[Row]], *,
                detail: str) -> list[Row]:
    """Tests within groups and between groups of one mask source, Holm's correction within each family.

    `rows_of` turns a model and its groups (one, or two to compare) into rows; `detail` follows the name of each family.
    """
    units = family_units(models[0].plan.groups) if models else {}
    return [row for family, members in units.items()
            for row in holm([r for m in models for groups in members for r in rows_of(m, groups)], family,
                            detail=detail)]


def _contrast_rows(model: CohortModel, groups: tuple[str, ...], subjects: pd.DataFrame) -> list[Row]:
    test = model.tests.contrast if model.tests is not None else None
    what = "first group minus second" if len(groups) > 1 else "change"
    return [{**contrast_row(model, groups, session, subjects=subjects, test=test, reason=model.reason,
                            notes=model.warnings),
             "df_method": DF_METHOD, "analysis": f"{model.kind} mixed model, {what}"}
            for session in model.plan.later_sessions]


def contrast_row(
    model: CohortModel, groups: tuple[str, ...], session: str, *, subjects: pd.DataFrame,
    test: Callable[[np.ndarray], Comparison] | None, reason: str, notes: Sequence[str],
) -> Row:
    """One row of `schemas.CONTRASTS`, without its family and the description of the analysis.

    The change of one group at a session, or the first group's change minus the second's. `test` takes the weights of
    the fixed effects; None where there is no fit, and then `reason` says why. `notes`: what a reader must know of the
    fit.
    """
    plan = model.plan
    pairs = {g: _with_both(model, g, session, model.data.frame) for g in groups}
    row: Row = {
        "formula": model.formula, "source": model.source, "measure": VOLUME.name, "level": model.level,
        "group": " - ".join(groups), "reference_session": plan.reference_session, "session": session,
        "n": int(model.frame.loc[model.frame["group"].isin(groups), "subject"].nunique()),
        "n_pairs": sum(len(p) for p in pairs.values()),
        "n_missing": int(subjects["group"].isin(groups).sum()) - sum(len(p) for p in pairs.values()),
        "confidence_level": plan.confidence_level,
    }
    reason = reason or "; ".join(_too_few(model, g, session, len(p)) for g, p in pairs.items() if len(p) < MIN_SUBJECTS)
    weights = None if reason else model.change_weights(session, group=groups[0],
                                                       minus=groups[1] if len(groups) > 1 else None)
    if weights is None or test is None:
        return {**row, "status": str(Status.FAILED), "reason": reason or model.why_not("session")}
    comparison = test(weights)
    remarks = [*notes, *_remarks(model, [s for p in pairs.values() for s in p], session)]
    return {**row, **_percent(comparison, plan.confidence_level), **_effect(model, comparison, session),
            "status": str(Status.FLAGGED if remarks else Status.OK), "reason": "; ".join(remarks)}


def _with_both(model: CohortModel, group: str, session: str, observed: pd.DataFrame) -> list[str]:
    """Subjects of a group with some disc measured at both visits."""
    rows = _at_both_visits(model, session, observed)
    n = rows[rows["group"] == group].groupby(["subject", "level"])["session"].nunique()
    return sorted({subject for (subject, _), visits in n.items() if visits == 2})


def _too_few(model: CohortModel, group: str, session: str, n: int) -> str:
    """Why a group cannot be compared: subjects with both visits, and those who had more, had they their covariates."""
    data, key = model.data, ["subject", "group", "session", "level"]
    more = len(_with_both(model, group, session, pd.concat([data.frame[key], data.incomplete[key]]))) - n
    return (f"{group}: {n} subject{'' if n == 1 else 's'} with both visits, at least {MIN_SUBJECTS} are needed"
            + (f"; {more} more without a covariate" if more else ""))


def _at_both_visits(model: CohortModel, session: str, observed: pd.DataFrame) -> pd.DataFrame:
    return observed[observed["session"].isin([session, model.plan.reference_session])]


def _remarks(model: CohortModel, members: list[str], session: str) -> list[str]:
    rows = _at_both_visits(model, session, model.frame)
    rows = rows[rows["subject"].isin(members)]
    remarks = []
    if flagged := rows.loc[rows["flagged"], "subject"].nunique():
        remarks.append(f"{flagged} of {len(members)} subjects bring a flagged disc")
    if model.kind == ModelKind.JOINT:
        n_levels = model.frame["level"].nunique()
        if fewer := int((rows.groupby("subject").size() < 2 * n_levels).sum()):
            remarks.append(f"{fewer} of {len(members)} subjects bring fewer than {n_levels} discs")
    return remarks


def _percent(comparison: Comparison, confidence_level: float) -> Row:
    low, high = comparison.interval(confidence_level)
    return {
        "estimate_percent": _in_percent(comparison.estimate),
        "se_percent": math.exp(comparison.estimate / LOG_SCALE) * comparison.se,
        "ci_low_percent": _in_percent(low), "ci_high_percent": _in_percent(high),
        "t": comparison.t, "df": comparison.df, "p": comparison.p,
    }


def _in_percent(log_difference: float) -> float:
    return 100 * math.expm1(log_difference / LOG_SCALE)


def _effect(model: CohortModel, comparison: Comparison, session: str) -> Row:
    effect = hedges_g_of_t(comparison.t, comparison.df, ratio=comparison.se / model.change_sd(session),
                           confidence_level=model.plan.confidence_level)
    return {"hedges_g": effect.g, "hedges_g_low": effect.ci_low, "hedges_g_high": effect.ci_high}


def marginal_means_frame(models: Sequence[CohortModel]) -> pd.DataFrame:
    """Model means of volume, as in `schemas.MARGINAL_MEANS`; `all` is the geometric mean over levels."""
    return typed_frame([_mean_row(m, group, session) for m in models for group in m.plan.groups
                        for session in m.plan.sessions], MARGINAL_MEANS)


def _mean_row(model: CohortModel, group: str, session: str) -> Row:
    observed = model.data.frame
    n = int(observed.loc[(observed["group"] == group) & (observed["session"] == session), "subject"].nunique())
    in_model = n > 0 and session in model.sessions
    weights = (model.design.mean(session=session, **model.cell(group)) if in_model and model.design is not None
               else None)
    row: Row = {
        "source": model.source, "measure": VOLUME.name, "level": model.level, "group": group, "session": session,
        "n": n, "confidence_level": model.plan.confidence_level}
    if weights is None or model.tests is None:
        reason = model.reason or (model.why_not("group", "session") if in_model else "; ".join(model.notes) if n
                                  else "no subject of the group was measured")
        return {**row, "status": str(Status.FAILED), "reason": reason}
    comparison = model.tests.contrast(weights)
    mean, low, high = (math.exp(v / LOG_SCALE) for v in (
        comparison.estimate, *comparison.interval(model.plan.confidence_level)))
    return {**row, "mean_mm3": mean, "ci_low_mm3": low, "ci_high_mm3": high, "status": str(Status.OK), "reason": ""}


def terms_frame(models: Sequence[CohortModel]) -> pd.DataFrame:
    """Joint tests of visit, group, visit x group and, over all discs, level x visit; as in `schemas.TERMS`."""
    rows: list[Row] = []
    for m in models:
        if m.design is None or m.tests is None:
            continue
        names = [("session",), *([("group",), ("session", "group")] if "group" in m.design.factors else []),
                 *([("level", "session")] if "level" in m.design.factors else [])]
        for term in names:
            row: Row = {
                "model": str(m.kind), "source": m.source, "level": m.level, "term": " x ".join(term),
                "formula": m.formula, "n": int(m.frame["subject"].nunique()), "df_method": DF_METHOD}
            weights = m.design.term(term)
            if weights is None:
                row |= {"status": str(Status.FAILED), "reason": m.why_not(*term)}
            else:
                f = m.tests.f_test(weights)
                row |= {"f": f.f, "df_numerator": f.df_numerator, "df_denominator": f.df_denominator, "p": f.p,
                        "status": str(Status.OK), "reason": ""}
            rows.append(row)
    return typed_frame(rows, TERMS)


def models_frame(models: Sequence[CohortModel]) -> pd.DataFrame:
    """What was fitted to what, and whether it may be trusted; as in `schemas.MODELS`."""
    rows = []
    for m in models:
        notes = (*m.notes, *m.warnings)
        rows.append({
            "model": str(m.kind), "random": m.random, "df_method": DF_METHOD, **model_columns(m),
            "log_likelihood": math.nan if m.fit is None else m.fit.log_likelihood,
            "converged": m.fit is not None and m.fit.converged,
            "singular": m.singular or (m.fit is not None and m.fit.singular),
            "status": str(Status.FAILED if m.fit is None else Status.FLAGGED if notes else Status.OK),
            "reason": m.reason or "; ".join(notes),
        })
    return typed_frame(rows, MODELS)


def model_columns(model: CohortModel) -> Row:
    """The columns of `schemas.MODELS` that say what a model was fitted to."""
    return {"source": model.source, "level": model.level, "formula": model.formula,
            "n_subjects": int(model.frame["subject"].nunique()), "n_observations": len(model.frame)}


def variances_frame(models: Sequence[CohortModel]) -> pd.DataFrame:
    """Variance components of every fit, as in `schemas.VARIANCES`."""
    rows: list[Row] = []
    for m in models:
        if m.fit is None:
            continue
        sds = {name: math.sqrt(max(value, 0.0)) for name, value in m.fit.variances.items()}
        rows += [{"model": str(m.kind), "source": m.source, "level": m.level, "component": name, "value": value,
                  "sd_percent": sds.get(name, math.nan)} for name, value in m.fit.parameters.items()]
    return typed_frame(rows, VARIANCES)


def residuals_frame(models: Sequence[CohortModel]) -> pd.DataFrame:
    """Residuals about the fixed effects of every fitted model, as in `schemas.RESIDUALS`.

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
