"""Which device the network runs on, and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from bedrest.errors import StudyError

# bfloat16 3-D convolutions gave wrong numbers with these (cuDNN 9.8 to 9.10).
_BAD_CUDNN = range(90800, 91100)


def resolve_device(wanted: str) -> str:
    """`auto` becomes cuda, mps or cpu, whichever is there first.

    Raises StudyError: the device asked for by name is not available.
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


def computes_bf16(device: str) -> bool:
    """Whether the processor has units for bfloat16; without, that is about 40 times slower than float32."""
    import torch

    able = torch.cpu.get_capabilities() if device == "cpu" else {}
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def mixed_precision(device: str, *, cpu: bool = False) -> AbstractContextManager[Any]:
    """Autocast to bfloat16 where that is fast and correct: on CUDA cards that support it, and on the CPU if `cpu`."""
    import torch

    if device == "cpu" and cpu:
        return torch.autocast("cpu", dtype=torch.bfloat16)
    if device != "cuda" or not torch.cuda.is_bf16_supported() or torch.backends.cudnn.version() in _BAD_CUDNN:
        return nullcontext()
    return torch.autocast("cuda", dtype=torch.bfloat16)
