"""Paths of files that ship with the program outside its source root: sources of the pages, files of the workflow."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def shipped(name: str) -> Path:
    """Path of `notebooks/...` or `pipelines/...`: inside the package of a wheel, in the repository of a source tree."""
    packed = PACKAGE / name
    return packed if packed.exists() else PACKAGE.parents[1] / name
