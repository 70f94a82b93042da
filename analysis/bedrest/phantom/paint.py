"""Paints a spine and its surroundings onto a grid finer than the scan's.

Spine structures are painted on sub-voxels, so that averaging gives partial volume; the soft-tissue backdrop is painted
on voxels. Knows nothing of contrasts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bedrest.phantom.random_spine import SACRAL, Disc, Spine
from bedrest.phantom.shapes import Axes, Frame, around, axes_mm
from bedrest.phantom.surroundings import paint_surroundings
from bedrest.phantom.tissues import Tissue
from bedrest.types import Grid, LabelMap
from bedrest.vocabulary import LABEL_OF_LEVEL

Labels = NDArray[np.uint8]
FINE = 2  # sub-voxels along each axis of a voxel
LIGAMENT_MM = 1.2  # sheet around each disc


@dataclass(frozen=True, eq=False)
class Painting:
    """A painted anatomy."""

    tissue: Labels  # uint8, shape (2I, 2J, 2K); tissue numbers of the sub-voxels
    grid: Grid  # the scan's grid (I, J, K)


def paint(spine: Spine, grid: Grid, rng: np.random.Generator) -> Painting:
    """Paint `spine` onto `grid`, whose axes must run to the right, front and head (RAS+, not oblique).

    `rng`: draws the soft-tissue surroundings, which no measure depends on.
    """
    frames = spine.frames()
    tissue = paint_surroundings(spine, frames, grid, rng).repeat(FINE, 0).repeat(FINE, 1).repeat(FINE, 2)
    level = np.zeros_like(tissue)
    axes = axes_mm(grid, fine=FINE)
    for i in range(len(frames) - 1):
        _paint_body(tissue, axes, spine.discs[i : i + 2], frames[i : i + 2], sacral=i < SACRAL)
    for i, (disc, frame) in enumerate(zip(spine.discs, frames, strict=True)):
        _paint_disc(tissue, level, axes, disc, frame, sacral=i < SACRAL)
    return Painting(tissue, grid)


def paint_levels(spine: Spine, grid: Grid) -> LabelMap:
    """The named discs on the scan's grid: a voxel belongs to a disc when its centre lies in it.

    Sampling at centres leaves the volume unbiased; a threshold on few sub-voxels would not.
    """
    axes = axes_mm(grid)
    tissue, level = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.uint8)
    for i, (disc, frame) in enumerate(zip(spine.discs, spine.frames(), strict=True)):
        _paint_disc(tissue, level, axes, disc, frame, sacral=i < SACRAL)
    return LabelMap(level.astype(np.int32), grid)


def _paint_disc(tissue: Labels, level: Labels, axes: Axes, disc: Disc, frame: Frame, *, sacral: bool) -> None:
    s = disc.shape
    reach = max(s.half_width_mm, s.half_depth_mm) + 6
    near = around(axes, frame.centre_mm, (reach, reach, s.height_mm + reach * abs(float(frame.axes[2, 1])) + 4))
    if near is None:
        return
    box, points = near
    x, y, z = frame.local(points)
    radius, v = s.outline(x, y)
    half = s.half_thickness_mm(radius, v)
    inside = (radius <= 1) & (np.abs(z) <= half)
    core = inside & (radius <= disc.nucleus) & (np.abs(z) <= 0.8 * half)
    sheet = (radius <= 1 + LIGAMENT_MM / s.half_depth_mm) & (np.abs(z) <= half) & ~inside
    for blob in disc.blobs:
        inside |= sum(((p - c) / h) ** 2 for p, c, h in zip((x, y, z), blob.centre_mm, blob.half_mm, strict=True)) <= 1
    shape = tissue[box].shape
    tissue[box][(sheet & ~inside).reshape(shape)] = Tissue.LIGAMENT
    nucleus = Tissue.NUCLEUS_DEGENERATED if disc.degenerated else Tissue.NUCLEUS
    tissue[box][inside.reshape(shape)] = Tissue.SACRUM_DISC if sacral else Tissue.ANNULUS
    if not sacral:
        tissue[box][core.reshape(shape)] = nucleus
        level[box][inside.reshape(shape)] = LABEL_OF_LEVEL.get(disc.name, 0)


def _paint_body(tissue: Labels, axes: Axes, discs: tuple[Disc, ...],
                frames: tuple[Frame, ...], *, sacral: bool) -> None:
    """The vertebral body between two discs: waisted, with dark end plates and cortex."""
    centre = (frames[0].centre_mm + frames[1].centre_mm) / 2
    reach = max(d.shape.half_width_mm for d in discs) + 6
    near = around(axes, centre, (reach, reach, discs[0].body_above_mm + 16))
    if near is None:
        return
    box, points = near
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
    if not sacral:
        behind = y0 + discs[0].shape.half_depth_mm * 0.75
        vein = inside & ((x0 / 4) ** 2 + (behind / 4) ** 2 + ((share - 0.5) / 0.10) ** 2 <= 1)
        tissue[box][vein.reshape(shape)] = Tissue.BASIVERTEBRAL
    tissue[box][cortex.reshape(shape)] = Tissue.SACRUM_CORTEX if sacral else Tissue.END_PLATE
