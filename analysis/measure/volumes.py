"""Volumes from probabilities: what a voxel holds of a disc counts for its share.

A count of voxels moves by whole voxels with the disc's place on the grid; calibrated probabilities keep partial volume.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from skimage.segmentation import expand_labels

from analysis.measure.discs import require_same_grid
from analysis.types import LabelMap, Volume

REACH_MM = 4.0  # how far beyond a disc's mask its probability is looked for; calibrated within a like band


def volumes_from_probability(
    probability: Volume, discs: LabelMap, labels: Iterable[int]
) -> dict[int, float]:
    """Volume of each disc, mm3: probabilities summed over the disc and REACH_MM around it.

    Parameters
    ----------
    probability : Volume
        Calibrated probability of disc, 0 to 1, on the grid of `discs`.
    discs : LabelMap
        A voxel between two discs counts for the nearer one.
    labels : of the discs to measure; one that is not in the mask has no volume and is left out

    Raises
    ------
    GeometryError
        If the two lie on different grids.
    """
    require_same_grid(probability.grid, discs.grid, what="probability", other="mask")
    near = expand_labels(discs.data, REACH_MM, spacing=tuple(discs.grid.spacing_mm))
    sums = np.bincount(near.ravel(), weights=probability.data.ravel().astype(np.float64))
    present = set(np.unique(discs.data).tolist())
    return {k: float(sums[k]) * discs.grid.voxel_volume_mm3 for k in labels if k in present}
