"""Observations -> the fitted models of a cohort: one for each level, and one of all discs together.

Primary, per level: REML with a random subject (compound symmetry) and a residual variance for each visit, or an
unstructured covariance of the visits; fixed effects visit x group and covariates. Joint, all levels: level fixed and
crossed with visit and with group; random subject, disc of a subject (subject x level) and visit of a subject
(subject x visit, with a variance for each visit), and a residual variance for each visit. Kenward-Roger throughout.

Without the disc of a subject, the lasting difference between the L4-L5 of two subjects would count as error of change;
without the visit of a subject, seven discs would count as seven subjects. Must not know tables of results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations, product

import numpy as np
import pandas as pd

from bedrest.errors import ModelError
from bedrest.statistics.estimators.covariance import (
    LinearCovariance,
    Term,
    random_term,
    residual_terms,
    unstructured_term,
)
from bedrest.statistics.estimators.design import Design, make_design
from bedrest.statistics.estimators.reml import Fit, fit_reml
from bedrest.statistics.estimators.samples import MIN_SUBJECTS
from bedrest.statistics.estimators.small_sample import SmallSample
from bedrest.statistics.study.covariates import aliases, apart
from bedrest.statistics.study.responses import AnalysisPlan, Observations, used_sessions
from bedrest.vocabulary import ALL_LEVELS, LEVELS, ModelKind


@dataclass(frozen=True)
class CohortModel:
    """One model, fitted or with the reason why not.

    Attributes
    ----------
    data, level : every observation, also of visits with too few subjects; a disc level or `all`
    formula, random : fixed and random parts as text
    frame, sessions : the observations in the model; its visits in order
    design, tests : None when the model could not be fitted
    aliased : covariates that other terms decide, as in `covariates.aliases`
    notes : what a reader must know
    singular : was a random term left out because its variance came out as zero
    """

    data: Observations
    level: str
    formula: str
    random: str
    frame: pd.DataFrame
    sessions: tuple[str, ...]
    plan: AnalysisPlan
    design: Design | None = None
    tests: SmallSample | None = None
    aliased: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    singular: bool = False
    reason: str = ""

    @property
    def source(self) -> str:
        return self.data.source

    @property
    def kind(self) -> ModelKind:
        return ModelKind.JOINT if self.level == ALL_LEVELS else ModelKind.PRIMARY

    @property
    def fit(self) -> Fit | None:
        return self.tests.fit if self.tests is not None else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of the fit and of its tests."""
        return self.tests.warnings if self.tests is not None else ()

    def cell(self, group: str) -> dict[str, str]:
        """A group as a cell of the design; empty where the model has no groups."""
        return {"group": group} if self.design is not None and "group" in self.design.factors else {}

    def change_weights(self, session: str, *, group: str, minus: str | None = None) -> np.ndarray | None:
        """Weights of a group's change since the reference visit, or of its difference from that of another group.

        Shape (p,); None where there is no fit, or the data cannot answer.
        """
        if self.design is None or not {session, self.plan.reference_session} <= set(self.sessions):
            return None
        return self.design.change("session", to=session, since=self.plan.reference_session, cell=self.cell(group),
                                  minus=None if minus is None else self.cell(minus))

    def why_not(self, *terms: str) -> str:
        """Why the data cannot tell means or changes over these terms: a covariate that goes with them, empty cells."""
        if going := [apart(c, t) for c, t in self.aliased.items() if {*t} & {*terms}]:
            return "; ".join(going)
        pairs = combinations(self.design.factors.items() if self.design else (), 2)
        empty = [f"{v} and {w}" for (a, of_a), (b, of_b) in pairs for v, w in product(of_a, of_b)
                 if not ((self.frame[a] == v) & (self.frame[b] == w)).any()]
        return "no disc of " + ", ".join(empty) if empty else "the data cannot tell it"

    def change_sd(self, session: str) -> float:
        """SD between subjects of the change since the reference visit that the model estimates, on the log scale.

        For the joint model: of the mean over discs of a subject with the most discs at both visits.
        """
        if self.fit is None:
            return float("nan")
        both = self.frame[self.frame["session"].isin([session, self.plan.reference_session])]
        visits = both.groupby(["subject", "level"])["session"].nunique()
        complete = visits[visits == 2].reset_index().groupby("subject")["level"].agg(list)
        if complete.empty:
            return float("nan")
        subject = complete.map(len).idxmax()
        rows = both[(both["subject"] == subject) & both["level"].isin(complete[subject])]
        weights = np.where(rows["session"] == session, 1.0, -1.0) / len(complete[subject])
        structure = self.fit.structure
        v = structure.value(self.fit.phi, structure.components(rows.index.to_numpy()))
        return float(np.sqrt(weights @ v @ weights))


def level_models(data: Observations, plan: AnalysisPlan) -> list[CohortModel]:
    """The primary model of every level that was measured, from T11-T12 down."""
    measured = {*data.frame["level"], *data.incomplete["level"]}
    return [level_model(data, plan, level=level) for level in LEVELS if level in measured]


