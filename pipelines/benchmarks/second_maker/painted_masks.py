"""Real spines as fields of signed distance -> tissue layers on a plane, for `scanner`: rendered real anatomy.

Discs, vertebrae and canal are real (`anatomies.real_masks`); the sacrum, of which there is no mask, and what lies
around are the second maker's. Discs change by `bedrest.calibration.known_change`: stretched along their own normal,
bones rigid. True volumes are integrals of what is painted. Knows nothing of images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from bedrest.calibration.known_change import KnownChange, known_change
from bedrest.types import Grid, LabelMap, Volume
from bedrest.vocabulary import LEVEL_OF_LABEL
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.anatomies.real_masks import DiscFrame, Part, RealSpine, frame_of
from pipelines.benchmarks.second_maker.painted_tissues import (
    CORTEX_MM,
    END_PLATE_MM,
    Appearance,
    around,
    canal,
    disc_tissue,
    marrow_of,
    ramp,
    sacrum_layers,
)
from pipelines.benchmarks.second_maker.scanner import Array, Box, Layer, Plane
from pipelines.benchmarks.second_maker.shapes_of_spine import Frame
from pipelines.benchmarks.second_maker.tissue_signals import Tissue

FINE_MM = 0.8  # of the fields after a change
ROOM_MM = 5.0  # around a part, into which it may move
CUT_OFF = -12.0  # beyond a part


@dataclass(frozen=True)
class Traits:
    """What the masks do not say."""

    marrow_fat: float
    worn: float  # of the discs, 0 to 1
    block_sacrum: bool


def draw_traits(rng: np.random.Generator) -> Traits:
    return Traits(float(np.clip(rng.normal(0.42, 0.12), 0.15, 0.75)), float(rng.beta(1.5, 3)), bool(rng.random() < 0.5))


@dataclass(frozen=True, eq=False)
class RealVisit:
    """A real spine after a change, ready to be scanned."""

    discs: tuple[Part, ...]
    bones: tuple[Part, ...]
    sac: Part
    frames: tuple[DiscFrame, ...]  # of the discs before the change
    appearance: Appearance
    traits: Traits

    @property
    def landmarks_mm(self) -> Array:
        return np.array([part.points().mean(axis=0) for part in (*self.discs, *self.bones[:-1])])

    @cached_property
    def volumes_mm3(self) -> dict[str, float]:
        """Of the discs that have a level and whose upper bone is there."""
        return {LEVEL_OF_LABEL[i + 1]: _volume_mm3(part) for i, part in enumerate(self.discs)
                if i + 1 in LEVEL_OF_LABEL and i < len(self.bones)}

    @cached_property
    def centres_mm(self) -> dict[str, Array]:
        return {LEVEL_OF_LABEL[i + 1]: part.points().mean(axis=0) for i, part in enumerate(self.discs)
                if i + 1 in LEVEL_OF_LABEL}

    @cached_property
    def _line(self) -> Array:
        """Middle of the canal every millimetre of height, going on straight beyond its mask."""
        points = self.sac.points()
        height = np.round(points[:, 2]).astype(int)
        low = height.min()
        n = np.bincount(height - low)
        with np.errstate(invalid="ignore"):
            x, y = (np.bincount(height - low, points[:, a]) / n for a in (0, 1))
        z = np.arange(len(n)) + low
        there = n > 20
        rough = np.column_stack([np.interp(z, z[there], q[there]) for q in (x, y)])
        smooth = ndimage.gaussian_filter1d(rough, 6, axis=0)
        ends = np.arange(1, 61)[:, None]
        below = smooth[0] + ends[::-1] * [0, -0.35]  # along the back of the sacrum
        above = smooth[-1] + ends * (smooth[-1] - smooth[-21]) / 20
        return np.column_stack([np.concatenate([below, smooth, above]), np.arange(len(n) + 120) + low - 60.0])

    def backdrop(self, plane: Plane) -> Iterator[Layer]:
        return around(plane, self._line, self.appearance)

    def layers(self, plane: Plane) -> Iterator[Layer]:
        yield from canal(plane, self._line, self.appearance, sac_mm=lambda box: -_sampled(self.sac, plane, box))
        at, lowest = self._sacrum_frame, self.frames[0]
        yield from sacrum_layers(plane, at, 0.97 * lowest.half_width_mm, 0.97 * lowest.half_depth_mm, self.appearance,
                                 block=self.traits.block_sacrum, fat=self.traits.marrow_fat,
                                 top_mm=lambda box: plane.points(box, at.origin_mm, at.axes)[2])
        for bone in self.bones:
            if (box := _box(bone, plane)) is not None:
                away = -_sampled(bone, plane, box)
                yield Layer(box, ramp(away - 0.4), self.appearance.tissues["cortex"])
                yield Layer(box, ramp(away + CORTEX_MM), marrow_of(self.appearance, plane, box, self.traits.marrow_fat))
        for i, disc in enumerate(self.discs):
            if (box := _box(disc, plane)) is not None:
                away = -_sampled(disc, plane, box)
                yield Layer(box, ramp(away - END_PLATE_MM), self.appearance.tissues["cortex"])
                yield Layer(box, ramp(away), self._disc_tissue(i, plane, box))

    def _disc_tissue(self, i: int, plane: Plane, box: Box) -> Tissue:
        frame, name = self.frames[i], LEVEL_OF_LABEL.get(i + 1, "")
        u, v, w = plane.points(box, self.discs_middle[i], frame.axes)
        rho = np.hypot(u / frame.half_width_mm, v / frame.half_depth_mm)
        wave = plane.smooth_field(box, self.appearance.disc)
        return disc_tissue(self.appearance, name, rho, np.clip(0.5 + w / 9, 0, 1), wave, self.traits.worn)

    @cached_property
    def discs_middle(self) -> list[Array]:
        return [part.points().mean(axis=0) for part in self.discs]

    @cached_property
    def _sacrum_frame(self) -> Frame:
        frame, low = self.frames[0], self.discs[0].points()
        return Frame(frame.centre_mm + frame.axes[:, 2] * float(np.median(frame.local(low)[:, 2]) - 1.0), frame.axes)


def real_visit(spine: RealSpine, percent: Mapping[int, float], appearance: Appearance, traits: Traits) -> RealVisit:
    """A spine whose discs, numbered from 1 at L5-S1, have changed by a per cent of their volumes."""
    change = _change(spine, percent)
    parts = [_changed(part, change) for part in (*spine.discs, *spine.vertebrae, spine.canal)]
    n = len(spine.discs)
    return RealVisit(tuple(parts[:n]), tuple(parts[n:-1]), parts[-1], tuple(map(frame_of, spine.discs)), appearance,
                     traits)


def _change(spine: RealSpine, percent: Mapping[int, float]) -> KnownChange | None:
    wanted = {k: v for k, v in percent.items() if v and k <= len(spine.discs)}
    if not wanted:
        return None
    grid = _grid_around(np.concatenate([p.points()[::5] for p in spine.discs]), 14.0, 0.9)
    labels, share = np.zeros(grid.shape, np.int32), np.zeros(grid.shape, np.float32)
    for label, disc in enumerate(spine.discs, start=1):
        field = _on_grid(disc, grid)
        labels[field > 0] = label
        share = np.maximum(share, np.clip(field / 0.9 + 0.5, 0, 1))
    # Without bones: SPIDER's vertebrae have arches, and behind a disc those touch. Bodies end where the disc does.
    return known_change(LabelMap(labels, grid), wanted, probability=Volume(share.astype(np.float32), grid))


def _changed(part: Part, change: KnownChange | None) -> Part:
    """The part on a grid of its own along the world's axes, after the change."""
    points = part.points(-1.0)
    moved = points if change is None else change.push_forward(points[::7])
    grid = _grid_around(np.concatenate([points[::7], moved]), ROOM_MM, FINE_MM)
    index = np.indices(grid.shape).reshape(3, -1).T
    world = index @ grid.affine_ras_mm[:3, :3].T + grid.affine_ras_mm[:3, 3]
    source = world if change is None else change.pull_back(world)
    return Part(_read(part, source).reshape(grid.shape), grid.affine_ras_mm)


