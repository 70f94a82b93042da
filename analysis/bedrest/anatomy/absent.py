"""Which levels have no disc, and why: between discs that were found, outside the field of view, or missed.

Knows nothing of how discs are found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bedrest.findings import Finding, FindingCode
from bedrest.types import Grid

USUAL_STEP_MM = 35.0  # between the centres of neighbouring discs, where only one was found
# Steps beyond a disc's place that the field of view must show for the disc to count as missed: at its very edge, with
# less than half a vertebra beyond, the coils see little and a disc has no second bone.
MARGIN_STEPS = 0.5
MISSING_GAP = 1.55  # a gap this many times the usual one hides a disc, one longer by a step two


def why_absent(centres_mm: Mapping[int, NDArray[np.float64]], label: int, grid: Grid) -> Finding:
    """The finding for a level without a disc, from the discs that have a name.

    Parameters
    ----------
    centres_mm : of the named discs, at least one, world frame RAS+, by label, numbered from the bottom up
    grid : of the scan; beyond its ends along the body nothing is in view
    """
    low, high = min(centres_mm), max(centres_mm)
    if low < label < high:
        return Finding(FindingCode.DISC_IN_GAP)
    upwards = label > high
    end = high if upwards else low
    others = sorted((k for k in centres_mm if k != end), key=lambda k: abs(k - end))
    step = (np.array([0, 0, USUAL_STEP_MM if upwards else -USUAL_STEP_MM]) if not others
            else (centres_mm[end] - centres_mm[others[0]]) / abs(end - others[0]))
    to_index = np.linalg.inv(grid.affine_ras_mm)
    along = int(np.argmax(np.abs(to_index[:3, :3] @ step) * grid.spacing_mm))  # the column's axis of the array
    needed = centres_mm[end] + (abs(label - end) + MARGIN_STEPS) * step
    index = float((to_index @ np.append(needed, 1))[along])
    inside = -0.5 <= index <= grid.shape[along] - 0.5
    return Finding(FindingCode.DISC_MISSED if inside else FindingCode.DISC_OUT_OF_VIEW)


def slots_of(centres_mm: Sequence[NDArray[np.float64]]) -> list[int]:
    """Place of each disc on the ladder of levels, 0 for the first and lowest; a wide gap hides a disc.

    `centres_mm`: (3,) each, from the bottom up.
    """
    usual = usual_step_mm(centres_mm)
    return [0, *np.cumsum([max(1, int(gap / usual + 2 - MISSING_GAP)) for gap in _gaps_mm(centres_mm)]).tolist()]


def usual_step_mm(centres_mm: Sequence[NDArray[np.float64]]) -> float:
    """Median distance of neighbours."""
    gaps = _gaps_mm(centres_mm)
    return float(np.median(gaps)) if gaps.size else USUAL_STEP_MM


def _gaps_mm(centres_mm: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(np.diff(np.array(centres_mm), axis=0), axis=-1))
