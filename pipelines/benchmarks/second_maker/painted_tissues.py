"""What both painters of the second maker share: a subject's tissues, how edges are softened, and what lies around.

Of the benchmark alone. Edges are soft over 0.6 mm, so that planes and points between them add up to the volumes of
the surfaces. Knows nothing of images, and not where discs and bones come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from bedrest.vocabulary import LEVELS
from numpy.typing import NDArray

from pipelines.benchmarks.second_maker.scanner import Array, Box, Layer, Plane, Wave, textures
from pipelines.benchmarks.second_maker.shapes_of_spine import Frame
from pipelines.benchmarks.second_maker.tissue_signals import TISSUES, Tissue, at_field

EDGE_MM = 0.6
CORTEX_MM, END_PLATE_MM, CARTILAGE_MM = 0.6, 0.7, 0.6
Waves = tuple[Wave, ...]


@dataclass(frozen=True, eq=False)
class Appearance:
    """What of a subject's tissues is drawn once, and is the same at every visit."""

    tissues: Mapping[str, Tissue]
    marrow: Waves
    muscle: Waves
    bowel: Waves
    disc: Waves
    roots: tuple[tuple[float, float], ...]  # places in the canal, mm from its middle: right, front
    cord_ends_at: float  # share of the way up the canal
    skin_mm: float
    nucleus_bright: Mapping[str, float]


def draw_appearance(rng: np.random.Generator, tesla: float) -> Appearance:
    """Tissues vary by about a twelfth from subject to subject."""
    def vary(tissue: Tissue) -> Tissue:
        density, t1, t2, t2_star = np.exp(rng.normal(0, 0.08, 4))
        return replace(tissue, density=tissue.density * density**0.4, t1=tissue.t1 * t1, t2=tissue.t2 * t2,
                       t2_star=tissue.t2_star * t2_star)

    field = {"marrow": 7.0, "muscle": 5.0, "bowel": 16.0, "disc": 5.0}
    waves = {name: tuple(textures(rng, scale_mm=mm)) for name, mm in field.items()}
    roots = tuple((rng.uniform(-6.5, 6.5), rng.uniform(-5.5, 1.0)) for _ in range(9))
    return Appearance({name: vary(at_field(name, tesla)) for name in TISSUES}, **waves, roots=roots,
                 cord_ends_at=rng.uniform(0.62, 0.72), skin_mm=rng.uniform(62, 95),
                 nucleus_bright={name: float(np.exp(rng.normal(0, 0.12))) for name in LEVELS})


def ramp(distance_mm: NDArray[np.floating]) -> NDArray[np.float32]:
    """Share of a point within a surface, from its distance outside of it."""
    return np.asarray(np.clip(0.5 - distance_mm / EDGE_MM, 0, 1), np.float32)


def marrow_of(appearance: Appearance, plane: Plane, box: Box, fat: float) -> Tissue:
    """Marrow whose share of fat wanders smoothly."""
    wave = plane.smooth_field(box, appearance.marrow)
    return replace(appearance.tissues["marrow"], fat=np.clip(fat * (1 + 0.12 * wave), 0.03, 0.95).astype(np.float32))


def disc_tissue(appearance: Appearance, name: str, rho: Array, up: Array, wave: NDArray[np.float32], worn: float
                ) -> Tissue:
    """From nucleus to annulus without a border; `rho`: 0 at the axis, 1 at the rim; `up`: 0 below, 1 above."""
    bright = appearance.nucleus_bright.get(name, 1.0) * (1 - 0.75 * worn)
    place = np.sqrt(rho**2 + (0.45 * (2 * up - 1)) ** 2)
    core = 1 / (1 + np.exp((place - 0.58) / 0.11))
    core = core * (1 - 0.25 * np.exp(-(((up - 0.5) / 0.08) ** 2)) * (1 - worn))  # a cleft at mid height
    tissue = _mixed(appearance.tissues["annulus"], appearance.tissues["nucleus"], core, bright)
    outer = 1 - 0.2 * np.clip((rho - 0.8) / 0.2, 0, 1)  # fibres at the rim
    return replace(tissue, density=tissue.density * (1 + 0.05 * wave) * outer, t2=tissue.t2 * outer,
                   t2_star=tissue.t2_star * outer)


def _mixed(rim: Tissue, core: Tissue, share: Array, bright: float) -> Tissue:
    def between(a: object, b: object) -> NDArray[np.float32]:
        return np.asarray(np.asarray(a) + share * (np.asarray(b) - np.asarray(a)), np.float32)

    wet = 0.5 + 0.5 * bright
    return Tissue(between(rim.density, core.density * wet), 0.0, between(rim.t1, core.t1 * wet),
                  between(rim.t2, np.maximum(core.t2 * bright, rim.t2)),
                  between(rim.t2_star, np.maximum(core.t2_star * bright, rim.t2_star)))


