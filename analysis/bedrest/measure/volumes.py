"""Volumes from probabilities: a voxel counts for the share of it that is disc.

A count of voxels moves by whole voxels with the disc's place on the grid; calibrated probabilities keep partial volume.
"""

from __future__ import annotations

import numpy as np
from skimage.segmentation import expand_labels

from bedrest.measure.geometry import bounding_box
from bedrest.types import LabelMap, Volume

REACH_MM = 4.0  # how far beyond a disc's mask probabilities count; they are calibrated in a band like that


def volumes_from_probability(probability: Volume, discs: LabelMap) -> dict[int, float]:
    """Volume of every disc in the mask, mm3, by label: probabilities summed over the disc and REACH_MM around it.

    Parameters
    ----------
    probability : Volume
        Calibrated probability of disc, 0 to 1, on the grid of `discs`.
    discs : LabelMap
        A voxel between two discs counts for the nearer one.
    """
    spacing = discs.grid.spacing_mm
    box = bounding_box(discs.data > 0)
    if box is None:
        return {}
    reach = np.ceil(REACH_MM / spacing).astype(int)
    wide = tuple(slice(max(s.start - r, 0), s.stop + r) for s, r in zip(box, reach.tolist(), strict=True))
    near = expand_labels(discs.data[wide], REACH_MM, spacing=tuple(spacing))
    labels, place = np.unique(near, return_inverse=True)
    sums = np.bincount(place.ravel(), weights=probability.data[wide].ravel().astype(np.float64))
    return {int(k): float(v) * discs.grid.voxel_volume_mm3 for k, v in zip(labels, sums, strict=True) if k > 0}


def after_edit(probability: Volume, before: LabelMap, edited: LabelMap) -> Volume:
    """Probability of disc where a person corrected the mask: 0 or 1 where the two masks differ, else as it was.

    Parameters
    ----------
    probability, before, edited : on one grid
    """
    inside = edited.data > 0
    return Volume(np.where(inside == (before.data > 0), probability.data, inside).astype(np.float32), probability.grid)
