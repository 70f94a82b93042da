"""Which level is the lowest disc? Every answer with a probability, from all that the column shows.

Assumes five lumbar vertebrae. Four kinds of evidence, none of which decides alone:

- what bone the network sees above and below each disc: all sacrum lies below all vertebrae;
- how far each disc leans to the front: L5-S1 by 33 degrees, L4-L5 by 13, L3-L4 by 1, those above to the back;
- whether there is room in view for more discs below, and how likely the network missed one there;
- whether bone goes on below, or the column ends inside the image.

Knows nothing of intensities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bedrest.anatomy.absent import slots_of, usual_step_mm
from bedrest.anatomy.structures import Structure
from bedrest.segmentation.regions import DiscRegion
from bedrest.types import Grid

MOST_BELOW = 3  # discs below the lowest found one that are thought of
MIN_DOUBT = 0.02  # that bone between two discs is of the other kind than it seems, at the least
MIN_DOUBT_BELOW = 0.06  # the same of the bone below the lowest disc: sacra differ more than vertebrae
MIN_DOUBT_AT_EDGE = 0.2  # the same where less than `WHOLE_BODY` of it is in view
WHOLE_BODY = 0.75  # steps of column below the lowest disc's centre
NO_BONE = 0.1  # probability that bone in view is not seen
MISSED = (0.03, 0.5)  # probability that a disc in view was not found, by the disc seen at its place: none, a clear one
IN_VIEW = 0.25  # steps that the image shows beyond the centre of a disc that is in view
# Degrees by which the normals of L5-S1, L4-L5 ... T11-T12 lean to the front of the head-foot axis, lying supine: mean
# of 24 series of SPIDER masks (SD 4 to 7), by `python -m pipelines.benchmarks.naming.lean`.
LEAN_DEG = (33.0, 13.0, 1.0, -6.0, -9.0, -9.0, -6.0)
LEAN_IN_SACRUM_DEG = 50.0
LEAN_SD_DEG, PITCH_SD_DEG = 6.0, 6.0  # of one disc; of the whole spine
LEAN_WEIGHT, MAX_LEAN = 0.25, 16.0  # of the squared Mahalanobis distance, and where it ends: 1 in 55 at the most
LORDOSIS_DEG = 30.0  # between the discs that lean most and least, at which the leans count in full
BODY_RADIUS_MM = 12.0


@dataclass(frozen=True)
class LowestDisc:
    """Label of the lowest disc, and how sure it is."""

    label: int  # 1 where it is L5-S1, 2 L4-L5 ...; 0 and below: discs inside the sacrum
    probability: float
    border_in_view: bool  # whether L5-S1 is, or its place
    at_edge: bool  # it is the lowest disc, and too little of the bone below it is in view
    share_sacrum: float  # probability that the bone below the likeliest L5-S1 is sacrum, by the network alone


def lowest_disc(discs: Sequence[DiscRegion], probabilities: NDArray[np.float32], grid: Grid) -> LowestDisc:
    """The likeliest label of the lowest disc.

    `discs`: from the bottom up. `probabilities`: float32, (5, I, J, K), axes right, front, head.
    """
    slots = slots_of([d.centre_mm for d in discs])
    below = _Below(discs, probabilities, grid)
    between = [_share_sacrum(low.above + high.below, MIN_DOUBT) for low, high in pairwise(discs)]
    log_p = {label: _log_bones(label, slots, between) + below.log_likelihood(label) + _log_lean(label, slots, discs)
             for label in range(1 - slots[-1], MOST_BELOW + 2)}
    best = max(log_p, key=lambda label: log_p[label])
    probability = 1 / sum(np.exp(value - log_p[best]) for value in log_p.values())
    under = below.share_sacrum(max(best - 1, 0)) if best >= 1 else between[slots.index(1 - best) - 1] if (
        1 - best in slots) else 0.5
    return LowestDisc(best, float(probability), best <= 1 or below.shows_disc(best - 1),
                      best == 1 and not below.whole(0), under)


def _log_bones(label: int, slots: Sequence[int], between: Sequence[float]) -> float:
    """Log likelihood of the bones between discs, where the lowest disc has this label."""
    return float(sum(np.log(p if label + slot <= 0 else 1 - p) for slot, p in zip(slots[:-1], between, strict=True)))


def _log_lean(label: int, slots: Sequence[int], discs: Sequence[DiscRegion]) -> float:
    """Log likelihood of how the discs lean, up to a constant; a column that is straight says nothing."""
    labels = label + np.array(slots)
    expected = np.where(labels < 1, LEAN_IN_SACRUM_DEG, np.array(LEAN_DEG)[np.clip(labels, 1, len(LEAN_DEG)) - 1])
    lean = np.rad2deg([np.arctan2(d.normal[1], d.normal[2]) for d in discs])
    covariance = np.eye(len(discs)) * LEAN_SD_DEG**2 + PITCH_SD_DEG**2
    distance = float((lean - expected) @ np.linalg.solve(covariance, lean - expected))
    return -LEAN_WEIGHT * min(distance, MAX_LEAN) * min(float(np.ptp(lean)) / LORDOSIS_DEG, 1.0)


def _share_sacrum(amounts: NDArray[np.float64], doubt: float) -> float:
    sacrum, vertebra = amounts
    return float(np.clip(sacrum / (sacrum + vertebra) if sacrum + vertebra > 0 else 0.5, doubt, 1 - doubt))


class _Below:
    """The column below the lowest disc: bodies and places of discs, one step apart along its curve."""

    def __init__(self, discs: Sequence[DiscRegion], probabilities: NDArray[np.float32], grid: Grid) -> None:
        self._probabilities, self._grid, self._first = probabilities, grid, discs[0]
        self._step_mm = usual_step_mm([d.centre_mm for d in discs])

    def log_likelihood(self, label: int) -> float:
        """Of what lies below, where the lowest disc has this label: a body, and with each disc more another one."""
        out = 0.0
        for n in range(max(label - 1, 0) + 1):
            share = self.share_sacrum(n)
            is_sacrum = label - n <= 1
            bone = self._bone(n)
            out += np.log((share if is_sacrum else 1 - share) * bone + NO_BONE * (1 - bone))
            if n and self.shows_disc(n):
                out += np.log(np.clip(self._disc(n), *MISSED))
        return float(out)

    def share_sacrum(self, n: int) -> float:
        """Probability that the body under the nth disc below is sacrum; 0.5 where it is not in view.

        Every disc more that would lie below the image so costs a factor of 2: most lumbar scans show the sacrum.
        """
        amounts = self._sums(n + 0.5)[[Structure.SACRUM, Structure.VERTEBRA]]
        return _share_sacrum(amounts + 1e-9, MIN_DOUBT_BELOW if self.whole(n) else MIN_DOUBT_AT_EDGE)

    def whole(self, n: int) -> bool:
        """Whether most of the body under the nth disc below is in view."""
        return self._shows(n + WHOLE_BODY)

    def shows_disc(self, n: int) -> bool:
        """Whether the place of the nth disc below is in view."""
        return self._shows(n + IN_VIEW)

    def _bone(self, n: int) -> float:
        """Share of bone in the body under the nth disc below; 1 where it is not in view."""
        sums = self._sums(n + 0.5)
        bone = sums[[Structure.SACRUM, Structure.VERTEBRA, Structure.DISC]].sum()
        return float(bone / sums.sum()) if self._shows(n + 0.5) and sums.sum() > 0 else 1.0

    def _disc(self, n: int) -> float:
        """Largest mean probability of disc across the column, near the place of the nth disc below."""
        means = [sums[Structure.DISC] / sums.sum() for up in (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3)
                 if (sums := self._sums(n + up, thick_mm=self._grid.spacing_mm[2] / 2)).sum() > 0]
        return float(max(means, default=0.0))

    def _place(self, steps: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Centre and direction (to the head) of the column, this many steps below the lowest disc's centre.

        It leans on to the front as the spine does from L4-L5 on: 15 degrees a step, up to that of the sacrum.
        """
        normal = self._first.normal
        lean = np.arctan2(normal[1], normal[2])
        at, centre = 0.0, self._first.centre_mm.copy()
        direction = normal
        while at < steps - 1e-9:
            part = min(0.25, steps - at)
            angle = min(lean + np.deg2rad(15) * (at + part / 2), max(lean, np.deg2rad(LEAN_IN_SACRUM_DEG)))
            direction = np.array([normal[0], np.hypot(normal[1], normal[2]) * np.sin(angle),
                                  np.hypot(normal[1], normal[2]) * np.cos(angle)])
            centre = centre - part * self._step_mm * direction
            at += part
        return centre, direction

    def _shows(self, steps: float) -> bool:
        index = np.linalg.inv(self._grid.affine_ras_mm) @ np.append(self._place(steps)[0], 1)
        return bool(index[2] >= -0.5)

    def _sums(self, steps: float, thick_mm: float | None = None) -> NDArray[np.float64]:
        """(5,) summed probabilities in a cylinder about the column, half a step long or as given."""
        centre, direction = self._place(steps)
        half_mm = 0.3 * self._step_mm if thick_mm is None else thick_mm
        to_index = np.linalg.inv(self._grid.affine_ras_mm)
        middle = (to_index @ np.append(centre, 1))[:3]
        reach = (BODY_RADIUS_MM + half_mm) / self._grid.spacing_mm
        low = np.clip(np.floor(middle - reach), 0, self._grid.shape).astype(int)
        high = np.clip(np.ceil(middle + reach) + 1, low, self._grid.shape).astype(int)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        points = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), -1)
        away = points @ self._grid.affine_ras_mm[:3, :3].T + self._grid.affine_ras_mm[:3, 3] - centre
        along = away @ direction
        inside = (np.abs(along) <= half_mm) & ((away**2).sum(-1) - along**2 <= BODY_RADIUS_MM**2)
        return np.asarray(self._probabilities[(slice(None), *box)][:, inside].sum(axis=1), np.float64)
