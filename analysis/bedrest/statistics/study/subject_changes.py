"""A change table -> one number a subject for each source, level and visit.

The subject is the unit: the seven discs of one subject are not seven observations. Must not know tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bedrest.vocabulary import ALL_LEVELS, LEVELS, Status


@dataclass(frozen=True)
class Sample:
    """The values of one group for one test.

    Attributes
    ----------
    values : one change in per cent a subject that has one
    n_missing : subjects of the group without a usable pair of visits
    notes : what a reader must know of the values, empty when nothing
    """

    values: tuple[float, ...]
    n_missing: int
    notes: tuple[str, ...]


def subject_changes(change: pd.DataFrame) -> pd.DataFrame:
    """One row a source, subject, session and level (each level, and `all`) with a usable change.

    `all` is the mean over the subject's levels that are usable at every visit where that subject has any usable disc:
    a subject's mean then follows the same discs through the study, so that a disc lost at one visit does not look
    like change. A visit without any usable disc counts as missed and does not cost the others.

    Parameters
    ----------
    change : DataFrame
        As in `schemas.CHANGE`. Failed rows and unnamed discs are left out here and counted as missing by `sample`.

    Returns
    -------
    DataFrame
        Columns source, subject, session, level, change_percent, n_flagged (flagged discs in the value), n_levels
        (discs in the value), n_expected (levels the source has in the table).
    """
    named = change[change["level"].isin(LEVELS)]
    usable = named[(named["status"] != Status.FAILED) & named["change_percent"].notna()]
    expected = named.groupby("source")["level"].nunique()
    single = usable[["source", "subject", "session", "level", "change_percent"]].assign(
        n_flagged=(usable["status"] == Status.FLAGGED).astype(int), n_levels=1
    )
    by_subject = ["source", "subject"]
    visits = single.groupby(by_subject)["session"].transform("nunique")
    kept = single[single.groupby([*by_subject, "level"])["session"].transform("nunique") == visits]
    mean = (
        kept.groupby([*by_subject, "session"], sort=False)
        .agg(change_percent=("change_percent", "mean"), n_flagged=("n_flagged", "sum"), n_levels=("level", "size"))
        .reset_index()
        .assign(level=ALL_LEVELS)
    )
    both = pd.concat([f for f in (single, mean) if len(f)] or [single], ignore_index=True)
    return both.assign(n_expected=both["source"].map(expected))


def sample(changes: pd.DataFrame, members: Sequence[str], *, source: str, level: str, session: str) -> Sample:
    """The values of one group for one test.

    Parameters
    ----------
    changes : DataFrame, from `subject_changes`
    members : subjects of the group, whether measured or not
    source, level, session : which change; level may be `all`
    """
    rows = changes[
        (changes["source"] == source)
        & (changes["level"] == level)
        & (changes["session"] == session)
        & changes["subject"].isin(members)
    ]
    notes = []
    flagged = int((rows["n_flagged"] > 0).sum())
    if flagged:
        notes.append(f"{flagged} of {len(rows)} subjects bring a flagged disc")
    incomplete = int((rows["n_levels"] < rows["n_expected"]).sum()) if level == ALL_LEVELS else 0
    if incomplete:
        notes.append(f"{incomplete} of {len(rows)} subjects bring fewer than {rows['n_expected'].max()} discs")
    return Sample(tuple(rows["change_percent"]), len(members) - len(rows), tuple(notes))
