"""The entry point of segmentation: a scan in, named discs on its grid out. Knows nothing of files and measures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import expand_labels

from bedrest.imaging.crop import Box, box_of, crop_grid
from bedrest.imaging.resample import resample
from bedrest.imaging.voxel_checks import bad_slices, impossible_intensities, notes_of
from bedrest.segmentation.disc_doubts import doubted
from bedrest.segmentation.level_naming import name_discs
from bedrest.segmentation.neighbour_naming import name_neighbours
from bedrest.segmentation.predict import BAND, Probabilities, disc_probability, predict
from bedrest.segmentation.weights import TrainedNetwork
from bedrest.types import LabelMap, Scan, Segmentation, Volume


def segment(trained: TrainedNetwork, scan: Scan, *, device: str, tissues: bool = False) -> Segmentation:
    """Segment and name the discs of one scan, on its grid.

    Where that is finer than the working grid the boundary is where the interpolated probability crosses one half.

    Parameters
    ----------
    scan : any non-empty set of contrasts on one grid, any axis order
    device : cpu, cuda or mps. Where its memory does not suffice, tiles and then the CPU are used, with a warning.
    tissues : also name vertebral bodies, sacrum and spinal canal
    """
    probabilities = predict(trained, scan, device)
    named = name_discs(probabilities.data, probabilities.grid)
    box = box_of(probabilities.grid, probabilities.reorientation.ras)
    part = crop_grid(probabilities.reorientation.ras, box)
    # Names reach beyond each disc, so that interpolation cannot leave a boundary voxel without one.
    near = expand_labels(named.labels, BAND)
    names = resample(near, probabilities.grid, part, order=0)
    disc = resample(disc_probability(probabilities, near), probabilities.grid, part, order=1)
    labels = np.where(disc >= 0.5, names, 0).astype(np.int32)
    neighbours = None
    if tissues:
        fine = np.stack([resample(p, probabilities.grid, part, order=1) for p in probabilities.data])
        all_tissues = name_neighbours(fine.argmax(axis=0).astype(np.uint8), labels, part)
        neighbours = LabelMap(_whole(all_tissues, box, probabilities), scan.grid)
    whole = _whole(labels, box, probabilities)
    slices, intensities = bad_slices(scan), impossible_intensities(scan)
    discs = doubted(named.discs, whole, scan, slices, intensities, probabilities, named.labels)
    return Segmentation(LabelMap(whole, scan.grid),
                        Volume(_whole(disc.astype(np.float32), box, probabilities), scan.grid), discs,
                        (*notes_of(slices, scan.grid), *intensities, *probabilities.notes, *named.warnings), neighbours)


def _whole(data: NDArray[Any], box: Box, probabilities: Probabilities) -> NDArray[Any]:
    """A part of the reoriented grid, put back into the whole scan as stored; zero elsewhere."""
    out = np.zeros(probabilities.reorientation.ras.shape, data.dtype)
    out[box] = data
    return np.ascontiguousarray(probabilities.reorientation.undo(out))
