"""Everything around the vertebral bodies and discs: canal, arches, sacral wings, muscles, vessels, organs, fat.

Painted on voxels along the spine's centre line; no measure depends on it. Knows nothing of contrasts.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bedrest.phantom.random_spine import SACRAL, Disc, Spine
from bedrest.phantom.shapes import Axes, Frame, around, axes_mm
from bedrest.phantom.tissues import Tissue
from bedrest.types import Grid

Labels = NDArray[np.uint8]
CONUS = 6  # disc of the chain near which the cord ends: L1-L2


def paint_surroundings(spine: Spine, frames: tuple[Frame, ...], grid: Grid, rng: np.random.Generator) -> Labels:
    """Tissue numbers, shape (I, J, K), of a RAS+ grid; bodies and discs are painted over it.

    `rng`: draws organs, vessels and joints.
    """
    axes = axes_mm(grid)
    xs, ys, zs = axes
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
    out[(yb < canal_y - 4) & (np.abs(x) < 4.5)] = Tissue.VISCERAL_FAT
    canal = (spine.canal_half_width_mm, spine.canal_half_depth_mm)
    _paint_tube(out, Tissue.VISCERAL_FAT, x, yb - canal_y, (canal[0] + 3, canal[1] + 3))
    _paint_arches(out, x, yb, zs, centres, canal_y, at)
    for disc, frame in zip(spine.discs[SACRAL:], frames[SACRAL:], strict=True):
        _paint_joints(out, axes, disc, frame, spine, rng)
    _paint_wings(out, axes, spine.discs[SACRAL], frames[SACRAL], rng)
    _paint_tube(out, Tissue.CSF, x, yb - canal_y, canal)
    _paint_tube(out, Tissue.CORD, x, yb - canal_y, (5.0, 3.5), where=zs > centres[CONUS, 2])
    back = canal_y - 45 - rng.uniform(0, 6)
    out[yb < back] = Tissue.SUBCUTANEOUS_FAT
    belly = at["depth"] + spine.belly_mm
    out[yb > belly] = Tissue.SUBCUTANEOUS_FAT
    out[(yb < back - spine.back_fat_mm) | (yb > belly + spine.back_fat_mm)] = Tissue.AIR
    return out


def _paint_tube(out: Labels, tissue: Tissue, x: NDArray[Any], y: NDArray[Any], half_mm: tuple[float, float], *,
                where: NDArray[Any] | None = None) -> None:
    inside = (x / half_mm[0]) ** 2 + (y / half_mm[1]) ** 2 <= 1
    if where is not None:
        inside &= where
    out[inside] = tissue


def _paint_organs(out: Labels, x: NDArray[Any], y: NDArray[Any], zs: NDArray[Any], at: dict[str, NDArray[Any]],
                  rng: np.random.Generator) -> None:
    """Bowel with its content, bladder, great vessels: before the spine."""
    front = at["depth"]
    kinds = [Tissue.ORGAN, Tissue.ORGAN, Tissue.MUSCLE, Tissue.FLUID, Tissue.AIR]
    for _ in range(int(rng.integers(8, 20))):
        centre = (rng.uniform(-35, 35), rng.uniform(18, 100), rng.uniform(zs[0], zs[-1]))
        half = rng.uniform(7, 28, 3)
        r = ((x - centre[0]) / half[0]) ** 2 + ((y - front - centre[1]) / half[1]) ** 2 + (
            (zs - centre[2]) / half[2]) ** 2
        out[r <= 1] = rng.choice(kinds)
        if rng.random() < 0.4:  # a wall around its content
            out[r <= 0.7] = rng.choice(kinds)
    for side in (-1, 1):
        _paint_tube(out, Tissue.VESSEL, x - side * rng.uniform(9, 14), y - front - rng.uniform(10, 14),
                    (rng.uniform(6, 9), rng.uniform(6, 9)))


def _paint_arches(out: Labels, x: NDArray[Any], y: NDArray[Any], zs: NDArray[Any], centres: NDArray[Any],
                  canal_y: NDArray[Any], at: dict[str, NDArray[Any]]) -> None:
    """Spinous and transverse processes and pedicles, marrow in a dark rim, one set per vertebra."""
    for low, high in pairwise(centres):
        z_mid = (low[2] + high[2]) / 2
        parts = (
            ((x / 3.5) ** 2 + ((y - canal_y + 22) / 15) ** 2 + ((zs - z_mid + 8) / 9) ** 2, 0.65),
            (((np.abs(x) - 0.55 * at["width"]) / 5) ** 2 + ((y - canal_y - 2) / 12) ** 2
             + ((zs - z_mid - 5) / 7) ** 2, 0.75),
            (((np.abs(x) - at["width"] - 9) / 13) ** 2 + ((y - canal_y - 3) / 4.5) ** 2 + ((zs - z_mid - 4) / 6) ** 2,
             0.65),
        )
        for r, core in parts:
            out[r <= 1] = Tissue.POSTERIOR_CORTEX
            out[r <= core] = Tissue.POSTERIOR_MARROW


def _paint_joints(out: Labels, axes: Axes, disc: Disc, frame: Frame, spine: Spine, rng: np.random.Generator) -> None:
    """At each disc's height: foramina with fat and nerve root, and the facet joints behind them."""
    near = around(axes, frame.centre_mm, (58, 58, 58))
    if near is None:
        return
    box, points = near
    x, y, z = frame.local(points)
    part = out[box].reshape(-1)
    depth, canal = disc.shape.half_depth_mm, spine.canal_half_depth_mm
    lean = -disc.shape.half_depth_mm * np.tan(np.deg2rad(np.clip(disc.tilt_deg, -15, 30))) * 0.3
    size, joint = rng.uniform(0.8, 1.25), rng.choice([Tissue.POSTERIOR_CORTEX, Tissue.POSTERIOR_CORTEX, Tissue.FLUID])
    for side in (-1, 1):
        aside = side * (spine.canal_half_width_mm + 5)
        foramen = ((x - aside) / 8) ** 2 + ((y + depth + 3) / 7) ** 2 + ((z - 7) / 10) ** 2
        part[foramen <= 1] = Tissue.VISCERAL_FAT
        part[((x - aside) / 5) ** 2 + ((y + depth + 3) / 3.2) ** 2 + ((z - 9) / 3.6) ** 2 <= 1] = Tissue.ROOT
        u, v, w = x - aside - 2 * side, y + depth + 2 * canal + 3, z - lean
        facet = (u / (8 * size)) ** 2 + (v / (8 * size)) ** 2 + (w / (12 * size)) ** 2
        part[facet <= 1] = Tissue.POSTERIOR_CORTEX
        part[facet <= 0.72] = Tissue.POSTERIOR_MARROW
        part[(facet <= 0.8) & (np.abs(u + side * v) < 1.3)] = joint
    out[box] = part.reshape(out[box].shape)


def _paint_wings(out: Labels, axes: Axes, lumbosacral: Disc, frame: Frame, rng: np.random.Generator) -> None:
    """The sacral wings, beside the body of S1 and sloping away from it."""
    near = around(axes, frame.centre_mm, (62, 62, 62))
    if near is None:
        return
    box, points = near
    x, y, z = frame.local(points)
    s = lumbosacral.shape
    out_mm = np.abs(x) - 0.75 * s.half_width_mm
    top = -s.height_mm / 2 - rng.uniform(0.5, 3.0) - rng.uniform(0.0, 0.35) * out_mm
    front = s.half_depth_mm * rng.uniform(0.3, 0.8) - rng.uniform(0.0, 0.4) * out_mm
    wing = (out_mm > 0) & (z < top) & (z > -rng.uniform(30, 45)) & (y < front) & (y > -1.15 * s.half_depth_mm)
    shape = out[box].shape
    wing = ndimage.binary_opening(wing.reshape(shape), iterations=2)
    core = ndimage.binary_erosion(wing)
    out[box][wing] = Tissue.SACRUM_CORTEX
    out[box][core] = Tissue.SACRUM_MARROW
