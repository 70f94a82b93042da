"""Surfaces of a spine -> tissue layers on a plane, for `scanner`. Of the benchmark alone; knows nothing of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipelines.benchmarks.second_maker.painted_tissues import (
    CARTILAGE_MM,
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
from pipelines.benchmarks.second_maker.shapes_of_spine import NAMED, Body, Disc, Frame, SpineSurfaces


@dataclass(frozen=True, eq=False)
class SpinePainter:
    """A spine of surfaces that can be scanned."""

    spine: SpineSurfaces
    appearance: Appearance

    @property
    def landmarks_mm(self) -> Array:
        return np.array([d.frame.origin_mm for d in self.spine.discs[:len(NAMED)]]
                        + [b.frame.origin_mm for b in self.spine.bodies[:len(NAMED)]])

    def backdrop(self, plane: Plane) -> Iterator[Layer]:
        return around(plane, self._canal, self.appearance)

    def layers(self, plane: Plane) -> Iterator[Layer]:
        for body in self.spine.bodies:
            yield from self._arch(plane, body)
        yield from canal(plane, self._canal, self.appearance)
        lowest, fat = self.spine.discs[0], self.spine.bodies[0].marrow_fat
        yield from sacrum_layers(plane, self.spine.sacrum, lowest.outline.half_width_mm, lowest.outline.back_mm,
                                 self.appearance, block=self.spine.block_sacrum, fat=fat,
                                 top_mm=lambda box: _beyond(plane, box, lowest, upper=False))
        for body in self.spine.bodies:
            yield from self._body(plane, body)
        for disc in self.spine.discs:
            yield from self._disc(plane, disc)

    @cached_property
    def _canal(self) -> Array:
        """The canal's middle every millimetre of height: x, y, z."""
        line = self.spine.canal_mm
        z = np.arange(line[:, 2].min(), line[:, 2].max(), 1.0)
        smooth = np.hanning(23) / np.hanning(23).sum()
        x, y = (np.convolve(np.pad(np.interp(z, line[:, 2], line[:, a]), 11, "edge"), smooth, "valid") for a in (0, 1))
        return np.column_stack([x, y, z])

    def _body(self, plane: Plane, body: Body) -> Iterator[Layer]:
        if (box := plane.near(body.frame.origin_mm, 48)) is None:
            return
        u, v, w = plane.points(box, body.frame.origin_mm, body.frame.axes)
        up = np.clip(w / body.height_mm + 0.5, 0, 1)
        above = self.spine.bodies[min(body.index + 1, len(self.spine.bodies) - 1)].outline
        radius = (1 - up) * body.outline.radius_mm(u, v) + up * above.radius_mm(u, v)
        side = np.hypot(u, v) - radius * (1 - body.waist * (1 - (2 * up - 1) ** 2))
        low = _beyond(plane, box, self.spine.discs[body.index], upper=True)
        high = (_beyond(plane, box, self.spine.discs[body.index + 1], upper=False)
                if body.index + 1 < len(self.spine.discs) else w - body.height_mm / 2)
        ends = np.maximum(low, high)
        yield Layer(box, ramp(np.maximum(side - 1.0, ends)) * (np.abs(v) > 8), self.appearance.tissues["ligament"])
        yield Layer(box, ramp(np.maximum(side, ends)), self.appearance.tissues["cortex"])
        marrow = marrow_of(self.appearance, plane, box, body.marrow_fat)
        yield Layer(box, ramp(np.maximum(side + CORTEX_MM, ends + END_PLATE_MM)), marrow)
        # The basivertebral vein enters at the back.
        vein = np.sqrt((u / 4) ** 2 + ((v + body.outline.back_mm - 3) / 8) ** 2 + (w / 2) ** 2) - 1
        yield Layer(box, ramp(2 * vein) * ramp(side + 0.2), self.appearance.tissues["vein"])

    def _disc(self, plane: Plane, disc: Disc) -> Iterator[Layer]:
        if (box := plane.near(disc.frame.origin_mm, 40)) is None:
            return
        u, v, w = plane.points(box, disc.frame.origin_mm, disc.frame.axes)
        radius = disc.outline.radius_mm(u, v)
        rho = np.hypot(u, v) / radius
        low, high = disc.surfaces(u, v, rho)
        up = np.clip((w - low) / np.maximum(high - low, 0.1), 0, 1)
        limit = 1 + disc.bulge * (1 - (2 * up - 1) ** 2)
        side, ends = (rho - limit) * radius, np.maximum(low - w, w - high)
        yield Layer(box, ramp(np.maximum(side - 1.1, ends)) * (np.abs(u) < 17), self.appearance.tissues["ligament"])
        tissue = disc_tissue(self.appearance, disc.name, rho / limit, up, plane.smooth_field(box, self.appearance.disc),
                             disc.degeneration)
        share = ramp(np.maximum(side, ends))
        yield Layer(box, share, tissue)
        lining = share * ramp(-CARTILAGE_MM - ends) * ramp((rho - 0.9) * radius)
        yield Layer(box, 0.7 * lining, self.appearance.tissues["cartilage"])

    def _arch(self, plane: Plane, body: Body) -> Iterator[Layer]:
        back, small = body.outline.back_mm, body.height_mm / 27
        frame = body.frame
        parts = (((15.0, -back - 6, 4), (4.5, 10, 7)), ((-15.0, -back - 6, 4), (4.5, 10, 7)),
                 ((10.0, -back - 21, -6), (8, 3.5, 11)), ((-10.0, -back - 21, -6), (8, 3.5, 11)),
                 ((19.0, -back - 17, -14), (6, 6, 11)), ((-19.0, -back - 17, -14), (6, 6, 11)),
                 ((0.0, -back - 36, -13), (3.5, 15, 9)))
        for centre, half in parts:
            yield from self._bone(plane, frame.moved(tuple(small * np.array(centre))), np.array(half) * small,
                                  body.marrow_fat, 2.6)

    def _bone(self, plane: Plane, frame: Frame, half: Array, fat: float, power: float) -> Iterator[Layer]:
        """A rounded block with a cortex."""
        if (box := plane.near(frame.origin_mm, float(np.linalg.norm(half)))) is None:
            return
        u, v, w = plane.points(box, frame.origin_mm, frame.axes)
        away = (np.abs(u / half[0]) ** power + np.abs(v / half[1]) ** power + np.abs(w / half[2]) ** power)
        distance = (away ** (1 / power) - 1) * half.min()
        yield Layer(box, ramp(distance), self.appearance.tissues["cortex"])
        yield Layer(box, ramp(distance + 0.8), marrow_of(self.appearance, plane, box, fat))


def _beyond(plane: Plane, box: Box, disc: Disc, *, upper: bool) -> Array:
    """How far points lie within a disc's height, seen from the bone above (or below) it; negative in the bone."""
    u, v, w = plane.points(box, disc.frame.origin_mm, disc.frame.axes)
    low, high = disc.surfaces(u, v, np.hypot(u, v) / disc.outline.radius_mm(u, v))
    return np.asarray(high - w if upper else w - low)
