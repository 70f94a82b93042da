"""Brings what lies on different grids of one world onto one grid, where a study asks for it.

Intensities linearly, smoothed first where the new grid is coarser; labels by nearest neighbour. What the result is,
it says. Whether two images show the same person at one time is not for it to know.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bedrest.findings import Finding, FindingCode
from bedrest.imaging.crop import box_around
from bedrest.imaging.resample import resample
from bedrest.io.images.masks import require_inside
from bedrest.io.images.nifti import require_shared
from bedrest.types import Grid, LabelMap, Scan, Volume, same_grid
from bedrest.vocabulary import Contrast


def scan_on_one_grid(contrasts: Mapping[Contrast, Volume], *, where: str, target: Grid | None = None) -> Scan:
    """All contrasts on the grid of the first, or on another one; `notes` say which were resampled, and how.

    Parameters
    ----------
    contrasts : mapping
        At least one, each on its own grid, world RAS+.
    where : str
        Subject and session, for messages.
    target : Grid, optional
        In place of the first contrast's grid.

    Raises
    ------
    GeometryError
        A contrast shows less than half of the grid.
    """
    first = next(iter(contrasts))
    grid = target or contrasts[first].grid
    onto = "the mask" if target else str(first)
    found: dict[Contrast, Volume] = {}
    unseen: dict[Contrast, NDArray[np.bool_]] = {}
    notes = []
    for contrast, volume in contrasts.items():
        if same_grid(volume.grid, grid):
            found[contrast] = Volume(volume.data, grid)
            continue
        outside = require_shared(grid, volume.grid, where=f"{where} {contrast}", onto=onto)
        data = resample(volume.data, volume.grid, grid, order=1)
        missing = float(outside.mean())
        if missing:
            data = np.where(outside, np.float32(0), data)
            unseen[contrast] = outside
        code = FindingCode.CONTRAST_RESAMPLED_IN_PART if missing else FindingCode.CONTRAST_RESAMPLED
        found[contrast] = Volume(data.astype(np.float32, copy=False), grid)
        notes.append(Finding(code, {"contrast": contrast, "onto": onto, "missing_percent": 100 * missing}))
    return Scan(found, unseen, tuple(notes))


def contrasts_at(scan: Scan, mask: LabelMap) -> tuple[dict[Contrast, Volume], list[Finding]]:
    """The contrasts that signals may be taken from where a mask labels something, and why the others may not.

    Parameters
    ----------
    scan, mask : Scan, LabelMap
        A resampled contrast that misses part of the box around all discs is left out: its zeros are no signal.
    """
    if not same_grid(scan.grid, mask.grid):
        return {}, [Finding(FindingCode.IMAGES_ON_ANOTHER_GRID)]
    labelled = mask.data > 0
    box = box_around(labelled) if labelled.any() else (slice(0), slice(0), slice(0))
    cut = [c for c, unseen in scan.unseen.items() if unseen[box].any()]
    return ({c: v for c, v in scan.contrasts.items() if c not in cut},
            [Finding(FindingCode.CONTRAST_CUT_OFF, {"contrast": c}) for c in cut])


def labels_on(mask: LabelMap, grid: Grid, *, where: str) -> LabelMap:
    """A mask on another grid of the same world, by nearest neighbour; background where it does not reach.

    Raises
    ------
    GeometryError
        What it labels lies outside the grid.
    """
    if same_grid(mask.grid, grid):
        return LabelMap(mask.data, grid)
    require_inside(mask, grid, where=where)
    data = resample(mask.data, mask.grid, grid, order=0)
    return LabelMap(np.where(grid.outside(mask.grid), 0, data).astype(np.int32), grid)
