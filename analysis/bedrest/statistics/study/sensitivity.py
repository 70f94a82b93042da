"""The primary questions answered by other methods: do the answers depend on the model?

Change scores, one number a subject: t tests (Welch between groups), a bootstrap over subjects, permutation of groups
and of signs. The primary models again without flagged discs. statsmodels' MixedLM. Must not know images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
import pandas as pd

from bedrest.errors import ManifestError
from bedrest.io.tables.frames import typed_frame
from bedrest.measurement.registry import VOLUME
from bedrest.schemas import SENSITIVITY
from bedrest.statistics.estimators.resampling import cluster_bootstrap, permutation_test, sign_flip_test
from bedrest.statistics.estimators.t_tests import MeanTest, one_sample_t, welch_t
from bedrest.statistics.study.cohort_models import CohortModel, joint_model, level_model
from bedrest.statistics.study.estimates import contrasts_frame
from bedrest.statistics.study.families import Row, family_units, holm
from bedrest.statistics.study.flow import StudyTables
from bedrest.statistics.study.mixedlm_sensitivity import MixedLMModel, mixedlm_contrasts
from bedrest.statistics.study.responses import AnalysisPlan
from bedrest.vocabulary import ALL_LEVELS, LEVELS, MEASURED, ModelKind, Status

Values = Sequence[Sequence[float]]  # one change a subject, of each group
_ALL_DISCS = ", mean of all discs"


@dataclass(frozen=True)
class Resampling:
    """How often and from which seed."""

    resamples: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class ScoreTest:
    """One way to test change scores: a short name for families, and descriptions within a group and between groups.

    `run` takes the values of one group or two, confidence level, number of resamples and generator.
    """

    name: str
    descriptions: tuple[str, str]
    run: Callable[[Values, float, int, np.random.Generator], MeanTest]


@dataclass(frozen=True)
class Sample:
    """The values of one group for one test: one change in per cent a subject that has one.

    `n_missing`: subjects of the group without a usable pair of visits; `notes`: what a reader must know of the values.
    """

    values: tuple[float, ...]
    n_missing: int
    notes: tuple[str, ...]


def sensitivity_frame(models: Sequence[CohortModel], mixedlm: Sequence[MixedLMModel], study: StudyTables, *,
                      resampling: Resampling) -> pd.DataFrame:
    """Every sensitivity analysis, as in `schemas.SENSITIVITY`."""
    if not models:
        return typed_frame([], SENSITIVITY)
    plan = models[0].plan
    frames = [change_score_frame(study.change, study.subjects, test=test, plan=plan, resampling=resampling)
              for test in SCORE_TESTS]
    frames += [mixedlm_contrasts(mixedlm, study.subjects), _without_flagged(models, study.subjects)]
    return typed_frame([r for f in frames for r in f.to_dict("records")], SENSITIVITY)


def change_score_frame(
    change: pd.DataFrame, subjects: pd.DataFrame, *, test: ScoreTest, plan: AnalysisPlan,
    resampling: Resampling | None = None,
) -> pd.DataFrame:
    """One test of change scores for every source, level (and `all`, the mean over a subject's discs), group and visit.

    As in `schemas.SENSITIVITY`. Failed changes count as missing; flagged ones are used, and counted in `reason`.
    `subjects` has also those never measured, so that `n_missing` is true. A row's random numbers depend on the seed and
    on what the row is, not on the other rows. A test that could not be done keeps its row: failed, with reason, NaN.
    ManifestError if the change table mixes reference visits or holds a subject that `subjects` does not.
    """
    _check(change, subjects)
    changes = subject_changes(change)
    members = {g: list(subjects.loc[subjects["group"] == g, "subject"]) for g in plan.groups}
    rows: list[Row] = []
    for source, of_source in change.groupby("source", sort=False):
        levels = [level for level in LEVELS if level in set(of_source["level"])]
        sessions = [s for s in plan.later_sessions if s in set(of_source["session"])]
        for family_levels, detail in ((levels, ""), ([ALL_LEVELS] if levels else [], _ALL_DISCS)):
            for family, units in family_units(plan.groups).items():
                tests = [
                    _row(test, plan, resampling or Resampling(), key=(str(source), unit, level, session), samples=[
                        sample(changes, members[g], source=str(source), level=level, session=session) for g in unit])
                    for unit in units for session in sessions for level in family_levels
                ]
                rows += holm(tests, family, detail=f"{detail}: {test.name}")
    return typed_frame(rows, SENSITIVITY)


def subject_changes(change: pd.DataFrame) -> pd.DataFrame:
    """One row a source, subject, session and level (each level, and `all`) with a usable change.

    `all` is the mean over the subject's levels that are usable at every visit where that subject has any usable disc:
    a subject's mean then follows the same discs through the study, so that a disc lost at one visit does not look
    like change. A visit without any usable disc counts as missed and does not cost the others. Failed rows and unnamed
    discs are left out here and counted as missing by `sample`. `n_flagged` and `n_levels` are discs in the value,
    `n_expected` the levels that the source has in the table.
    """
    named = change[change["level"].isin(LEVELS)]
    usable = named[named["status"].isin(MEASURED) & named["change_percent"].notna()]
    expected = named.groupby("source")["level"].nunique()
    single = usable[["source", "subject", "session", "level", "change_percent"]].assign(
        n_flagged=(usable["status"] == Status.FLAGGED).astype(int), n_levels=1)
    by_subject = ["source", "subject"]
    visits = single.groupby(by_subject)["session"].transform("nunique")
    kept = single[single.groupby([*by_subject, "level"])["session"].transform("nunique") == visits]
    mean = kept.groupby([*by_subject, "session"], sort=False).agg(
        change_percent=("change_percent", "mean"), n_flagged=("n_flagged", "sum"), n_levels=("level", "size"))
    mean = mean.reset_index().assign(level=ALL_LEVELS)
    both = pd.concat([f for f in (single, mean) if len(f)] or [single], ignore_index=True)
    return both.assign(n_expected=both["source"].map(expected))


def sample(changes: pd.DataFrame, members: Sequence[str], *, source: str, level: str, session: str) -> Sample:
    """The values of one group for one test; `changes` from `subject_changes`, `members` measured or not."""
    rows = changes[(changes["source"] == source) & (changes["level"] == level) & (changes["session"] == session)
                   & changes["subject"].isin(members)]
    notes = []
    if flagged := int((rows["n_flagged"] > 0).sum()):
        notes.append(f"{flagged} of {len(rows)} subjects bring a flagged disc")
    incomplete = int((rows["n_levels"] < rows["n_expected"]).sum()) if level == ALL_LEVELS else 0
    if incomplete:
        notes.append(f"{incomplete} of {len(rows)} subjects bring fewer than {rows['n_expected'].max()} discs")
    return Sample(tuple(rows["change_percent"]), len(members) - len(rows), tuple(notes))


def _check(change: pd.DataFrame, subjects: pd.DataFrame) -> None:
    references = sorted(change["reference_session"].unique())
    if len(references) > 1:
        raise ManifestError("one reference visit", ", ".join(references), "change table",
                            "Count every change from one visit.")
    unknown = sorted(set(change["subject"]) - set(subjects["subject"]))
    if unknown:
        raise ManifestError("subjects of the study", ", ".join(unknown), "change table",
                            "Add them to the subjects table.")


def _row(
    test: ScoreTest, plan: AnalysisPlan, resampling: Resampling, *, key: tuple[str, tuple[str, ...], str, str],
    samples: Sequence[Sample],
) -> Row:
    source, groups, level, session = key
    name = "|".join((test.name, source, *groups, level, session))
    rng = np.random.default_rng([resampling.seed, crc32(name.encode())])
    result = test.run([s.values for s in samples], plan.confidence_level, resampling.resamples, rng)
    notes = [note for s in samples for note in s.notes]
    n = sum(len(s.values) for s in samples)
    between = len(samples) - 1
    return {
        "analysis": test.descriptions[between], "formula": ("change in % ~ 1", "change in % ~ group")[between],
        "source": source, "measure": VOLUME.name, "level": level, "group": " - ".join(groups),
        "reference_session": plan.reference_session, "session": session, "n": n, "n_pairs": n,
        "n_missing": sum(s.n_missing for s in samples), "confidence_level": plan.confidence_level,
        **_columns(result),
        "status": str(Status.FAILED if result.reason else Status.FLAGGED if notes else Status.OK),
        "reason": result.reason or "; ".join(notes),
    }


def _columns(result: MeanTest) -> Row:
    smallest = f"; the smallest p possible is {result.smallest_p:.2g}" if math.isfinite(result.smallest_p) else ""
    columns: Row = {
        "estimate_percent": result.estimate, "se_percent": result.se, "ci_low_percent": result.ci_low,
        "ci_high_percent": result.ci_high, "t": result.t if math.isfinite(result.t) else math.nan, "df": result.df,
        "p": result.p, "df_method": result.method + smallest}
    if result.effect is not None:
        columns |= {"hedges_g": result.effect.g, "hedges_g_low": result.effect.ci_low,
                    "hedges_g_high": result.effect.ci_high}
    return columns


def _t(values: Values, confidence_level: float, resamples: int, rng: np.random.Generator) -> MeanTest:
    return (one_sample_t if len(values) == 1 else welch_t)(*values, confidence_level=confidence_level)


def _permutation(values: Values, confidence_level: float, resamples: int, rng: np.random.Generator) -> MeanTest:
    return (sign_flip_test if len(values) == 1 else permutation_test)(*values, rng=rng, n_permutations=resamples)


def _bootstrap(values: Values, confidence_level: float, resamples: int, rng: np.random.Generator) -> MeanTest:
    return cluster_bootstrap(values, rng=rng, n_resamples=resamples, confidence_level=confidence_level)


T_TEST = ScoreTest("t test of change scores", ("one-sample t of per-cent change against 0",
                   "Welch t of per-cent changes, first group minus second"), _t)
SCORE_TESTS = (
    T_TEST,
    ScoreTest("permutation", ("sign flips of subjects' per-cent changes",
                              "permutation of group labels, Welch t of per-cent changes"), _permutation),
    ScoreTest("bootstrap", ("bootstrap of subjects, mean per-cent change",
                            "bootstrap of subjects, difference of mean per-cent changes"), _bootstrap),
)


def _without_flagged(models: Sequence[CohortModel], subjects: pd.DataFrame) -> pd.DataFrame:
    """The models of every source that has flagged discs, fitted again without them."""
    refitted = []
    for source in dict.fromkeys(m.source for m in models):
        of_source = [m for m in models if m.source == source]
        for m in of_source if any(m.frame["flagged"].any() for m in of_source) else []:
            data = replace(m.data, frame=m.data.frame[~m.data.frame["flagged"]].reset_index(drop=True))
            again = (joint_model(data, m.plan) if m.kind == ModelKind.JOINT
                     else level_model(data, m.plan, level=m.level))
            refitted += [again] if again is not None else []
    frame = contrasts_frame(refitted, subjects)
    return frame.assign(family=frame["family"] + ": without flagged discs",
                        analysis=frame["analysis"] + ", without flagged discs")
