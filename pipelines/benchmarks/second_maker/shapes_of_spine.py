"""A lumbar spine as surfaces without voxels: end plates, outlines, discs between them, and each disc's exact volume.

Of the benchmark alone, and drawn without a look at what training draws. A disc is what lies between two end plates
within its outline; growing it moves everything above along the disc's own axis, bones stay rigid. Knows nothing of MR.

Angles and sizes: Panjabi et al. 1992 (end plates), Zhou et al. 2000 (heights), Been and Kalichman 2014 (lordosis).
Frames are anatomical: x to the right, y to the front, z to the head; origin in the middle of the end plate of S1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from bedrest.vocabulary import LEVEL_OF_LABEL
from numpy.typing import NDArray

Array = NDArray[np.float64]
NAMED = tuple(LEVEL_OF_LABEL.values())  # L5-S1 first: the order in which the spine is built
ABOVE = ("T10-T11", "T9-T10", "T8-T9")  # in view above the discs that have a name
# Central height in mm and lordotic wedge in degrees of the discs, from below; of the body above each.
DISC_HEIGHT_MM = (10.2, 11.3, 10.8, 9.8, 8.6, 7.0, 6.0, 5.2, 5.0, 4.8)
DISC_WEDGE_DEG = (14.0, 11.0, 8.0, 6.0, 4.0, 2.0, 1.0, 0.0, 0.0, 0.0)
BODY_HEIGHT_MM = (27.5, 27.5, 27.5, 27.0, 26.0, 24.5, 22.5, 21.5, 21.0, 20.5)
BODY_WEDGE_DEG = (8.0, 2.0, 0.0, -1.0, -2.0, -3.0, -3.0, -3.0, -3.0, -3.0)
WIDTH_MM = (50.0, 50.0, 48.0, 46.0, 44.0, 42.5, 40.0, 37.0, 34.0, 32.0)  # of a disc's outline, all of it
DEPTH_MM = (34.5, 35.5, 35.0, 34.5, 33.5, 32.0, 30.5, 29.5, 28.5, 28.0)


@dataclass(frozen=True, eq=False)
class Frame:
    """A place with axes: columns of `axes` point right, to the front and up along the spine."""

    origin_mm: Array  # (3,)
    axes: Array  # (3, 3)

    def moved(self, offset_mm: tuple[float, float, float], *, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> Frame:
        """Moved along its own axes, then tilted: pitch to the back, roll to the right."""
        p, r = np.radians([pitch_deg, roll_deg])
        pitch = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
        roll = np.array([[np.cos(r), 0, np.sin(r)], [0, 1, 0], [-np.sin(r), 0, np.cos(r)]])
        return Frame(self.origin_mm + self.axes @ np.array(offset_mm), self.axes @ pitch @ roll)


_ANGLES = np.linspace(-np.pi, np.pi, 1441)


@dataclass(frozen=True)
class Outline:
    """A closed curve around the origin: a superellipse with a hollow at the back and a little waviness."""

    half_width_mm: float
    front_mm: float
    back_mm: float
    power: float
    hollow: float
    waves: tuple[tuple[float, float], ...]  # amplitude and phase of orders 2, 3, ...

    def radius_mm(self, u: Array, v: Array) -> Array:
        """Distance of the curve from the origin in the direction of each point."""
        return np.interp(np.arctan2(v, u), _ANGLES, self._radii).astype(np.float32)

    @cached_property
    def _radii(self) -> Array:
        angle = _ANGLES
        depth = np.where(angle > 0, self.front_mm, self.back_mm)
        across, along = np.abs(np.cos(angle)) / self.half_width_mm, np.abs(np.sin(angle)) / depth
        radius = (across**self.power + along**self.power) ** (-1 / self.power)
        away = np.abs(np.angle(np.exp(1j * (angle + np.pi / 2))))
        shape = 1 - self.hollow * np.exp(-(away / 0.45) ** 2)
        for order, (size, phase) in enumerate(self.waves, start=2):
            shape = shape + size * np.cos(order * angle + phase)
        return np.asarray(radius * shape)


@dataclass(frozen=True)
class EndPlate:
    """How far an end plate lies within its bone, over the plane through its rim."""

    depth_mm: float
    power: float  # 1: a bowl; 2: flat at the rim
    back: float  # shifts the deepest point to the back
    uneven_mm: tuple[float, float, float]  # sideways slope, twist, saddle: at 15 mm from the axis

    def depth_at(self, u: Array, v: Array, rho: Array) -> Array:
        """(...) millimetres; `rho`: distance from the axis over that of the outline."""
        inside = np.maximum(1 - rho**2, 0)
        bowl = self.depth_mm * inside**self.power * (1 - self.back * v / 16)
        slope, twist, saddle = (np.float32(size / 15) for size in self.uneven_mm)
        uneven = u * slope + u * v * (twist / 15) + (u * u - v * v) * (saddle / 15)
        return np.asarray(bowl + uneven * inside)


@dataclass(frozen=True, eq=False)
class Disc:
    """What lies between two end plates, in its own frame: the middle of its height at the axis."""

    name: str
    frame: Frame
    outline: Outline
    below: EndPlate
    above: EndPlate
    rim_height_mm: float  # between the planes of the rims, at the axis
    wedge_deg: float
    bulge: float  # how far it stands out at half its height, over its radius
    degeneration: float  # 0 to 1
    growth_mm: float = 0.0  # by which the upper end plate was moved up

    def surfaces(self, u: Array, v: Array, rho: Array) -> tuple[Array, Array]:
        """Lower and upper surface, mm along the axis."""
        tilt = np.tan(np.radians(self.wedge_deg / 2)) * v
        half = self.rim_height_mm / 2
        return -half - tilt - self.below.depth_at(u, v, rho), (
            half + tilt + self.above.depth_at(u, v, rho) + self.growth_mm)

    def volume_mm3(self, step_mm: float = 0.1) -> float:
        """Integral over a plane: where the outline is passed, the bulge leaves a part of the height."""
        reach = 1.1 * (1 + self.bulge) * max(self.outline.half_width_mm, self.outline.front_mm, self.outline.back_mm)
        line = np.arange(-reach, reach, step_mm)
        u, v = np.meshgrid(line, line, indexing="ij")
        rho = np.hypot(u, v) / self.outline.radius_mm(u, v)
        low, high = self.surfaces(u, v, rho)
        part = np.sqrt(np.clip(1 - (rho - 1) / self.bulge, 0, 1))
        return float((np.maximum(high - low, 0) * part).sum() * step_mm**2)

    def area_mm2(self, step_mm: float = 0.1) -> float:
        """What a millimetre more of height adds in volume, per millimetre."""
        return self._taller(1.0).volume_mm3(step_mm) - self.volume_mm3(step_mm)

    def _taller(self, more_mm: float) -> Disc:
        return replace(self, growth_mm=self.growth_mm + more_mm)


@dataclass(frozen=True, eq=False)
class Body:
    """A vertebral body between the disc below and the disc above; `index` counts from L5."""

    index: int
    frame: Frame  # its middle
    height_mm: float
    outline: Outline
    waist: float
    marrow_fat: float


@dataclass(frozen=True, eq=False)
class SpineSurfaces:
    """Discs and bodies from L5-S1 up; body k lies on disc k."""

    discs: tuple[Disc, ...]
    bodies: tuple[Body, ...]
    block_sacrum: bool  # a plain block below L5-S1, or a curved wedge with remains of discs
    sacrum: Frame  # middle of the end plate of S1
    canal_mm: Array = field(repr=False)  # (n, 3) its middle, from below up

    def volumes_mm3(self) -> dict[str, float]:
        """True volume of every disc that has a level."""
        return {d.name: d.volume_mm3() for d in self.discs if d.name in NAMED}


@dataclass(frozen=True)
class _Drawn:
    """What of one level does not depend on where it lies."""

    disc_mm: float
    wedge_deg: float
    body_mm: float
    body_wedge_deg: float
    outline: Outline
    below: EndPlate
    above: EndPlate
    bulge: float
    degeneration: float
    waist: float
    marrow_fat: float
    roll_deg: float


@dataclass(frozen=True)
class SpinePlan:
    """A spine before it is put together: levels from below, and the slope of the sacrum."""

    levels: tuple[_Drawn, ...]
    slope_deg: float
    block_sacrum: bool

    def built(self, growth: Mapping[str, float] | None = None) -> SpineSurfaces:
        """The spine with discs grown by a share of their volume, by level."""
        wanted, at = growth or {}, Frame(np.zeros(3), np.eye(3)).moved((0, 0, 0), pitch_deg=-self.slope_deg)
        sacrum, discs, bodies, canal = at, [], [], []
        back = self.levels[0].outline.back_mm
        for down in (75.0, 45.0, 20.0):
            canal.append(at.moved((0, -back - 5 - 0.006 * down**2, -down)).origin_mm)
        for i, (name, level) in enumerate(zip((*NAMED, *ABOVE), self.levels, strict=True)):
            tilted = at.moved((0, 0, 0), pitch_deg=level.wedge_deg / 2, roll_deg=level.roll_deg)
            rim = level.disc_mm - 0.85 * (level.below.depth_mm + level.above.depth_mm)
            frame = tilted.moved((0, 0, rim / 2))
            disc = Disc(name, frame, level.outline, level.below, level.above, rim, level.wedge_deg, level.bulge,
                        level.degeneration)
            if share := wanted.get(name, 0.0):
                disc = disc._taller(share * disc.volume_mm3() / disc.area_mm2())
            discs.append(disc)
            foot = frame.moved((0, 0, rim / 2 + disc.growth_mm), pitch_deg=level.wedge_deg / 2)
            middle = foot.moved((0, 0, 0), pitch_deg=level.body_wedge_deg / 2).moved((0, 0, level.body_mm / 2))
            bodies.append(Body(i, middle, level.body_mm, level.outline, level.waist, level.marrow_fat))
            canal += [frame.moved((0, -level.outline.back_mm - 8.5, 0)).origin_mm,
                      middle.moved((0, -level.outline.back_mm - 8.0, 0)).origin_mm]
            at = middle.moved((0, 0, level.body_mm / 2), pitch_deg=level.body_wedge_deg / 2)
        canal.append(at.moved((0, -30.0, 40.0)).origin_mm)
        return SpineSurfaces(tuple(discs), tuple(bodies), self.block_sacrum, sacrum, np.array(canal))


def draw_plan(rng: np.random.Generator) -> SpinePlan:
    """Sizes, angles and shapes of one subject."""
    size, flat, worn = rng.normal(0.96, 0.055), rng.normal(1, 0.09), rng.beta(1.5, 3)
    curve, fat = rng.normal(0.95, 0.18), float(np.clip(rng.normal(0.42, 0.12), 0.15, 0.75))
    levels = []
    for i in range(len(NAMED) + len(ABOVE)):
        grade = float(np.clip(rng.normal(worn, 0.15) + (0.1 if i < 2 else 0), 0, 1))
        depth = max(0.3, rng.normal(1.5, 0.45)), max(0.3, rng.normal(1.9, 0.5))
        if i > len(NAMED) - 1:
            depth = 0.5, 0.6
        width, long = WIDTH_MM[i] * size * rng.normal(1, 0.02) / 2, DEPTH_MM[i] * size * rng.normal(1, 0.025) / 2
        outline = Outline(width, long * 1.06, long * 0.94, rng.uniform(2.1, 2.7),
                          rng.uniform(0, 0.05) if i < 2 else rng.uniform(0.04, 0.14),
                          tuple((rng.normal(0, 0.012 / k), rng.uniform(0, 2 * np.pi)) for k in range(1, 5)))
        height = DISC_HEIGHT_MM[i] * size * flat * rng.normal(1, 0.06) * (1 - 0.3 * grade)
        # What is left at the back must stay a disc.
        wedge = min(DISC_WEDGE_DEG[i] * curve + rng.normal(0, 1.2), np.degrees(np.arctan(0.75 * height / (2 * long))))
        levels.append(_Drawn(
            max(height, 0.85 * sum(depth) + 2.6), float(wedge), BODY_HEIGHT_MM[i] * size * rng.normal(1, 0.025),
            BODY_WEDGE_DEG[i] + rng.normal(0, 1), outline, _end_plate(rng, depth[0]), _end_plate(rng, depth[1]),
            rng.uniform(0.01, 0.05) + 0.04 * grade, grade, rng.uniform(0.06, 0.14),
            float(np.clip(fat + rng.normal(0, 0.03) - 0.01 * i, 0.1, 0.8)), rng.normal(0, 0.7)))
    return SpinePlan(tuple(levels), _slope_deg(levels) + rng.normal(0, 4), bool(rng.random() < 0.5))


def _slope_deg(levels: list[_Drawn]) -> float:
    """Slope of S1 at which the named levels, taken together, stand upright."""
    tilts = np.cumsum([level.wedge_deg + level.body_wedge_deg for level in levels[:len(NAMED)]])
    return float(tilts.mean())


def _end_plate(rng: np.random.Generator, depth_mm: float) -> EndPlate:
    one, two, three = (float(x) for x in rng.normal(0, 0.2, 3))
    return EndPlate(depth_mm, rng.uniform(0.9, 1.8), rng.uniform(0, 0.25), (one, two, three))
