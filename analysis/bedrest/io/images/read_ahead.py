"""Reads the next item from disk while the current one is being processed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Key = TypeVar("Key")
Content = TypeVar("Content")


def read_ahead(keys: Sequence[Key], read: Callable[[Key], Content]) -> Iterator[tuple[Key, Callable[[], Content]]]:
    """Each key with a function that returns its content, or raises what reading it raised.

    One thread reads one item ahead, so that at most two are held in memory.
    """
    with ThreadPoolExecutor(1) as reader:
        coming = [reader.submit(read, key) for key in keys[:1]]
        for i, key in enumerate(keys):
            now = coming.pop()
            coming += [reader.submit(read, following) for following in keys[i + 1 : i + 2]]
            yield key, now.result
