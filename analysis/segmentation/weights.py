"""Weights files: safetensors, so that loading never runs code, with the architecture and record in the header."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.errors import WeightsError
from analysis.segmentation.network import WORKING_SPACING_MM, Architecture, build_network

if TYPE_CHECKING:
    import torch

SHIPPED = Path(__file__).parent / "weights" / "synthetic-cpu.safetensors"


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network ready for use, with what its file says of it."""

    network: torch.nn.Module
    record: dict[str, Any]
    path: Path


def save_weights(path: Path, network: torch.nn.Module, *, architecture: Architecture, record: dict[str, Any]) -> None:
    """Write the network's state with its architecture, working spacing and training record in the header."""
    from safetensors.torch import save_file

    header = {
        "architecture": json.dumps(asdict(architecture)),
        "spacing_mm": json.dumps(WORKING_SPACING_MM),
        "record": json.dumps(record),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().contiguous().cpu() for k, v in _tensors(network).items()}, path, metadata=header)


def _tensors(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers, each once: DynUNet knows some layers by two names, which a state_dict would repeat."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def load_weights(path: Path = SHIPPED) -> TrainedNetwork:
    """Rebuild the network of a weights file, in evaluation mode, on the CPU.

    Raises
    ------
    WeightsError
        The file is missing, damaged, or not made by this toolkit.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            stored = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        architecture = Architecture(tuple(json.loads(header["architecture"])["filters"]))
        record = json.loads(header["record"])
        network = build_network(architecture)
        tensors = _tensors(network)
        if set(tensors) != set(stored):
            raise ValueError(f"layers that do not fit: {sorted(set(tensors) ^ set(stored))[:3]}")
        with torch.no_grad():
            for key, tensor in tensors.items():
                tensor.copy_(stored[key])
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(
            "a weights file made by this toolkit", str(error).splitlines()[0], str(path),
            "Reinstall the package, or train again with `make train`.",
        ) from error
    return TrainedNetwork(network.eval(), record, path)
