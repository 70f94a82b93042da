"""Volumes from probabilities: a voxel counts for the share of it that is disc.

A count of voxels moves by whole voxels with the disc's place on the grid; calibrated probabilities keep partial volume.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bedrest.measurement.definition import Measure, Needs, Scale
from bedrest.measurement.geometry import bounding_box
from bedrest.types import LabelMap, Volume, require_same_grid

if TYPE_CHECKING:
    from bedrest.measurement.context import DiscInScan

REACH_MM = 4.0  # how far beyond a disc's mask probabilities count; they are calibrated in a band like that


def volumes_from_probability(probability: Volume, discs: LabelMap) -> dict[int, float]:
    """Volume of every disc in the mask, mm3, by label: probabilities summed over the disc and REACH_MM around it.

    `probability`: calibrated probability of disc, 0 to 1. `discs`: a voxel between two discs counts for the nearer one.
    Raises GeometryError if they lie on different grids.
    """
    from skimage.segmentation import expand_labels

    require_same_grid(probability.grid, discs.grid, names=("probability", "mask"))
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


def _n_voxels(disc: DiscInScan) -> float:
    return float(np.count_nonzero(disc.mask))


def _counted_mm3(disc: DiscInScan) -> float:
    return _n_voxels(disc) * disc.scan.discs.grid.voxel_volume_mm3


def _volume_mm3(disc: DiscInScan) -> float:
    """From probabilities where they were given, else the voxels counted."""
    summed = disc.scan.volumes_mm3.get(disc.label, math.nan)
    return _counted_mm3(disc) if math.isnan(summed) else summed


VOLUME: Measure[DiscInScan] = Measure(
    "volume_mm3", "mm3", Scale.RATIO, "volume of the disc, by volume_method", _volume_mm3, minimum=0)
VOLUME_SINGLE: Measure[DiscInScan] = Measure(
    "volume_single_mm3", "mm3", Scale.RATIO,
    "from this visit alone: its summed probabilities, which keep partial volume; for discs whose mask no network made, "
    "or was edited, volume_voxels_mm3", _volume_mm3, needs=Needs.PROBABILITY, minimum=0)
VOLUME_VOXELS: Measure[DiscInScan] = Measure(
    "volume_voxels_mm3", "mm3", Scale.RATIO, "voxel count times voxel volume", _counted_mm3, minimum=0)
N_VOXELS: Measure[DiscInScan] = Measure(
    "n_voxels", "1", Scale.RATIO, "voxels of the disc", _n_voxels, minimum=0, whole=True)
MEASURES = (VOLUME, VOLUME_SINGLE, N_VOXELS, VOLUME_VOXELS)
