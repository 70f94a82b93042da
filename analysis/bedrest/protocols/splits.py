"""Who is learnt from and who is tested: by subject, never by scan, or from visit to visit where a paper did so.

Knows nothing of methods.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bedrest.errors import StudyError

HELD_OUT = 0.25
Key = tuple[str, str]  # subject, session


@dataclass(frozen=True)
class Split:
    """One training: the visits learnt from, and those tested."""

    name: str
    training: tuple[Key, ...]
    testing: tuple[Key, ...]


def by_subject(visits: Iterable[Key], *, folds: int, seed: int) -> list[Split]:
    """A quarter of the subjects held out, or every subject tested once in `folds` groups; the same for the same seed.

    Raises StudyError: one fold, fewer subjects than folds, or one subject only.
    """
    listed = sorted(visits)
    subjects = sorted({s for s, _ in listed})
    if folds == 1 or folds < 0:
        raise StudyError("0 folds, or 2 and more", str(folds), "--folds", "One fold leaves nobody to learn from.")
    needed = max(folds, 2)
    if len(subjects) < needed:
        raise StudyError(f"at least {needed} subjects with reference masks", str(len(subjects)),
                         "--folds" if folds else "bedrest benchmark",
                         "Scans of one subject must not test each other: add subjects, or use fewer folds.")
    order = [subjects[i] for i in np.random.default_rng(seed).permutation(len(subjects))]
    groups = [order[i::folds] for i in range(folds)] or [order[: max(1, round(HELD_OUT * len(order)))]]
    return [Split(f"fold-{i + 1}" if folds else "holdout", tuple(v for v in listed if v[0] not in group),
                  tuple(v for v in listed if v[0] in group)) for i, group in enumerate(groups)]


def by_visit(visits: Iterable[Key], *, sessions: Sequence[str]) -> list[Split]:
    """From visit 1 to visit 2 and back; subjects with both visits alone.

    `sessions`: in the order of study days, the reference session first; visit 2 is the first other one that a subject
    with a first visit has.
    Raises StudyError: no subject has two.
    """
    listed = sorted(visits)
    first = sessions[0]
    began = {s for s, v in listed if v == first}
    for second in sessions[1:]:
        both = sorted(began & {s for s, v in listed if v == second})
        if both:
            one, two = (tuple((s, v) for s in both) for v in (first, second))
            return [Split("visit-1-to-2", one, two), Split("visit-2-to-1", two, one)]
    raise StudyError(f"subjects with reference masks at {first} and at another visit", "none", "bedrest benchmark",
                     "Add masks; where folders are scans (IVDM3Seg), pair them with images.pairs in study.toml.")
