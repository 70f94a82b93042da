"""Anatomies for training: far more varied than the volunteers of a bed-rest study.

Ranges after published anatomy: four or six lumbar vertebrae and transitional ones in 4-30 % of adults (Konin and Walz,
AJNR 2010;31:1778); degenerated, thin discs and bulges rise with age (Brinjikji et al., AJNR 2015;36:811); end-plate
defects (Mok et al., Spine 2010;35:1944). No real mask of this project's test data was used.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
from tqdm import tqdm

from bedrest.phantom.paint import Painting, paint
from bedrest.phantom.random_spine import SACRAL, Blob, Disc, Spine, draw_spine
from bedrest.phantom.render import demo_grid

# Training draws from seeds of its own; the demo cohort, the benchmarks and the tests never use them.
TRAINING_SEED = 20_000_003
LOWEST_FREE, HIGHEST_FREE = SACRAL + 2, SACRAL + 5  # vertebrae between these discs may be one more or fewer


def draw_varied_spine(rng: np.random.Generator) -> Spine:
    """A spine of any age, shape and lumbar count. Level names above an added or removed vertebra are void."""
    spine = draw_spine(rng, variation=2.0)
    discs = list(spine.discs)
    count = rng.random()
    if count < 0.06:
        del discs[int(rng.integers(LOWEST_FREE, HIGHEST_FREE))]
    elif count < 0.12:
        i = int(rng.integers(LOWEST_FREE, HIGHEST_FREE))
        discs.insert(i, discs[i])
    old = rng.random() ** 2  # most subjects are young
    discs = [d if i < SACRAL else _aged(d, old, rng) for i, d in enumerate(discs)]
    if rng.random() < 0.12:
        discs = _transitional(discs, rng)
    spine = replace(spine, discs=tuple(discs), scoliosis_mm=float(rng.normal(0, 6)),
                    canal_half_width_mm=float(rng.uniform(7.5, 14)), canal_half_depth_mm=float(rng.uniform(5, 10)))
    return spine.posed(rng, shift_mm=6, rotation_deg=4)


def _aged(disc: Disc, old: float, rng: np.random.Generator) -> Disc:
    """Thinner, darker, bulging, with defects in its end plates: each with a chance that grows with `old`, 0 to 1."""
    s, blobs = disc.shape, []
    half = s.height_mm / 2
    worn = rng.random() < 0.08 + 0.55 * old
    if worn:
        s = replace(s, height_mm=s.height_mm * float(rng.uniform(0.4, 0.9)), dome=float(rng.uniform(0.05, 0.35)))
        half = s.height_mm / 2
    if rng.random() < (0.4 if worn else 0.1):
        x, deep = float(rng.uniform(-9, 9)), float(rng.uniform(1.5, 5))
        blobs.append(Blob((x, -s.half_depth_mm, float(rng.normal(0, 0.15)) * half),
                          (float(rng.uniform(5, 14)), deep, half * float(rng.uniform(0.6, 1.1)))))
    if rng.random() < 0.06 + 0.15 * old:
        side = float(rng.choice([-1, 1]))
        spot = (float(rng.uniform(-12, 12)), float(rng.uniform(-8, 6)), side * half)
        blobs.append(Blob(spot, (float(rng.uniform(3, 7)), float(rng.uniform(3, 7)), float(rng.uniform(1.5, 4.5)))))
    return replace(disc, shape=s, degenerated=bool(disc.degenerated or worn), blobs=tuple(blobs),
                   nucleus=float(rng.uniform(0.5, 0.82)))


def _transitional(discs: list[Disc], rng: np.random.Generator) -> list[Disc]:
    """A lumbarised S1 (tall disc below it) or a sacralised L5 (thin disc below it)."""
    i, height = (SACRAL - 1, rng.uniform(4, 7)) if rng.random() < 0.5 else (SACRAL, rng.uniform(3, 5))
    disc = discs[i]
    return [*discs[:i], replace(disc, shape=replace(disc.shape, height_mm=float(height))), *discs[i + 1 :]]


def paint_anatomy(index: int, seed: int) -> Painting:
    """Anatomy number `index` of a seed: always the same."""
    rng = np.random.default_rng([seed, index])
    return paint(draw_varied_spine(rng), demo_grid(), rng)


def paint_anatomies(n: int, *, seed: int = TRAINING_SEED, processes: int) -> list[Painting]:
    """The first `n` anatomies of a seed."""
    with ProcessPoolExecutor(processes) as workers:
        painted = workers.map(partial(paint_anatomy, seed=seed), range(n))
        return list(tqdm(painted, total=n, desc="anatomies", mininterval=5))
