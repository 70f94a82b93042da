"""Does a named disc lie where its name says? Judged by masks of vertebral bodies, where there are no disc masks.

Knows nothing of how either mask was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from bedrest.measurement.geometry import bounding_box, centre_of_mass_mm
from bedrest.types import LabelMap, require_same_grid
from bedrest.vocabulary import LEVEL_OF_LABEL
from numpy.typing import NDArray

OFF_LINE_MM = 15.0  # farther than this from the line between its two vertebrae a disc is not between them
LOWEST = "L5-S1"  # below it comes the sacrum, which has no mask here

Point = NDArray[np.float64]


@dataclass(frozen=True)
class Placement:
    """One disc and the vertebrae around it.

    Attributes
    ----------
    level : str
    right : bool
        Where its name says, by the rule of `place_discs`.
    inside_percent : float
        Share of the disc's voxels that lie inside any vertebra; not a number when the disc was not found.
    volume_mm3 : float
        Of the disc; not a number when it was not found.
    reason : str
        What is wrong; empty when right.
    """

    level: str
    right: bool
    inside_percent: float
    volume_mm3: float
    reason: str


def place_discs(discs: LabelMap, vertebrae: LabelMap, names: Mapping[int, str]) -> list[Placement]:
    """Every disc that can be judged.

    Between two vertebrae with masks: the disc's centre of mass, projected on the line between theirs, lies strictly
    between them, and within 15 mm of that line. With one such neighbour only (always so for L5-S1): on that
    neighbour's right side, towards head or feet, and nearer to it than to any other vertebra. A disc between two masks,
    and L5-S1 where L5 has one, must be found; other discs are judged where they were found.

    Parameters
    ----------
    discs : LabelMap
        Labels by `vocabulary.LEVEL_OF_LABEL`, world RAS+.
    vertebrae : LabelMap
        On the same grid.
    names : label of `vertebrae` to name, T11 ... L5

    Returns
    -------
    list of Placement
        From the bottom up; discs without a neighbour that has a mask, and discs that need not be there and are not,
        are left out.

    Raises
    ------
    GeometryError
        The grids differ.
    """
    require_same_grid(discs.grid, vertebrae.grid, names=("disc mask", "vertebra mask"))
    bodies = {name: c for label, name in names.items() if (c := _centre(vertebrae, label)) is not None}
    placements = []
    for label, level in LEVEL_OF_LABEL.items():
        upper, lower = level.split("-")
        around = [name for name in (upper, lower) if name in bodies]
        centre = _centre(discs, label)
        if not around or (centre is None and len(around) < 2 and level != LOWEST):
            continue
        if centre is None:
            placements.append(Placement(level, False, np.nan, np.nan, "not found"))
            continue
        voxels = discs.data == label
        reason = _between(centre, bodies[upper], bodies[lower]) if len(around) == 2 else (
            _beside(centre, around[0], bodies, below=around[0] == upper))
        placements.append(Placement(level, not reason, 100 * float((vertebrae.data[voxels] > 0).mean()),
                                    float(voxels.sum() * discs.grid.voxel_volume_mm3), reason))
    return placements


def _between(centre: Point, upper: Point, lower: Point) -> str:
    """What speaks against a centre lying between two others; empty when nothing does."""
    line = upper - lower
    share = float((centre - lower) @ line / (line @ line))
    off_mm = float(np.linalg.norm(centre - lower - share * line))
    if not 0 < share < 1:
        return f"{'above' if share >= 1 else 'below'} both of its vertebrae or level with one"
    return f"{off_mm:.0f} mm off the line between its vertebrae" if off_mm > OFF_LINE_MM else ""


def _beside(centre: Point, neighbour: str, bodies: Mapping[str, Point], *, below: bool) -> str:
    """What speaks against a centre being next to the one neighbour that has a mask, on its right side."""
    height_mm = float(centre[2] - bodies[neighbour][2])
    if height_mm >= 0 if below else height_mm <= 0:
        return f"not {'below' if below else 'above'} {neighbour}"
    nearest = min(bodies, key=lambda name: float(np.linalg.norm(centre - bodies[name])))
    return "" if nearest == neighbour else f"nearer to {nearest} than to {neighbour}"


def _centre(labels: LabelMap, label: int) -> Point | None:
    """World centre of mass of one label; None where it is not there."""
    mask = labels.data == label
    box = bounding_box(mask)
    return None if box is None else centre_of_mass_mm(mask[box], box, labels.grid.affine_ras_mm)
