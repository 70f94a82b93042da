"""Measures of discs, vertebrae and spine from masks.

`bedrest.measure` is also the name of a function of the interface. Python sets this package in its place as soon as any
module of it is imported, so the package can be called.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        return import_module("bedrest.api").measure(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
