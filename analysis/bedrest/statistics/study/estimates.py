"""Fitted models of a cohort -> the tables of estimates: contrasts, marginal means, terms, models, variances.

Knows nothing of fitting. Everything is asked of the same fits, so no number is computed in two places.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import CONTRASTS, MARGINAL_MEANS, MODELS, TERMS, VARIANCES
from bedrest.statistics.estimators.effect_size import hedges_g_of_t
from bedrest.statistics.estimators.samples import MINIMUM_SUBJECTS
from bedrest.statistics.estimators.small_sample import Comparison
from bedrest.statistics.study.cohort_models import CohortModel
from bedrest.statistics.study.families import BETWEEN, WITHIN, holm
from bedrest.statistics.study.responses import LOG_SCALE
from bedrest.vocabulary import ALL_LEVELS, Status

Rows = list[dict[str, object]]
DF_METHOD = "Kenward-Roger"


def model_kind(model: CohortModel) -> str:
    return "joint" if model.level == ALL_LEVELS else "primary"


def contrasts_frame(models: Sequence[CohortModel], subjects: pd.DataFrame) -> pd.DataFrame:
    """Change of every visit from the reference visit within each group, and its difference between groups.

    Holm runs within (family, source): the single levels are one family within groups and one between groups, the
    joint model has families of its own, because it answers the same question once more. `family_size` counts the
    tests that could be done.

    Parameters
    ----------
    models : of one or several mask sources
    subjects : DataFrame, as in `schemas.SUBJECTS`
        Every subject enrolled, so that `n_missing` is true.

    Returns
    -------
    DataFrame, as in `schemas.CONTRASTS`
        A contrast without three subjects with both visits in every group keeps its row: failed, with reason.
    """
    rows: Rows = []
    for source in dict.fromkeys(m.source for m in models):
        for kind, suffix in (("primary", ""), ("joint", ", all discs")):
            own = [m for m in models if m.source == source and model_kind(m) == kind]
            within = [r for m in own for g in m.choices.groups for r in _contrast_rows(m, (g,), subjects)]
            pairs = list(combinations(own[0].choices.groups, 2)) if own else []
            between = [r for m in own for pair in pairs for r in _contrast_rows(m, pair, subjects)]
            rows += holm(within, family=WITHIN + suffix) + holm(between, family=BETWEEN + suffix)
    return typed_frame(rows, CONTRASTS)


def _contrast_rows(model: CohortModel, groups: tuple[str, ...], subjects: pd.DataFrame) -> Rows:
    rows = []
    for session in model.choices.later_sessions:
        test = model.tests.contrast if model.tests is not None else None
        notes = list(model.tests.warnings) if model.tests is not None else []
        row = contrast_row(model, groups, session, subjects=subjects, test=test, reason=model.reason, notes=notes)
        rows.append({**row, "df_method": DF_METHOD, "analysis": f"{model_kind(model)} mixed model, "
                     + ("first group minus second" if len(groups) > 1 else "change")})
    return rows


def contrast_row(
    model: CohortModel, groups: tuple[str, ...], session: str, *, subjects: pd.DataFrame,
    test: Callable[[np.ndarray], Comparison] | None, reason: str, notes: Sequence[str],
) -> dict[str, object]:
    """One row of `schemas.CONTRASTS`, without its family and the words of the analysis.

    Parameters
    ----------
    model : whose data and design
    groups : one, for its change; two, for the first's change minus the second's
    session : the visit
    subjects : DataFrame, as in `schemas.SUBJECTS`
    test : weights of the fixed effects -> test; None where there is no fit, and then `reason` says why
    reason, notes : why there is no fit; what a reader must know of it
    """
    choices = model.choices
    pairs = {g: _with_both(model, g, session) for g in groups}
    row: dict[str, object] = {
        "formula": model.formula, "source": model.source, "level": model.level, "group": " - ".join(groups),
        "reference_session": choices.reference_session, "session": session,
        "n": int(model.frame.loc[model.frame["group"].isin(groups), "subject"].nunique()),
        "n_pairs": sum(len(p) for p in pairs.values()),
        "n_missing": int(subjects["group"].isin(groups).sum()) - sum(len(p) for p in pairs.values()),
        "confidence_level": choices.confidence_level,
    }
    reason = reason or "; ".join(
        f"{g}: {len(p)} subjects with both visits, at least {MINIMUM_SUBJECTS} are needed"
        for g, p in pairs.items() if len(p) < MINIMUM_SUBJECTS)
    weights = None if reason else _weights(model, groups, session)
    if weights is None or test is None:
        return {**row, "status": str(Status.FAILED), "reason": reason or "the data cannot tell this contrast"}
    found = test(weights)
    told = [*notes, *_notes(model, [s for p in pairs.values() for s in p], session)]
    return {**row, **_percent(found, choices.confidence_level), **_effect(model, found, session),
            "status": str(Status.FLAGGED if told else Status.OK), "reason": "; ".join(told)}


def _weights(model: CohortModel, groups: tuple[str, ...], session: str) -> np.ndarray | None:
    assert model.design is not None
    grouped = "group" in model.design.factors
    cells = [{"group": g} if grouped else {} for g in groups]
    return model.design.change("session", to=session, since=model.choices.reference_session, cell=cells[0],
                               minus=cells[1] if len(cells) > 1 else None)


def _with_both(model: CohortModel, group: str, session: str) -> list[str]:
    """Subjects of a group with some disc measured at both visits."""
    own = model.frame[(model.frame["group"] == group)
                      & model.frame["session"].isin([session, model.choices.reference_session])]
    n = own.groupby(["subject", "level"])["session"].nunique()
    return sorted({subject for (subject, _), visits in n.items() if visits == 2})


def _notes(model: CohortModel, members: list[str], session: str) -> list[str]:
    own = model.frame[model.frame["subject"].isin(members)
                      & model.frame["session"].isin([session, model.choices.reference_session])]
    notes = []
    flagged = own.loc[own["flagged"], "subject"].nunique()
    if flagged:
        notes.append(f"{flagged} of {len(members)} subjects bring a flagged disc")
    if model.level == ALL_LEVELS:
        discs = own.groupby("subject").size()
        fewer = int((discs < 2 * model.frame["level"].nunique()).sum())
        if fewer:
            notes.append(f"{fewer} of {len(members)} subjects bring fewer than {model.frame['level'].nunique()} discs")
    return notes


def _percent(found: Comparison, confidence_level: float) -> dict[str, object]:
    low, high = found.interval(confidence_level)
    return {
        "estimate_percent": _back(found.estimate), "se_percent": math.exp(found.estimate / LOG_SCALE) * found.se,
        "ci_low_percent": _back(low), "ci_high_percent": _back(high), "t": found.t, "df": found.df, "p": found.p,
    }


def _back(log_difference: float) -> float:
    return 100 * math.expm1(log_difference / LOG_SCALE)


def _effect(model: CohortModel, found: Comparison, session: str) -> dict[str, object]:
    effect = hedges_g_of_t(found.t, found.df, ratio=found.se / model.change_sd(session),
                           confidence_level=model.choices.confidence_level)
    return {"hedges_g": effect.g, "hedges_g_low": effect.ci_low, "hedges_g_high": effect.ci_high}


def marginal_means_frame(models: Sequence[CohortModel]) -> pd.DataFrame:
    """Model means of volume, as in `schemas.MARGINAL_MEANS`; `all` is the geometric mean over levels."""
    rows: Rows = []
    for m in models:
        for group in m.choices.groups:
            for session in m.choices.sessions:
                cell = {"session": session} | ({"group": group} if m.design and "group" in m.design.factors else {})
                known = m.design is not None and session in m.sessions and (m.frame["group"] == group).any()
                weights = m.design.mean(**cell) if known and m.design is not None else None
                here = (m.frame["group"] == group) & (m.frame["session"] == session)
                row: dict[str, object] = {
                    "source": m.source, "level": m.level, "group": group, "session": session,
                    "n": int(m.frame.loc[here, "subject"].nunique()), "confidence_level": m.choices.confidence_level}
                if weights is None or m.tests is None:
                    row |= {"status": str(Status.FAILED), "reason": m.reason or "no subject of the group was there"}
                else:
                    found = m.tests.contrast(weights)
                    low, high = found.interval(m.choices.confidence_level)
                    row |= {"mean_mm3": math.exp(found.estimate / LOG_SCALE), "ci_low_mm3": math.exp(low / LOG_SCALE),
                            "ci_high_mm3": math.exp(high / LOG_SCALE), "status": str(Status.OK), "reason": ""}
                rows.append(row)
    return typed_frame(rows, MARGINAL_MEANS)


def terms_frame(models: Sequence[CohortModel]) -> pd.DataFrame:
    """Joint tests of visit, group, visit x group and, over all discs, level x visit; as in `schemas.TERMS`."""
    rows: Rows = []
    for m in models:
        if m.design is None or m.tests is None:
            continue
        names = [("session",), *([("group",), ("session", "group")] if "group" in m.design.factors else []),
                 *([("level", "session")] if "level" in m.design.factors else [])]
        for term in names:
            row: dict[str, object] = {
                "model": model_kind(m), "source": m.source, "level": m.level, "term": " x ".join(term),
                "formula": m.formula, "n": int(m.frame["subject"].nunique()), "df_method": DF_METHOD}
            weights = m.design.term(term)
            if weights is None:
                row |= {"status": str(Status.FAILED), "reason": "a group has no subject at some visit"}
            else:
                f = m.tests.f_test(weights)
                row |= {"f": f.f, "df_numerator": f.df_numerator, "df_denominator": f.df_denominator, "p": f.p,
                        "status": str(Status.OK), "reason": ""}
            rows.append(row)
    return typed_frame(rows, TERMS)


def models_frame(models: Sequence[CohortModel]) -> pd.DataFrame:
    """What was fitted to what, and whether it may be trusted; as in `schemas.MODELS`."""
    rows: Rows = []
    for m in models:
        notes = [*m.notes, *(m.tests.warnings if m.tests is not None else ())]
        failed = m.fit is None
        rows.append({
            "model": model_kind(m), "source": m.source, "level": m.level, "formula": m.formula, "random": m.random,
            "n_subjects": int(m.frame["subject"].nunique()), "n_observations": len(m.frame), "df_method": DF_METHOD,
            "log_likelihood": math.nan if m.fit is None else m.fit.log_likelihood,
            "converged": m.fit is not None and m.fit.converged,
            "singular": m.singular or (m.fit is not None and m.fit.singular),
            "status": str(Status.FAILED if failed else Status.FLAGGED if notes else Status.OK),
            "reason": m.reason or "; ".join(notes),
        })
    return typed_frame(rows, MODELS)


def variances_frame(models: Sequence[CohortModel]) -> pd.DataFrame:
    """Variance components of every fit, as in `schemas.VARIANCES`."""
    rows: Rows = []
    for m in models:
        for name, value in (m.fit.parameters if m.fit is not None else {}).items():
            variance = not name.endswith("]") or name.split("[")[1][:-1].split(",")[0] == name[:-1].rsplit(",", 1)[1]
            rows.append({"model": model_kind(m), "source": m.source, "level": m.level, "component": name,
                         "value": value, "sd_percent": math.sqrt(max(value, 0.0)) if variance else math.nan})
    return typed_frame(rows, VARIANCES)
