"""Whether labels that are named as discs can be these discs: what they are, their order, what they lie between.

A contradiction says what was expected, what was found and what to do; doubts are findings. Knows no numberings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bedrest.anatomy.label_schemes import BINARY, SACRUM
from bedrest.findings import Finding, FindingCode
from bedrest.measurement.numbering.stack import Stack
from bedrest.measurement.quality import spacing_looks_permuted
from bedrest.vocabulary import LABEL_OF_LEVEL, LEVEL_OF_LABEL

_DISCS = tuple(LEVEL_OF_LABEL.values())
# Distance of neighbours over the mask's median: 0.78 to 1.25 in the SPIDER masks, 0.55 at rudiments of a disc in S1.
GAPS = (0.5, 1.6)
_FEWEST_GAPS = 3


@dataclass(frozen=True)
class Contradiction:
    """Why labels cannot be the discs that they are named, in the parts of a message."""

    expected: str
    actual: str
    remedy: str
    pairs: str = ""  # names that would fit, as typed; the remedy speaks of them


def pairs_of(labels: Iterable[int]) -> str:
    """Labels from the bottom up as they would be typed if the lowest were L5-S1."""
    return ",".join(f"{label}={level}" for label, level in zip(labels, _DISCS, strict=False))


def contradiction(stack: Stack, levels: Mapping[int, str], bones: Mapping[int, str]) -> Contradiction | None:
    """The first reason why these labels cannot be these discs; None where nothing speaks against it.

    Parameters
    ----------
    levels : label to level, of labels that the mask need not hold
    bones : label to vertebra or sacrum, as far as the mask's numbering knows them
    """
    if (label := stack.background()) != 0:
        return Contradiction("0 as background", f"label {label} all around", "Write the mask with 0 as background.")
    if not stack.labels:
        return None
    if spacing_looks_permuted(stack.mask.grid):
        return None  # no place can be trusted; every disc says so
    return _not_discs(stack) or (_out_of_order(stack, levels) or _between(stack, levels, bones)
                                 if stack.upright else None)


def doubts(stack: Stack, levels: Mapping[int, str]) -> dict[str, list[Finding]]:
    """Doubts by level: discs too far from or too near to their neighbours, or stacked along another axis."""
    if len(stack.labels) < 2 or spacing_looks_permuted(stack.mask.grid):
        return {}
    if not stack.upright:
        degrees = float(np.rad2deg(np.arccos(stack.axis[2])))
        return {levels[label]: [Finding(FindingCode.NOT_UPRIGHT, {"degrees": degrees})] for label in stack.labels}
    labels = sorted(stack.labels, key=lambda label: LABEL_OF_LEVEL[levels[label]])
    steps = [(a, b, (stack.height_mm(b) - stack.height_mm(a)) / (LABEL_OF_LEVEL[levels[b]] - LABEL_OF_LEVEL[levels[a]]))
             for a, b in pairwise(labels)]
    usual = float(np.median([mm for _, _, mm in steps]))
    by_level: dict[str, list[Finding]] = {}
    if len(steps) < _FEWEST_GAPS or usual <= 0:
        return by_level
    for a, b, mm in steps:
        if not GAPS[0] <= mm / usual <= GAPS[1]:
            for disc, other in ((levels[a], levels[b]), (levels[b], levels[a])):
                by_level.setdefault(disc, []).append(Finding(FindingCode.DISC_DISTANCE, {
                    "name": other, "distance_mm": mm, "usual_mm": usual}))
    return by_level


def _not_discs(stack: Stack) -> Contradiction | None:
    several = [label for label in stack.labels if not stack.is_flat(label) and stack.pieces_along(label) > 1]
    if several:
        return _parts(stack, several)
    if not stack.what:
        return None
    shown = ", ".join(map(str, sorted(stack.labels)))
    if stack.what == "points":
        return Contradiction("discs with a volume", f"points or specks under the labels {shown}",
                             "Such a mask marks places, as labelled discs of SCT do: give the mask of the discs.")
    what = ("bodies as thick as vertebrae" if stack.what == "vertebrae" else
            "bodies that lie along the spine, as cord and canal do,")
    flat = stack.discs_among(stack.bodies)
    pairs = pairs_of(flat)
    return Contradiction("labels that are discs", f"{what} under the labels {shown}",
                         f"Flat as discs are the labels {', '.join(map(str, flat))}; if the lowest is L5-S1: "
                         "{option}." if flat else "There is no stack of flat labels in this mask: give the mask of the "
                         "discs.", pairs)


def _parts(stack: Stack, several: list[int]) -> Contradiction:
    """Labels that are in several parts one above the other."""
    shown = f"label {several[0]}" if len(several) == 1 else f"each of the labels {', '.join(map(str, several))}"
    actual = f"{stack.pieces_along(several[0])} parts one above the other under {shown}"
    if len(stack.labels) > 1:
        return Contradiction("one label for each disc", actual, "If the mask was resampled, do that with nearest "
                             "neighbour: other ways mix the numbers. Otherwise give every disc a number.")
    give = "{option}" if several == [1] or len(stack.bodies) == 1 else "write the discs alone as 1 and give {option}"
    return Contradiction("one label for each disc", actual, "If all discs have this one label and the lowest is L5-S1: "
                         f"{give}. Otherwise give every disc a number.", BINARY)


def _out_of_order(stack: Stack, levels: Mapping[int, str]) -> Contradiction | None:
    names = [levels[label] for label in stack.bottom_up(stack.labels)]
    right = sorted(names, key=LABEL_OF_LEVEL.__getitem__)
    if names == right:
        return None
    pairs = ",".join(f"{label}={level}" for label, level in zip(stack.bottom_up(stack.labels), right, strict=True))
    expected = f"from the bottom up {', '.join(right)}"
    if names == right[::-1]:
        return Contradiction(expected, f"{', '.join(names)}: the mask is numbered from the top, or head and foot are "
                             "exchanged in its header", "If it is numbered from the top: {option}. Otherwise correct "
                             "the header.", pairs)
    moved = [name for name, other in zip(names, right, strict=True) if name != other]
    return Contradiction(expected, f"{', '.join(names)}: {' and '.join(moved)} are exchanged",
                         "Look at the mask; if the discs are right and their names are not: {option}.", pairs)


def _between(stack: Stack, levels: Mapping[int, str], bones: Mapping[int, str]) -> Contradiction | None:
    """Discs that do not lie between the bones of their names."""
    place = {bone: stack.height_mm(label) for label, bone in bones.items() if label in stack.bodies}
    names = (SACRUM, *(level.split("-")[0] for level in _DISCS))  # the bones from the bottom up; disc i lies on bone i

    def fits(disc: int, height_mm: float) -> bool | None:
        if not 0 <= disc < len(_DISCS):
            return None
        below, above = place.get(names[disc]), place.get(names[disc + 1])
        if below is None and above is None:
            return None
        return (below is None or below < height_mm) and (above is None or height_mm < above)

    discs = [(LABEL_OF_LEVEL[levels[label]] - 1, stack.height_mm(label)) for label in stack.labels]
    count = {k: sum(bool(fits(disc + k, h)) for disc, h in discs) for k in (0, 1, -1, 2, -2)}
    judged = sum(fits(disc, h) is not None for disc, h in discs)
    best = max(count, key=lambda k: count[k])
    if 2 * count[0] >= judged or not judged:
        return None
    off = f"named {abs(best)} level{'s' if abs(best) > 1 else ''} too {'low' if best > 0 else 'high'}" \
        if best and 2 * count[best] > len(discs) else "not named as the bones beside them"
    pairs = ",".join(f"{label}={_DISCS[disc + best]}" for label, (disc, _) in zip(stack.labels, discs, strict=True)
                     if 0 <= disc + best < len(_DISCS))
    return Contradiction("every disc between the bones of its name", f"{judged - count[0]} of {judged} elsewhere: "
                         f"discs {off}", "Find out which names are right, those of the bones or of the discs; if those "
                         "of the bones: {option}." if best else "Find out which names are right.", pairs)
