"""Change table -> tests of change within and between groups, corrected for their number.

Knows nothing of images. Exact small-sample t tests, the subject as the unit, Holm within named families.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import pandas as pd
from statsmodels.stats.multitest import multipletests

from analysis.errors import ManifestError
from analysis.schemas import CONTRASTS
from analysis.stats.subject_changes import ALL_LEVELS, Sample, sample, subject_changes
from analysis.stats.t_tests import TTest, one_sample_t, welch_t
from analysis.tables.frames import typed_frame
from analysis.vocabulary import LEVELS, Status

WITHIN = "change from reference within group"
BETWEEN = "difference of change between groups"
_MEAN_OF_DISCS = ", mean of all discs"


@dataclass(frozen=True)
class _Design:
    """What the tests run over."""

    changes: pd.DataFrame
    members: dict[str, list[str]]  # group -> subjects, in the order of the subjects table
    reference_session: str
    confidence_level: float


def contrasts_frame(
    change: pd.DataFrame, subjects: pd.DataFrame, *, confidence_level: float = 0.95
) -> pd.DataFrame:
    """Every test of change, one row each.

    For each mask source that was measured by the method itself or drawn as reference, each level and `all` (mean over
    a subject's discs), each visit: within every group a one-sample t of per-cent change; for every pair of groups
    a Welch t of their difference, first minus second in the order of `subjects`. Holm runs within (family, source);
    `all` has families of its own, because it repeats the single discs. `family_size` counts the tests that could be
    done.

    Parameters
    ----------
    change : DataFrame
        As in `schemas.CHANGE`. Failed rows count as missing; flagged ones are used, and counted in `reason`.
    subjects : DataFrame
        As in `schemas.SUBJECTS`: also subjects never measured, so that `n_missing` is true.
    confidence_level : float
        Of the intervals, 0 to 1.

    Returns
    -------
    DataFrame, as in `schemas.CONTRASTS`
        A test with fewer than three subjects in a group, or without variance, keeps its row: failed, with reason, NaN.

    Raises
    ------
    ManifestError
        If the change table mixes reference visits or holds a subject that `subjects` does not.
    """
    _check(change, subjects)
    if change.empty:
        return typed_frame([], CONTRASTS)
    members = {str(g): list(own["subject"]) for g, own in subjects.groupby("group", sort=False)}
    design = _Design(subject_changes(change), members, str(change["reference_session"].iloc[0]), confidence_level)
    rows = []
    for source, own in change.groupby("source", sort=False):
        found = set(own["level"])
        levels = [level for level in LEVELS if level in found]
        sessions = list(own.sort_values("study_day", kind="stable")["session"].drop_duplicates())
        for family_levels, suffix in ((levels, ""), ([ALL_LEVELS] if levels else [], _MEAN_OF_DISCS)):
            where = [(level, session) for session in sessions for level in family_levels]
            within = [_within(design, str(source), g, at) for g in members for at in where]
            between = [_between(design, str(source), pair, at) for pair in combinations(members, 2) for at in where]
            rows += _holm(within, family=WITHIN + suffix) + _holm(between, family=BETWEEN + suffix)
    return typed_frame(rows, CONTRASTS)


def _check(change: pd.DataFrame, subjects: pd.DataFrame) -> None:
    references = sorted(change["reference_session"].unique())
    if len(references) > 1:
        remedy = "Count every change from one visit."
        raise ManifestError("one reference visit", ", ".join(references), "change table", remedy)
    unknown = sorted(set(change["subject"]) - set(subjects["subject"]))
    if unknown:
        remedy = "Add them to the subjects table."
        raise ManifestError("subjects of the study", ", ".join(unknown), "change table", remedy)


def _within(design: _Design, source: str, group: str, at: tuple[str, str]) -> dict[str, object]:
    level, session = at
    own = sample(design.changes, design.members[group], source=source, level=level, session=session)
    test = one_sample_t(own.values, confidence_level=design.confidence_level)
    words = "one-sample t of per-cent change against 0"
    return _row(design, test, [own], words=(words, "n - 1"), key=(source, group, level, session))


def _between(design: _Design, source: str, pair: tuple[str, str], at: tuple[str, str]) -> dict[str, object]:
    level, session = at
    both = [sample(design.changes, design.members[g], source=source, level=level, session=session) for g in pair]
    test = welch_t(both[0].values, both[1].values, confidence_level=design.confidence_level)
    words = "Welch t of per-cent changes, first group minus second"
    return _row(design, test, both, words=(words, "Satterthwaite"), key=(source, " - ".join(pair), level, session))


def _row(
    design: _Design, test: TTest, samples: Sequence[Sample], *, words: tuple[str, str], key: tuple[str, str, str, str]
) -> dict[str, object]:
    source, group, level, session = key
    notes = [note for s in samples for note in s.notes]
    status = Status.FAILED if test.reason else Status.FLAGGED if notes else Status.OK
    return {
        "analysis": words[0],
        "source": source,
        "level": level,
        "group": group,
        "reference_session": design.reference_session,
        "session": session,
        "n": test.n,
        "n_missing": sum(s.n_missing for s in samples),
        "estimate_percent": test.estimate,
        "se_percent": test.se,
        "ci_low_percent": test.ci_low,
        "ci_high_percent": test.ci_high,
        "confidence_level": design.confidence_level,
        "t": test.t,
        "df": test.df,
        "df_method": words[1],
        "p": test.p,
        "hedges_g": test.hedges_g,
        "status": str(status),
        "reason": "; ".join([test.reason] if test.reason else notes),
    }


def _holm(rows: list[dict[str, object]], *, family: str) -> list[dict[str, object]]:
    """Name the family of some tests and correct their p for the number that could be done."""
    valid = [row for row in rows if row["status"] != Status.FAILED]
    for row in rows:
        row.update(family=family, family_size=len(valid))
    if valid:
        for row, p in zip(valid, multipletests([row["p"] for row in valid], method="holm")[1], strict=True):
            row["p_holm"] = float(p)
    return rows
