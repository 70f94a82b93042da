"""Where the network runs."""

from __future__ import annotations

from analysis.errors import StudyError


def resolve_device(wanted: str) -> str:
    """`auto` becomes cuda, mps or cpu, whichever is there first.

    Raises
    ------
    StudyError
        A device was asked for by name and is not there.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, present in there.items() if present)
    if not there.get(wanted, False):
        raise StudyError(
            f"a device out of {[n for n, present in there.items() if present]}", repr(wanted), "device",
            "Say --device auto, or install the driver.",
        )
    return wanted
