"""One visit's discs -> its lumbar spine: length and lordosis.

Knows nothing of masks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from bedrest.findings import Finding, FindingCode
from bedrest.measure.discs import DiscMeasure
from bedrest.vocabulary import LEVELS, Status

LUMBAR_DISCS: tuple[str, ...] = LEVELS[LEVELS.index("T12-L1"):]  # from the top down
_PIECES = 500


@dataclass(frozen=True)
class SpineMeasure:
    """One visit's lumbar spine; NaN where not measured, never 0.

    Attributes
    ----------
    lumbar_length_mm, lordosis_deg : see `measure_spine`
    n_discs : of the six discs T12-L1 to L5-S1, those that were measured
    status : see `vocabulary.Status`
    findings : what could not be measured
    """

    lumbar_length_mm: float = math.nan
    lordosis_deg: float = math.nan
    n_discs: int = 0
    status: str = Status.OK
    findings: tuple[Finding, ...] = ()


def measure_spine(discs: Iterable[DiscMeasure]) -> SpineMeasure:
    """Length and lordosis of the lumbar spine.

    The length is that of the curve through the centres of the six discs T12-L1 to L5-S1: a cubic spline in the world,
    over the chords' lengths. The chords alone miss 0.1 % of it in a healthy lordosis, and less where the spine
    straightens, as it does in unloading (Treffel et al., Front Physiol 2016;7:605).

    Lordosis is the constrained Cobb angle from the upper end plate of L1 to that of S1 (Mac-Thiong et al., Eur Spine J
    2007;16:1325), positive where the spine is hollow at the back. The end plates are the lower sides of the discs
    T12-L1 and L5-S1 (`sagittal.sagittal_profile`), their angle is taken in the world's sagittal plane. Lordosis is an
    outcome of bed-rest studies (Belavy et al., Spine 2012;37:1245).

    Parameters
    ----------
    discs : iterable of DiscMeasure, one visit, in any order; others than the six are passed over

    Returns
    -------
    SpineMeasure
        Failed when neither could be measured, flagged when one of the two could not.
    """
    by_level = {d.level: d for d in discs}
    known = [lv for lv in LUMBAR_DISCS if lv in by_level and not math.isnan(by_level[lv].centre_mm[0])]
    missing = [lv for lv in LUMBAR_DISCS if lv not in known]
    tilts = {lv: by_level[lv].sagittal.lower_plate_deg for lv in (LUMBAR_DISCS[0], LUMBAR_DISCS[-1]) if lv in known}
    without = [lv for lv in (LUMBAR_DISCS[0], LUMBAR_DISCS[-1]) if math.isnan(tilts.get(lv, math.nan))]
    lost: list[Finding] = []
    if missing:
        lost.append(Finding(FindingCode.NO_LUMBAR_LENGTH, {"levels": missing}))
    if without:
        lost.append(Finding(FindingCode.NO_LORDOSIS, {"levels": without}))
    status = {0: Status.OK, 1: Status.FLAGGED, 2: Status.FAILED}[len(lost)]
    centres = np.array([by_level[lv].centre_mm for lv in known])
    return SpineMeasure(
        lumbar_length_mm=math.nan if missing else curve_length_mm(centres),
        lordosis_deg=math.nan if without else tilts[LUMBAR_DISCS[0]] - tilts[LUMBAR_DISCS[-1]],
        n_discs=len(known), status=status, findings=tuple(lost),
    )


def curve_length_mm(points_mm: np.ndarray) -> float:
    """Length of the cubic spline through points, over the lengths of the chords between them.

    Parameters
    ----------
    points_mm : (N, 3), N of at least 4, in order along the curve
    """
    chords = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points_mm, axis=0), axis=1))])
    curve = CubicSpline(chords, points_mm)(np.linspace(0, chords[-1], _PIECES))
    return float(np.linalg.norm(np.diff(curve, axis=0), axis=1).sum())
