"""Faults of images, put into synthetic scans: each a scan in, a spoilt scan out. Judges nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from bedrest.phantom.paint import paint, paint_levels
from bedrest.phantom.random_spine import draw_spine
from bedrest.phantom.render import Artefacts, demo_grid, render_dixon, render_t1, render_t2
from bedrest.types import Grid, Scan, Volume
from bedrest.vocabulary import LABEL_OF_LEVEL, Contrast
from numpy.typing import NDArray

Float = NDArray[np.float32]
WATER, FAT, IN_PHASE, OPPOSED, T2, T1 = Contrast


@dataclass(frozen=True, eq=False)
class Synthetic:
    """One synthetic anatomy: its four Dixon contrasts, its T2 and T1 images, and the true discs."""

    dixon: Scan
    t2: Scan
    t1: Scan
    discs: NDArray[np.int32]


def draw(seed: int) -> Synthetic:
    """A synthetic anatomy of a seed; training used none above 10,000."""
    rng = np.random.default_rng([19, seed])
    spine = draw_spine(rng).posed(rng, shift_mm=2.0, rotation_deg=1.0)
    painting = paint(spine, demo_grid(), rng)
    return Synthetic(render_dixon(painting, rng, Artefacts()), render_t2(painting, rng, Artefacts()),
                     render_t1(painting, rng, Artefacts()), paint_levels(spine, demo_grid()).data)


def only(scan: Scan, *contrasts: Contrast) -> Scan:
    """Some of a scan's contrasts."""
    return Scan({c: scan.contrasts[c] for c in contrasts})


def named(scan: Scan, names: Mapping[Contrast, Contrast]) -> Scan:
    """The images of a scan under other names: name to the contrast that it really is."""
    return Scan({name: scan.contrasts[truth] for name, truth in names.items()})


def changed(scan: Scan, change: Callable[[Float], Float]) -> Scan:
    """A scan whose every image was changed alike."""
    return Scan({c: Volume(change(v.data.copy()).astype(np.float32), v.grid) for c, v in scan.contrasts.items()})


def exchanged(scan: Scan, region: tuple[slice, ...]) -> Scan:
    """Water and fat exchanged within a region, as by a wrong choice of the reconstruction."""
    water, fat = (scan.contrasts[c].data.copy() for c in (WATER, FAT))
    water[region], fat[region] = fat[region].copy(), water[region].copy()
    return Scan({**scan.contrasts, WATER: Volume(water, scan.grid), FAT: Volume(fat, scan.grid)})


def emptied(*region: slice, value: float = 0) -> Callable[[Float], Float]:
    """Sets a region to one value."""
    def change(data: Float) -> Float:
        data[region] = value
        return data
    return change


def copied(source: int, targets: slice) -> Callable[[Float], Float]:
    """Puts one slice in the place of others."""
    def change(data: Float) -> Float:
        data[targets] = data[source]
        return data
    return change


def wrapped(share: float, *, signed: bool) -> Callable[[Float], Float]:
    """Scales intensities so that a share of them is beyond 16 bits, and keeps the last 16."""
    def change(data: Float) -> Float:
        limit = 32767 if signed else 65535
        whole = np.round(data * (limit / np.quantile(data, 1 - share))).astype(np.int64)
        return np.asarray((whole + 32768) % 65536 - 32768 if signed else whole % 65536, np.float32)
    return change


def standardised(data: Float) -> Float:
    """Mean 0 and SD 1, as programs of machine learning leave images."""
    return np.asarray((data - data.mean()) / data.std(), np.float32)


def ball(noise: float = 10.0) -> Scan:
    """A uniform ball in air: a phantom for quality control."""
    grid, rng = demo_grid(), np.random.default_rng(1)
    i, j, k = np.ogrid[tuple(slice(0, n) for n in grid.shape)]
    inside = (2 * (i - 18)) ** 2 + (1.25 * (j - 128)) ** 2 + (1.25 * (k - 128)) ** 2 < 80**2
    return Scan({T2: _noisy(np.where(inside, 160, 0), grid, noise, rng)})


def noise_alone() -> Scan:
    """A scan of nothing."""
    return Scan({WATER: _noisy(np.zeros(demo_grid().shape), demo_grid(), 10.0, np.random.default_rng(2))})


def _noisy(signal: NDArray[np.floating], grid: Grid, sd: float, rng: np.random.Generator) -> Volume:
    parts = [rng.normal(0, sd, grid.shape) for _ in range(2)]
    return Volume(np.hypot(signal + parts[0], parts[1]).astype(np.float32), grid)


def spoilt(sound: Synthetic) -> dict[str, Scan]:
    """One scan for each kind of fault."""
    dixon, water = sound.dixon, only(sound.dixon, WATER)
    x, y, z = np.argwhere(sound.discs == LABEL_OF_LEVEL["L3-L4"]).mean(axis=0).round().astype(int)
    middle = int(np.argwhere(sound.discs > 0)[:, 0].mean())
    everywhere, same = slice(None), {c: c for c in (WATER, FAT, IN_PHASE, OPPOSED)}
    return {
        "last slices empty": changed(water, emptied(slice(middle + 4, None))),
        "one slice of four contrasts empty": changed(dixon, emptied(slice(middle, middle + 1))),
        "slices filled with -1000": changed(water, emptied(slice(0, middle - 4), value=-1000)),
        "upper half empty": changed(water, emptied(everywhere, everywhere, slice(z, None))),
        "one slice copied over three": changed(water, copied(middle + 2, slice(middle + 3, middle + 6))),
        "block of zeros in a disc": changed(water, emptied(slice(x, x + 8), slice(y - 8, y + 8), slice(z - 6, z + 6))),
        "wrapped to negative, 2 %": changed(water, wrapped(0.02, signed=True)),
        "wrapped to negative, 0.02 %": changed(water, wrapped(0.0002, signed=True)),
        "wrapped to 0, 2 %": changed(water, wrapped(0.02, signed=False)),
        "standardised": changed(water, standardised),
        "fat given as water": named(dixon, {WATER: FAT}),
        "water given as fat": named(dixon, {FAT: WATER}),
        "water and fat exchanged": named(dixon, {**same, WATER: FAT, FAT: WATER}),
        "exchanged in the upper half": exchanged(dixon, (everywhere, everywhere, slice(z, None))),
        "exchanged on one side": exchanged(dixon, (slice(middle, None),)),
        "in-phase and opposed-phase exchanged": named(dixon, {**same, IN_PHASE: OPPOSED, OPPOSED: IN_PHASE}),
        "water and in-phase exchanged": named(dixon, {**same, WATER: IN_PHASE, IN_PHASE: WATER}),
        "water given as T2": named(dixon, {T2: WATER}),
        "in-phase given as T2": named(dixon, {T2: IN_PHASE}),
        "T1 given as T2": named(sound.t1, {T2: T1}),
        "T2 given as T1": named(sound.t2, {T1: T2}),
        "T1 and T2 exchanged": named(Scan({**sound.t1.contrasts, **sound.t2.contrasts}), {T2: T1, T1: T2}),
        "fat given as opposed-phase": named(dixon, {OPPOSED: FAT}),
        "fat given as in-phase": named(dixon, {IN_PHASE: FAT}),
        "a uniform ball": ball(),
        "noise": noise_alone(),
    }
