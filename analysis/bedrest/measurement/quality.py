"""Which measured discs should not be trusted, and why.

Knows nothing of how a mask was made.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label as connected

from bedrest.findings import Finding, FindingCode
from bedrest.measurement.geometry import Box, DiscGeometry
from bedrest.types import Grid, LabelMap

_VOLUME_MM3 = (500.0, 40_000.0)
_HEIGHT_MM = (1.5, 25.0)
_LARGEST_EXTENT_MM = 90.0
_SMALLEST_DIAMETER_MM = 10.0
_STRAY_FRACTION = 0.01
_TOUCHING = np.ones((3, 3, 3), dtype=bool)


def check_disc(mask: NDArray[np.bool_], box: Box, grid: Grid, geometry: DiscGeometry | None) -> list[Finding]:
    """Everything that speaks against one disc; empty when nothing does.

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
    stray = stray_fraction(mask)
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


def stray_fraction(mask: NDArray[np.bool_]) -> float:
    """Share of the voxels outside the largest component, 0 to 1; voxels that touch by a corner belong together."""
    pieces, count = connected(mask, structure=_TOUCHING)
    if count <= 1:
        return 0.0
    sizes = np.bincount(pieces.ravel())[1:]
    return float(1 - sizes.max() / sizes.sum())


def spacing_looks_permuted(grid: Grid) -> bool:
    """Whether the header gives the slice thickness to an in-plane axis.

    A spine scan has few thick slices. A header that gives the axis with by far the fewest voxels the finest spacing,
    and one of the long axes a spacing of its own that is much coarser, has its spacings in the wrong order, as in the
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