def _grid_around(points: Array, room_mm: float, step_mm: float) -> Grid:
    low, high = points.min(axis=0) - room_mm, points.max(axis=0) + room_mm
    affine = np.diag([step_mm] * 3 + [1.0])
    affine[:3, 3] = low
    shape = np.ceil((high - low) / step_mm).astype(int) + 1
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def _on_grid(part: Part, grid: Grid) -> NDArray[np.float32]:
    m = np.linalg.inv(part.affine) @ grid.affine_ras_mm
    return np.asarray(ndimage.affine_transform(part.field, m[:3, :3], m[:3, 3], grid.shape, order=1, cval=CUT_OFF))


def _read(part: Part, world: Array) -> NDArray[np.float32]:
    m = np.linalg.inv(part.affine)
    index = m[:3, :3] @ world.reshape(-1, 3).T + m[:3, 3:]
    return np.asarray(ndimage.map_coordinates(part.field, index, order=1, cval=CUT_OFF, output=np.float32))


def _box(part: Part, plane: Plane) -> Box | None:
    half = (np.array(part.field.shape) - 1) / 2
    centre = (part.affine @ [*half, 1])[:3]
    return plane.near(centre, float(np.linalg.norm(part.affine[:3, :3] @ half)))


def _sampled(part: Part, plane: Plane, box: Box) -> NDArray[np.float32]:
    """Signed distance on a plane, read between the field's points."""
    x, y, z = np.broadcast_arrays(*plane.points(box))
    return _read(part, np.stack([x, y, z], axis=-1).astype(np.float64)).reshape(x.shape)


def _volume_mm3(part: Part, finer: int = 3) -> float:
    """Integral of the painted share, at a third of the field's steps."""
    shape = tuple(finer * (n - 1) + 1 for n in part.field.shape)
    field = ndimage.affine_transform(part.field, np.full(3, 1 / finer), output_shape=shape, order=1, mode="nearest")
    return float(ramp(-field).sum(dtype=np.float64) * abs(np.linalg.det(part.affine)) / finer**3)