def level_model(data: Observations, plan: AnalysisPlan, *, level: str) -> CohortModel:
    """The primary model of one level."""
    def structure(frame: pd.DataFrame, sessions: tuple[str, ...]) -> tuple[list[Term], str]:
        if plan.covariance == "unstructured":
            term = unstructured_term(frame["session"], frame["subject"], names=sessions)
            return [term], "unstructured covariance of the visits within subject"
        terms = [random_term("subject", frame["subject"]), *residual_terms(frame["session"], names=sessions)]
        return terms, "random subject; residual variance by visit"

    return _fit(data.of_level(level), plan, level=level, terms_of=structure)


def joint_model(data: Observations, plan: AnalysisPlan) -> CohortModel | None:
    """The model of all discs; None with fewer than two levels."""
    if len({*data.frame["level"], *data.incomplete["level"]}) < 2:
        return None

    def structure(frame: pd.DataFrame, sessions: tuple[str, ...]) -> tuple[list[Term], str]:
        subject = frame["subject"]
        visits = [random_term(f"subject x visit, {s}", subject, (frame["session"] == s).to_numpy()[:, None] * 1.0)
                  for s in sessions]
        terms = [random_term("subject", subject), random_term("subject x level", subject + "|" + frame["level"]),
                 *visits, *residual_terms(frame["session"], names=sessions)]
        return terms, "random subject, subject x level, subject x visit (variance by visit); residual variance by visit"

    return _fit(data, plan, level=ALL_LEVELS, terms_of=structure)


def _fit(
    data: Observations, plan: AnalysisPlan, *, level: str,
    terms_of: Callable[[pd.DataFrame, tuple[str, ...]], tuple[list[Term], str]],
) -> CohortModel:
    sessions = used_sessions(data, plan, at_least=MIN_SUBJECTS)
    left_out = [s for s in plan.sessions if s not in sessions and (data.frame["session"] == s).any()]
    notes = [f"visit {s} left out: fewer than {MIN_SUBJECTS} subjects" for s in left_out]
    if missing := [c for c in plan.covariates if c in data.incomplete and data.incomplete[c].isna().any()]:
        notes.append(f"{len(data.incomplete)} discs left out: no {' or '.join(missing)}")
    frame = data.frame[data.frame["session"].isin(sessions)].reset_index(drop=True)
    groups = tuple(g for g in plan.groups if (frame["group"] == g).any())
    formula = _formula(level, groups, plan.covariates)
    aliased = aliases(frame, plan.covariates)
    notes += [f"{apart(c, t)}: the column {c} is left out" for c, t in aliased.items()]
    model = CohortModel(data, level, f"100 ln(volume) ~ {formula}", "", frame, sessions, plan, aliased=aliased,
                        notes=tuple(notes))
    if plan.reference_session not in sessions or len(sessions) < 2:
        few = f"fewer than {MIN_SUBJECTS} subjects at the reference visit, or at any other"
        return replace(model, reason="; ".join([few, *notes]))
    order = (plan.reference_session, *(s for s in sessions if s != plan.reference_session))
    factors: dict[str, tuple[str, ...]] = {"session": order}
    if len(groups) > 1:
        factors["group"] = groups
    if level == ALL_LEVELS:
        factors["level"] = tuple(lv for lv in LEVELS if (frame["level"] == lv).any())
    terms, random = terms_of(frame, sessions)
    model = replace(model, random=random)
    try:
        design = make_design(formula, frame[[*factors, *plan.covariates]], factors=factors)
        fit, zero = _without_zero_terms(frame, design, terms)
    except (ModelError, np.linalg.LinAlgError) as error:
        return replace(model, reason=str(error))
    if not fit.converged:
        return replace(model, reason="; ".join(fit.warnings))
    if zero:
        notes.append("singular: no variance found, left out: " + ", ".join(zero))
    return replace(model, design=design, tests=SmallSample(fit), notes=tuple(notes), singular=bool(zero))


def _without_zero_terms(frame: pd.DataFrame, design: Design, terms: list[Term]) -> tuple[Fit, list[str]]:
    """The fit, refitted without the random terms whose variance came out as zero, and their names.

    Kept in, such a term makes Kenward and Roger's degrees of freedom collapse: with eight subjects the joint model then
    rejected a true null in 0-2 % instead of 5 %.
    """
    y, clusters = frame["y"].to_numpy(), frame["subject"].to_numpy()
    fit = fit_reml(y, design.x, clusters=clusters, structure=LinearCovariance(tuple(terms)))
    if any(t.q > 1 for t in terms):
        return fit, []
    zero = [t for t, free in zip(terms, fit.free, strict=True) if not free and not t.is_residual]
    if not zero:
        return fit, []
    kept = LinearCovariance(tuple(t for t in terms if all(t is not z for z in zero)))
    return fit_reml(y, design.x, clusters=clusters, structure=kept), [t.name for t in zero]


def _formula(level: str, groups: tuple[str, ...], covariates: tuple[str, ...]) -> str:
    fixed = "session * group" if len(groups) > 1 else "session"
    if level == ALL_LEVELS:
        fixed += " + level * session" + (" + level * group" if len(groups) > 1 else "")
    return " + ".join([fixed, *(c if c.isidentifier() else f"`{c}`" for c in covariates)])
