"""The reference tissue of one disc: what its signals are divided by, so that visits can be compared.

A raw mean holds the receive field and the scanner's scaling, both new at every visit. Dividing by a tissue
near the disc removes the scaling, and of the field what the two share.

Dixon contrasts: marrow of the two vertebrae that the disc lies between, its whole signal W + F. The disc lies half way
between them, so a field that rises along the spine cancels. Water or fat of marrow alone would not do: marrow turns to
fat in bed rest, by 2.5 points (Trudel et al., J Appl Physiol 2009;107:540) to 3.6 points (2012;112:1824) in 60 days,
which at half fat takes 5 to 7 % off its water; the sum moves only as far as fat is brighter than water (1.5 times:
1.5 %). All Dixon contrasts share one reference, so they keep their proportions. Muscle, the other usual choice, wastes
and is not in the tissue mask; cerebrospinal fluid is dark on a T1-weighted Dixon scan, flows, and lies to one side.

T2: the spinal canal beside the disc, whose fluid is the usual reference (King et al., JOR Spine 2023;6:e1278) and has
no fat to gain. Its median is fluid, since cord or roots fill less than half of it. It lies behind the disc, so each
voxel is carried to the disc's centre along the slope of the field, taken from marrow, whose level does not enter.

Measured on 42 discs of six demo subjects at two visits, each with a different field (25 to 40 % either way, and a coil
at the back that loses up to 1.2 e-folds over 32 cm) and noise (SNR 14). RMS error of the change between visits, %:

    contrast  raw  marrow beside it  canal beside it (carried)  field fitted to all marrow, degree 2  degree 3
    water      31               2.4        7.3                                                   3.2       2.5
    T2         29               1.9        6.4       (3.9)                                       3.1       2.3
    fat        18                18         17                                                    18        18

T1: the marrow of the two neighbours in the T1 image itself, since fluid is dark there. That marrow brightens as it
turns to fat, so in bed rest the relative T1 signal of a disc falls for that reason alone.

A field fitted to the scan does no better than a neighbour does, so none is fitted. T2 keeps the canal all the same: its
error is by chance, and smaller where both visits use one coil; that of marrow (+4 % for 3.6 points of fat that is three
times as bright) would befall everyone in bed alike. Fat inside a disc lies at the noise: without noise marrow beside it
leaves 1.8 %.

Knows nothing of how masks were made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bedrest.findings import Finding, FindingCode
from bedrest.measurement.geometry import Box
from bedrest.types import Grid, LabelMap, Volume
from bedrest.vocabulary import BONES_OF_DISC, CANAL_LABEL, DIXON, LABEL_OF_LEVEL, TISSUE_OF_LABEL, Contrast

REACH_MM = 40.0  # from the disc's centre: both neighbours whole, the canal beside it, the top of the sacrum
FEWEST_VOXELS = 20  # a median of 20 at the noise of a Dixon scan (SNR 14) is good to 2 %


def reference_signals(level: str, centre_mm: tuple[float, float, float], images: Mapping[Contrast, Volume],
                      tissues: LabelMap | None) -> tuple[dict[Contrast, float], list[Finding]]:
    """Signal of the reference tissue for each contrast that has one, and why the others have none.

    Parameters
    ----------
    level : disc level; its neighbours are found by it
    centre_mm : centre of the disc, world frame RAS+; NaN where the header cannot be trusted
    images : contrasts on one grid, arbitrary units
    tissues : LabelMap on the images' grid, numbered as in `vocabulary.TISSUE_OF_LABEL`, or None
    """
    if tissues is None:
        return {}, [Finding(FindingCode.NO_TISSUE_MASK)]
    if level not in LABEL_OF_LEVEL:
        return {}, [Finding(FindingCode.NEIGHBOURS_UNKNOWN)]
    if not np.isfinite(centre_mm).all():
        return {}, [Finding(FindingCode.POSITION_UNKNOWN)]
    near = _Surroundings(tissues, np.array(centre_mm))
    bodies = list(BONES_OF_DISC[LABEL_OF_LEVEL[level]])
    signals: dict[Contrast, float] = {}
    missing: list[Finding | None] = []
    if dixon := [c for c in DIXON if c in images]:
        value, finding = near.signal_of(_whole_signal(images, near.box), bodies)
        signals |= dict.fromkeys(dixon, value)
        missing.append(finding)
    if Contrast.T2 in images:
        signals[Contrast.T2], finding = near.canal_signal(images[Contrast.T2].data[near.box], bodies)
        missing.append(finding)
    if Contrast.T1 in images:
        signals[Contrast.T1], finding = near.signal_of(images[Contrast.T1].data[near.box], bodies)
        missing.append(finding)
    return signals, [f for f in missing if f]


def _whole_signal(images: Mapping[Contrast, Volume], box: Box) -> NDArray[np.float32] | None:
    """W + F, or the in-phase image, which measures it, where one of the two is missing."""
    if Contrast.WATER in images and Contrast.FAT in images:
        return images[Contrast.WATER].data[box] + images[Contrast.FAT].data[box]
    return images[Contrast.IN_PHASE].data[box] if Contrast.IN_PHASE in images else None


class _Surroundings:
    """The tissue mask around one disc."""

    def __init__(self, tissues: LabelMap, centre_mm: NDArray[np.float64]) -> None:
        grid = tissues.grid
        self.box = _box_around(grid, centre_mm)
        self.labels = tissues.data[self.box]
        index = np.indices(self.labels.shape).reshape(3, -1).T + [s.start for s in self.box]
        offset = index @ grid.affine_ras_mm[:3, :3].T + grid.affine_ras_mm[:3, 3] - centre_mm
        self.offset_mm = offset.reshape(*self.labels.shape, 3)

    def inside(self, label: int) -> NDArray[np.bool_]:
        """A tissue near the disc, eroded by one voxel."""
        from scipy.ndimage import binary_erosion

        near = np.linalg.norm(self.offset_mm, axis=-1) <= REACH_MM
        result: NDArray[np.bool_] = binary_erosion(self.labels == label) & near
        return result

    def signal_of(self, image: NDArray[np.float32] | None, labels: list[int]) -> tuple[float, Finding | None]:
        """Mean of the tissues' medians; NaN and why where one of them is missing."""
        if image is None:
            return math.nan, Finding(FindingCode.MARROW_SIGNAL_UNKNOWN)
        medians = []
        for label in labels:
            inside = self.inside(label)
            n = int(inside.sum())
            if n < FEWEST_VOXELS:
                return math.nan, Finding(FindingCode.REFERENCE_TISSUE_SMALL, {
                    "tissue": TISSUE_OF_LABEL[label], "voxels": n, "fewest": FEWEST_VOXELS})
            medians.append(float(np.median(image[inside])))
        value = float(np.mean(medians))
        if value > 0:
            return value, None
        return math.nan, Finding(FindingCode.REFERENCE_TISSUE_DARK, {"tissue": TISSUE_OF_LABEL[labels[0]]})

    def canal_signal(self, image: NDArray[np.float32], bodies: list[int]) -> tuple[float, Finding | None]:
        """Median of the canal, each voxel carried to the disc's centre along the slope of the field; or NaN and why."""
        slope = self._slope_per_mm(image, bodies)
        if slope is None:
            return math.nan, Finding(FindingCode.FIELD_SLOPE_UNKNOWN)
        return self.signal_of(image / np.exp(self.offset_mm @ slope), [CANAL_LABEL])

    def _slope_per_mm(self, image: NDArray[np.float32], bodies: list[int]) -> NDArray[np.float64] | None:
        """(3,) relative slope of the field, world axes, inside bodies that may differ in signal from each other."""
        points, values = [], []
        for inside in map(self.inside, bodies):
            if inside.sum() >= FEWEST_VOXELS and (level := float(np.median(image[inside]))) > 0:
                points.append(self.offset_mm[inside] - self.offset_mm[inside].mean(axis=0))
                values.append(image[inside] / level - np.mean(image[inside] / level))
        return np.linalg.lstsq(np.concatenate(points), np.concatenate(values))[0] if points else None


def _box_around(grid: Grid, centre_mm: NDArray[np.float64]) -> Box:
    """Array indices within REACH_MM of a point, and one voxel more for the erosion."""
    inverse = np.linalg.inv(grid.affine_ras_mm)
    centre = inverse[:3, :3] @ centre_mm + inverse[:3, 3]
    reach = REACH_MM * np.linalg.norm(inverse[:3, :3], axis=1) + 1
    low = np.clip(np.floor(centre - reach), 0, grid.shape).astype(int)
    high = np.clip(np.ceil(centre + reach) + 1, 0, grid.shape).astype(int)
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return i, j, k
