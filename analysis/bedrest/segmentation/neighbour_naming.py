"""Names the discs' neighbours: vertebral bodies by the discs they lie between, sacrum, spinal canal.

Knows nothing of intensities.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from bedrest.anatomy.structures import Structure
from bedrest.segmentation.regions import column
from bedrest.types import Grid
from bedrest.vocabulary import CANAL_LABEL, LEVEL_OF_LABEL, SACRUM_LABEL, UNNAMED_VERTEBRA_LABEL

Labels = NDArray[np.int32]


def name_neighbours(structure: NDArray[np.uint8], discs: Labels, grid: Grid) -> Labels:
    """Discs with their neighbours, int32 (I, J, K), numbered as in `vocabulary.TISSUE_OF_LABEL`.

    `structure`: uint8, (I, J, K); the likeliest `Structure` of each voxel; axes right, front, head. `discs`: int32, (I,
    J, K); named discs, from `level_naming`; unnamed ones keep their labels.
    """
    out = np.where(discs > 0, discs, 0).astype(np.int32)
    free = (discs == 0) & column(structure)
    out[free & (structure == Structure.SACRUM)] = SACRUM_LABEL
    out[(discs == 0) & (structure == Structure.CANAL)] = CANAL_LABEL
    bodies = np.argwhere(free & (structure == Structure.VERTEBRA))
    if len(bodies):
        disc_mm = {k: (grid.affine_ras_mm @ np.append(np.argwhere(discs == k).mean(axis=0), 1))[:3]
                   for k in LEVEL_OF_LABEL if (discs == k).any()}
        out[tuple(bodies.T)] = _name_bodies(bodies @ grid.affine_ras_mm[:3, :3].T + grid.affine_ras_mm[:3, 3], disc_mm)
    return out


def _name_bodies(points_mm: NDArray[np.float64], disc_mm: dict[int, NDArray[np.float64]]) -> Labels:
    """Label of each point of bone: that of the nearest body centre.

    Centres of bodies lie half way between neighbouring discs; above the topmost and below the lowest disc as far out
    as on its other side.
    """
    numbers = sorted(disc_mm)
    if len(numbers) < 2:
        return np.full(len(points_mm), UNNAMED_VERTEBRA_LABEL, dtype=np.int32)
    # A missing disc lies on the line between those around it.
    every = np.arange(numbers[0], numbers[-1] + 1)
    known = np.array([disc_mm[k] for k in numbers])
    line = np.stack([np.interp(every, numbers, known[:, axis]) for axis in range(3)], axis=1)
    ends = [line[0] - (line[1] - line[0]), *line, line[-1] + (line[-1] - line[-2])]
    middles = [(low + high) / 2 for low, high in pairwise(ends)]
    labels = np.arange(every[0] - 1, every[-1] + 1) + 10
    distance, nearest = KDTree(np.array(middles)).query(points_mm)
    out: Labels = labels[nearest].astype(np.int32)
    # Bone beyond the reach of the outermost bodies, and bone below L5-S1 that is not sacrum, has no name.
    reach = np.linalg.norm(line[1:] - line[:-1], axis=1).mean()
    out[(distance > 1.5 * reach) | (out <= SACRUM_LABEL) | (out > 10 + max(LEVEL_OF_LABEL))] = UNNAMED_VERTEBRA_LABEL
    return out
