"""Every method by its name. Knows no study and no protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from importlib import import_module

from analysis.errors import StudyError
from analysis.methods.method import Choices, Method

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


def build_method(name: str, choices: Choices | None = None) -> Method:
    """A method as published, or with other choices where it has them.

    Raises
    ------
    StudyError
        There is no such method, or it has no such choice.
    """
    choices = choices or Choices()
    if name not in METHODS:
        raise StudyError(f"one of {', '.join(METHODS)}", repr(name), "method", "Correct the name.")
    module, function, own = METHODS[name]
    usual = Choices()
    odd = [f.name for f in fields(Choices) if f.name not in (*_ALWAYS, *own)
           and getattr(choices, f.name) != getattr(usual, f.name)]
    if odd:
        raise StudyError(f"choices that {name} has: {', '.join((*_ALWAYS, *own))}", ", ".join(odd), "method",
                         "Leave them out.")
    builder: Callable[[Choices], Method] = getattr(import_module(f"analysis.methods.{module}"), function)
    return builder(choices)
