"""Are the discs of a subject named alike at every visit?

Each visit is named by itself, from the sacrum up. A subject's spine keeps its shape: distances and angles between discs
differ from level to level and stay from visit to visit. So two visits with the same names coincide after one rigid
motion, and visits named one level apart do not. Where they do not, and another naming fits clearly better, the visit
named with less confidence takes the names of the others, and says so. Knows nothing of images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from bedrest.anatomy.absent import slots_of
from bedrest.findings import Finding, FindingCode
from bedrest.longitudinal.poses import Pose
from bedrest.vocabulary import EXCLUDE, LEVEL_OF_LABEL

ARM_MM = 25.0  # a disc's direction counts as a point this far along its normal
# Usual differences of one disc between two visits: after the best rigid motion, and in size. Swelling moves neighbours
# apart, and discs do not swell alike.
POSITION_SD_MM = 1.5
LN_VOLUME_SD = 0.05
MIN_COMMON_DISCS = 3  # in both visits; fewer fit each other whatever they are
MIN_SHIFT_PROBABILITY = 0.95  # of the best shift of levels, to be taken
MIN_CONFIDENCE_LEAD = 0.2  # by which visits must lead another to overrule its names


@dataclass(frozen=True, eq=False)
class PlacedDisc:
    """One disc of one visit."""

    label: int  # number in the mask; above 100 where it has no level
    name: str  # level, or unnamed-N
    confidence: float  # that the level is right, 0 to 1; NaN without a level
    pose: Pose  # position and direction
    volume_mm3: float


@dataclass(frozen=True)
class Match:
    """The names that one visit's discs should have by the subject's other visits."""

    session: str  # the visit
    # name from the visit alone to level, of every disc; unchanged where no visit leads clearly, so that both stay
    names: dict[str, str]
    finding: Finding  # what the other visits show


def match_levels(visits: Mapping[str, Sequence[PlacedDisc]]) -> list[Match]:
    """Visits whose names do not fit those of the subject's other visits; none where all agree or too few discs show.

    The names with the largest summed confidence of the visits that share them are taken as right.

    `visits`: session to its discs, from the bottom up.
    """
    confidence = {s: _mean_confidence(discs) for s, discs in visits.items()}
    shifts = {r: {s: level_shift(visits[r], visits[s]) for s in visits} for r in visits if confidence[r] > 0}
    support = {r: sum(confidence[s] for s, shift in of.items() if shift == 0) for r, of in shifts.items()}
    if not support:
        return []
    right = max(support, key=lambda r: (support[r], confidence[r]))
    return [_match(s, visits[s], shift, right, overruled=support[right] - support.get(s, 0.0) >= MIN_CONFIDENCE_LEAD)
            for s, shift in shifts[right].items() if shift is not None and (shift or confidence[s] == 0)]


def level_shift(reference: Sequence[PlacedDisc], other: Sequence[PlacedDisc]) -> int | None:
    """Number of levels by which the names of the other visit must move up to fit the reference; None if undecided.

    `reference`: discs of a visit with names. `other`: discs of another; without names, the lowest counts as L5-S1 until
    it is moved, and a wide gap as a disc that was missed.
    """
    fixed, moving = _slots(reference), _slots(other)
    log_likelihood = {}
    for shift in range(1 - max(moving, default=1), max(LEVEL_OF_LABEL)):
        pairs = [(fixed[slot + shift], d) for slot, d in moving.items() if slot + shift in fixed]
        if len(pairs) >= MIN_COMMON_DISCS:
            log_likelihood[shift] = -0.5 * _difference(pairs) * len(moving) / len(pairs)
    if not log_likelihood:
        return None
    best = max(log_likelihood, key=lambda shift: log_likelihood[shift])
    total = sum(np.exp(value - log_likelihood[best]) for value in log_likelihood.values())
    return best if 1 / total >= MIN_SHIFT_PROBABILITY else None


def _difference(pairs: Sequence[tuple[PlacedDisc, PlacedDisc]]) -> float:
    """Squared differences of paired discs in position, direction and size, in units of the usual SD."""
    first, second = (np.array([q for d in discs for q in (d.pose.centre_mm,
                                                          d.pose.centre_mm + ARM_MM * d.pose.axes[:, 2])])
                     for discs in zip(*pairs, strict=True))
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    apart_mm = Rotation.align_vectors(first, second)[1]
    ln_ratio = np.log([a.volume_mm3 / b.volume_mm3 for a, b in pairs])
    return float((apart_mm / POSITION_SD_MM) ** 2 + np.sum(np.square(ln_ratio - np.mean(ln_ratio))) / LN_VOLUME_SD**2)


def _mean_confidence(discs: Sequence[PlacedDisc]) -> float:
    named = [d.confidence for d in discs if d.label in LEVEL_OF_LABEL]
    return float(np.mean(named)) if named else 0.0


def _slots(discs: Sequence[PlacedDisc]) -> dict[int, PlacedDisc]:
    """Place on the ladder of levels, 1 = L5-S1, to disc."""
    named = {d.label: d for d in discs if d.label in LEVEL_OF_LABEL}
    if named or not discs:
        return named
    return {slot + 1: d for slot, d in zip(slots_of([d.pose.centre_mm for d in discs]), discs, strict=True)}


def _match(session: str, discs: Sequence[PlacedDisc], shift: int, right: str, *, overruled: bool) -> Match:
    slots = {d.name: slot for slot, d in _slots(discs).items()}
    moved = {name: LEVEL_OF_LABEL.get(slot + shift, EXCLUDE) for name, slot in slots.items()}
    if _mean_confidence(discs) == 0:
        return Match(session, moved, Finding(FindingCode.NAMED_AS_AT_OTHER_VISIT, {"like": right}))
    values = {"like": right, "levels": abs(shift), "direction": "higher" if shift > 0 else "lower"}
    if overruled:
        return Match(session, moved, Finding(FindingCode.RENAMED_AS_AT_OTHER_VISIT, values))
    return Match(session, {name: name for name in slots}, Finding(FindingCode.NAMES_DIFFER_FROM_OTHER_VISIT, values))
