"""The anatomies that training draws from: the shape model's and those of SPIDER's masks, tissues varied in both.

Knows nothing of contrasts and networks.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from bedrest.phantom.paint import Painting, paint
from bedrest.phantom.render import demo_grid
from bedrest.phantom.variation import draw_varied_spine
from tqdm import tqdm

from pipelines.anatomies.real_anatomies import paint_real_anatomy
from pipelines.anatomies.real_masks import series_of
from pipelines.anatomies.vary_tissues import vary_tissues


def draw_anatomy(rng: np.random.Generator, real: float) -> Painting:
    """One anatomy, from SPIDER's masks with a chance of `real`, 0 to 1."""
    if rng.random() < real:
        return paint_real_anatomy(str(rng.choice(series_of(held_out=False))), rng).painting
    return vary_tissues(paint(draw_varied_spine(rng), demo_grid(), rng), rng)


def draw_pool(n: int, real: float, *, seed: int, processes: int) -> list[Painting]:
    """The first `n` anatomies of a seed."""
    with ProcessPoolExecutor(processes) as workers:
        drawn = workers.map(partial(_numbered, seed, real), range(n))
        return list(tqdm(drawn, total=n, desc="anatomies", mininterval=5))


def _numbered(seed: int, real: float, index: int) -> Painting:
    return draw_anatomy(np.random.default_rng([seed, index]), real)
