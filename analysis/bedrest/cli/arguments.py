"""Arguments that several commands share. Knows no command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

Device = Literal["auto", "cpu", "cuda", "mps"]
StudyFile = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY.toml", help="Settings of the study.")]


def unset(default: str, *, metavar: str | None = None, short: tuple[str, ...] = (), help_: str | None = None) -> object:
    """An option whose value is None until it is given: what holds then, in words."""
    return tyro.conf.arg(metavar=metavar, aliases=short, help_behavior_hint=f"({default})", help=help_)


Flag = Annotated[bool, tyro.conf.arg(help_behavior_hint="")]
Count = Annotated[int, tyro.conf.arg(metavar="N")]
Seed = Annotated[int, tyro.conf.arg(help="Seed of the random numbers.")]
PageCores = Annotated[int, tyro.conf.arg(help="Number of pages to make in parallel.")]
StudyDevice = Annotated[Device | None, unset("default: as study.toml says", help_="Where the network runs.")]
ImageFile = Annotated[Path | None, unset("optional", metavar="FILE")]
WeightsFile = Annotated[Path | None, unset("default: the shipped network", metavar="WEIGHTS")]
OutputFolder = Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="DIR")]
OutputTable = Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="CSV")]
OutputMask = Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="MASK")]

# A flag has no --no-flag beside it, and a file may be called None.
PARSING = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
