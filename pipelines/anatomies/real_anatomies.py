"""Paints real anatomies out of SPIDER's masks: posed, varied, completed, as many as wanted.

Training and benchmarks draw from them, each from its own side of the split by patient. Knows nothing of networks and
contrasts.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from bedrest.phantom.paint import FINE, Painting
from bedrest.phantom.render import demo_grid
from bedrest.types import Grid, LabelMap
from bedrest.vocabulary import LEVEL_OF_LABEL
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from pipelines.anatomies.backdrop import paint_backdrop
from pipelines.anatomies.column import Canvas, Column, canvas_of, column_of, draw_look, paint_column
from pipelines.anatomies.real_masks import Array, RealSpine, frame_of, read_real_spine, series_of
from pipelines.anatomies.sacrum import draw_sacrum, paint_sacrum
from pipelines.anatomies.vary_tissues import vary_tissues

REAL_SEED = 20_000_027  # training; benchmarks and tests draw from other seeds
ROOM_MM = 6.0


@dataclass(frozen=True, eq=False)
class RealAnatomy:
    """A painted real anatomy and what is true of it."""

    series: str
    painting: Painting
    discs: LabelMap  # the named discs on the scan's grid: a voxel belongs to a disc when its centre lies in it
    volumes_mm3: Mapping[str, float]  # by level, on the sub-voxels, of the discs that lie wholly in the grid
    real: frozenset[str]  # levels of discs that are real; the others continue the column
    cut: frozenset[str]  # levels of discs that the stack cut off at a side, and that were made whole


def paint_real_anatomy(series: str, rng: np.random.Generator, *, varied: bool = True) -> RealAnatomy:
    """Paint one series of the data set, such as ``18_t2``.

    `varied`: scaled, turned, shifted, half of the time mirrored, discs a little thicker or thinner. Otherwise the
    spine is only laid into the middle of the grid, and the masks' volumes are kept.
    """
    spine = read_real_spine(series)
    pose = draw_pose(spine, rng, varied=varied)
    grid, open_end = demo_grid(), bool(rng.random() < 0.4)
    if open_end:
        grid = _ended(grid, float((pose @ [*spine.vertebrae[-1].points().mean(0)[:2], spine.top_mm, 1])[2]), rng)
    ceiling = grid.affine_ras_mm[2, 3] + grid.affine_ras_mm[2, 2] * grid.shape[2]
    column = column_of(spine, pose, -np.inf if open_end else ceiling + 20)
    look = draw_look(rng) if varied else replace(draw_look(rng), disc_offset_mm=0.0)
    tissue = paint_backdrop(column, grid, rng).repeat(FINE, 0).repeat(FINE, 1).repeat(FINE, 2)
    canvas = canvas_of(tissue, fine_affine(grid))
    paint_column(canvas, column, look, rng)
    paint_sacrum(canvas, column, draw_sacrum(rng), look, rng)
    anatomy = _told(canvas, column, grid, spine)
    return replace(anatomy, painting=vary_tissues(anatomy.painting, rng)) if varied else anatomy


def fine_affine(grid: Grid) -> Array:
    """(4, 4) index of sub-voxel centres to world, see `bedrest.phantom.shapes.axes_mm`."""
    out = grid.affine_ras_mm.copy()
    out[:3, :3] /= FINE
    out[:3, 3] = (grid.affine_ras_mm @ [*[(1 / FINE - 1) / 2] * 3, 1])[:3]
    return out


def draw_pose(spine: RealSpine, rng: np.random.Generator, *, varied: bool) -> Array:
    """(4, 4) from the spine's world to the painting's, L5-S1 low and in the middle."""
    points = np.concatenate([d.points()[::20] for d in spine.discs])
    home = np.array([0.0, -20.0, -105.0])
    centres = np.array([frame_of(d).centre_mm for d in spine.discs])
    lean = float(np.arctan(np.polyfit(centres[:, 2], centres[:, 0], 1)[0]))
    linear = Rotation.from_euler("y", -lean).as_matrix()  # as a technologist would lay the stack: along the column
    if varied:
        linear = linear @ np.diag(1 + rng.uniform(-0.1, 0.1) + rng.normal(0, 0.02, 3))
        for axis, degrees in (("x", 6), ("y", 3), ("z", 4)):
            linear = Rotation.from_euler(axis, rng.normal(0, degrees), degrees=True).as_matrix() @ linear
        if rng.random() < 0.5:
            linear = np.diag([-1.0, 1, 1]) @ linear
        home = home + rng.normal(0, (3, 8, 8))
    middle = points @ linear[0]
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = linear, home - linear @ centres[0]
    out[0, 3] = home[0] - (middle.min() + middle.max()) / 2
    return out


def _ended(grid: Grid, top_mm: float, rng: np.random.Generator) -> Grid:
    """The grid, ending below the height at which the real field of view ends."""
    step = grid.affine_ras_mm[2, 2]
    n = int((top_mm - ROOM_MM - rng.uniform(0, 25) - grid.affine_ras_mm[2, 3]) / step)
    i, j, k = grid.shape
    return Grid((i, j, max(min(n // 2 * 2, k), 2 * k // 3)), grid.affine_ras_mm)


def _told(canvas: Canvas, column: Column, grid: Grid, spine: RealSpine) -> RealAnatomy:
    """Names and volumes of the painted discs. A disc that touches the grid's edge has no volume."""
    level = canvas.level
    known = np.minimum(level, len(LEVEL_OF_LABEL) + 1)
    counts = np.bincount(known.reshape(-1), minlength=len(LEVEL_OF_LABEL) + 2)
    edge = {int(v) for side in (level[0], level[-1], level[:, 0], level[:, -1], level[:, :, 0], level[:, :, -1])
            for v in np.unique(side)}
    size = abs(float(np.linalg.det(canvas.affine[:3, :3])))
    names = LEVEL_OF_LABEL
    volumes = {names[i]: float(counts[i] * size) for i in names if counts[i] and i not in edge}
    named = np.where(level <= len(names), level, 0)
    return RealAnatomy(spine.series, Painting(canvas.tissue, grid), LabelMap(_at_centres(named), grid), volumes,
                       frozenset(names[i] for i in names if i <= column.real),
                       frozenset(names[i + 1] for i in spine.cut if i + 1 in names))


