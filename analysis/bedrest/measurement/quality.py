"""Which measured discs should not be trusted, and why: one by one, against the spine's other discs, left against right.

A disc alone can be plausible and still be wrong: another structure, a neighbour's share of it, or one that has lost a
side. Knows nothing of how a mask was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bedrest.findings import Finding, FindingCode
from bedrest.measurement.bones import largest_piece
from bedrest.measurement.definition import DiscMeasure
from bedrest.measurement.geometry import Box, DiscGeometry, bounding_box
from bedrest.measurement.registry import VOLUME
from bedrest.measurement.signals import FAT_FRACTION, NORMALISED, SIGNALS
from bedrest.types import Grid, LabelMap
from bedrest.vocabulary import MEASURED, Contrast

_VOLUME_MM3 = (500.0, 40_000.0)
_HEIGHT_MM = (1.5, 25.0)
_LARGEST_EXTENT_MM = 90.0
_SMALLEST_DIAMETER_MM = 10.0
_STRAY_FRACTION = 0.01

# Volume of each level over that of L3-L4: half width x half depth x height after Zhou et al., Eur Spine J 2000;9:242,
# as in `phantom.anatomy`. 41 healthy volunteers (Menezes-Reis et al., Quant Imaging Med Surg 2016;6:402) have 0.85,
# 1.01, 1, 0.88 and 0.70 from L5-S1 to L1-L2.
TYPICAL_VOLUME = {"L5-S1": 0.87, "L4-L5": 1.06, "L3-L4": 1.0, "L2-L3": 0.86, "L1-L2": 0.69, "T12-L1": 0.54,
                  "T11-T12": 0.43}
# A disc over what the others let expect: 0.57 to 1.54 in those volunteers, 0.52 to 1.33 in 875 healthy synthetic discs;
# of 784 with worn, thin and transitional ones, 2 (0.3 %) lie outside the limits.
VOLUME_RATIO = (0.3, 2.0)
FEWEST_OTHERS = 3

# Water, T2 or T1 signal over the other discs'. A worn disc is dark too, and real: in phantoms with strong gain fields
# it keeps 0.52 of the others' T2 signal. Air has 0.06 of a disc's water signal (all of it noise), fat 0.09.
DARKEST_RATIO = 0.15
# T2 signal over the canal's fluid: 0.23 to 0.48 in the phantoms; none of a disc's tissues is brighter than fluid.
BRIGHTEST_T2 = 1.0
# At most 0.13 in the phantoms, noise floor included; vertebral marrow has 0.4 to 0.5.
HIGHEST_FAT_FRACTION = 0.25

# Measured: 0.47 to 0.52 in 875 healthy synthetic discs; 0.45 to 0.55 in 866 of scoliotic, worn and bulging spines
# (`phantom.variation`); 0.38 to 0.63 in 195 real ones outlined manually on slices of 4.4 mm, one of them outside the
# limits. A disc that lost the third on one side has 0.75.
RIGHT_SHARE = (0.38, 0.62)
# A parabola through four discs leaves one to spare when each of five is left out in turn.
FEWEST_DISCS = 5


def check_disc(mask: NDArray[np.bool_], box: Box, grid: Grid, geometry: DiscGeometry | None) -> list[Finding]:
    """Every doubt about one disc; empty if it passes every check.

    Parameters
    ----------
    mask : bool, the disc cropped to `box`, at least one voxel
    box : where the crop lies in the grid
    grid : the whole image's
    geometry : shape of the disc, or None where the header cannot be trusted and shape is not judged
    """
    doubts = []
    if any(s.start == 0 or s.stop == n for s, n in zip(box, grid.shape, strict=True)):
        doubts.append(Finding(FindingCode.AT_IMAGE_EDGE))
    stray = 1 - largest_piece(mask, box)[1]
    if stray > _STRAY_FRACTION:
        doubts.append(Finding(FindingCode.IN_PIECES, {"stray_percent": 100 * stray}))
    volume_mm3 = float(mask.sum()) * grid.voxel_volume_mm3
    if not _VOLUME_MM3[0] <= volume_mm3 <= _VOLUME_MM3[1]:
        doubts.append(Finding(FindingCode.VOLUME_IMPLAUSIBLE, {
            "value_mm3": volume_mm3, "low_mm3": _VOLUME_MM3[0], "high_mm3": _VOLUME_MM3[1]}))
    if geometry is not None:
        doubts.extend(_shape_doubts(geometry))
    return doubts


def _shape_doubts(geometry: DiscGeometry) -> list[Finding]:
    doubts = []
    if geometry.extent_mm > _LARGEST_EXTENT_MM:
        doubts.append(Finding(FindingCode.EXTENT_IMPLAUSIBLE, {
            "extent_mm": geometry.extent_mm, "high_mm": _LARGEST_EXTENT_MM}))
    if not _HEIGHT_MM[0] <= geometry.height_mean_mm <= _HEIGHT_MM[1]:
        doubts.append(Finding(FindingCode.HEIGHT_IMPLAUSIBLE, {
            "height_mm": geometry.height_mean_mm, "low_mm": _HEIGHT_MM[0], "high_mm": _HEIGHT_MM[1]}))
    for direction, diameter_mm in (
        ("antero-posterior", geometry.diameter_ap_mm),
        ("transverse", geometry.diameter_transverse_mm),
    ):
        if diameter_mm < _SMALLEST_DIAMETER_MM:
            doubts.append(Finding(FindingCode.DIAMETER_IMPLAUSIBLE, {
                "direction": direction, "diameter_mm": diameter_mm, "low_mm": _SMALLEST_DIAMETER_MM}))
    return doubts


def spacing_looks_permuted(grid: Grid) -> bool:
    """Whether the header gives the slice thickness to an in-plane axis.

    A spine scan has few thick slices. A header that gives the axis with by far the fewest voxels the finest spacing,
    and one of the long axes a spacing that is much coarser, has its spacings in the wrong order, as in the
    masks of fastcleverseg (127 x 342 x 9 voxels, 4.4 x 0.43 x 0.43 mm). The product of the spacings, and so every
    volume, does not depend on their order.
    """
    spacing = grid.spacing_mm
    fewest, coarsest = int(np.argmin(grid.shape)), int(np.argmax(spacing))
    others = np.delete(spacing, coarsest)
    one_is_coarse = spacing[coarsest] > 2 * others.max()
    few_are_fine = spacing[fewest] <= 1.01 * spacing.min()
    return bool(one_is_coarse and few_are_fine and 3 * grid.shape[fewest] <= grid.shape[coarsest])


def unknown_labels(discs: LabelMap, levels: Mapping[int, str]) -> dict[int, int]:
    """Labels in a mask that no level stands for, with their voxel counts.

    Parameters
    ----------
    discs : LabelMap, shape (I, J, K), 0 = background
    levels : label to level
    """
    labels, counts = np.unique(discs.data, return_counts=True)
    return {
        int(label): int(count)
        for label, count in zip(labels, counts, strict=True)
        if label != 0 and int(label) not in levels
    }


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
    """Discs out of line with their own spine, by level; no entry for a disc without doubts.

    A disc is compared with the median of the others and not by a robust z: six discs of a healthy spine are so alike
    that their SD is next to nothing, and one that is worn would lie any number of SDs away. A worn disc is
    thin and dark, and real.

    Volume and darkness are judged with three other discs or more.

    Parameters
    ----------
    measures : sequence of DiscMeasure, all discs of one mask at one visit; failed and unnamed ones are left out
    """
    named = [m for m in measures if m.status in MEASURED and m.level in TYPICAL_VOLUME]
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
    for contrast in (Contrast.WATER, Contrast.T2, Contrast.T1):
        ratio = _over_others(disc.level, {m.level: m[SIGNALS[contrast].name] for m in discs})
        if ratio < DARKEST_RATIO:
            doubts.append(Finding(FindingCode.SIGNAL_TOO_DARK, {
                "contrast": contrast, "ratio": ratio, "low": DARKEST_RATIO}))
    t2 = disc[NORMALISED[Contrast.T2].name]
    if t2 > BRIGHTEST_T2:
        doubts.append(Finding(FindingCode.BRIGHTER_THAN_FLUID, {"ratio": t2, "high": BRIGHTEST_T2}))
    fat_fraction = disc[FAT_FRACTION.name]
    if fat_fraction > HIGHEST_FAT_FRACTION:
        doubts.append(Finding(FindingCode.FAT_FRACTION_HIGH, {"fraction": fat_fraction, "high": HIGHEST_FAT_FRACTION}))
    return doubts


def _over_others(level: str, values: Mapping[str, float]) -> float:
    """A level's value over the median of the others'; NaN where it has none or there are too few others."""
    others = [v for name, v in values.items() if name != level and np.isfinite(v)]
    if len(others) < FEWEST_OTHERS or not np.median(others) > 0:
        return float("nan")
    return values.get(level, float("nan")) / float(np.median(others))


def check_symmetry(measures: Sequence[DiscMeasure], discs: LabelMap) -> dict[str, list[Finding]]:
    """Discs that lie unevenly about the column, by level; no entry for a disc without doubts.

    With fewer than five discs none is judged.

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
    return min((fit(np.delete(every, i)) for i in every), key=lambda errors_and_curve: errors_and_curve[0])[1]


def right_share(discs: LabelMap, label: int, column: NDArray[np.float64]) -> float:
    """Share of a disc's volume to the right of the midline, 0 to 1; voxels on the midline count in part.

    `discs`: LabelMap, world frame RAS+. `label`: the disc, present in the mask. `column`: coefficients of x in mm as a
    polynomial of z in mm, highest power first.
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
