"""Names discs by anatomy: from the sacrum up, with a confidence.

The network says what is disc, vertebra and sacrum; `lumbosacral` which disc is the lowest. From there levels are
counted upwards, leaving a gap where a disc is missing. Where the image ends above the sacrum discs stay unnamed and say
so; where two discs could be L5-S1, or the sacrum was not recognised, the names are flagged. The number of lumbar
vertebrae of a subject cannot be determined from these images. Knows nothing of intensities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bedrest.anatomy.absent import slots_of, why_absent
from bedrest.anatomy.structures import Structure
from bedrest.findings import Finding, FindingCode
from bedrest.segmentation.lumbosacral import LowestDisc, lowest_disc
from bedrest.segmentation.regions import DiscRegion, find_discs
from bedrest.types import Grid, SegmentedDisc
from bedrest.vocabulary import FIRST_UNNAMED_LABEL, LEVEL_OF_LABEL

GAP_CONFIDENCE = 0.9  # factor of the confidence of names above an inferred gap
MIN_LEVEL_CONFIDENCE = 0.70  # names below this confidence are flagged; two places equally likely give 0.5
MIN_MEAN_PROBABILITY = 0.80
MAX_GAP_MM = 75.0
MIN_AT_EDGE = 0.85  # probability of L5-S1, where less than a body of bone below it is in view; else no names
# Spinal canal in view, cm3 a disc: at least 4.5 in real lumbar scans and in an abdomen with two discs in view, 8 in
# phantoms; at most 1.2 in what the network takes for discs in an axial upper abdomen.
FEWEST_CANAL_CM3 = 1.5
FEWEST_DISCS = 3  # with the sacrum in view; lumbar scans show six or seven
LARGE_REMNANT = 0.3  # size of a disc inside the sacrum, relative to L5-S1, that suggests a transitional vertebra

Labels = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class NamedDiscs:
    """Discs on the working grid."""

    labels: Labels  # (I, J, K); 1 = L5-S1 ... 7 = T11-T12; 101, 102, ... unnamed, from the bottom up.
    discs: tuple[SegmentedDisc, ...]
    warnings: tuple[Finding, ...]


def name_discs(probabilities: NDArray[np.float32], grid: Grid) -> NamedDiscs:
    """Find and name the discs in probabilities, (5, I, J, K), axes right, front, head."""
    disc = probabilities[Structure.DISC]
    components, regions = find_discs(probabilities, grid)
    discs = [r for r in regions if r.on_vertebra >= 0.08]
    apart = sum(r not in discs and r.on_sacrum < 0.08 for r in regions)
    warnings: tuple[Finding, ...] = (Finding(FindingCode.REGIONS_LEFT_OUT, {"count": apart}),) if apart else ()
    if not discs:
        return NamedDiscs(np.zeros(grid.shape, np.int32), _levels_without(FindingCode.NO_DISC_FOUND), warnings)
    canal_cm3 = float((probabilities.argmax(axis=0) == Structure.CANAL).sum()) * grid.voxel_volume_mm3 / 1000
    if canal_cm3 < FEWEST_CANAL_CM3 * len(discs):
        doubt = Finding(FindingCode.NO_SPINAL_CANAL, {"canal_cm3": canal_cm3 / len(discs), "low": FEWEST_CANAL_CM3})
        return _unnamed(components, disc, discs, warnings, doubt)
    lowest = lowest_disc(discs, probabilities, grid)
    if not lowest.border_in_view:
        return _unnamed(components, disc, discs, warnings)
    if lowest.at_edge and lowest.probability < MIN_AT_EDGE:
        return _unnamed(components, disc, discs, warnings, lowest)
    remnant = max((r.volume_mm3 for r in regions if r not in discs and r.on_sacrum >= 0.08), default=0.0)
    if remnant > LARGE_REMNANT * discs[0].volume_mm3:
        warnings += (Finding(FindingCode.DISC_IN_SACRUM),)
    return _named(components, disc, discs, lowest, warnings, grid)


def _unnamed(components: Labels, disc: NDArray[np.float32], discs: list[DiscRegion],
             warnings: tuple[Finding, ...], doubt: Finding | LowestDisc | None = None) -> NamedDiscs:
    """Without names: the sacrum is not in view, or too little of what could be it, or for the doubt given."""
    labels, unnamed = np.zeros_like(components), []
    for i, d in enumerate(discs):
        why = doubt if isinstance(doubt, Finding) else Finding(FindingCode.DISC_WITHOUT_LEVEL)
        if isinstance(doubt, LowestDisc) and (name := LEVEL_OF_LABEL.get(doubt.label + i)):
            why = Finding(FindingCode.ENDS_BELOW_LOWEST_DISC, {"confidence": doubt.probability, "name": name})
        voxels = components == d.number
        labels[voxels] = FIRST_UNNAMED_LABEL + i
        unnamed.append(SegmentedDisc(FIRST_UNNAMED_LABEL + i, f"unnamed-{i + 1}",
                                     (why,), float(disc[voxels].mean())))
    no_spine = isinstance(doubt, Finding)
    levels = _levels_without(FindingCode.NOT_A_LUMBAR_SPINE if no_spine else FindingCode.LEVEL_WITHOUT_DISC)
    return NamedDiscs(labels, (*levels, *unnamed),
                      (*warnings, *(() if no_spine else (Finding(FindingCode.SACRUM_NOT_IN_VIEW),))))


def _levels_without(code: FindingCode) -> tuple[SegmentedDisc, ...]:
    return tuple(SegmentedDisc(k, level, (Finding(code),)) for k, level in LEVEL_OF_LABEL.items())


def _named(components: Labels, disc: NDArray[np.float32], discs: list[DiscRegion], lowest: LowestDisc,
           warnings: tuple[Finding, ...], grid: Grid) -> NamedDiscs:
    slots, confidence = slots_of([d.centre_mm for d in discs]), lowest.probability
    of_all = []
    if lowest.share_sacrum < 0.5:
        of_all.append(Finding(FindingCode.SACRUM_NOT_RECOGNISED, {"sacrum": lowest.share_sacrum}))
    if lowest.label > 1:
        of_all.append(Finding(FindingCode.LOWEST_DISC_MISSED, {"count": lowest.label - 1}))
    region_of, confidence_of = {}, {}
    for i, d in enumerate(discs):
        gap_mm = float(np.linalg.norm(d.centre_mm - discs[i - 1].centre_mm)) if i else 0.0
        if gap_mm > MAX_GAP_MM:
            warnings += (Finding(FindingCode.DISCS_ABOVE_GAP_LEFT_OUT, {"gap_mm": gap_mm}),)
            break
        confidence *= GAP_CONFIDENCE if i and slots[i] - slots[i - 1] > 1 else 1.0
        if (label := lowest.label + slots[i]) >= 1:
            region_of[label], confidence_of[label] = d, confidence
    labels, named = np.zeros_like(components), []
    centres = {k: d.centre_mm for k, d in region_of.items()}
    for k, level in LEVEL_OF_LABEL.items():
        if k not in region_of:
            named.append(SegmentedDisc(k, level, (why_absent(centres, k, grid),)))
            continue
        voxels = components == region_of[k].number
        labels[voxels] = k
        mean = float(disc[voxels].mean())
        doubts = list(of_all)
        if mean < MIN_MEAN_PROBABILITY:
            doubts.append(Finding(FindingCode.LOW_PROBABILITY, {"probability": mean, "lowest": MIN_MEAN_PROBABILITY}))
        if confidence_of[k] < MIN_LEVEL_CONFIDENCE:
            doubts.append(Finding(FindingCode.LEVEL_UNCERTAIN, {"confidence": confidence_of[k], "name": level}))
        if len(region_of) < FEWEST_DISCS:
            doubts.append(Finding(FindingCode.FEW_DISCS, {"count": len(region_of)}))
        named.append(SegmentedDisc(k, level, tuple(doubts), mean, confidence_of[k]))
    return NamedDiscs(labels, tuple(named), warnings)
