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


_STRUCTURE_OF_TISSUE: dict[Tissue, Structure] = {
    Tissue.CSF: Structure.CANAL,
    Tissue.CORD: Structure.CANAL,
    Tissue.MARROW: Structure.VERTEBRA,
    Tissue.END_PLATE: Structure.VERTEBRA,
    Tissue.BASIVERTEBRAL: Structure.VERTEBRA,
    Tissue.NUCLEUS: Structure.DISC,
    Tissue.NUCLEUS_DEGENERATED: Structure.DISC,
    Tissue.ANNULUS: Structure.DISC,
    Tissue.SACRUM_MARROW: Structure.SACRUM,
    Tissue.SACRUM_CORTEX: Structure.SACRUM,
    Tissue.SACRUM_DISC: Structure.SACRUM,
}
STRUCTURE_OF_TISSUE: NDArray[np.uint8] = np.array(
    [_STRUCTURE_OF_TISSUE.get(t, Structure.BACKGROUND) for t in Tissue], dtype=np.uint8
)

# water signal, fat signal, T2-weighted signal; arbitrary units
_SIGNALS: dict[Tissue, tuple[float, float, float]] = {
    Tissue.AIR: (0, 0, 0),
    Tissue.MUSCLE: (70, 6, 40),
    Tissue.SUBCUTANEOUS_FAT: (12, 120, 170),
    Tissue.VISCERAL_FAT: (14, 100, 150),
    Tissue.ORGAN: (85, 12, 90),
    Tissue.VESSEL: (60, 5, 15),
    Tissue.CSF: (85, 4, 230),
    Tissue.CORD: (95, 8, 110),
    Tissue.MARROW: (52, 48, 95),
    Tissue.END_PLATE: (18, 8, 15),
    Tissue.NUCLEUS: (175, 12, 190),
    Tissue.NUCLEUS_DEGENERATED: (150, 15, 80),
    Tissue.ANNULUS: (156, 17, 45),
    Tissue.SACRUM_MARROW: (45, 62, 100),
    Tissue.SACRUM_CORTEX: (18, 10, 15),
    Tissue.SACRUM_DISC: (120, 20, 70),
    Tissue.POSTERIOR_MARROW: (45, 60, 95),
    Tissue.POSTERIOR_CORTEX: (20, 10, 18),
    Tissue.LIGAMENT: (40, 10, 20),
    Tissue.ROOT: (90, 12, 80),
    Tissue.FLUID: (110, 3, 230),
    Tissue.BASIVERTEBRAL: (95, 20, 140),
}
WATER: NDArray[np.float32] = np.array([_SIGNALS[t][0] for t in Tissue], dtype=np.float32)
FAT: NDArray[np.float32] = np.array([_SIGNALS[t][1] for t in Tissue], dtype=np.float32)
T2: NDArray[np.float32] = np.array([_SIGNALS[t][2] for t in Tissue], dtype=np.float32)
