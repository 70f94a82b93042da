"""Names discs by anatomy: from the sacrum up, with a confidence.

The network says what is disc, vertebra and sacrum; this module decides which disc lies between a vertebra and the
sacrum (L5-S1) and counts upwards, leaving a gap where a disc is missing. Without a sacrum in view discs stay unnamed
and say so; where two discs could be L5-S1 the names are flagged. How many lumbar vertebrae a person has cannot be told
from here. Knows nothing of intensities.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bedrest.anatomy.structures import Structure
from bedrest.findings import Finding, FindingCode
from bedrest.segmentation.regions import DiscRegion, find_discs
from bedrest.types import Grid, SegmentedDisc
from bedrest.vocabulary import FIRST_UNNAMED_LABEL, LEVEL_OF_LABEL

MISSING_GAP = 1.55  # a gap this many times the usual one hides a disc
ACROSS_A_GAP = 0.9  # certainty left to names above an inferred gap
MIN_LEVEL_CONFIDENCE = 0.70  # names below this confidence are flagged; two places equally likely give 0.5
LOW_PROBABILITY = 0.80
MAX_GAP_MM = 75.0
LEAST_DOUBT = 0.02  # what one look at a disc's neighbour leaves open at best
LARGE_REMNANT = 0.3  # a disc inside the sacrum this large beside L5-S1 speaks for a transitional vertebra

Labels = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class NamedDiscs:
    """Discs on the working grid.

    Attributes
    ----------
    labels : int32, (I, J, K)
        1 = L5-S1 ... 7 = T11-T12; 101, 102, ... unnamed, from the bottom up.
    discs : tuple of SegmentedDisc
    warnings : tuple of Finding
    """

    labels: Labels
    discs: tuple[SegmentedDisc, ...]
    warnings: tuple[Finding, ...]


def name_discs(probabilities: NDArray[np.float32], grid: Grid) -> NamedDiscs:
    """Find and name the discs.

    Parameters
    ----------
    probabilities : float32, (5, I, J, K), axes right, front, head
    grid : Grid
    """
    disc = probabilities[Structure.DISC]
    components, regions = find_discs(probabilities, grid)
    discs = [r for r in regions if r.on_vertebra >= 0.08]
    warnings: tuple[Finding, ...] = ()
    apart = [r for r in regions if r not in discs and r.on_sacrum < 0.08]
    if apart:
        warnings = (Finding(FindingCode.REGIONS_LEFT_OUT, {"count": len(apart)}),)
    if not discs:
        return _nothing(grid, warnings)
    start, confidence = _lumbosacral(discs)
    if start is None:
        return _unnamed(components, disc, discs, warnings)
    remnant = max((r.volume_mm3 for r in regions if r not in discs and r.on_sacrum >= 0.08), default=0.0)
    if remnant > LARGE_REMNANT * discs[start].volume_mm3:
        warnings += (Finding(FindingCode.DISC_IN_SACRUM),)
    return _named(components, disc, discs[start:], confidence, warnings)


def _lumbosacral(discs: list[DiscRegion]) -> tuple[int | None, float]:
    """Which of `discs`, from the bottom up, is L5-S1, and with what probability; none where no sacrum is in view.

    Each stretch below a disc is sacrum or vertebra; all that is sacrum lies below all that is vertebra. The
    probability of each place of the border is the product over stretches.
    """
    below = [discs[0].below, *(low.above + high.below for low, high in pairwise(discs))]
    sacrum = [float(np.clip(s / (s + v) if s + v > 0 else 0.5, LEAST_DOUBT, 1 - LEAST_DOUBT)) for s, v in below]
    likelihood = [np.prod(sacrum[:n]) * np.prod([1 - p for p in sacrum[n:]]) for n in range(len(discs) + 1)]
    best = int(np.argmax(likelihood))
    return (best - 1 if best else None), float(likelihood[best] / np.sum(likelihood))


def _nothing(grid: Grid, warnings: tuple[Finding, ...]) -> NamedDiscs:
    return NamedDiscs(np.zeros(grid.shape, np.int32), _levels_without(FindingCode.NO_DISC_FOUND), warnings)


def _unnamed(components: Labels, disc: NDArray[np.float32], discs: list[DiscRegion],
             warnings: tuple[Finding, ...]) -> NamedDiscs:
    labels, unnamed = np.zeros_like(components), []
    for i, d in enumerate(discs):
        mine = components == d.number
        labels[mine] = FIRST_UNNAMED_LABEL + i
        unnamed.append(SegmentedDisc(FIRST_UNNAMED_LABEL + i, f"unnamed-{i + 1}",
                                     (Finding(FindingCode.DISC_WITHOUT_LEVEL),), float(disc[mine].mean())))
    return NamedDiscs(labels, (*_levels_without(FindingCode.LEVEL_WITHOUT_DISC), *unnamed),
                      (*warnings, Finding(FindingCode.SACRUM_NOT_IN_VIEW)))


def _levels_without(code: FindingCode) -> tuple[SegmentedDisc, ...]:
    return tuple(SegmentedDisc(k, level, (Finding(code),)) for k, level in LEVEL_OF_LABEL.items())


def _named(components: Labels, disc: NDArray[np.float32], discs: list[DiscRegion], confidence: float,
           warnings: tuple[Finding, ...]) -> NamedDiscs:
    gaps = np.linalg.norm(np.diff(np.array([d.centre_mm for d in discs]), axis=0), axis=1)
    usual = float(np.median(gaps)) if gaps.size else 0.0
    label, region_of, confidence_of = 1, {1: discs[0]}, {1: confidence}
    for d, gap in zip(discs[1:], gaps, strict=True):
        if gap > MAX_GAP_MM:
            warnings += (Finding(FindingCode.DISCS_ABOVE_GAP_LEFT_OUT, {"gap_mm": gap}),)
            break
        across = gap > MISSING_GAP * usual
        label += 2 if across else 1
        confidence *= ACROSS_A_GAP if across else 1.0
        region_of[label], confidence_of[label] = d, confidence
    labels, named = np.zeros_like(components), []
    for k, level in LEVEL_OF_LABEL.items():
        if k not in region_of:
            code = FindingCode.DISC_OUT_OF_VIEW if k > max(region_of) else FindingCode.DISC_IN_GAP
            named.append(SegmentedDisc(k, level, (Finding(code),)))
            continue
        mine = components == region_of[k].number
        labels[mine] = k
        mean = float(disc[mine].mean())
        doubts = []
        if mean < LOW_PROBABILITY:
            doubts.append(Finding(FindingCode.LOW_PROBABILITY, {"probability": mean, "lowest": LOW_PROBABILITY}))
        if confidence_of[k] < MIN_LEVEL_CONFIDENCE:
            doubts.append(Finding(FindingCode.LEVEL_UNCERTAIN, {"confidence": confidence_of[k], "name": level}))
        named.append(SegmentedDisc(k, level, tuple(doubts), mean, confidence_of[k]))
    return NamedDiscs(labels, tuple(named), warnings)
