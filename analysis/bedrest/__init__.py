"""Longitudinal measurement of intervertebral discs from Dixon MR.

>>> import bedrest
>>> bedrest.__version__
'0.1.0'

`segment`, `measure` and `evaluate` work on one scan or mask, `open_study` reads the stored results of a study. Each
loads its libraries when it is first used. The packages below are layered; imports go one way only (see
docs/architecture.md and tests/test_architecture.py).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedrest.api import OpenedStudy, evaluate, measure, open_study, segment, write_segmentation
    from bedrest.errors import BedrestError
    from bedrest.types import Grid, LabelMap, Scan, Segmentation, Volume
    from bedrest.vocabulary import Contrast

__version__ = "0.1.0"
__all__ = ["BedrestError", "Contrast", "Grid", "LabelMap", "OpenedStudy", "Scan", "Segmentation", "Volume", "evaluate",
           "measure", "open_study", "segment", "write_segmentation"]

_MODULE_OF = {"BedrestError": "errors", "Contrast": "vocabulary",
              **dict.fromkeys(("Grid", "LabelMap", "Scan", "Segmentation", "Volume"), "types")}


def __getattr__(name: str) -> Any:
    """A name of the interface, imported when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'bedrest' has no attribute {name!r}", name=name)
    value = getattr(import_module(f"bedrest.{_MODULE_OF.get(name, 'api')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
