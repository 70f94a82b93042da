"""The sacrum that SPIDER's masks lack: a bent block below the real L5-S1, with remnant discs, canal and wings.

Drawn at random from real-looking to schematic. Knows nothing of the column above.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bedrest.phantom.tissues import Tissue
from numpy.typing import NDArray

from pipelines.anatomies.column import TENTH, Canvas, Column, Look

Float = NDArray[np.float32]
BEHIND_MM, BEFORE_MM = 115.0, 45.0  # of the lowest disc: nothing of the sacrum lies further away


@dataclass(frozen=True)
class Sacrum:
    """Shape of a sacrum; lengths in mm."""

    radius_mm: float  # of the bend; negative where it is hollow at the back
    tilt_rad: float  # of its axis to the front, against the normal of its end plate
    length_mm: float
    taper: float  # how early it narrows
    heights_mm: tuple[float, ...]  # of its bodies, from the top down
    remnants_mm: tuple[float, ...]  # thickness of the discs between them, 0 = fused
    wings: bool
    wing_slope: float
    canal: bool
    cortex_mm: float
    power: float  # of its outline


def draw_sacrum(rng: np.random.Generator) -> Sacrum:
    schematic = rng.random() < 0.2
    curvature = rng.uniform(-1 / 250, 1 / 50)
    remnants = (rng.uniform(0, 5), rng.uniform(0, 3.5), rng.uniform(0, 2.5), 0.0)
    return Sacrum(radius_mm=float(1 / (curvature if abs(curvature) > 1e-3 else 1e-3)),
                  tilt_rad=float(rng.normal(0.12, 0.12)), length_mm=float(rng.uniform(40, 130) if schematic
                                                                       else rng.uniform(90, 130)),
                  taper=float(rng.uniform(0.4, 1.1)),
                  heights_mm=tuple(float(h * rng.uniform(0.85, 1.15)) for h in (30, 25, 21, 18)),
                  remnants_mm=(0.0,) * 4 if schematic and rng.random() < 0.7 else remnants,
                  wings=bool(rng.random() < (0.3 if schematic else 0.9)), wing_slope=float(rng.uniform(0, 0.5)),
                  canal=bool(rng.random() < (0.5 if schematic else 0.95)),
                  cortex_mm=0.0 if rng.random() < (0.5 if schematic else 0.1) else float(rng.uniform(0.4, 2.2)),
                  power=float(rng.uniform(2.0, 4.0 if schematic else 3.0)))


def paint_sacrum(canvas: Canvas, column: Column, sacrum: Sacrum, look: Look, rng: np.random.Generator) -> None:
    """Paint it below the lowest disc, whose lower surface is its end plate; the canal and L5 win over it."""
    frame = column.frames[0]
    surface = _lower_surface(column)
    centre = frame.centre_mm
    z_axis = canvas.axis_mm(2, (slice(0, 1), slice(0, 1), slice(0, canvas.tissue.shape[2])))
    top = int(np.searchsorted(z_axis, centre[2] + 30))
    box = (slice(0, canvas.tissue.shape[0]), slice(0, canvas.tissue.shape[1]), slice(0, max(top, 1)))
    x, y, z = (canvas.axis_mm(k, box) for k in range(3))
    near = (y > centre[1] - BEHIND_MM) & (y < centre[1] + BEFORE_MM)
    box = (box[0], slice(int(np.argmax(near)), int(len(near) - np.argmax(near[::-1]))), box[2])
    y = canvas.axis_mm(1, box)
    grid = (x[:, None, None], y[None, :, None], z[None, None, :])
    u, v, w = (_sum([(g - np.float32(c)) * np.float32(a) for g, c, a in zip(grid, centre, axis, strict=True)])
               for axis in frame.axes.T)
    depth_below = surface[0] + surface[1] * u + surface[2] * v + surface[3] * u * u + surface[4] * v * v - w
    s, front = _along(v, w - surface[0], sacrum, float(surface[2]))
    _paint(canvas, box, (u, s, front, depth_below, w), sacrum, frame.half_width_mm, frame.half_depth_mm, look, rng)


def _sum(terms: list[Float]) -> Float:
    return terms[0] + terms[1] + terms[2]


def _lower_surface(column: Column) -> Float:
    """Coefficients of 1, x, y, x^2, y^2 of the lowest disc's lower surface in its own frame."""
    local = column.frames[0].local(column.discs[0].points())
    cell = np.floor(local[:, :2] / 2.5).astype(int)
    _, which = np.unique(cell, axis=0, return_inverse=True)
    which = which.reshape(-1)
    lowest = np.full(which.max() + 1, np.inf)
    np.minimum.at(lowest, which, local[:, 2])
    n = np.bincount(which)
    x, y = (np.bincount(which, weights=local[:, k]) / n for k in (0, 1))
    basis = np.stack([np.ones_like(x), x, y, x * x, y * y], axis=1)
    kept = n >= np.median(n) * 0.6
    fitted = np.linalg.lstsq(basis[kept], lowest[kept], rcond=None)[0]
    return np.asarray([*fitted[:3], *np.clip(fitted[3:], -0.012, 0.012)], np.float32)


