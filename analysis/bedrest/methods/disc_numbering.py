"""Probabilities -> separate discs, counted from the bottom. Knows nothing of networks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import disk

from bedrest.methods.method import Float, Labels
from bedrest.vocabulary import LEVEL_OF_LABEL

# Small regions are removed in every paper; none says how small. The smallest disc of IVDM3Seg has about 1,000 voxels.
SMALLEST_VOXELS = 200


def components(mask: NDArray[np.bool_]) -> Labels:
    """Connected parts (faces) that are not small, numbered from the bottom up by the height of their centres.

    `mask`: bool, (I, J, K), axes right, front, head.
    Returns int16, (I, J, K): 0, 1, 2, ... .
    """
    parts, n = ndimage.label(mask)
    sizes = np.bincount(parts.ravel(), minlength=n + 1)
    kept = [p for p in range(1, n + 1) if sizes[p] >= SMALLEST_VOXELS]
    height = {p: float(c[2]) for p, c in zip(kept, ndimage.center_of_mass(parts > 0, parts, kept), strict=True)}
    number = np.zeros(n + 1, dtype=np.int16)
    for i, part in enumerate(sorted(kept, key=lambda p: height[p])):
        number[part] = i + 1
    result: Labels = number[parts]
    return result


def bottom_seven(parts: Labels) -> Labels:
    """Georgiev and Asenov 2018: the seven lowest parts are the discs; a sacrum taken for a disc shifts every name."""
    result: Labels = np.where(parts <= len(LEVEL_OF_LABEL), parts, 0).astype(np.int16)
    return result


def name_discs(probability: Float, *, threshold: float) -> Labels:
    """Threshold, separate parts, the bottom seven: where a paper says no more than that discs are components."""
    return bottom_seven(components(probability >= threshold))


def disk_filtered(probability: Float) -> Float:
    """Chen et al. 2016: mean over a small disk in each sagittal slice."""
    footprint = disk(1).astype(np.float32)
    result: Float = ndimage.convolve(probability, (footprint / footprint.sum())[None], mode="nearest")
    return result


def centres(labels: Labels) -> dict[int, NDArray[np.float64]]:
    """Centroid of every disc, (3,) voxels."""
    labels_present = [int(n) for n in np.unique(labels) if n > 0]
    positions = ndimage.center_of_mass(labels > 0, labels, labels_present)
    return {n: np.array(c) for n, c in zip(labels_present, positions, strict=True)}


