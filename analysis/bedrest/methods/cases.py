"""Scans and masks -> cases as every method takes them, and a method's labels -> the grid of the files.

Knows nothing of files, and nothing of how a method works.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedrest.imaging.orientation import reorient_to_ras
from bedrest.imaging.resample import grid_with_spacing, resample
from bedrest.methods.method import SPACING_MM, Case
from bedrest.types import LabelMap, Scan, require_same_grid
from bedrest.vocabulary import LEVEL_OF_LABEL, Contrast


def case_of(scan: Scan, mask: LabelMap | None, *, subject: str, session: str) -> Case:
    """Turn a visit to right, front, head and bring it to `SPACING_MM`; nothing is interpolated that is there already.

    `scan`: Scan; contrasts keep the order of `vocabulary.Contrast`; `mask`: LabelMap; 1 = L5-S1 ... 7 = T11-T12; other
    labels are left out.
    Raises GeometryError: scan and mask lie on different grids.
    """
    reorientation = reorient_to_ras(scan.grid)
    grid = grid_with_spacing(reorientation.ras, SPACING_MM)
    contrasts = tuple(c for c in Contrast if c in scan.contrasts)
    image = np.stack([resample(reorientation.apply(scan.contrasts[c].data), reorientation.ras, grid, order=1)
                      for c in contrasts])
    labels = np.zeros(grid.shape, dtype=np.int16)
    if mask is not None:
        require_same_grid(mask.grid, scan.grid, names=("reference mask", "scan"))
        known = np.where(np.isin(mask.data, list(LEVEL_OF_LABEL)), mask.data, 0)
        labels = resample(reorientation.apply(known), reorientation.ras, grid, order=0).astype(np.int16)
    return Case(subject, session, contrasts, image.astype(np.float32), labels, reorientation, grid)


def on_scan_grid(labels: NDArray[np.integer], case: Case) -> LabelMap:
    """A method's labels on the grid of the files."""
    turned = resample(labels, case.grid, case.reorientation.ras, order=0)
    return LabelMap(case.reorientation.undo(turned).astype(np.int32), case.reorientation.stored)


def intensities(cases: Sequence[Case]) -> dict[str, NDArray[Any]]:
    """`mean` and `sd` of each contrast over all voxels of all cases, (C,) float32."""
    means = np.mean([c.image.mean(axis=(1, 2, 3), dtype=np.float64) for c in cases], axis=0)
    squares = np.mean([np.square(c.image, dtype=np.float64).mean(axis=(1, 2, 3)) for c in cases], axis=0)
    sd = np.sqrt(np.maximum(squares - means**2, 1e-12))
    return {"mean": means.astype(np.float32), "sd": sd.astype(np.float32)}
