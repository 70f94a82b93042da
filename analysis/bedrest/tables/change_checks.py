"""Which changes between two visits cannot be believed, and why: too large, not the same disc, not acquired alike.

Knows nothing of images, nor of how a single visit was checked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bedrest.findings import Finding, FindingCode
from bedrest.schemas import ACQUISITION, MEASURES
from bedrest.vocabulary import LEVELS, VolumeMethod

# Published changes of a disc: volume +8 +- 9 to +11 +- 9 % (mean, SD) in three days of dry immersion (Treffel et al.,
# Front Physiol 2016;7:605), -16 % over a standing day (Botsford et al., Spine 1994;19:935), volume still raised months
# after bed rest (Belavy et al., J Appl Physiol 2011;111:1304; Spine 2012;37:1245), no height gained in six months of
# flight (Chang et al., Spine 2016;41:1917). The one larger figure, +22 % (10 to 40), is the area of the discs against
# an upright baseline (LeBlanc et al., Spine 1994;19:812): such a disc should be checked, and stays in the table.
LARGEST_CHANGE_PERCENT = 25.0
# Centres of neighbouring discs move apart by half of what both gain in height, a millimetre or so (LeBlanc 1994).
# Naming a disc wrongly moves one by a vertebra, some 35 mm; a disc taken in two or cut in half by 5 to 10.
LARGEST_SHIFT_MM = 8.0

Position = tuple[str, str, str, str]


class Positions:
    """Centres of discs of a measures table, by subject, session, level and source.

    `measures`: as in `schemas.MEASURES`.
    """

    def __init__(self, measures: pd.DataFrame) -> None:
        centres = measures[["centre_x_mm", "centre_y_mm", "centre_z_mm"]].to_numpy(dtype=np.float64)
        keys = zip(*(measures[c] for c in MEASURES.key), strict=True)
        self._centres: dict[Position, NDArray[np.float64]] = dict(zip(keys, centres, strict=True))

    def distance_mm(self, subject: str, session: str, *, levels: tuple[str, str], source: str) -> float:
        """Distance between the centres of two discs at one visit; NaN where either was not measured."""
        a, b = (self._centres.get((subject, session, level, source)) for level in levels)
        return math.nan if a is None or b is None else float(np.linalg.norm(a - b))


class Acquisitions:
    """What is known of how visits were acquired.

    `known`: subject, session and any column of `schemas.ACQUISITION`, by which visits are compared; None: nothing.
    """

    def __init__(self, known: pd.DataFrame | None) -> None:
        rows = known.to_dict("records") if known is not None else []
        self._visits = {(r["subject"], r["session"]): {c: r[c] for c in ACQUISITION if not _unknown(r.get(c))}
                        for r in rows}

    def differing(self, subject: str, sessions: tuple[str, str], *, methods: tuple[str, str]) -> tuple[str, ...]:
        """Columns in which two visits of a subject are known to differ.

        Contrasts count where volumes were measured singly (`methods`, see `vocabulary.VolumeMethod`): joint ones are
        from those that all visits have.
        """
        one, other = (self._visits.get((subject, s), {}) for s in sessions)
        return tuple(c for c in ACQUISITION if c in one and c in other and _differ(one[c], other[c], ACQUISITION[c])
                     and (c != "contrasts" or VolumeMethod.SINGLE in methods))


def _unknown(value: object) -> bool:
    return value is None or value == "" or value != value


def _differ(one: object, other: object, tolerance: float) -> bool:
    """Whether two cells differ: numbers, or sizes as 4 x 1.25 x 1.25, by more than the tolerance, else as words."""
    if tolerance:
        pairs = zip(str(one).split(" x "), str(other).split(" x "), strict=True)
        return not all(math.isclose(float(a), float(b), rel_tol=tolerance) for a, b in pairs)
    return str(one).casefold() != str(other).casefold()


def other_acquisition(differs: Sequence[str], reference_session: str) -> list[Finding]:
    """Whether the visits compared were acquired differently, by `Acquisitions.differing`."""
    return [Finding(FindingCode.ACQUISITION_DIFFERS, {"what": tuple(differs), "reference": reference_session})
            ] if differs else []


def implausible_change(change_percent: float) -> list[Finding]:
    """Whether a change of volume lies beyond anything published; NaN is no doubt, it is a failure already."""
    if not abs(change_percent) > LARGEST_CHANGE_PERCENT:
        return []
    values = {"change_percent": change_percent, "high_percent": LARGEST_CHANGE_PERCENT}
    return [Finding(FindingCode.CHANGE_IMPLAUSIBLE, values)]


def moved_disc(positions: Positions, subject: str, *, level: str, sessions: tuple[str, str], source: str
               ) -> list[Finding]:
    """Whether a disc lies elsewhere among its neighbours than at the reference visit: possibly another disc.

    Distances between neighbours do not depend on where the subject lay. What they cannot show is every disc renamed by
    one level in the same direction, which leaves them nearly as they were.

    `subject`, `level`, `source`: which disc. `sessions`: the reference visit and the other.
    """
    doubts = []
    for pair in pairwise(LEVELS):
        if level not in pair:
            continue
        before, after = (positions.distance_mm(subject, s, levels=pair, source=source) for s in sessions)
        if abs(after - before) > LARGEST_SHIFT_MM:
            other = pair[1] if pair[0] == level else pair[0]
            doubts.append(Finding(FindingCode.DISC_MOVED, {
                "neighbour": other, "distance_mm": after, "reference": sessions[0], "reference_mm": before,
                "high_mm": LARGEST_SHIFT_MM}))
    return doubts
