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
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path, metadata=header)


def load_weights(path: Path = SHIPPED) -> TrainedNetwork:
    """Rebuild the network of a weights file, in evaluation mode, on the CPU.

    Raises
    ------
    WeightsError
        The file is missing, damaged, or not made by this toolkit.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        architecture = Architecture(tuple(json.loads(header["architecture"])["filters"]))
        record = json.loads(header["record"])
        network = build_network(architecture)
        network.load_state_dict(state)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(
            "a weights file made by this toolkit", str(error).splitlines()[0], str(path),
            "Reinstall the package, or train again with `make train`.",
        ) from error
    return TrainedNetwork(network.eval(), record, path)
