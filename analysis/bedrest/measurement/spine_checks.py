"""Which discs do not fit in with the other discs of the same spine, and why.

A disc alone can be plausible and still be wrong: another structure, or a neighbour's share of it. Knows nothing of how
a mask was made. Discs without a level are not judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bedrest.findings import Finding, FindingCode
from bedrest.measurement.definition import DiscMeasure
from bedrest.measurement.registry import VOLUME
from bedrest.measurement.signals import FAT_FRACTION, NORMALISED, SIGNALS
from bedrest.measurement.symmetry import check_symmetry
from bedrest.types import LabelMap
from bedrest.vocabulary import Contrast, Status

# Volume of each level over that of L3-L4: half width x half depth x height after Zhou et al., Eur Spine J 2000;9:242,
# as in `phantom.anatomy`. 41 healthy volunteers (Menezes-Reis et al., Quant Imaging Med Surg 2016;6:402) have 0.85,
# 1.01, 1, 0.88 and 0.70 from L5-S1 to L1-L2.
TYPICAL_VOLUME = {"L5-S1": 0.87, "L4-L5": 1.06, "L3-L4": 1.0, "L2-L3": 0.86, "L1-L2": 0.69, "T12-L1": 0.54,
                  "T11-T12": 0.43}
# A disc over what the others let expect: 0.57 to 1.54 in those volunteers, 0.52 to 1.33 in 875 healthy synthetic discs;
# of 784 with worn, thin and transitional ones, 2 (0.3 %) lie outside the limits.
VOLUME_RATIO = (0.3, 2.0)
FEWEST_OTHERS = 3

# Water or T2 signal over the other discs'. A worn disc is dark too, and real: in phantoms with strong gain fields it
# keeps 0.52 of the others' T2 signal. Air has 0.06 of a disc's water signal (all of it noise), fat 0.09.
DARKEST_RATIO = 0.15
# T2 signal over the canal's fluid: 0.23 to 0.48 in the phantoms; none of a disc's tissues is brighter than fluid.
BRIGHTEST_T2 = 1.0
# At most 0.13 in the phantoms, noise floor included; vertebral marrow has 0.4 to 0.5.
HIGHEST_FAT_FRACTION = 0.25


def checked(measures: Sequence[DiscMeasure], discs: LabelMap) -> list[DiscMeasure]:
    """The same measures with every doubt that takes several discs.

    Parameters
    ----------
    measures : sequence of DiscMeasure, all discs of one mask
    discs : LabelMap, the mask, shape (I, J, K), world frame RAS+
    """
    spine, sides = check_spine(measures), check_symmetry(measures, discs)
    return [replace(m, findings=(*m.findings, *spine.get(m.level, []), *sides.get(m.level, []))) for m in measures]


def check_spine(measures: Sequence[DiscMeasure]) -> dict[str, list[Finding]]:
    """Discs out of line with their own spine, by level; no entry where nothing speaks against a disc.

    A disc is compared with the median of the others and not by a robust z: six discs of a healthy spine are so alike
    that their spread is next to nothing, and one that is worn would lie any number of spreads away. A worn disc is
    thin and dark, and real.

    Volume and darkness are judged with three other discs or more.

    Parameters
    ----------
    measures : sequence of DiscMeasure, all discs of one mask at one visit; failed and unnamed ones are left out
    """
    named = [m for m in measures if m.status != Status.FAILED and m.level in TYPICAL_VOLUME]
    by_level = {m.level: [*_volume_doubts(m, named), *_signal_doubts(m, named)] for m in named}
    return {level: doubts for level, doubts in by_level.items() if doubts}


def _volume_doubts(disc: DiscMeasure, discs: Sequence[DiscMeasure]) -> list[Finding]:
    share = {m.level: m[VOLUME.name] / TYPICAL_VOLUME[m.level] for m in discs}
    ratio = _over_others(disc.level, share)
    if VOLUME_RATIO[0] <= ratio <= VOLUME_RATIO[1] or np.isnan(ratio):
        return []
    return [Finding(FindingCode.VOLUME_OUT_OF_LINE, {
        "value_mm3": disc[VOLUME.name], "ratio": ratio, "name": disc.level, "low": VOLUME_RATIO[0],
        "high": VOLUME_RATIO[1]})]


def _signal_doubts(disc: DiscMeasure, discs: Sequence[DiscMeasure]) -> list[Finding]:
    doubts = []
    for contrast in (Contrast.WATER, Contrast.T2):
        ratio = _over_others(disc.level, {m.level: m[SIGNALS[contrast].name] for m in discs})
        if ratio < DARKEST_RATIO:
            doubts.append(Finding(FindingCode.SIGNAL_TOO_DARK, {
                "contrast": contrast, "ratio": ratio, "low": DARKEST_RATIO}))
    t2 = disc[NORMALISED[Contrast.T2].name]
    if t2 > BRIGHTEST_T2:
        doubts.append(Finding(FindingCode.BRIGHTER_THAN_FLUID, {"ratio": t2, "high": BRIGHTEST_T2}))
    fat_fraction = disc[FAT_FRACTION.name]
    if fat_fraction > HIGHEST_FAT_FRACTION:
        doubts.append(Finding(FindingCode.FAT_FRACTION_HIGH, {
            "fraction": fat_fraction, "high": HIGHEST_FAT_FRACTION}))
    return doubts


def _over_others(level: str, values: Mapping[str, float]) -> float:
    """A level's value over the median of the others'; NaN where it has none or there are too few others."""
    others = [v for name, v in values.items() if name != level and np.isfinite(v)]
    if len(others) < FEWEST_OTHERS or not np.median(others) > 0:
        return float("nan")
    return values.get(level, float("nan")) / float(np.median(others))
