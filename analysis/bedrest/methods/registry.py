"""Every method by its name. Knows no study and no protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from importlib import import_module

from pydantic import TypeAdapter, ValidationError

from bedrest.errors import StudyError
from bedrest.methods.method import Method, MethodOptions

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
_READABLE = ("contrasts", "voxel_dropout", "gaussian_start", "planes")  # by a user; the others belong to a whole run


def read_choices(text: str) -> tuple[str, MethodOptions]:
    """A method as its user names it: `msfcn`, `msfcn:voxel_dropout=0.1`, `unet2d:planes=x+y,contrasts=water+fat`.

    Raises StudyError: there is no such method, it has no such choice, or a value cannot be read.
    """
    name, _, words = text.partition(":")
    values = dict(word.partition("=")[::2] for word in words.split(",")) if words else {}
    _require_method(name)
    known = [key for key in _READABLE if key in ("contrasts", *METHODS[name][2])]
    if odd := [key for key in values if key not in known]:
        raise StudyError(f"choices that {name} has: {', '.join(known)}", ", ".join(odd), text, "Leave them out.")
    try:
        return name, TypeAdapter(MethodOptions).validate_python(
            {key: value.split("+") if key in ("contrasts", "planes") else value for key, value in values.items()})
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        raise StudyError("a value such as contrasts=water+fat, voxel_dropout=0.01, gaussian_start=true or planes=x+z",
                         f"{key}={values[key]}", text, "Correct it.") from error


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
    if odd := [f.name for f in fields(MethodOptions)
               if f.name not in (*_ALWAYS, *known) and getattr(choices, f.name) != f.default]:
        raise StudyError(f"choices that {name} has: {', '.join((*_ALWAYS, *known))}", ", ".join(odd), "method",
                         "Leave them out.")
    builder: Callable[[MethodOptions], Method] = getattr(import_module(f"bedrest.methods.papers.{module}"), function)
    return builder(choices)
