"""The primary questions asked of other methods: do the answers hang on the model?

Change scores, one number a subject: t tests (Welch between groups), a bootstrap over subjects, permutation of groups
and of signs. The primary models again without flagged discs. statsmodels' MixedLM, guarded. Knows nothing of images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from zlib import crc32

import numpy as np
import pandas as pd

from bedrest.errors import ManifestError
from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import SENSITIVITY
from bedrest.statistics.estimators.bootstrap import cluster_bootstrap
from bedrest.statistics.estimators.resampling import permutation_test, sign_flip_test
from bedrest.statistics.estimators.t_tests import one_sample_t, welch_t
from bedrest.statistics.study.cohort_models import CohortModel, joint_model, level_model
from bedrest.statistics.study.estimates import contrasts_frame
from bedrest.statistics.study.families import BETWEEN, WITHIN, holm
from bedrest.statistics.study.flow import StudyTables
from bedrest.statistics.study.responses import AnalysisPlan, Observations
from bedrest.statistics.study.secondary import SecondaryModel, secondary_contrasts
from bedrest.statistics.study.subject_changes import Sample, sample, subject_changes
from bedrest.vocabulary import ALL_LEVELS, LEVELS, Status

Row = dict[str, object]
_ALL_DISCS = ", mean of all discs"


@dataclass(frozen=True)
class Resampling:
    """How often and from which seed."""

    resamples: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class ScoreTest:
    """One way to test change scores.

    Attributes
    ----------
    name : short, for families
    words : of the test within a group and of the one between groups
    run : samples (one or two), confidence level, resampling, generator -> columns of `schemas.SENSITIVITY`; `reason`
        where it failed
    """

    name: str
    words: tuple[str, str]
    run: Callable[[Sequence[Sample], float, int, np.random.Generator], Row]


def sensitivity_frame(
    models: Sequence[CohortModel], secondary: Sequence[SecondaryModel], study: StudyTables, *, resampling: Resampling
) -> pd.DataFrame:
    """Every sensitivity analysis, as in `schemas.SENSITIVITY`.

    Parameters
    ----------
    models : the primary and joint models, fitted
    secondary : MixedLM on the same data
    study : StudyTables
    resampling : Resampling
    """
    if not models:
        return typed_frame([], SENSITIVITY)
    choices = models[0].choices
    frames = [change_score_frame(study.change, study.subjects, test=test, choices=choices, resampling=resampling)
              for test in SCORE_TESTS]
    frames += [secondary_contrasts(secondary, study.subjects), _without_flagged(models, study.subjects)]
    return typed_frame([r for f in frames for r in f.to_dict("records")], SENSITIVITY)


def change_score_frame(
    change: pd.DataFrame, subjects: pd.DataFrame, *, test: ScoreTest, choices: AnalysisPlan,
    resampling: Resampling | None = None,
) -> pd.DataFrame:
    """One test of change scores for every source, level (and `all`, the mean over a subject's discs), group and visit.

    Parameters
    ----------
    change : DataFrame
        As in `schemas.CHANGE`. Failed rows count as missing; flagged ones are used, and counted in `reason`.
    subjects : DataFrame
        As in `schemas.SUBJECTS`: also subjects never measured, so that `n_missing` is true.
    test : ScoreTest
    choices : AnalysisPlan
    resampling : Resampling
        A row's random numbers depend on the seed and on what the row is, not on the other rows.

    Returns
    -------
    DataFrame, as in `schemas.SENSITIVITY`
        A test that could not be done keeps its row: failed, with reason, NaN.

    Raises
    ------
    ManifestError
        If the change table mixes reference visits or holds a subject that `subjects` does not.
    """
    _check(change, subjects)
    changes = subject_changes(change)
    members = {g: list(subjects.loc[subjects["group"] == g, "subject"]) for g in choices.groups}
    rows: list[Row] = []
    for source, own in change.groupby("source", sort=False):
        found = set(own["level"])
        levels = [level for level in LEVELS if level in found]
        sessions = [s for s in choices.later_sessions if s in set(own["session"])]
        for family_levels, suffix in ((levels, ""), ([ALL_LEVELS] if levels else [], _ALL_DISCS)):
            for family, units in ((WITHIN, [(g,) for g in members]), (BETWEEN, list(combinations(members, 2)))):
                tests = [
                    _row(test, choices, resampling or Resampling(), key=(str(source), unit, level, session), samples=[
                        sample(changes, members[g], source=str(source), level=level, session=session) for g in unit])
                    for unit in units for session in sessions for level in family_levels
                ]
                rows += holm(tests, family=f"{family}{suffix}: {test.name}")
    return typed_frame(rows, SENSITIVITY)


def _check(change: pd.DataFrame, subjects: pd.DataFrame) -> None:
    references = sorted(change["reference_session"].unique())
    if len(references) > 1:
        remedy = "Count every change from one visit."
        raise ManifestError("one reference visit", ", ".join(references), "change table", remedy)
    unknown = sorted(set(change["subject"]) - set(subjects["subject"]))
    if unknown:
        remedy = "Add them to the subjects table."
        raise ManifestError("subjects of the study", ", ".join(unknown), "change table", remedy)


def _row(
    test: ScoreTest, choices: AnalysisPlan, resampling: Resampling, *, key: tuple[str, tuple[str, ...], str, str],
    samples: Sequence[Sample],
) -> Row:
    source, groups, level, session = key
    name = "|".join((test.name, source, *groups, level, session))
    rng = np.random.default_rng([resampling.seed, crc32(name.encode())])
    found = test.run(samples, choices.confidence_level, resampling.resamples, rng)
    reason = str(found.pop("reason", ""))
    notes = [note for s in samples for note in s.notes]
    n = sum(len(s.values) for s in samples)
    between = len(samples) - 1
    return {
        "analysis": test.words[between], "formula": ("change in % ~ 1", "change in % ~ group")[between],
        "source": source, "level": level, "group": " - ".join(groups),
        "reference_session": choices.reference_session, "session": session, "n": n, "n_pairs": n,
        "n_missing": sum(s.n_missing for s in samples), "confidence_level": choices.confidence_level,
        **found,
        "status": str(Status.FAILED if reason else Status.FLAGGED if notes else Status.OK),
        "reason": reason or "; ".join(notes),
    }


def _t(samples: Sequence[Sample], confidence_level: float, resamples: int, rng: np.random.Generator) -> Row:
    values = [s.values for s in samples]
    found = (one_sample_t(values[0], confidence_level=confidence_level) if len(values) == 1
             else welch_t(values[0], values[1], confidence_level=confidence_level))
    row: Row = {"estimate_percent": found.estimate, "se_percent": found.se, "ci_low_percent": found.ci_low,
                "ci_high_percent": found.ci_high, "t": found.t, "df": found.df, "p": found.p, "reason": found.reason,
                "df_method": "Satterthwaite" if len(values) > 1 else "n - 1"}
    if found.effect is not None:
        row |= {"hedges_g": found.effect.g, "hedges_g_low": found.effect.ci_low, "hedges_g_high": found.effect.ci_high}
    return row


def _permutation(samples: Sequence[Sample], confidence_level: float, resamples: int, rng: np.random.Generator) -> Row:
    values = [s.values for s in samples]
    found = (sign_flip_test(values[0], rng=rng, n_permutations=resamples) if len(values) == 1
             else permutation_test(values[0], values[1], rng=rng, n_permutations=resamples))
    smallest = f"; the smallest p possible is {found.smallest_p:.2g}" if not found.reason else ""
    return {"estimate_percent": found.estimate, "t": found.t if math.isfinite(found.t) else math.nan, "p": found.p,
            "df_method": found.method + smallest, "reason": found.reason}


def _bootstrap(samples: Sequence[Sample], confidence_level: float, resamples: int, rng: np.random.Generator) -> Row:
    found = cluster_bootstrap([s.values for s in samples], rng=rng, n_resamples=resamples,
                              confidence_level=confidence_level)
    return {"estimate_percent": found.estimate, "se_percent": found.se, "ci_low_percent": found.ci_low,
            "ci_high_percent": found.ci_high, "df_method": found.method, "reason": found.reason}


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
    again = []
    for source in dict.fromkeys(m.source for m in models):
        own = [m for m in models if m.source == source]
        flagged = any(m.frame["flagged"].any() for m in own)
        for m in own if flagged else []:
            data = Observations(source, m.frame[~m.frame["flagged"]].reset_index(drop=True), 0, 0)
            refitted = (joint_model(data, m.choices) if m.level == ALL_LEVELS
                        else level_model(data, m.choices, level=m.level))
            again += [refitted] if refitted is not None else []
    frame = contrasts_frame(again, subjects)
    return frame.assign(family=frame["family"] + ": without flagged discs",
                        analysis=frame["analysis"] + ", without flagged discs")
