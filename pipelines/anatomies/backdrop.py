"""Soft tissue, skin and air around a real spine, drawn from wide ranges, now and then far from life.

Painted on voxels along the column's centre line, in another layout than the shape model's. Knows nothing of bones.
"""

from __future__ import annotations

import numpy as np
from bedrest.phantom.shapes import axes_mm
from bedrest.phantom.tissues import Tissue
from bedrest.types import Grid
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.anatomies.column import Column

Labels = NDArray[np.uint8]
Float = NDArray[np.float32]
SOFT = (Tissue.MUSCLE, Tissue.VISCERAL_FAT, Tissue.ORGAN, Tissue.VESSEL, Tissue.FLUID, Tissue.SUBCUTANEOUS_FAT,
        Tissue.LIGAMENT, Tissue.AIR)
BELLY = (Tissue.VISCERAL_FAT, Tissue.ORGAN, Tissue.MUSCLE, Tissue.FLUID, Tissue.AIR, Tissue.VESSEL)


def paint_backdrop(column: Column, grid: Grid, rng: np.random.Generator) -> Labels:
    """Tissue numbers, shape (I, J, K), of a RAS+ grid."""
    xs, ys, zs = axes_mm(grid)
    centres = np.array([f.centre_mm for f in column.frames])
    order = np.argsort(centres[:, 2])
    x = xs[:, None, None] - np.interp(zs, centres[order, 2], centres[order, 0]).astype(np.float32)
    y = ys[None, :, None] - np.interp(zs, centres[order, 2], centres[order, 1]).astype(np.float32)
    depth = float(np.median([f.half_depth_mm for f in column.frames]))
    width = float(np.median([f.half_width_mm for f in column.frames]))
    if rng.random() < 0.12:
        out = _patchwork(grid.shape, SOFT, rng, knot_mm=float(rng.uniform(8, 40)))
    else:
        out = _patchwork(grid.shape, BELLY, rng, knot_mm=float(rng.uniform(12, 35)))
        if rng.random() < 0.5:
            out[rng.random(grid.shape, dtype=np.float32) < 0.02] = Tissue.VISCERAL_FAT
        _paint_muscles(out, x, y, zs, width, depth, rng)
        _paint_vessels(out, x, y, zs, centres, depth, rng)
    _paint_skin(out, x, y, depth, rng)
    return out


def _patchwork(shape: tuple[int, ...], tissues: tuple[Tissue, ...], rng: np.random.Generator, *,
               knot_mm: float) -> Labels:
    """Regions of the tissue whose smooth random field is the highest."""
    knots = [max(2, round(n * s / knot_mm)) for n, s in zip(shape, (2.0, 1.25, 1.25), strict=True)]
    best, out = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.uint8)
    for tissue in tissues:
        coarse = rng.standard_normal(knots, dtype=np.float32) + np.float32(rng.uniform(-0.8, 0.8))
        field = ndimage.zoom(coarse, np.array(shape) / knots, order=1, mode="nearest", grid_mode=True,
                             output=np.float32)
        higher = field > best
        out[higher], best[higher] = tissue, field[higher]
    return out


def _ellipse(x: Float, y: Float, centre: tuple[Float | float, Float | float], half: tuple[float, float]
             ) -> NDArray[np.bool_]:
    return np.asarray(((x - centre[0]) / half[0]) ** 2 + ((y - centre[1]) / half[1]) ** 2 <= 1)


def _paint_muscles(out: Labels, x: Float, y: Float, zs: Float, width: float, depth: float,
                   rng: np.random.Generator) -> None:
    """Psoas beside the bodies, growing downwards; muscles of the back in fat, streaked by it."""
    rise = ((zs - zs[0]) / (zs[-1] - zs[0])).astype(np.float32)
    streaks = ndimage.gaussian_filter(rng.standard_normal(out.shape, dtype=np.float32), (1, 1, 3))
    lean = streaks < np.quantile(streaks, rng.uniform(0.6, 1.0))
    around = rng.choice([Tissue.VISCERAL_FAT, Tissue.MUSCLE])
    behind = y < -depth - rng.uniform(0, 10)
    out[np.broadcast_to(behind, out.shape)] = around
    size = rng.uniform(0.7, 1.4)
    for side in (-1, 1):
        aside = side * (width + (13 + 8 * (1 - rise)) * size)
        psoas = _ellipse(x, y, (aside, -6.0), (14 * size, 18 * size))
        out[psoas & (rise < rng.uniform(0.6, 1))] = Tissue.MUSCLE
        erector = _ellipse(x, y, (side * rng.uniform(20, 30), -depth - rng.uniform(38, 48)),
                           (float(rng.uniform(15, 26)), float(rng.uniform(14, 22))))
        multifidus = _ellipse(x, y, (side * rng.uniform(9, 14), -depth - rng.uniform(30, 38)),
                              (float(rng.uniform(7, 11)), float(rng.uniform(9, 14))))
        out[(erector | multifidus) & lean] = Tissue.MUSCLE
        out[(erector | multifidus) & ~lean] = Tissue.VISCERAL_FAT


def _paint_vessels(out: Labels, x: Float, y: Float, zs: Float, centres: NDArray[np.float64], depth: float,
                   rng: np.random.Generator) -> None:
    """Aorta and vena cava, parting near L4-L5; a layer of fat or ligament before the column."""
    if rng.random() < 0.6:
        layer = rng.choice([Tissue.VISCERAL_FAT, Tissue.LIGAMENT, Tissue.MUSCLE])
        out[_ellipse(x, y, (0.0, 0.0), (float(rng.uniform(25, 34)), depth + float(rng.uniform(2, 8))))] = layer
    fork = float(centres[min(1, len(centres) - 1), 2] + rng.normal(0, 15))
    apart = np.clip((fork - zs) / 60, 0, 1).astype(np.float32)
    for side in (-1, 1):
        r = float(rng.uniform(5, 12))
        vessel = _ellipse(x, y, (side * (rng.uniform(6, 14) + 25 * apart), depth + r + rng.uniform(0, 6) - 10 * apart),
                          (r, r * float(rng.uniform(0.6, 1))))
        out[vessel] = rng.choice([Tissue.VESSEL, Tissue.VESSEL, Tissue.FLUID, Tissue.MUSCLE])


def _paint_skin(out: Labels, x: Float, y: Float, depth: float, rng: np.random.Generator) -> None:
    back, belly = -depth - rng.uniform(48, 75), depth + rng.uniform(50, 120)
    fat = rng.uniform(3, 35)
    if rng.random() < 0.9:
        out[np.broadcast_to((y < back) | (y > belly), out.shape)] = Tissue.SUBCUTANEOUS_FAT
        out[np.broadcast_to((y < back - fat) | (y > belly + fat), out.shape)] = Tissue.AIR
