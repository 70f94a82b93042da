"""Does every disc lie evenly on both sides of the spine's column?

A disc of which one side was missed, or that ran out into muscle on one side, does not. Needs several discs, since a
disc alone cannot say where the middle of the spine is. Knows nothing of intensities.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bedrest.findings import Finding, FindingCode
from bedrest.measurement.definition import DiscMeasure
from bedrest.measurement.geometry import bounding_box
from bedrest.types import LabelMap

# Measured: 0.47 to 0.52 in 875 healthy synthetic discs; 0.45 to 0.55 in 866 of scoliotic, worn and bulging spines
# (`phantom.variation`); 0.38 to 0.63 in 195 real ones drawn by hand on slices of 4.4 mm, one of them outside the
# limits. A disc that lost the third on one side has 0.75.
RIGHT_SHARE = (0.38, 0.62)
# A parabola through four discs leaves one to spare when each of five is left out in turn.
FEWEST_DISCS = 5


def check_symmetry(measures: Sequence[DiscMeasure], discs: LabelMap) -> dict[str, list[Finding]]:
    """Discs that lie unevenly about the column, by level; no entry where nothing speaks against a disc.

    With fewer than five discs nothing is said.

    Parameters
    ----------
    measures : sequence of DiscMeasure, the discs of one mask; those without a position are left out
    discs : LabelMap, the mask, shape (I, J, K), world frame RAS+; any axis order and direction, may be oblique
    """
    centres = {m.label: m.position.centre_mm for m in measures if np.isfinite(m.position.centre_mm).all()}
    if len(centres) < FEWEST_DISCS:
        return {}
    column = column_curve(np.array(list(centres.values())))
    doubts: dict[str, list[Finding]] = {}
    for m in measures:
        if m.label not in centres:
            continue
        share = right_share(discs, m.label, column)
        if not RIGHT_SHARE[0] <= share <= RIGHT_SHARE[1]:
            doubts[m.level] = [Finding(FindingCode.ONE_SIDED, {
                "right_percent": 100 * share, "low_percent": 100 * RIGHT_SHARE[0],
                "high_percent": 100 * RIGHT_SHARE[1]})]
    return doubts


def column_curve(centres_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Midline of the spine seen from the front, x as a parabola of z: coefficients for `numpy.polyval`.

    One disc may lie: each is left out in turn, and the parabola that fits its own discs best is taken. A parabola
    follows a scoliosis over seven discs and cannot follow one disc alone.

    Parameters
    ----------
    centres_mm : (N, 3) centres of the discs, world frame RAS+, N >= 5
    """
    def fit(rows: NDArray[np.intp]) -> tuple[float, NDArray[np.float64]]:
        x, powers = centres_mm[rows, 0], np.vander(centres_mm[rows, 2], 3)
        curve = np.linalg.lstsq(powers, x)[0]
        return float(np.square(x - powers @ curve).sum()), curve

    every = np.arange(len(centres_mm))
    return min((fit(np.delete(every, i)) for i in every), key=lambda found: found[0])[1]


def right_share(discs: LabelMap, label: int, column: NDArray[np.float64]) -> float:
    """Share of a disc's volume to the right of the midline, 0 to 1; voxels on the midline count in part.

    Parameters
    ----------
    discs : LabelMap, world frame RAS+
    label : the disc, present in the mask
    column : coefficients of x in mm as a polynomial of z in mm, highest power first
    """
    mask = discs.data == label
    box = bounding_box(mask)
    if box is None:
        raise ValueError(f"label {label} is not in the mask")
    affine = discs.grid.affine_ras_mm
    index = np.argwhere(mask[box]) + [s.start for s in box]
    x, _, z = (index @ affine[:3, :3].T + affine[:3, 3]).T
    width_mm = np.abs(affine[0, :3]).sum()
    return float(np.clip((x - np.polyval(column, z)) / width_mm + 0.5, 0, 1).mean())
