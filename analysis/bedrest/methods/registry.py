"""Every method by its name. Knows no study and no protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from typing import Any

from bedrest.errors import StudyError
from bedrest.methods.method import Method, MethodOptions
from bedrest.vocabulary import Contrast

_ALWAYS = ("contrasts", "width")
# Name -> module, function, and the choices it has besides contrasts and width.
METHODS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "fcn-baseline": ("li2018", "fcn_baseline", ("voxel_dropout", "gaussian_start")),
    "msfcn": ("li2018", "msfcn", ("voxel_dropout", "gaussian_start")),
    "msfcn-a": ("li2018", "msfcn_a", ("voxel_dropout", "gaussian_start")),
    "unet3d": ("wang2020", "unet3d", ()),
    "two-stage-unet3d": ("wang2020", "two_stage_unet3d", ()),
    "unet2d": ("wang2020", "unet2d", ("planes",)),
    "dense-aspp2d": ("gao2018", "dense_aspp2d", ()),
    "fcn3d": ("chen2016", "fcn3d", ("gaussian_start",)),
    "fcn2d": ("chen2016", "fcn2d", ("gaussian_start",)),
    "triplanar-resnet": ("georgiev2018", "triplanar_resnet", ("planes", "encoder_weights")),
}
# How a choice is written by its user; those that are not here belong to a whole run.
_READ: dict[str, Callable[[str], Any]] = {
    "contrasts": lambda text: tuple(Contrast(c) for c in text.split("+")),
    "voxel_dropout": lambda text: _share(float(text)),
    "gaussian_start": lambda text: {"true": True, "false": False}[text],
    "planes": lambda text: tuple(text.split("+")),
}


def _share(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(value)
    return value


def read_choices(text: str) -> tuple[str, MethodOptions]:
    """A method as its user names it: `msfcn`, `msfcn:voxel_dropout=0.1`, `unet2d:planes=x+y,contrasts=water+fat`.

    Raises StudyError: there is no such method, it has no such choice, or a value cannot be read.
    """
    name, _, words = text.partition(":")
    given = dict(word.partition("=")[::2] for word in words.split(",")) if words else {}
    _require_method(name)
    if odd := [key for key in given if key not in ("contrasts", *METHODS[name][2]) or key not in _READ]:
        known = [key for key in _READ if key in ("contrasts", *METHODS[name][2])]
        raise StudyError(f"choices that {name} has: {', '.join(known)}", ", ".join(odd), text, "Leave them out.")
    read = {}
    for key, value in given.items():
        try:
            read[key] = _READ[key](value)
        except (ValueError, KeyError) as error:
            raise StudyError("a value such as contrasts=water+fat, voxel_dropout=0.01, gaussian_start=true or "
                             "planes=x+z", f"{key}={value}", text, "Correct it.") from error
    return name, MethodOptions(**read)


def _require_method(name: str) -> None:
    if name not in METHODS:
        raise StudyError(f"one of {', '.join(METHODS)}", repr(name), "method", "Correct the name.")


def build_method(name: str, choices: MethodOptions | None = None) -> Method:
    """A method as published, or with other choices where it has them.

    Raises StudyError: there is no such method, or it has no such choice.
    """
    choices = choices or MethodOptions()
    _require_method(name)
    module, function, known = METHODS[name]
    usual = MethodOptions()
    odd = [f.name for f in fields(MethodOptions) if f.name not in (*_ALWAYS, *known)
           and getattr(choices, f.name) != getattr(usual, f.name)]
    if odd:
        raise StudyError(f"choices that {name} has: {', '.join((*_ALWAYS, *known))}", ", ".join(odd), "method",
                         "Leave them out.")
    builder: Callable[[MethodOptions], Method] = getattr(import_module(f"bedrest.methods.papers.{module}"), function)
    return builder(choices)
