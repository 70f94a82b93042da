"""Paints discs, vertebrae and canal of a real spine, and continues the column above it.

Everything lies on the sub-voxels of a RAS+ grid. Knows nothing of soft tissue and sacrum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from bedrest.phantom.tissues import Tissue
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.anatomies.real_masks import Array, DiscFrame, Field, Part, RealSpine, frame_of
from pipelines.anatomies.vary_tissues import smooth_noise

Labels = NDArray[np.uint8]
Box = tuple[slice, slice, slice]
GAP_MM = 4.0  # masks leave the end plates out, up to 3 mm: narrower gaps between disc and body belong to the body
FACING_MM = 2.4  # bone this near to a disc has an end plate, no cortex
TENTH = 10  # distances are stored in tenths of a millimetre
BELOW_ALL = -127


@dataclass(frozen=True)
class Look:
    """How bones and discs are painted; lengths in mm, 0 where there is none."""

    end_plate_mm: float
    cortex_mm: float
    rim_mm: float  # dark rim of arches and processes
    ligament_mm: float
    nucleus: float  # share of the disc's depth at which the nucleus begins; 1 where it looks like the annulus
    degenerated: float  # share of discs with a dark nucleus
    disc_offset_mm: float  # standard deviation of how far the discs' surfaces lie outside the masks'
    vein: bool
    cord_mm: float
    fat_mm: float  # epidural fat at the canal's rim
    wander_mm: float  # unevenness of end plates and cortex


def draw_look(rng: np.random.Generator) -> Look:
    def thickness(absent: float) -> float:
        kind = rng.random()
        return 0.0 if kind < absent else float(rng.uniform(1.6, 2.6) if kind > 0.92 else rng.uniform(0.4, 1.6))

    return Look(end_plate_mm=thickness(0.08), cortex_mm=thickness(0.15), rim_mm=thickness(0.25),
                ligament_mm=float(rng.uniform(0.5, 2.0)) if rng.random() < 0.6 else 0.0,
                nucleus=float(rng.uniform(0.3, 0.75)) if rng.random() < 0.85 else 1.0,
                degenerated=float(rng.choice([0.0, 0.3, 1.0])), disc_offset_mm=0.08, vein=bool(rng.random() < 0.7),
                cord_mm=float(rng.uniform(3, 5.5)) if rng.random() < 0.85 else 0.0,
                fat_mm=float(rng.uniform(0.5, 2.5)) if rng.random() < 0.5 else 0.0,
                wander_mm=float(rng.uniform(0, 0.5)))


@dataclass(frozen=True, eq=False)
class Column:
    """A real spine in its pose, continued upwards; vertebra i lies on disc i."""

    discs: tuple[Part, ...]
    frames: tuple[DiscFrame, ...]
    vertebrae: tuple[Part, ...]
    canals: tuple[Part, ...]
    canal_from_mm: tuple[float, ...]  # height above which each of them is painted
    canal_front: Field  # (3, N) heights, rising, and there the canal's front (back to front) and middle (left to right)
    real: int  # number of discs that are real


def column_of(spine: RealSpine, pose: Array, top_mm: float) -> Column:
    """The spine in its pose. Copies of its uppermost whole vertebra with the disc on it, each smaller than the one
    before, follow up to `top_mm`; the vertebra that the field of view cut off stays only where nothing follows.
    """
    discs = [d.moved(pose) for d in spine.discs]
    frames = [frame_of(d) for d in discs]
    vertebrae = [v.moved(pose) for v in spine.vertebrae]
    canals = [spine.canal.moved(pose)]
    n = len(discs)
    start = [-np.inf, float(canals[0].points()[:, 2].max()) - 6]
    step = frames[-1].matrix() @ np.diag([0.97, 0.97, 0.97, 1.0]) @ np.linalg.inv(frames[-2].matrix())
    if discs[-1].points()[:, 2].max() + 25 < top_mm:
        vertebrae = [*vertebrae[: n - 1], vertebrae[n - 2].moved(step)]
        while frames[-1].centre_mm[2] < top_mm:
            discs.append(discs[-1].moved(step))
            vertebrae.append(vertebrae[-1].moved(step))
            canals.append(canals[-1].moved(step))
            frames.append(frame_of(discs[-1]))
            start.append(float(canals[-1].points()[:, 2].max()) - 6)
    return Column(tuple(discs), tuple(frames), tuple(vertebrae), tuple(canals), tuple(start),
                  _canal_front(canals, start), n)


def sampled(part: Part, fine: Array, shape: tuple[int, ...]) -> tuple[Box, Field] | None:
    """The part's field on the fine grid with affine `fine`, and the box of it; None outside the grid."""
    to_fine = np.linalg.inv(fine) @ part.affine
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in part.field.shape], indexing="ij")).reshape(3, -1)
    place = to_fine[:3, :3] @ corners + to_fine[:3, 3:]
    low = np.maximum(np.floor(place.min(1)).astype(int), 0)
    high = np.minimum(np.ceil(place.max(1)).astype(int) + 1, shape)
    if (high <= low).any():
        return None
    back = np.linalg.inv(to_fine)
    field = ndimage.affine_transform(part.field, back[:3, :3], back[:3, :3] @ low + back[:3, 3],
                                     output_shape=tuple(high - low), order=1, mode="constant", cval=-12.0,
                                     output=np.float32)
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return (i, j, k), field


