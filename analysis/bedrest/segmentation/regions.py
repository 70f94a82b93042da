"""Finds the separate discs in structure probabilities and the bones beside each. Names nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from bedrest.anatomy.structures import Structure
from bedrest.types import Grid

MIN_DISC_MM3 = 400.0
MERGE_MM, MERGE_ACROSS_MM = 9.0, 40.0  # fragments whose centres lie closer, along the body and across, are one disc
STEP_MM = (12.0, 115.0)  # between neighbours of one column: 18 to 46 in SPIDER's masks, more where discs were missed
LEAST_ALONG = 0.7  # cosine between the normal of a disc and the way to its neighbour
TO_CANAL_MM = 20.0  # from a disc to the spinal canal, at the most
WHOLE_SHARE = 0.45  # of the usual volume: such regions are no fragments
LEAST_BONE = 0.8  # share of that way on which disc or bone is likelier than not: a missed disc takes less of it
SHELL = 3  # voxels around a disc that count as its neighbours

Labels = NDArray[np.int32]
Amounts = NDArray[np.float64]  # (2,) summed probability of sacrum and of vertebra


@dataclass(frozen=True, eq=False)
class DiscRegion:
    """One disc."""

    number: int  # in the map of regions; 1 is the lowest disc
    centre_mm: NDArray[np.float64]  # (3,) world RAS+
    normal: NDArray[np.float64]  # (3,) unit vector along its shortest extent, to the head
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
    numbering = np.zeros(n + 1, dtype=np.int32)
    last: dict[int, NDArray[np.float64]] = {}  # number of a disc to the centre of its last fragment
    for i in sorted(large, key=lambda i: world_of[i][2]):
        apart = {k: world_of[i] - c for k, c in last.items()}
        near = [k for k, d in apart.items() if d[2] < MERGE_MM and np.hypot(d[0], d[1]) < MERGE_ACROSS_MM]
        numbering[i] = near[-1] if near else len(last) + 1
        last[int(numbering[i])] = world_of[i]
    regions = numbering[components]
    described = [_describe(regions, probabilities, structure, grid, i + 1, box)
                 for i, box in enumerate(ndimage.find_objects(regions))]
    beside = _near_canal(described, regions, structure == Structure.CANAL, grid)
    chain = _longest_column(beside, 1 - probabilities[Structure.BACKGROUND] - probabilities[Structure.CANAL], grid)
    renumbered = np.zeros(len(described) + 1, np.int32)
    renumbered[[d.number for d in chain]] = np.arange(len(chain)) + 1
    return renumbered[regions], [replace(d, number=i) for i, d in enumerate(chain, start=1)]


def column(structure: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The largest connected mass of disc, vertebra and sacrum; bowel that looks like a disc lies outside it."""
    bones = np.isin(structure, (Structure.DISC, Structure.VERTEBRA, Structure.SACRUM))
    # Dilated by three voxels first, so that one missed disc does not cut the column in two.
    masses, n = ndimage.label(ndimage.binary_dilation(bones, iterations=3))
    if n == 0:
        return bones
    return np.asarray(masses == np.bincount(masses[bones]).argmax())


def _near_canal(discs: list[DiscRegion], regions: Labels, canal: NDArray[np.bool_], grid: Grid) -> list[DiscRegion]:
    """Regions near the spinal canal; all where none is, for then it was not recognised."""
    places = KDTree(np.argwhere(canal)[::7] * grid.spacing_mm) if canal.any() else None
    near = [d for d in discs if places is not None and places.query(
        np.argwhere(regions == d.number)[::7] * grid.spacing_mm)[0].min() <= TO_CANAL_MM]
    return near or discs


def _longest_column(regions: list[DiscRegion], spine: NDArray[np.float32], grid: Grid) -> list[DiscRegion]:
    """The regions, from the bottom up, that stand on each other with bone between them: the column with most disc.

    Regions elsewhere are facet joints, bowel, bladder or muscle. `spine`: probability of disc or bone.
    """
    if not regions:
        return []
    regions = sorted(regions, key=lambda r: r.centre_mm[2])
    usual = float(np.median(sorted((r.volume_mm3 for r in regions), reverse=True)[:5]))
    total: list[float] = []
    below: list[int | None] = []
    for i, high in enumerate(regions):
        ways = [(total[k], k) for k in range(i) if _stands_on(high, regions[k], spine, grid, usual)]
        best, which = max(ways, default=(0.0, None))
        total.append(best + min(high.volume_mm3 / usual, 1.0))
        below.append(which)
    at: int | None = int(np.argmax(total))
    chain = []
    while at is not None:
        chain.append(regions[at])
        at = below[at]
    return chain[::-1]


def _stands_on(high: DiscRegion, low: DiscRegion, spine: NDArray[np.float32], grid: Grid, usual_mm3: float) -> bool:
    way = high.centre_mm - low.centre_mm
    length = float(np.linalg.norm(way))
    whole = [d for d in (low, high) if d.volume_mm3 >= WHOLE_SHARE * usual_mm3]  # fragments have no sure normal
    if not STEP_MM[0] <= length <= STEP_MM[1] or any(d.normal @ way < LEAST_ALONG * length for d in whole):
        return False
    points = low.centre_mm + np.linspace(0.0, 1.0, 21)[:, None] * way
    index = points @ np.linalg.inv(grid.affine_ras_mm)[:3, :3].T + np.linalg.inv(grid.affine_ras_mm)[:3, 3]
    return bool((ndimage.map_coordinates(spine, index.T, order=1, mode="nearest") >= 0.5).mean() >= LEAST_BONE)


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
    return DiscRegion(number, centre, normal, float(inside.sum() * grid.voxel_volume_mm3),
                      float((around == Structure.VERTEBRA).mean()), float((around == Structure.SACRUM).mean()),
                      bones[:, height < 0].sum(axis=1), bones[:, height >= 0].sum(axis=1))
