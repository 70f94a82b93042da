"""Finds the separate discs in structure probabilities and the bones beside each. Names nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bedrest.anatomy.structures import Structure
from bedrest.types import Grid

MIN_DISC_MM3 = 400.0
MERGE_MM = 9.0  # fragments whose centres lie closer along the body axis are one disc; neighbours are 20 mm apart
ANCHOR_SHARE = 0.45  # regions this large beside the five largest are discs for certain and show where the column runs
OFF_COLUMN_MM = 15.0  # smaller regions farther from that line are facet joints, bowel or muscle
SHELL = 3  # voxels around a disc that count as its neighbours

Labels = NDArray[np.int32]
Amounts = NDArray[np.float64]  # (2,) summed probability of sacrum and of vertebra


@dataclass(frozen=True, eq=False)
class DiscRegion:
    """One disc."""

    number: int  # in the map of regions; 1 is the lowest disc
    centre_mm: NDArray[np.float64]  # (3,) world RAS+
    volume_mm3: float
    on_vertebra: float  # share of its surroundings that is vertebra
    on_sacrum: float
    below: Amounts  # summed probability of sacrum and of vertebra below the disc's plane
    above: Amounts


def find_discs(probabilities: NDArray[np.float32], grid: Grid) -> tuple[Labels, list[DiscRegion]]:
    """Separate discs from the bottom up, fragments of one disc joined; int32 (I, J, K), 0 or the number of a disc.

    `probabilities`: float32, (5, I, J, K), axes right, front, head.
    """
    structure = probabilities.argmax(axis=0).astype(np.uint8)
    inside = (probabilities[Structure.DISC] >= 0.5) & column(structure)
    components, n = ndimage.label(inside, structure=np.ones((3, 3, 3)))
    components = components.astype(np.int32)
    if n == 0:
        return components, []
    sizes = np.bincount(components.ravel()) * grid.voxel_volume_mm3
    large = [i for i in range(1, n + 1) if sizes[i] >= MIN_DISC_MM3]
    centres = ndimage.center_of_mass(components > 0, components, large) if large else []
    world_of = {i: (grid.affine_ras_mm @ np.append(c, 1))[:3] for i, c in zip(large, centres, strict=True)}
    keep = sorted(_on_the_column(large, world_of, sizes), key=lambda i: world_of[i][2])
    numbering = np.zeros(n + 1, dtype=np.int32)
    number, last_mm = 0, -np.inf
    for i in keep:
        number += world_of[i][2] - last_mm >= MERGE_MM
        last_mm = world_of[i][2]
        numbering[i] = number
    regions = numbering[components]
    boxes = ndimage.find_objects(regions)
    return regions, [_describe(regions, probabilities, structure, grid, i + 1, box) for i, box in enumerate(boxes)]


def column(structure: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The largest connected mass of disc, vertebra and sacrum; bowel that looks like a disc lies outside it."""
    bones = np.isin(structure, (Structure.DISC, Structure.VERTEBRA, Structure.SACRUM))
    # Dilated by three voxels first, so that one missed disc does not cut the column in two.
    masses, n = ndimage.label(ndimage.binary_dilation(bones, iterations=3))
    if n == 0:
        return bones
    return np.asarray(masses == np.bincount(masses[bones]).argmax())


def _on_the_column(regions: list[int], centre_mm: dict[int, NDArray[np.float64]],
                   sizes: NDArray[np.floating]) -> list[int]:
    """Regions that lie on the line through the large ones, seen from above."""
    if not regions:
        return []
    usual = float(np.median(sorted((sizes[i] for i in regions), reverse=True)[:5]))
    anchors = sorted((i for i in regions if sizes[i] >= ANCHOR_SHARE * usual), key=lambda i: centre_mm[i][2])
    line = np.array([centre_mm[i] for i in anchors])

    def off_mm(i: int) -> float:
        x, y, z = centre_mm[i]
        return float(np.hypot(x - np.interp(z, line[:, 2], line[:, 0]), y - np.interp(z, line[:, 2], line[:, 1])))

    return [i for i in regions if i in anchors or off_mm(i) <= OFF_COLUMN_MM]


def _describe(regions: Labels, probabilities: NDArray[np.float32], structure: NDArray[np.uint8], grid: Grid,
              number: int, box: tuple[slice, ...]) -> DiscRegion:
    wide = tuple(slice(max(s.start - SHELL - 1, 0), s.stop + SHELL + 1) for s in box)
    inside = regions[wide] == number
    shell = ndimage.binary_dilation(inside, iterations=SHELL) & ~inside
    around = structure[wide][shell]
    to_mm = grid.affine_ras_mm[:3, :3]
    offset = np.array([s.start for s in wide])
    inside_mm = (np.argwhere(inside) + offset) @ to_mm.T + grid.affine_ras_mm[:3, 3]
    centre = inside_mm.mean(axis=0)
    normal = np.linalg.eigh(np.cov((inside_mm - centre).T))[1][:, 0]  # discs are flat: least spread across
    normal = normal * (1 if normal[2] >= 0 else -1)
    height = ((np.argwhere(shell) + offset) @ to_mm.T + grid.affine_ras_mm[:3, 3] - centre) @ normal
    bones = probabilities[[Structure.SACRUM, Structure.VERTEBRA]][(slice(None), *wide)][:, shell].astype(np.float64)
    return DiscRegion(number, centre, float(inside.sum() * grid.voxel_volume_mm3),
                      float((around == Structure.VERTEBRA).mean()), float((around == Structure.SACRUM).mean()),
                      bones[:, height < 0].sum(axis=1), bones[:, height >= 0].sum(axis=1))
