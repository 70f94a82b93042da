"""How much of a disc a stack of slices shows, where it ends inside the disc. Knows nothing of networks and files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bedrest.measurement.definition import Measure, Scale

if TYPE_CHECKING:
    from bedrest.measurement.context import DiscInScan
    from bedrest.measurement.geometry import Box
    from bedrest.types import Grid

WHOLE_END = 0.1  # a disc whose outermost sections have less than this share of the largest ends inside the stack
HALF_WIDTHS_MM = np.arange(14.0, 34.0, 0.5)  # discs are 35 to 60 mm wide
POWER = 0.7


def covered_share(areas: Sequence[float] | NDArray[np.floating], step_mm: float) -> float:
    """Share of a disc that lies in a row of sagittal slices, 0 to 1; 0 where they show nothing of it.

    A disc that ends inside the row is whole. Else sections are taken to shrink to the sides as
    (1 - (x / half width)^2)^0.7, and the width and place that fit best tell how much is missing.

    `areas`: the disc's section in every slice of the row, in any unit. `step_mm`: from slice to slice.
    """
    section = np.asarray(areas, dtype=np.float64)
    if section.size == 0 or not section.max() > 0:
        return 0.0
    if max(section[0], section[-1]) < WHOLE_END * section.max():
        return 1.0
    x = np.arange(section.size) * step_mm
    middles = np.arange(x[0], x[-1] + 0.5)
    away = (x - middles[:, None, None]) / HALF_WIDTHS_MM[:, None]
    shape = np.clip(1 - away**2, 0, None) ** POWER
    height = (shape @ section) / np.maximum((shape**2).sum(axis=-1), 1e-9)
    error = ((height[..., None] * shape - section) ** 2).sum(axis=-1)
    middle, width = np.unravel_index(int(error.argmin()), error.shape)
    inside = np.linspace(-1, 1, 201)
    whole = height[middle, width] * HALF_WIDTHS_MM[width] * np.trapezoid((1 - inside**2) ** POWER, inside)
    return float(min(section.sum() * step_mm / whole, 1.0))


def sagittal_axis(grid: Grid) -> int:
    """The array axis that runs most nearly from left to right."""
    return int(np.abs(grid.affine_ras_mm[0, :3] / grid.spacing_mm).argmax())


def cut_at_side(box: Box, grid: Grid) -> bool:
    """Whether a disc in `box` touches the first or last sagittal slice."""
    axis = sagittal_axis(grid)
    return bool(box[axis].start == 0 or box[axis].stop == grid.shape[axis])


def _covered_percent(disc: DiscInScan) -> float:
    grid = disc.scan.discs.grid
    if disc.scan.permuted:
        return math.nan
    axis = sagittal_axis(grid)
    areas = disc.mask.sum(axis=tuple(a for a in range(3) if a != axis))
    return 100 * covered_share(areas, float(grid.spacing_mm[axis])) if cut_at_side(disc.box, grid) else 100.0


COVERED: Measure[DiscInScan] = Measure(
    "covered_percent", "%", Scale.DIFFERENCE,
    "share of the disc that volume_mm3 is of: 100 unless the slices end inside it, then estimated from its sections; "
    "joint: of what all visits show", _covered_percent, minimum=0)
MEASURES = (COVERED,)
