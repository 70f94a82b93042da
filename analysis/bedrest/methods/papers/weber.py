"""Weber contrast of discs against all else: Table I of Wang et al. 2020. Knows no method and no file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bedrest.methods.method import Case
from bedrest.vocabulary import Contrast


@dataclass(frozen=True)
class Weber:
    """Intensities of one contrast, as the scanner gave them, and their Weber contrast."""

    mean_disc: float  # over all voxels of labelled discs
    sd_disc: float
    mean_background: float  # over all others
    sd_background: float

    @property
    def contrast(self) -> float:
        return absolute_weber(self.mean_disc, self.mean_background)


def absolute_weber(disc: float, background: float) -> float:
    """|disc - background| / background of two mean intensities; not a number where the background has none."""
    return abs(disc - background) / background if background > 0 else float("nan")


def weber_contrast(*cases: Case) -> dict[Contrast, Weber]:
    """Of each contrast, over the voxels of all cases together, by their labels; not a number where no disc is labelled.

    `cases`: at least one; all with the contrasts of the first, in any order.
    """
    by_contrast = {}
    for contrast in cases[0].contrasts:
        images = [c.image[c.contrasts.index(contrast)] for c in cases]
        discs, rest = (np.concatenate([i[(c.labels > 0) == there] for i, c in zip(images, cases, strict=True)])
                       for there in (True, False))
        by_contrast[contrast] = Weber(*_mean_and_sd(discs), *_mean_and_sd(rest))
    return by_contrast


def _mean_and_sd(values: NDArray[np.float32]) -> tuple[float, float]:
    if not len(values):
        return float("nan"), float("nan")
    return float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
