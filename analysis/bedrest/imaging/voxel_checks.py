"""Slices and intensities that no scanner makes: empty slices, copied slices, integers beyond their range.

Thresholds were set on synthetic and real scans; docs/image_checks.md has what they say of each. Knows nothing of discs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from bedrest.findings import Finding, FindingCode
from bedrest.types import Grid, Scan
from bedrest.vocabulary import Contrast

_DIRECTIONS = ("right-left", "front-back", "head-foot")
# Intensities below 0, as shares of the maximum and of the 99th percentile, and the share of voxels that may have them.
# An abdomen resampled with ringing reaches -0.06 of the maximum; no other real scan at hand has any. Wrapped integers
# begin at -1 of the maximum.
_DEEP, _MAX_DEEP = 0.25, 1e-5
_RINGING, _MAX_RINGING = 0.10, 0.01
_THICK = 0.8  # of the largest voxel size: along such an axis slices were taken
_INTEGER_BITS = (12, 14, 15, 16)  # not 8: images that were rescaled to 0-255 end there
_NEAR_LIMIT = 0.995  # share of the largest number of so many bits
# Steps from above 0.8 of the maximum to below 0.2 of it between neighbours, over the voxels above 0.8. Wrapped images
# have 0.2 to 1; ordinary ones up to 0.9 (a bright rim beside air), which is why the maximum must be a limit as well.
_STEPS = 0.15


@dataclass(frozen=True, eq=False)
class BadSlices:
    """Slices of one contrast, along one array axis, that are empty or copies of others."""

    contrast: Contrast
    code: FindingCode  # EMPTY_SLICES or REPEATED_SLICES
    axis: int
    slices: NDArray[np.intp]  # indices from 0
    note: Finding


def bad_slices(scan: Scan) -> list[BadSlices]:
    """Slices along any axis that hold one value everywhere, or the very voxels of another slice.

    Contrasts that were resampled and show only a part of the scan's grid are empty beyond it, which their note says.
    """
    bad = []
    for contrast, volume in scan.contrasts.items():
        if contrast in scan.outside_fov:
            continue
        for axis in range(3):
            empty, copied = _bad_along(volume.data, axis)
            for code, slices in ((FindingCode.EMPTY_SLICES, empty), (FindingCode.REPEATED_SLICES, copied)):
                if slices:
                    world = int(np.abs(scan.grid.affine_ras_mm[:3, axis]).argmax())
                    note = Finding(code, {"contrast": contrast, "count": len(slices),
                                          "total": volume.data.shape[axis], "direction": _DIRECTIONS[world],
                                          "slices": _ranges(slices)})
                    bad.append(BadSlices(contrast, code, axis, np.array(slices), note))
    return bad


def notes_of(bad: Sequence[BadSlices], grid: Grid) -> tuple[Finding, ...]:
    """Remarks on a scan. Empty rows and columns within the plane of thick slices are padding, and not remarked on."""
    thickest = max(grid.spacing_mm)
    return tuple(b.note for b in bad if b.code != FindingCode.EMPTY_SLICES
                 or grid.spacing_mm[b.axis] > _THICK * thickest)


def _bad_along(data: NDArray[np.float32], axis: int) -> tuple[list[int], list[int]]:
    """Empty slices, and slices of which there is another one with the same voxels, in their order."""
    others = tuple({0, 1, 2} - {axis})
    high, low, total = data.max(axis=others), data.min(axis=others), data.sum(axis=others, dtype=np.float64)
    alike: dict[tuple[float, float, float], list[int]] = defaultdict(list)  # few have anything to be compared with
    for i in np.flatnonzero(high > low).tolist():
        alike[high[i], low[i], total[i]].append(i)
    slices = np.moveaxis(data, axis, 0)
    copied = (i for group in alike.values() for i in group
              if any(i != j and np.array_equal(slices[i], slices[j]) for j in group))
    return np.flatnonzero(high == low).tolist(), sorted(copied)


def _ranges(numbers: list[int]) -> str:
    """Numbers in words: 3, 5-9."""
    runs = [[n for _, n in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def impossible_intensities(scan: Scan) -> tuple[Finding, ...]:
    """Contrasts that cannot be magnitudes as measured: with many voxels far below 0, or cut or wrapped at a limit."""
    findings = []
    for contrast, volume in scan.contrasts.items():
        data = volume.data
        deep = float((data < -_DEEP * data.max()).mean())
        wide = float((data < -_RINGING * np.percentile(data, 99)).mean())
        if deep > _MAX_DEEP or wide > _MAX_RINGING:
            findings.append(Finding(FindingCode.NEGATIVE_INTENSITIES, {
                "contrast": contrast, "percent": 100 * max(deep, wide), "lowest": data.min(), "highest": data.max()}))
        elif (limit := _overflow(data)) is not None:
            findings.append(Finding(FindingCode.OVERFLOW, {"contrast": contrast, "limit": limit}))
    return tuple(findings)


def _overflow(data: NDArray[np.float32]) -> float | None:
    """The limit of an integer type beyond which intensities seem to have started again at 0; None where none has."""
    top = float(data.max())
    limit = next((2.0**bits - 1 for bits in _INTEGER_BITS if _NEAR_LIMIT * (2**bits - 1) <= top < 2**bits), None)
    if limit is None:
        return None
    bright, dark, steps = data > 0.8 * top, data < 0.2 * top, 0
    for axis in range(3):
        b, d = np.moveaxis(bright, axis, 0), np.moveaxis(dark, axis, 0)
        steps += int((b[1:] & d[:-1]).sum() + (b[:-1] & d[1:]).sum())
    return limit if steps > _STEPS * bright.sum() else None