def _along(v: Float, w: Float, sacrum: Sacrum, slope: float) -> tuple[Float, Float]:
    """Distance along the sacrum's bent axis, downwards, and distance to the front of it."""
    angle = np.arctan(slope) + sacrum.tilt_rad
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    v, w = c * v + s * w, -s * v + c * w
    r = np.float32(abs(sacrum.radius_mm))
    sign = np.float32(np.sign(sacrum.radius_mm))
    across = r - sign * v
    return r * np.arctan2(-w, across), sign * (r - np.hypot(across, w))


def _paint(canvas: Canvas, box: tuple[slice, slice, slice], where: tuple[Float, Float, Float, Float, Float],
           sacrum: Sacrum, half_width: float, half_depth: float, look: Look, rng: np.random.Generator) -> None:
    u, s, front, below, w = where
    share = np.clip(1 - np.clip(s, 0, None) / sacrum.length_mm, 0.02, 1) ** sacrum.taper
    a, b = half_width * share, half_depth * (0.25 + 0.75 * share)
    back = half_depth - b  # its back runs straight, its front recedes
    radius = ((np.abs(u) / a) ** sacrum.power + (np.abs(front + 0.6 * back) / b) ** sacrum.power) ** (1 / sacrum.power)
    disc, canal = canvas.disc[box], canvas.canal[box]
    facing = (disc > -TENTH * 2.4) & (w < 0) & (radius <= 1)
    long = s < sacrum.length_mm
    tissue = canvas.tissue[box]
    taken = np.isin(tissue, (Tissue.MARROW, Tissue.END_PLATE, Tissue.BASIVERTEBRAL)) | (disc > 0)
    if sacrum.canal:
        _paint_canal(tissue, u, s, front + half_depth, sacrum, taken, rng)
    if sacrum.wings:
        _paint_wings(tissue, u, s, front, below, a, b, sacrum, taken | (canal > 0), rng)
    body = ((below > 0) & (radius <= 1) & long | facing) & ~taken
    tissue[body] = Tissue.SACRUM_MARROW
    start = np.float32(0)
    for height, thick in zip(sacrum.heights_mm, sacrum.remnants_mm, strict=True):
        start = start + height
        plate = (sacrum.cortex_mm and 1.0) + thick / 2
        if thick > 0.4:
            away = np.abs(s - start)
            tissue[body & (away < plate) & (radius < 0.97)] = Tissue.SACRUM_CORTEX
            tissue[body & (away < thick / 2 * (1.2 - 0.5 * radius)) & (radius < 0.92)] = Tissue.SACRUM_DISC
        start = start + thick
    if sacrum.cortex_mm:
        tissue[body & (radius > 1 - sacrum.cortex_mm / half_depth)] = Tissue.SACRUM_CORTEX
    if look.end_plate_mm:
        tissue[body & ((below < look.end_plate_mm) | facing & (disc > -TENTH * look.end_plate_mm))] = (
            Tissue.SACRUM_CORTEX)


def _paint_canal(tissue: NDArray[np.uint8], u: Float, s: Float, behind: Float, sacrum: Sacrum,
                 taken: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """Arch and canal behind the bodies, the dural sac ending at S1 to S3."""
    shrink = np.clip(1 - s / (sacrum.length_mm * 1.1), 0.15, 1)
    half = (rng.uniform(9, 13) * shrink, rng.uniform(4, 8) * shrink)
    middle = behind + half[1] + 1.0
    r = (u / half[0]) ** 2 + (middle / half[1]) ** 2
    free = ~taken & (s < sacrum.length_mm)
    arch = free & (s > 8) & (np.abs(u) < half[0] + 9) & (middle < 0) & (middle > -half[1] - rng.uniform(4, 11))
    tissue[arch] = Tissue.POSTERIOR_MARROW
    tissue[free & (s > -8) & (r <= 1.5)] = Tissue.VISCERAL_FAT
    tissue[free & (s > -8) & (r <= 1) & (s < rng.uniform(15, 60))] = Tissue.CSF


def _paint_wings(tissue: NDArray[np.uint8], u: Float, s: Float, front: Float, below: Float, a: Float, b: Float,
                 sacrum: Sacrum, taken: NDArray[np.bool_], rng: np.random.Generator) -> None:
    out = np.abs(u) - 0.8 * a
    top = rng.uniform(1, 6) + sacrum.wing_slope * out
    wing = (out > 0) & (below > top) & (s < rng.uniform(45, 80)) & ~taken
    before = b * rng.uniform(0.3, 0.9) - rng.uniform(0, 0.5) * out
    rear = -b - rng.uniform(-2, 8) - 0.2 * out
    wing &= (front < before) & (front > rear)
    rim = sacrum.cortex_mm
    core = (below > top + rim) & (front < before - rim) & (front > rear + rim)
    tissue[wing] = Tissue.SACRUM_CORTEX
    tissue[wing & core] = Tissue.SACRUM_MARROW
    for start in (sacrum.heights_mm[0], sum(sacrum.heights_mm[:2])):  # foramina
        hole = ((out - 4) / 5) ** 2 + ((s - start) / 5) ** 2 <= 1
        tissue[wing & hole] = rng.choice([Tissue.VISCERAL_FAT, Tissue.ROOT, Tissue.SACRUM_MARROW])
