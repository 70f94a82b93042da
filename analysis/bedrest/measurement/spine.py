"""One visit's discs -> its lumbar spine: length and lordosis.

The length is that of the curve through the centres of the six discs T12-L1 to L5-S1: a cubic spline in the world, over
the chords' lengths. The chords alone miss 0.1 % of it in a healthy lordosis, and less where the spine straightens, as
it does in unloading (Treffel et al., Front Physiol 2016;7:605).

Lordosis is the constrained Cobb angle from the upper end plate of L1 to that of S1 (Mac-Thiong et al., Eur Spine J
2007;16:1325), positive where the spine is hollow at the back. The end plates are the lower sides of the discs T12-L1
and L5-S1 (`sagittal.sagittal_profile`), their angle is taken in the world's sagittal plane. Lordosis is an outcome of
bed-rest studies (Belavy et al., Spine 2012;37:1245).

Knows nothing of masks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bedrest.findings import Finding, FindingCode
from bedrest.measurement.definition import Measure, Scale, Undefined, compute_all
from bedrest.vocabulary import LEVELS, Status

if TYPE_CHECKING:
    from bedrest.measurement.definition import DiscMeasure

LUMBAR_DISCS: tuple[str, ...] = LEVELS[LEVELS.index("T12-L1"):]  # from the top down
_PIECES = 500


@dataclass(frozen=True)
class SpineMeasure:
    """One visit's lumbar spine.

    Attributes
    ----------
    values : by measure, see `registry.SPINE_MEASURES`; NaN where not measured, never 0
    """

    values: Mapping[str, float] = field(default_factory=dict)
    n_discs: int = 0  # of the six discs T12-L1 to L5-S1, those that were measured
    status: str = Status.OK  # see `vocabulary.Status`
    findings: tuple[Finding, ...] = ()  # what could not be measured

    def __getitem__(self, name: str) -> float:
        return self.values.get(name, math.nan)


def measure_spine(discs: Iterable[DiscMeasure]) -> SpineMeasure:
    """Every measure of the lumbar spine.

    Returns: failed when nothing could be measured, flagged when one of the measures could not.

    Parameters
    ----------
    discs : iterable of DiscMeasure, one visit, in any order; others than the six are passed over
    """
    located = {d.level: d for d in discs if d.level in LUMBAR_DISCS and not math.isnan(d.position.centre_mm[0])}
    values, findings = compute_all(MEASURES, located)
    missing = sum(map(math.isnan, values.values()))
    status = Status.OK if not missing else Status.FAILED if missing == len(values) else Status.FLAGGED
    return SpineMeasure(values, len(located), status, findings)


def _lumbar_length_mm(discs: Mapping[str, DiscMeasure]) -> float:
    if missing := [level for level in LUMBAR_DISCS if level not in discs]:
        raise Undefined(Finding(FindingCode.NO_LUMBAR_LENGTH, {"levels": missing}))
    return curve_length_mm(np.array([discs[level].position.centre_mm for level in LUMBAR_DISCS]))


def _lordosis_deg(discs: Mapping[str, DiscMeasure]) -> float:
    ends = (LUMBAR_DISCS[0], LUMBAR_DISCS[-1])
    upper, lower = (discs[level].position.lower_plate_deg if level in discs else math.nan for level in ends)
    if missing := [level for level, tilt in zip(ends, (upper, lower), strict=True) if math.isnan(tilt)]:
        raise Undefined(Finding(FindingCode.NO_LORDOSIS, {"levels": missing}))
    return upper - lower


def curve_length_mm(points_mm: np.ndarray) -> float:
    """Length of the cubic spline through points, over the lengths of the chords between them.

    Parameters
    ----------
    points_mm : (N, 3), N of at least 4, in order along the curve
    """
    from scipy.interpolate import CubicSpline

    chords = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points_mm, axis=0), axis=1))])
    curve = CubicSpline(chords, points_mm)(np.linspace(0, chords[-1], _PIECES))
    return float(np.linalg.norm(np.diff(curve, axis=0), axis=1).sum())


MEASURES: tuple[Measure[Mapping[str, DiscMeasure]], ...] = (
    Measure("lumbar_length_mm", "mm", Scale.RATIO,
            "length of the curve through the disc centres from T12-L1 to L5-S1", _lumbar_length_mm,
            "where one of the six discs is missing", minimum=0, title="lumbar length"),
    Measure("lordosis_deg", "degree", Scale.DIFFERENCE,
            "angle of the upper end plates of L1 and S1 (Cobb), positive = hollow at the back", _lordosis_deg,
            "where the lower side of T12-L1 or L5-S1 is missing", title="lordosis"),
)
