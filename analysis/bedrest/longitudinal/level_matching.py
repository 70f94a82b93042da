"""Names of discs at one visit held against those at the subject's other visits.

Each visit is named by itself, from the sacrum up. A person's spine has one shape: distances and angles between discs
differ from level to level and stay from visit to visit. So two visits that name alike lie on each other after one rigid
motion, and visits named one level apart do not. Where they do not, and another naming fits clearly better, the visit
that was less sure takes the names of the surer one, and says so. Knows nothing of images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from bedrest.findings import Finding, FindingCode
from bedrest.longitudinal.poses import Pose
from bedrest.vocabulary import EXCLUDE, LEVEL_OF_LABEL

ARM_MM = 25.0  # a disc's direction counts as a point this far along its normal
# How far apart the same disc may be at two visits: after the best rigid motion, and in size. Swelling moves neighbours
# apart, and discs do not swell alike.
PLACE_MM = 1.5
SIZE = 0.05  # of ln volume
LEAST_COMMON = 3  # discs in both visits; fewer lie on each other whatever they are
MIN_LEVEL_CONFIDENCE = 0.95  # probability a naming must have
MUCH_SURER = 0.2  # confidence by which visits must be surer than another to overrule it


@dataclass(frozen=True, eq=False)
class SeenDisc:
    """One disc of one visit.

    Attributes
    ----------
    label : number in the mask; above 100 where it has no level
    name : level, or unnamed-N
    confidence : that the level is right, 0 to 1; NaN without a level
    pose : where it lies
    volume_mm3 : its size
    """

    label: int
    name: str
    confidence: float
    pose: Pose
    volume_mm3: float


@dataclass(frozen=True)
class Match:
    """What the other visits say of one visit's names.

    Attributes
    ----------
    session : the visit
    names : found name to level, of every disc; the same name where neither visit is much surer, so that both stay
    finding : what the other visits say
    """

    session: str
    names: dict[str, str]
    finding: Finding


def match_levels(visits: Mapping[str, Sequence[SeenDisc]]) -> list[Match]:
    """Visits whose names do not fit those of the subject's other visits; none where all agree or too little is seen.

    The visit whose names are shared by the surest visits is right.

    Parameters
    ----------
    visits : session to its discs, from the bottom up
    """
    sure = {s: _sureness(discs) for s, discs in visits.items()}
    shifts = {r: {s: level_shift(visits[r], visits[s]) for s in visits} for r in visits if sure[r] > 0}
    support = {r: sum(sure[s] for s, shift in of.items() if shift == 0) for r, of in shifts.items()}
    if not support:
        return []
    right = max(support, key=lambda r: (support[r], sure[r]))
    return [_match(s, visits[s], shift, right, overruled=support[right] - support.get(s, 0.0) >= MUCH_SURER)
            for s, shift in shifts[right].items() if shift is not None and (shift or sure[s] == 0)]


def level_shift(reference: Sequence[SeenDisc], other: Sequence[SeenDisc]) -> int | None:
    """How many levels higher the other visit's discs should be named to fit the reference; None where that is open.

    Parameters
    ----------
    reference : discs of a visit with names
    other : discs of another; without names, the lowest counts as L5-S1 until it is moved
    """
    fixed, moving = _slots(reference), _slots(other)
    likely = {}
    for shift in range(1 - max(moving, default=1), max(LEVEL_OF_LABEL)):
        pairs = [(fixed[slot + shift], d) for slot, d in moving.items() if slot + shift in fixed]
        if len(pairs) >= LEAST_COMMON:
            likely[shift] = -0.5 * _difference(pairs) * len(moving) / len(pairs)
    if not likely:
        return None
    best = max(likely, key=lambda shift: likely[shift])
    others = sum(np.exp(value - likely[best]) for value in likely.values())
    return best if 1 / others >= MIN_LEVEL_CONFIDENCE else None


def _difference(pairs: Sequence[tuple[SeenDisc, SeenDisc]]) -> float:
    """Squared differences of discs taken to be the same, in units of what is usual: place, direction, size."""
    first, second = (np.array([q for d in discs for q in (d.pose.centre_mm, _tip_mm(d.pose))])
                     for discs in zip(*pairs, strict=True))
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    apart_mm = Rotation.align_vectors(first, second)[1]
    sizes = [np.log(a.volume_mm3 / b.volume_mm3) for a, b in pairs]
    return float((apart_mm / PLACE_MM) ** 2 + np.sum(np.square(np.array(sizes) - np.mean(sizes))) / SIZE**2)


def _tip_mm(pose: Pose) -> NDArray[np.float64]:
    return pose.centre_mm + ARM_MM * pose.axes[:, 2]


def _sureness(discs: Sequence[SeenDisc]) -> float:
    sure = [d.confidence for d in discs if d.label in LEVEL_OF_LABEL]
    return float(np.mean(sure)) if sure else 0.0


def _slots(discs: Sequence[SeenDisc]) -> dict[int, SeenDisc]:
    """Place on the ladder of levels, 1 = L5-S1, to disc."""
    named = {d.label: d for d in discs if d.label in LEVEL_OF_LABEL}
    return named or dict(enumerate(discs, start=1))


def _match(session: str, discs: Sequence[SeenDisc], shift: int, right: str, *, overruled: bool) -> Match:
    slots = {d.name: slot for slot, d in _slots(discs).items()}
    moved = {name: LEVEL_OF_LABEL.get(slot + shift, EXCLUDE) for name, slot in slots.items()}
    if _sureness(discs) == 0:
        return Match(session, moved, Finding(FindingCode.NAMED_AS_AT_OTHER_VISIT, {"like": right}))
    values = {"like": right, "levels": abs(shift), "direction": "higher" if shift > 0 else "lower"}
    if overruled:
        return Match(session, moved, Finding(FindingCode.RENAMED_AS_AT_OTHER_VISIT, values))
    return Match(session, {name: name for name in slots}, Finding(FindingCode.NAMES_DIFFER_FROM_OTHER_VISIT, values))