@dataclass(eq=False)
class Canvas:
    """The painting in the making, on the sub-voxels."""

    tissue: Labels
    level: Labels  # number of the disc from the bottom up, 0 = none
    disc: NDArray[np.int8]  # distance to the nearest disc in tenths of a millimetre, positive inside
    canal: NDArray[np.int8]
    affine: Array  # (4, 4) of the sub-voxels

    def parts(self, parts: tuple[Part, ...]) -> Iterator[tuple[int, Box, Field]]:
        for i, part in enumerate(parts):
            place = sampled(part, self.affine, self.tissue.shape)
            if place is not None:
                yield i, *place

    def axis_mm(self, k: int, box: Box) -> Field:
        """World coordinate of the sub-voxels of a box along one axis."""
        index = np.arange(box[k].start, box[k].stop)
        return np.asarray(self.affine[k, 3] + self.affine[k, k] * index, np.float32)


def canvas_of(tissue: Labels, affine: Array) -> Canvas:
    empty = np.full(tissue.shape, BELOW_ALL, np.int8)
    return Canvas(tissue, np.zeros(tissue.shape, np.uint8), empty, empty.copy(), affine)


def paint_column(canvas: Canvas, column: Column, look: Look, rng: np.random.Generator) -> None:
    """Canal, vertebrae and discs, in this order; each disc wins over what it touches."""
    _note_discs(canvas, column, look, rng)
    _note_canal(canvas, column)
    for i, box, field in canvas.parts(column.vertebrae):
        _paint_vertebra(canvas, box, field, column, i, look, rng)
    _paint_canal(canvas, column, look, rng)
    _paint_discs(canvas, column, look, rng)


def _tenths(field: Field) -> NDArray[np.int8]:
    return np.ceil(np.clip(field * TENTH, BELOW_ALL, -BELOW_ALL)).astype(np.int8)


def _note_discs(canvas: Canvas, column: Column, look: Look, rng: np.random.Generator) -> None:
    for i, box, field in canvas.parts(column.discs):
        tenths = _tenths(field + look.disc_offset_mm * float(rng.normal()))
        nearer = tenths > canvas.disc[box]
        canvas.level[box][nearer & (tenths > 0)] = i + 1
        canvas.disc[box][nearer] = tenths[nearer]


def _note_canal(canvas: Canvas, column: Column) -> None:
    for i, box, field in canvas.parts(column.canals):
        field[:, :, canvas.axis_mm(2, box) < column.canal_from_mm[i]] = -12
        np.maximum(canvas.canal[box], _tenths(field), out=canvas.canal[box])


def _canal_front(canals: list[Part], start: list[float]) -> Field:
    points = np.concatenate([p[p[:, 2] > z] for p, z in zip((c.points() for c in canals), start, strict=False)])
    heights = np.arange(points[:, 2].min() + 2, points[:, 2].max() - 2, 4.0)
    slabs = [points[np.abs(points[:, 2] - z) < 2.5] for z in heights]
    kept = [(z, np.percentile(s[:, 1], 96), s[:, 0].mean()) for z, s in zip(heights, slabs, strict=True) if len(s) > 9]
    z, y, x = np.array(kept).T
    # straight on beyond both ends, over 60 mm
    ends = [(float(np.polyfit(z[k], y[k], 1)[0]), float(np.polyfit(z[k], x[k], 1)[0]))
            for k in (slice(0, 5), slice(-5, None))]
    z2 = np.concatenate([[z[0] - 60], z, [z[-1] + 60]])
    y2 = np.concatenate([[y[0] - 60 * ends[0][0]], y, [y[-1] + 60 * ends[1][0]]])
    x2 = np.concatenate([[x[0] - 60 * ends[0][1]], x, [x[-1] + 60 * ends[1][1]]])
    return np.array([z2, ndimage.gaussian_filter1d(y2, 1.0, mode="nearest"), x2], np.float32)


