"""Gao 2018: a reference laid over the predicted discs, the spine's centre line, and the parts that it meets.

The paper registers a reference image to the prediction and does not say how. Here: a scale, a rotation and a shift,
found by least squares on the distances between the two masks, cut off so that what only one of them has cannot pull.
Knows nothing of networks. Lengths and positions are in mm from the first voxel, axes right, front, head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from bedrest.methods.disc_numbering import centres
from bedrest.methods.method import SPACING_MM, Labels

Points = NDArray[np.float64]  # (n, 3) mm

_CUT_MM = 10.0  # a distance beyond which more does not matter; half of that between discs
_MARGIN_MM = 40.0  # about a mask, where its distances are still known
_MOST_POINTS = 1500
_BOUNDS = np.array([0.3, 0.5, 0.5, 0.5])  # of ln(scale) and of the rotation about each axis, radians
_BETTER = 0.9  # a later start must bring the misfit below this part of an earlier one's
_ALONE_MM = 30.0  # distance of one disc from the next where there is one only


@dataclass(frozen=True)
class Similarity:
    """Scale and rotation about `centre`, then shift."""

    centre: NDArray[np.float64]  # (3,) mm
    shift: NDArray[np.float64]  # (3,) mm
    rotation: NDArray[np.float64]  # (3,) rotation vector, radians
    scale: float

    def __call__(self, points: Points) -> Points:
        moved: Points = self.scale * Rotation.from_rotvec(self.rotation).apply(points - self.centre)
        return moved + self.centre + self.shift

    def undo(self, points: Points) -> Points:
        moved: Points = Rotation.from_rotvec(-self.rotation).apply(points - self.centre - self.shift) / self.scale
        return moved + self.centre


class _Mask:
    """Some points of a mask, and the distance of any other from it."""

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        spots = np.argwhere(mask)
        margin = np.ceil(_MARGIN_MM / np.array(SPACING_MM)).astype(int)
        self.low = spots.min(axis=0) - margin
        wide = np.zeros(spots.max(axis=0) + margin + 1 - self.low, dtype=bool)
        wide[tuple((spots - self.low).T)] = True
        self.points: Points = spots[:: max(1, len(spots) // _MOST_POINTS)] * np.array(SPACING_MM)
        self.centre: NDArray[np.float64] = spots.mean(axis=0) * SPACING_MM
        self._distance = np.minimum(ndimage.distance_transform_edt(~wide, sampling=SPACING_MM), _CUT_MM)

    def distance(self, points: Points) -> NDArray[np.float64]:
        at = points / SPACING_MM - self.low
        result: NDArray[np.float64] = ndimage.map_coordinates(self._distance, at.T, order=1, mode="nearest")
        return result


def positions(labels: Labels) -> dict[int, NDArray[np.float64]]:
    """Centroid of each disc, (3,) mm."""
    return {level: at * SPACING_MM for level, at in centres(labels).items()}


def register(reference: Labels, mask: NDArray[np.bool_], named: Labels) -> Similarity:
    """Bring a reference's discs onto a predicted mask.

    `reference`: int16, any shape, at least one disc; `mask`: bool, (I, J, K), at least one voxel; `named`: int16, (I,
    J, K); discs as far as they are named already; 0 throughout: none. Their centres and the lowest disc are where the
    search begins, as are centre and extent of the masks; the best end counts.
    """
    moving, fixed = _Mask(reference > 0), _Mask(mask)
    from_centres, to_centres = positions(reference), positions(named)
    shared = sorted(set(from_centres) & set(to_centres))
    starts = [Similarity(moving.centre, _lowest(to_centres, fixed) - from_centres[min(from_centres)], np.zeros(3), 1.0),
              _start(moving.centre, moving.points, fixed.points)]
    if len(shared) > 1:
        pair = (np.array([centres[n] for n in shared]) for centres in (from_centres, to_centres))
        starts.insert(0, _start(moving.centre, *pair))
    best, least = starts[0], np.inf
    for start in starts:
        refined, misfit = _refined(start, moving, fixed)
        if misfit < _BETTER * least:
            best, least = refined, misfit
    return best


def _start(centre: NDArray[np.float64], moving: Points, fixed: Points) -> Similarity:
    """Centre and extent of some points brought onto those of others, not turned: the discs of a row say nothing of the
    turn about it."""
    middles = moving.mean(axis=0), fixed.mean(axis=0)
    extent = [float(np.sqrt(np.square(p - m).sum(axis=1).mean()))
              for p, m in zip((moving, fixed), middles, strict=True)]
    scale = extent[1] / extent[0] if min(extent) > 0 else 1.0
    return Similarity(centre, middles[1] - centre - scale * (middles[0] - centre), np.zeros(3), scale)


def _lowest(there: Mapping[int, Points], fixed: _Mask) -> Points:
    """Where the lowest disc is: as named, else the lowest voxel that is not a stray one."""
    if 1 in there:
        return there[1]
    height = fixed.points[:, 2]
    lowest: Points = fixed.points[height <= np.percentile(height, 10)].mean(axis=0)
    return lowest


def _refined(start: Similarity, moving: _Mask, fixed: _Mask) -> tuple[Similarity, float]:
    def similarity(x: NDArray[np.float64]) -> Similarity:
        return Similarity(start.centre, x[4:], x[1:4], float(np.exp(x[0])))

    def misfits(x: NDArray[np.float64]) -> NDArray[np.float64]:
        at = similarity(x)
        one, other = fixed.distance(at(moving.points)), moving.distance(at.undo(fixed.points))
        return np.concatenate([one / np.sqrt(len(one)), other / np.sqrt(len(other))])

    limits = np.concatenate([_BOUNDS, np.full(3, np.inf)])
    first = np.concatenate([[np.log(start.scale)], start.rotation, start.shift])
    first[:4] = np.clip(first[:4], -0.99 * limits[:4], 0.99 * limits[:4])
    fitted = optimize.least_squares(misfits, first, bounds=(-limits, limits), x_scale=[0.05] * 4 + [5] * 3, max_nfev=60)
    return similarity(fitted.x), float(fitted.cost)


def centre_line(discs: Mapping[int, NDArray[np.float64]]) -> Points:
    """Points along the spine's centre line, every half millimetre of height.

    `discs`: centre of each disc, (3,) mm; at least one. A cubic in the height, straight beyond the outermost discs and
    half a distance of discs long there: the next disc, which is none of the seven, is not reached.
    Returns (n, 3) mm.
    """
    at = np.array(sorted(discs.values(), key=lambda p: float(p[2])))
    low, high = at[0, 2], at[-1, 2]
    reach = (high - low) / (len(at) - 1) / 2 if len(at) > 1 else _ALONE_MM / 2
    height = np.arange(low - reach, high + reach, 0.5)
    inside = np.clip(height, low, high)
    line = [height]
    for axis in (1, 0):
        curve = Polynomial.fit(at[:, 2], at[:, axis], min(3, len(at) - 1)) if high > low else Polynomial(at[0, axis])
        line.insert(0, curve(inside) + curve.deriv()(inside) * (height - inside))
    return np.stack(line, axis=1)


def parts_on(line: Points, parts: Labels) -> Labels:
    """Parts that a line meets, numbered anew in their order.

    `parts`: int16, (I, J, K), numbered from the bottom.
    """
    at = np.round(line / SPACING_MM).astype(int)
    at = at[((at >= 0) & (at < parts.shape)).all(axis=1)]
    met = [int(n) for n in np.unique(parts[tuple(at.T)]) if n > 0]
    number = np.zeros(int(parts.max(initial=0)) + 1, dtype=np.int16)
    number[met] = np.arange(1, len(met) + 1)
    result: Labels = number[parts]
    return result
