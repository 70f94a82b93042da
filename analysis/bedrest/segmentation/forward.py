"""One pass of a network over an image: dense where memory allows, else in tiles, on the CPU as the last resort.

Knows nothing of scans and anatomy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bedrest.findings import Finding, FindingCode
from bedrest.segmentation.device import mixed_precision
from bedrest.segmentation.network import MULTIPLES

# One dense pass of the segmenter needs about 500 bytes a voxel.
DENSE_VOXELS = {"cpu": 4_000_000, "cuda": 40_000_000, "mps": 8_000_000}
TILE = (48, 160, 160)


@dataclass(frozen=True, eq=False)
class Logits:
    """Output of a network before softmax."""

    data: torch.Tensor  # float32 tensor, (S, I, J, K), on the CPU
    notes: tuple[Finding, ...]  # what had to be done differently for lack of memory; usually empty


def forward(network: torch.nn.Module, image: NDArray[np.float32], device: str, *,
            dense_voxels: int | None = None) -> Logits:
    """Logits of an image of any size. The same input gives the same bytes on the CPU.

    `image`: float32, (C, I, J, K). `dense_voxels`: largest image taken in one pass; default by device.
    """
    limit = DENSE_VOXELS[device] if dense_voxels is None else dense_voxels
    dense = image[0].size <= limit
    ways = [(device, True)] * dense + [(device, False)] + [("cpu", False)] * (device != "cpu")
    notes: tuple[Finding, ...] = () if dense else (
        Finding(FindingCode.COMPUTED_IN_TILES, {"voxels": image[0].size, "limit": limit}),)
    for i, (where, whole) in enumerate(ways):
        try:
            return Logits(_run(network, image, where, whole=whole), notes)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not _out_of_memory(error) or i + 1 == len(ways):
                raise
            notes += (Finding(FindingCode.OUT_OF_MEMORY, {"device": where, "next_device": ways[i + 1][0]}),)
            if where == "cuda":
                torch.cuda.empty_cache()
    raise AssertionError("unreachable: the last way returns or raises")


def _out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "can't allocate memory" in text


def _run(network: torch.nn.Module, image: NDArray[np.float32], device: str, *, whole: bool) -> torch.Tensor:
    network = network.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    shape = image.shape[1:]
    # Repeated edges, not zeros: an artificial dark rim would look like the end of the body.
    pad = [(0, 0), *[(0, -n % m) for n, m in zip(shape, MULTIPLES, strict=True)]]
    tensor = torch.from_numpy(np.pad(image, pad, mode="edge"))[None]
    deterministic = torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False)
    with torch.inference_mode(), mixed_precision(device), deterministic:
        if whole:
            logits = network(tensor.to(device, memory_format=torch.channels_last_3d))
        else:
            from monai.inferers import sliding_window_inference

            logits = sliding_window_inference(tensor, TILE, 1, network, overlap=0.25, mode="gaussian",
                                              sw_device=device, device="cpu")
    result: torch.Tensor = logits[0, :, : shape[0], : shape[1], : shape[2]].float().cpu()
    return result