def _paint_vertebra(canvas: Canvas, box: Box, field: Field, column: Column, i: int, look: Look,
                    rng: np.random.Generator) -> None:
    """Body with end plates, cortex and vein; arch and processes behind the canal's front."""
    x, y, z = (canvas.axis_mm(k, box) for k in range(3))
    heights, fronts, middles = column.canal_front
    front, middle = np.interp(z, heights, fronts), np.interp(z, heights, middles)
    aside = (x[:, None] - middle[None, :]).astype(np.float32)[:, None, :]
    body = y[None, :, None] > (front - 1.0)[None, None, :] - 0.008 * aside**2
    disc = canvas.disc[box]
    gap = body & (np.minimum(field, 0) + np.float32(1 / TENTH) * disc > -GAP_MM)
    inside = ((field > 0) | gap) & (disc <= 0)
    tissue = canvas.tissue[box]
    arch = inside & ~body
    tissue[arch] = Tissue.POSTERIOR_MARROW
    tissue[arch & (field < look.rim_mm)] = Tissue.POSTERIOR_CORTEX
    inside &= body
    tissue[inside] = Tissue.MARROW
    if look.vein:
        below = column.frames[i]
        centre = below.centre_mm + below.axes[:, 2] * 17 - below.axes[:, 1] * below.half_depth_mm
        r = (((x - centre[0]) / rng.uniform(2, 5))[:, None, None] ** 2
             + ((y - centre[1]) / rng.uniform(5, 14))[None, :, None] ** 2
             + ((z - centre[2]) / rng.uniform(1.5, 3))[None, None, :] ** 2)
        tissue[inside & (r <= 1)] = Tissue.BASIVERTEBRAL
    uneven = look.wander_mm * smooth_noise(tissue.shape, rng)
    facing = disc > -(FACING_MM + look.end_plate_mm) * TENTH
    if look.cortex_mm:
        tissue[inside & ~facing & (field < look.cortex_mm + uneven)] = Tissue.END_PLATE
    if look.end_plate_mm:
        tissue[inside & (disc > -TENTH * (look.end_plate_mm + uneven))] = Tissue.END_PLATE


def _paint_canal(canvas: Canvas, column: Column, look: Look, rng: np.random.Generator) -> None:
    inside = np.flatnonzero(canvas.canal > 0)
    depth = canvas.canal.reshape(-1)[inside]
    flat = canvas.tissue.reshape(-1)
    flat[inside] = Tissue.CSF
    flat[inside[depth < look.fat_mm * TENTH]] = Tissue.VISCERAL_FAT
    if not look.cord_mm:
        return
    n = canvas.tissue.shape
    i, j, k = np.unravel_index(inside, n)
    conus = column.frames[min(4, len(column.frames) - 1)].centre_mm[2] + rng.normal(0, 12)
    slice_of = np.bincount(k, minlength=n[2])
    centre_i, centre_j = (np.bincount(k, weights=v, minlength=n[2]) / np.maximum(slice_of, 1) for v in (i, j))
    dx, dy = (i - centre_i[k]) * canvas.affine[0, 0], (j - centre_j[k]) * canvas.affine[1, 1]
    z = canvas.affine[2, 3] + canvas.affine[2, 2] * k
    cord = (dx / look.cord_mm) ** 2 + (dy / (0.75 * look.cord_mm)) ** 2 <= np.clip((z - conus) / 25, -1, 1)
    flat[inside[cord & (depth > 5)]] = Tissue.CORD
    for _ in range(int(rng.integers(0, 10))):  # roots of the cauda equina
        u, v, w = rng.uniform(-6, 6), rng.uniform(-5, 1), rng.uniform(0.4, 0.9)
        root = ((dx - u) ** 2 + (dy - v) ** 2 <= w**2) & (z < conus + 20) & (depth > 8)
        flat[inside[root]] = Tissue.CORD


def _paint_discs(canvas: Canvas, column: Column, look: Look, rng: np.random.Generator) -> None:
    dark = rng.random(len(column.discs)) < look.degenerated
    for i, box, _ in canvas.parts(column.discs):
        tissue, disc = canvas.tissue[box], canvas.disc[box]
        this = canvas.level[box] == i + 1
        if look.ligament_mm:
            soft = (tissue != Tissue.END_PLATE) & (tissue != Tissue.MARROW) & (tissue != Tissue.CSF)
            bone = np.isin(tissue, (Tissue.SACRUM_MARROW, Tissue.SACRUM_CORTEX, Tissue.CORD, Tissue.BASIVERTEBRAL))
            tissue[(disc <= 0) & (disc > -TENTH * look.ligament_mm) & soft & ~bone] = Tissue.LIGAMENT
        tissue[this] = Tissue.ANNULUS
        deepest = max(int(disc[this].max(initial=0)), 1)
        core = this & (disc > deepest * look.nucleus)
        tissue[core] = Tissue.NUCLEUS_DEGENERATED if dark[i] else Tissue.NUCLEUS