def _at_centres(level: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Number of most sub-voxels of each voxel; every second voxel keeps the higher of two even ones: no bias."""
    i, j, k = (n // FINE for n in level.shape)
    split = level.reshape(i, FINE, j, FINE, k, FINE).transpose(0, 2, 4, 1, 3, 5).reshape(i, j, k, -1)
    split = np.sort(split, axis=-1)
    upper = np.indices((i, j, k), sparse=True)
    even = (upper[0] + upper[1] + upper[2]) % 2 == 0
    half = FINE**3 // 2
    return np.where(even, split[..., half], split[..., half - 1]).astype(np.int32)


def _paint_numbered(index: int, *, seed: int, held_out: bool) -> RealAnatomy:
    names = series_of(held_out=held_out)
    return paint_real_anatomy(names[index % len(names)], np.random.default_rng([seed, index]))


def _paintings_of_series(indices: list[int], *, seed: int, held_out: bool) -> list[Painting]:
    return [_paint_numbered(i, seed=seed, held_out=held_out).painting for i in indices]


def paint_real_anatomies(n: int, *, seed: int = REAL_SEED, processes: int, held_out: bool = False) -> list[Painting]:
    """The first `n` real anatomies of a seed, the series of one side of the split in turn."""
    many = len(series_of(held_out=held_out))
    jobs = [list(range(first, n, many)) for first in range(min(n, many))]
    out: dict[int, Painting] = {}
    with ProcessPoolExecutor(processes) as workers:
        painted = workers.map(partial(_paintings_of_series, seed=seed, held_out=held_out), jobs)
        for job, paintings in tqdm(zip(jobs, painted, strict=True), total=len(jobs), desc="real anatomies",
                                   mininterval=5):
            out.update(zip(job, paintings, strict=True))
    return [out[i] for i in range(n)]
