"""The engine's one door: a scan in, named discs in the scan's own grid out."""

from __future__ import annotations

import numpy as np
from skimage.segmentation import expand_labels

from analysis.imaging.resample import resample
from analysis.segmentation.naming import name_discs
from analysis.segmentation.predict import disc_probability, predict
from analysis.segmentation.weights import TrainedNetwork
from analysis.types import LabelMap, Scan, Segmentation


def segment(trained: TrainedNetwork, scan: Scan, *, device: str) -> Segmentation:
    """Segment and name the discs of one scan.

    Parameters
    ----------
    trained : TrainedNetwork
    scan : Scan
        Any non-empty set of contrasts on one grid, any axis order.
    device : str
        cpu, cuda or mps.

    Returns
    -------
    Segmentation
        On the scan's grid. Where that is finer than the working grid the boundary is where the interpolated
        probability crosses one half.
    """
    probabilities = predict(trained, scan, device)
    named = name_discs(probabilities.data, probabilities.grid)
    turn = probabilities.turn
    # Names spread two voxels beyond each disc, so that interpolation cannot leave a boundary voxel without one.
    names = resample(expand_labels(named.labels, 2), probabilities.grid, turn.turned, order=0)
    inside = resample(disc_probability(probabilities), probabilities.grid, turn.turned, order=1) >= 0.5
    labels = np.ascontiguousarray(turn.undo(np.where(inside, names, 0))).astype(np.int32)
    return Segmentation(LabelMap(labels, scan.grid), named.findings, named.warnings)
