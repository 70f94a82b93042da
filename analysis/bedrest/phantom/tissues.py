"""Tissues of the synthetic anatomy: their numbers, MR intensities and structure classes.

Intensities are arbitrary units near Wang et al. 2020, Table I (disc: fat 16, in-phase 172, opposed 155, water 163).
Knows nothing of shapes.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from bedrest.anatomy.structures import Structure


class Tissue(IntEnum):
    AIR = 0
    MUSCLE = 1
    SUBCUTANEOUS_FAT = 2
    VISCERAL_FAT = 3
    ORGAN = 4
    VESSEL = 5
    CSF = 6
    CORD = 7
    MARROW = 8
    END_PLATE = 9
    NUCLEUS = 10
    NUCLEUS_DEGENERATED = 11
    ANNULUS = 12
    SACRUM_MARROW = 13
    SACRUM_CORTEX = 14
    SACRUM_DISC = 15  # the remnant discs inside the sacrum: they look like discs, but are none of the seven
    POSTERIOR_MARROW = 16
    POSTERIOR_CORTEX = 17  # rims and joint lines of arches and processes
    LIGAMENT = 18  # dark sheet around discs
    ROOT = 19  # nerve root in its foramen
    FLUID = 20  # bladder, bowel, joint fluid
    BASIVERTEBRAL = 21  # vein entering the back of a body


# structure; water, fat, T2-weighted and T1-weighted spin-echo signal in arbitrary units
_TABLE: dict[Tissue, tuple[Structure, float, float, float, float]] = {
    Tissue.AIR: (Structure.BACKGROUND, 0, 0, 0, 0),
    Tissue.MUSCLE: (Structure.BACKGROUND, 70, 6, 40, 95),
    Tissue.SUBCUTANEOUS_FAT: (Structure.BACKGROUND, 12, 120, 170, 320),
    Tissue.VISCERAL_FAT: (Structure.BACKGROUND, 14, 100, 150, 290),
    Tissue.ORGAN: (Structure.BACKGROUND, 85, 12, 90, 110),
    Tissue.VESSEL: (Structure.BACKGROUND, 60, 5, 15, 20),
    Tissue.CSF: (Structure.CANAL, 85, 4, 230, 40),
    Tissue.CORD: (Structure.CANAL, 95, 8, 110, 105),
    Tissue.MARROW: (Structure.VERTEBRA, 52, 48, 95, 165),
    Tissue.END_PLATE: (Structure.VERTEBRA, 18, 8, 15, 25),
    Tissue.NUCLEUS: (Structure.DISC, 175, 12, 190, 100),
    Tissue.NUCLEUS_DEGENERATED: (Structure.DISC, 150, 15, 80, 95),
    Tissue.ANNULUS: (Structure.DISC, 156, 17, 45, 85),
    Tissue.SACRUM_MARROW: (Structure.SACRUM, 45, 62, 100, 185),
    Tissue.SACRUM_CORTEX: (Structure.SACRUM, 18, 10, 15, 25),
    Tissue.SACRUM_DISC: (Structure.SACRUM, 120, 20, 70, 85),
    Tissue.POSTERIOR_MARROW: (Structure.BACKGROUND, 45, 60, 95, 180),
    Tissue.POSTERIOR_CORTEX: (Structure.BACKGROUND, 20, 10, 18, 28),
    Tissue.LIGAMENT: (Structure.BACKGROUND, 40, 10, 20, 35),
    Tissue.ROOT: (Structure.BACKGROUND, 90, 12, 80, 95),
    Tissue.FLUID: (Structure.BACKGROUND, 110, 3, 230, 45),
    Tissue.BASIVERTEBRAL: (Structure.VERTEBRA, 95, 20, 140, 120),
}
STRUCTURE_OF_TISSUE: NDArray[np.uint8] = np.array([_TABLE[t][0] for t in Tissue], dtype=np.uint8)
WATER, FAT, T2, T1 = np.array([_TABLE[t][1:] for t in Tissue], dtype=np.float32).T
