"""Masks of a synthetic lumbar spine as other programs number them: ellipsoids for discs, boxes for vertebrae."""

from collections.abc import Mapping

import numpy as np
from bedrest.types import Grid, LabelMap
from bedrest.vocabulary import LEVEL_OF_LABEL

SHAPE = (26, 40, 130)
AFFINE = np.array([[2.0, 0, 0, -26], [0, 2.0, 0, -40], [0, 0, 2.0, -130], [0, 0, 0, 1.0]])
LEVELS = tuple(LEVEL_OF_LABEL.values())  # from the bottom up
BONES = ("sacrum", "L5", "L4", "L3", "L2", "L1", "T12", "T11")
_STEP, _LOWEST = 16, 18  # voxels: 32 mm from disc to disc


def spine(discs: Mapping[str, int], bones: Mapping[str, int] | None = None, canal: int = 0,
          affine: np.ndarray = AFFINE) -> LabelMap:
    """Discs (level to label), vertebrae with arches and sacrum (name to label) and the canal behind them."""
    i, j, k = np.indices(SHAPE).astype(float)
    data = np.zeros(SHAPE, np.int32)
    if canal:
        data[10:16, 6:12, 4:] = canal
    for bone, label in (bones or {}).items():
        z = _LOWEST + _STEP * BONES.index(bone) - _STEP // 2
        low = 0 if bone == "sacrum" else z - 5
        data[6:20, 14:31, max(low, 0):z + 6] = label
        data[11:15, 2:6, max(low, 0):z + 2] = label
    for level, label in discs.items():
        z = _LOWEST + _STEP * LEVELS.index(level)
        data[((i - 12.5) / 10) ** 2 + ((j - 22) / 9) ** 2 + ((k - z) / 2.6) ** 2 <= 1] = label
    return LabelMap(data, Grid(SHAPE, affine))


def numbered(first: int, step: int = 1, names: tuple[str, ...] = LEVELS) -> dict[str, int]:
    """Names from the bottom up, numbered from `first` by `step`."""
    return {name: first + step * i for i, name in enumerate(names)}


def volumes(mask: LabelMap, levels: Mapping[int, str]) -> dict[str, int]:
    """Voxels of each level that is in the mask."""
    return {level: n for label, level in levels.items() if (n := int((mask.data == label).sum()))}


DISC_VOXELS = volumes(spine(numbered(1)), LEVEL_OF_LABEL)
