"""Paints a spine and its surroundings onto a grid finer than the scan's.

Spine structures are painted on sub-voxels, so that averaging gives partial volume; the soft-tissue backdrop is painted
on voxels. Knows nothing of contrasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from analysis.phantom.anatomy import SACRAL, Disc, Spine
from analysis.phantom.shapes import Frame
from analysis.phantom.tissues import Tissue
from analysis.types import Grid, LabelMap
from analysis.vocabulary import LABEL_OF_LEVEL

Labels = NDArray[np.uint8]
FINE = 2  # sub-voxels along each axis of a voxel


@dataclass(frozen=True, eq=False)
class Painting:
    """A painted anatomy.

    Attributes
    ----------
    tissue : uint8, shape (2I, 2J, 2K)
        Tissue numbers of the sub-voxels.
    grid : Grid
        The scan's grid (I, J, K).
    """

    tissue: Labels
    grid: Grid


def paint(spine: Spine, grid: Grid, rng: np.random.Generator) -> Painting:
    """Paint `spine` onto `grid`, whose axes must run to the right, front and head (RAS+, not oblique).

    Parameters
    ----------
    rng : numpy Generator
        Draws the soft-tissue surroundings, which no measure depends on.
    """
    frames = spine.frames()
    tissue = _backdrop(spine, frames, grid, rng).repeat(FINE, 0).repeat(FINE, 1).repeat(FINE, 2)
    level = np.zeros_like(tissue)
    axes_mm = _axes_mm(grid, fine=FINE)
    for i in range(len(frames) - 1):
        _paint_body(tissue, axes_mm, spine.discs[i : i + 2], frames[i : i + 2], sacral=i < SACRAL)
    for i, (disc, frame) in enumerate(zip(spine.discs, frames, strict=True)):
        _paint_disc(tissue, level, axes_mm, disc, frame, sacral=i < SACRAL)
    return Painting(tissue, grid)


def paint_levels(spine: Spine, grid: Grid) -> LabelMap:
    """The named discs on the scan's grid: a voxel belongs to a disc when its centre lies in it.

    Sampling at centres leaves the volume unbiased; a threshold on few sub-voxels would not.
    """
    axes_mm = _axes_mm(grid, fine=1)
    tissue, level = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.uint8)
    for i, (disc, frame) in enumerate(zip(spine.discs, spine.frames(), strict=True)):
        _paint_disc(tissue, level, axes_mm, disc, frame, sacral=i < SACRAL)
    return LabelMap(level.astype(np.int32), grid)


def _axes_mm(grid: Grid, *, fine: int) -> tuple[NDArray[np.float32], ...]:
    """World coordinates along each axis of the centres of `fine` sub-voxels a voxel."""
    axes = []
    for k in range(3):
        step = grid.affine_ras_mm[k, k]
        index = (np.arange(grid.shape[k] * fine) + 0.5) / fine - 0.5
        axes.append((grid.affine_ras_mm[k, 3] + step * index).astype(np.float32))
    return tuple(axes)


def _box(axes_mm: tuple[NDArray[np.float32], ...], centre_mm: NDArray[np.float64], half_mm: float,
         half_z_mm: float) -> tuple[tuple[slice, ...], NDArray[np.float32]] | None:
    """Index box around a point and the world points in it, shape (3, N); None where it lies outside."""
    box = []
    for k, half in enumerate((half_mm, half_mm, half_z_mm)):
        inside = np.flatnonzero(np.abs(axes_mm[k] - centre_mm[k]) <= half)
        if inside.size == 0:
            return None
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    points = np.stack(np.meshgrid(*[axes_mm[k][box[k]] for k in range(3)], indexing="ij")).reshape(3, -1)
    return tuple(box), points


def _paint_disc(tissue: Labels, level: Labels, axes_mm: tuple[NDArray[np.float32], ...], disc: Disc, frame: Frame,
                *, sacral: bool) -> None:
    s = disc.shape
    reach = max(s.half_width_mm, s.half_depth_mm) + 6
    found = _box(axes_mm, frame.centre_mm, reach, s.height_mm + reach * abs(float(frame.axes[2, 1])) + 4)
    if found is None:
        return
    box, points = found
    x, y, z = frame.local(points)
    radius, v = s.outline(x, y)
    half = s.half_thickness_mm(radius, v)
    inside = (radius <= 1) & (np.abs(z) <= half)
    core = inside & (radius <= 0.68) & (np.abs(z) <= 0.8 * half)
    shape = tissue[box].shape
    nucleus = Tissue.NUCLEUS_DEGENERATED if disc.degenerated else Tissue.NUCLEUS
    tissue[box][inside.reshape(shape)] = Tissue.SACRUM_DISC if sacral else Tissue.ANNULUS
    if not sacral:
        tissue[box][core.reshape(shape)] = nucleus
        level[box][inside.reshape(shape)] = LABEL_OF_LEVEL.get(disc.name, 0)


def _paint_body(tissue: Labels, axes_mm: tuple[NDArray[np.float32], ...], discs: tuple[Disc, ...],
                frames: tuple[Frame, ...], *, sacral: bool) -> None:
    """The vertebral body between two discs: waisted, with dark end plates and cortex."""
    centre = (frames[0].centre_mm + frames[1].centre_mm) / 2
    reach = max(d.shape.half_width_mm for d in discs) + 6
    found = _box(axes_mm, centre, reach, discs[0].body_above_mm + 16)
    if found is None:
        return
    box, points = found
    (x0, y0, z0), (x1, y1, z1) = (f.local(points) for f in frames)
    below = z0 - discs[0].shape.half_thickness_mm(*discs[0].shape.outline(x0, y0))
    above = -z1 - discs[1].shape.half_thickness_mm(*discs[1].shape.outline(x1, y1))
    between = (below > 0) & (above > 0)
    share = np.clip(below / np.maximum(below + above, 1e-3), 0, 1)
    waist = 1.02 - 0.10 * 4 * share * (1 - share)
    r0, _ = discs[0].shape.outline(x0, y0, scale=waist)
    r1, _ = discs[1].shape.outline(x1, y1, scale=waist)
    radius = (1 - share) * r0 + share * r1
    inside = between & (radius <= 1)
    cortex = inside & ((radius > 0.955) | (below < 1.0) | (above < 1.0))
    shape = tissue[box].shape
    tissue[box][inside.reshape(shape)] = Tissue.SACRUM_MARROW if sacral else Tissue.MARROW
    tissue[box][cortex.reshape(shape)] = Tissue.SACRUM_CORTEX if sacral else Tissue.END_PLATE


def _backdrop(spine: Spine, frames: tuple[Frame, ...], grid: Grid, rng: np.random.Generator) -> Labels:
    """Everything that is not a vertebral body or disc, on voxels: built along the spine's centre line."""
    xs, ys, zs = ((grid.affine_ras_mm[k, 3] + grid.affine_ras_mm[k, k] * np.arange(n)).astype(np.float32)
                  for k, n in enumerate(grid.shape))
    centres = np.array([f.centre_mm for f in frames])
    depth = np.array([d.shape.half_depth_mm / max(np.cos(np.deg2rad(d.tilt_deg)), 0.5) for d in spine.discs])
    width = np.array([d.shape.half_width_mm for d in spine.discs])
    order = np.argsort(centres[:, 2])
    at = {name: np.interp(zs, centres[order, 2], values[order]).astype(np.float32)
          for name, values in (("x", centres[:, 0]), ("y", centres[:, 1]), ("depth", depth), ("width", width))}
    x = xs[:, None, None] - at["x"]
    y = ys[None, :, None] - at["y"]
    canal_y = -(at["depth"] + spine.canal_half_depth_mm + 1.5)
    out = np.full(grid.shape, Tissue.VISCERAL_FAT, dtype=np.uint8)
    yb = np.broadcast_to(y, out.shape)
    _paint_organs(out, x, yb, zs, at, rng)
    out[(yb < canal_y + 6) & (yb > canal_y - 45)] = Tissue.MUSCLE
    _paint_tube(out, Tissue.MUSCLE, np.abs(x) - (at["width"] + 13), yb + 8, (14, 19))
    behind = (yb < canal_y - 4) & (np.abs(x) < 4.5)
    out[behind] = Tissue.VISCERAL_FAT
    canal = (spine.canal_half_width_mm, spine.canal_half_depth_mm)
    _paint_tube(out, Tissue.VISCERAL_FAT, x, yb - canal_y, (canal[0] + 3, canal[1] + 3))
    _paint_posterior_elements(out, x, yb, zs, centres, canal_y, at)
    _paint_tube(out, Tissue.CSF, x, yb - canal_y, canal)
    conus = zs > centres[6, 2]  # the cord ends near L1-L2
    _paint_tube(out, Tissue.CORD, x, yb - canal_y, (5.0, 3.5), where=conus)
    back = canal_y - 45 - rng.uniform(0, 6)
    out[yb < back] = Tissue.SUBCUTANEOUS_FAT
    belly = at["depth"] + spine.belly_mm
    out[yb > belly] = Tissue.SUBCUTANEOUS_FAT
    out[(yb < back - spine.back_fat_mm) | (yb > belly + spine.back_fat_mm)] = Tissue.AIR
    return out


