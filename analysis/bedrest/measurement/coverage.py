"""How much of a disc a stack of slices shows, where it ends inside the disc. Knows nothing of networks and files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

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
