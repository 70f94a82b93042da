"""Two-scan toy problems for published methods: bright boxes one above the other in noise. Synthetic."""

import numpy as np
from bedrest.imaging.orientation import reorient_to_ras
from bedrest.methods.method import SPACING_MM, Case
from bedrest.types import Grid
from bedrest.vocabulary import DIXON, Contrast

DISCS = 7
SMALL = {"shape": (16, 24, 72), "disc": (10, 12, 5)}  # for networks that learn on a CPU


def toy_case(rng: np.random.Generator, *, subject: str = "a", session: str = "ses-1",
             shape: tuple[int, int, int] = (36, 64, 136), disc: tuple[int, int, int] = (20, 28, 8),
             contrasts: tuple[Contrast, ...] = DIXON) -> Case:
    """Seven discs of so many voxels, evenly spaced, brighter than their surroundings in every contrast."""
    labels = np.zeros(shape, dtype=np.int16)
    middle, low = (shape[0] // 2 + int(rng.integers(-2, 3)), shape[1] // 2 + int(rng.integers(-3, 4))), 4
    for level in range(1, DISCS + 1):
        at = low + (level - 1) * (shape[2] - 8) // DISCS
        inside = (slice(m - n // 2, m - n // 2 + n) for m, n in zip(middle, disc, strict=False))
        labels[(*inside, slice(at, at + disc[2]))] = level
    image = rng.normal(100, 10, (len(contrasts), *shape)) + 80 * (labels > 0)
    affine = np.diag([*SPACING_MM, 1.0])
    grid = Grid(shape, affine)
    return Case(subject, session, contrasts, image.astype(np.float32), labels, reorient_to_ras(grid), grid)


def toy_cases(rng: np.random.Generator, **how) -> list[Case]:
    """Two subjects, one visit each."""
    return [toy_case(rng, subject=s, **how) for s in ("a", "b")]


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    return 2 * float(((predicted > 0) & (truth > 0)).sum()) / float((predicted > 0).sum() + (truth > 0).sum())
