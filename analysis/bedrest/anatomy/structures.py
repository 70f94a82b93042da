"""The structures of the spine that segmentation tells apart. Knows nothing of images."""

from __future__ import annotations

from enum import IntEnum


class Structure(IntEnum):
    """What the network separates, in the order of its output channels."""

    BACKGROUND = 0
    DISC = 1
    VERTEBRA = 2
    SACRUM = 3
    CANAL = 4
