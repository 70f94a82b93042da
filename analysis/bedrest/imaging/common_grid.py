"""Resamples images and masks of one visit onto one grid, where a study asks for it.

Intensities linearly, smoothed first where the new grid is coarser; labels by nearest neighbour. Notes report what was
resampled. Knows nothing of subjects: whether two images belong together is for others to check.
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
    """All contrasts on the grid of the first, or on `target`; `notes` of the scan say which were resampled, and how.

    `contrasts`: at least one, each on its own grid, world RAS+. `where`: subject and session, for messages. Raises
    GeometryError: a contrast shows less than half of the grid.
    """
    first = next(iter(contrasts))
    grid = target or contrasts[first].grid
    onto = "the mask" if target else str(first)
    volumes: dict[Contrast, Volume] = {}
    outside_fov: dict[Contrast, NDArray[np.bool_]] = {}
    notes = []
    for contrast, volume in contrasts.items():
        if same_grid(volume.grid, grid):
            volumes[contrast] = Volume(volume.data, grid)
            continue
        outside = require_shared(grid, volume.grid, where=f"{where} {contrast}", onto=onto)
        data = resample(volume.data, volume.grid, grid, order=1)
        missing = float(outside.mean())
        if missing:
            data = np.where(outside, np.float32(0), data)
            outside_fov[contrast] = outside
        code = FindingCode.CONTRAST_RESAMPLED_IN_PART if missing else FindingCode.CONTRAST_RESAMPLED
        volumes[contrast] = Volume(data.astype(np.float32, copy=False), grid)
        notes.append(Finding(code, {"contrast": contrast, "onto": onto, "missing_percent": 100 * missing}))
    return Scan(volumes, outside_fov, tuple(notes))


def contrasts_at(scan: Scan, mask: LabelMap) -> tuple[dict[Contrast, Volume], list[Finding]]:
    """The contrasts whose signal may be measured inside a mask, on its grid, and a finding for each other one.

    A resampled contrast that misses part of the box around all discs is left out: its zeros are not signal.
    """
    if not same_grid(scan.grid, mask.grid):
        return {}, [Finding(FindingCode.IMAGES_ON_ANOTHER_GRID)]
    labelled = mask.data > 0
    box = box_around(labelled) if labelled.any() else (slice(0), slice(0), slice(0))
    cut = [c for c, outside in scan.outside_fov.items() if outside[box].any()]
    return ({c: v for c, v in scan.contrasts.items() if c not in cut},
            [Finding(FindingCode.CONTRAST_CUT_OFF, {"contrast": c}) for c in cut])


def labels_on(mask: LabelMap, grid: Grid, *, where: str) -> LabelMap:
    """A mask on another grid of the same world, by nearest neighbour; background outside its field of view.

    Raises GeometryError: its labelled voxels lie outside the grid.
    """
    if same_grid(mask.grid, grid):
        return LabelMap(mask.data, grid)
    require_inside(mask, grid, where=where)
    data = resample(mask.data, mask.grid, grid, order=0)
    return LabelMap(np.where(grid.outside(mask.grid), 0, data).astype(np.int32), grid)
