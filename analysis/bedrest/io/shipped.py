"""Paths of files that ship with the program outside its source root: sources of the pages, files of the workflow."""

from __future__ import annotations

from pathlib import Path

import bedrest

_PACKAGE = Path(bedrest.__file__).parent


def shipped(name: str) -> Path:
    """Path of `notebooks/...` or `pipelines/...`: inside the package of a wheel, in the repository of a source tree.

    Parameters
    ----------
    name : relative to the root of the repository
    """
    packed = _PACKAGE / name
    return packed if packed.exists() else _PACKAGE.parents[1] / name