def _paint_tube(out: Labels, tissue: Tissue, x: NDArray, y: NDArray, half_mm: tuple[float, float], *,
                where: NDArray | None = None) -> None:
    inside = (x / half_mm[0]) ** 2 + (y / half_mm[1]) ** 2 <= 1
    if where is not None:
        inside &= where
    out[inside] = tissue


def _paint_organs(out: Labels, x: NDArray, y: NDArray, zs: NDArray, at: dict[str, NDArray],
                  rng: np.random.Generator) -> None:
    """Bowel, great vessels: blobs before the spine."""
    front = at["depth"]
    for _ in range(int(rng.integers(6, 14))):
        centre = (rng.uniform(-35, 35), rng.uniform(25, 100), rng.uniform(zs[0], zs[-1]))
        half = rng.uniform(10, 28, 3)
        blob = ((x - centre[0]) / half[0]) ** 2 + ((y - front - centre[1]) / half[1]) ** 2 + (
            (zs - centre[2]) / half[2]) ** 2 <= 1
        out[blob] = rng.choice([Tissue.ORGAN, Tissue.ORGAN, Tissue.MUSCLE, Tissue.AIR])
    for side in (-1, 1):
        _paint_tube(out, Tissue.VESSEL, x - side * rng.uniform(9, 14), y - front - rng.uniform(10, 14),
                    (rng.uniform(6, 9), rng.uniform(6, 9)))


def _paint_posterior_elements(out: Labels, x: NDArray, y: NDArray, zs: NDArray, centres: NDArray, canal_y: NDArray,
                              at: dict[str, NDArray]) -> None:
    """Spinous processes and pedicles with marrow, one set a vertebra."""
    for low, high in pairwise(centres):
        z_mid = (low[2] + high[2]) / 2
        spinous = (x / 3.5) ** 2 + ((y - canal_y + 22) / 15) ** 2 + ((zs - z_mid + 8) / 9) ** 2 <= 1
        pedicle = ((np.abs(x) - 0.55 * at["width"]) / 5) ** 2 + ((y - canal_y - 2) / 12) ** 2 + (
            (zs - z_mid - 5) / 7) ** 2 <= 1
        out[spinous | pedicle] = Tissue.POSTERIOR_MARROW