def around(plane: Plane, line: Array, appearance: Appearance) -> Iterator[Layer]:
    """What lies beyond spine and canal: fat, bowel, muscles, vessels, skin, air."""
    box = plane.whole
    x, y, z = plane.points(box)
    right, front = x - np.interp(z, line[:, 2], line[:, 0]), y - np.interp(z, line[:, 2], line[:, 1])
    flat = np.broadcast_to(np.float32(1), plane.shape)
    yield Layer(box, flat, appearance.tissues["fat"])
    inner = plane.smooth_field(box, appearance.bowel)
    yield Layer(box, ramp(0.5 * (np.abs(right) - 120)) * ramp(45 - front) * np.clip(inner + 0.4, 0, 1),
                appearance.tissues["bowel"])
    streaks = plane.smooth_field(box, appearance.muscle, stretch=3.0)
    muscle = replace(appearance.tissues["muscle"], fat=np.clip(0.06 + 0.12 * np.clip(streaks - 0.5, 0, 2), 0, 1))
    # The psoas grows from L1 down.
    low = np.clip((line[-1, 2] - 70 - z) / 150, 0, 1)
    places = ((34.0, -36.0, 30.0, 21.0), (9.0, -38.0, 8.0, 17.0))
    for a, b, p, q in places:
        yield Layer(box, ramp((np.hypot((np.abs(right) - a) / p, (front - b) / q) - 1) * q), muscle)
    psoas = np.hypot((np.abs(right) - 37 - 4 * low) / (4 + 15 * low), (front - 20) / (6 + 16 * low))
    yield Layer(box, ramp((psoas - 1) * 8) * (low > 0), muscle)
    for a, b, r in ((-11.0, 54.0, 9.0), (14.0, 53.0, 10.0)):
        away = np.hypot(right - a, front - b)
        yield Layer(box, ramp(away - r - 1), appearance.tissues["ligament"])
        yield Layer(box, ramp(away - r), appearance.tissues["vessel"])
    yield Layer(box, ramp(appearance.skin_mm + front), appearance.tissues["air"])
    yield Layer(box, ramp(appearance.skin_mm + 75 - front), appearance.tissues["air"])


def canal(plane: Plane, line: Array, appearance: Appearance, *,
          sac_mm: Callable[[Box], NDArray[np.floating]] | None = None) -> Iterator[Layer]:
    """The sac with cord, roots and fluid, and the fat behind it.

    `line`: its middle, (n, 3), every millimetre of height; `sac_mm`: distance outside of it; default: a tube.
    """
    x, y, z = plane.points(plane.whole)
    if np.abs(x - np.interp(z, line[:, 2], line[:, 0])).min() > 16:
        return
    middle = np.interp(z, line[:, 2], line[:, 1])
    j = np.flatnonzero((np.abs(y - middle) < 22).any(axis=1))
    if not j.size:
        return
    box = (slice(int(j[0]), int(j[-1]) + 1), plane.whole[1])
    x, y, z = x[box], y[box], z[box]
    right, front = x - np.interp(z, line[:, 2], line[:, 0]), y - middle[box]
    sac = (np.hypot(right / 8.8, front / 7.0) - 1) * 7 if sac_mm is None else sac_mm(box)
    behind = (np.hypot(right / 7, (front + 7.5) / 6.5) - 1) * 6.5
    yield Layer(box, ramp(behind), appearance.tissues["fat"])
    yield Layer(box, ramp(sac - 0.8), appearance.tissues["ligament"])
    yield Layer(box, ramp(sac), appearance.tissues["fluid"])
    ends = line[0, 2] + appearance.cord_ends_at * (line[-1, 2] - line[0, 2])
    cord = (np.hypot(right / 4.6, front / 3.8) - np.clip((z - ends) / 18, 0, 1)) * 3.8
    yield Layer(box, ramp(cord) * (z > ends), appearance.tissues["nerve"])
    roots = np.zeros_like(right)
    for a, b in appearance.roots:
        away = (right - a - 0.8 * np.sin(z / 23 + a)) ** 2 + (front - b) ** 2
        roots = np.maximum(roots, np.clip(1.6 - away / 0.9, 0, 1))
    yield Layer(box, 0.8 * roots * ramp(sac + 0.5) * (z < ends + 15), appearance.tissues["nerve"])


def sacrum_layers(plane: Plane, at: Frame, half_width_mm: float, half_depth_mm: float, appearance: Appearance, *,
                  block: bool, fat: float, top_mm: Callable[[Box], Array]) -> Iterator[Layer]:
    """A plain block, or a curved wedge with wings and remains of discs.

    `at`: middle of the end plate of S1; `top_mm`: how far points lie above that end plate.
    """
    if (box := plane.near(at.moved((0, 0, -50)).origin_mm, 85)) is None:
        return
    u, v, w = plane.points(box, at.origin_mm, at.axes)
    down, top = np.maximum(-w, 0), top_mm(box)
    if block:
        side = np.maximum(np.maximum(np.abs(u) - half_width_mm, np.abs(v) - 0.95 * half_depth_mm), down - 62)
    else:
        taper = np.clip(1 - down / 105, 0.05, 1)
        wing = half_width_mm * (1 + 0.8 * np.exp(-(((down - 24) / 20) ** 2))) * np.clip(1.35 - down / 90, 0.2, 1)
        wide = (1 - np.clip(down / 10, 0, 1)) * half_width_mm + np.clip(down / 10, 0, 1) * wing
        bent = v + 0.006 * down**2
        side = (np.sqrt((u / wide) ** 2 + (bent / (half_depth_mm * taper)) ** 2) - 1) * half_depth_mm * taper
        side = np.maximum(side, down - 100)
    yield Layer(box, ramp(np.maximum(side, top)), appearance.tissues["cortex"])
    yield Layer(box, ramp(np.maximum(side + CORTEX_MM, top + END_PLATE_MM)), marrow_of(appearance, plane, box, fat))
    if not block:
        for level, half in ((30.0, 1.8), (54.0, 1.2)):
            flat = np.abs(down - level - 0.1 * v) - half
            yield Layer(box, ramp(np.maximum(flat - 0.7, side + 2)), appearance.tissues["cortex"])
            yield Layer(box, ramp(np.maximum(flat, side + 4)), appearance.tissues["annulus"])
