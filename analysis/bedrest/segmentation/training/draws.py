"""Endless random training pairs, in batches. Knows nothing of what is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

Pair = tuple[NDArray[np.float32], NDArray[Any]]  # image (C, ...), target: shares (S, ...) or labels (...)
Draw = Callable[[np.random.Generator], Pair]


class _Draws(IterableDataset[Pair]):
    """Draws that depend on the seed and the worker alone."""

    def __init__(self, draw: Draw, seed: tuple[int, ...]) -> None:
        self.draw, self.seed = draw, seed

    def __iter__(self) -> Iterator[Pair]:
        worker = get_worker_info()
        rng = np.random.default_rng([*self.seed, worker.id if worker else 0])
        while True:
            yield self.draw(rng)


def endless_batches(draw: Draw, *, seed: tuple[int, ...], batch: int, workers: int) -> Iterable[tuple[Tensor, Tensor]]:
    """Batches of `batch` pairs, drawn by `workers` processes, or by this one where there are none."""
    return DataLoader(_Draws(draw, seed), batch_size=batch, num_workers=workers,
                      prefetch_factor=3 if workers else None)
