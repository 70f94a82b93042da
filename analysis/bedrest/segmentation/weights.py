"""Weights files: safetensors, so that loading never runs code; the header holds all else that segmentation needs.

Knows nothing of scans.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedrest.anatomy.structures import Structure
from bedrest.errors import WeightsError, brief
from bedrest.io.files import atomic_path
from bedrest.segmentation.network import LOCATOR_SPACING_MM, WORKING_SPACING_MM, Architecture, build_network
from bedrest.segmentation.normalise import RULE
from bedrest.vocabulary import Contrast

if TYPE_CHECKING:
    import torch

SHIPPED = Path(__file__).parent / "weights" / "synthetic.safetensors"
# Header values that must equal those of this program; otherwise the weights would mean something else.
_REQUIRED = {
    "spacing_mm": json.dumps(WORKING_SPACING_MM),
    "locator_spacing_mm": json.dumps(LOCATOR_SPACING_MM),
    "label_map": json.dumps({s.name.lower(): int(s) for s in Structure}),
    "intensity_rule": RULE,
}


@dataclass(frozen=True)
class Calibration:
    """Turns logits into probabilities that can be summed: softmax(logits / temperature + offsets).

    Vector scaling after Guo et al., ICML 2017. At the fitted offsets the summed probability of each structure equals
    its true volume over the scans it was fitted on. The error of a network depends on the contrasts it is given.
    """

    temperature: float = 1.0
    offsets: tuple[float, ...] = (0.0,) * len(Structure)  # one for each structure, in the order of `Structure`
    # of sets of contrasts fitted separately, by `key_of`; any other set uses the values above
    by_contrasts: Mapping[str, Calibration] = field(default_factory=dict)
    # correction of the log odds of disc near each named disc: thin discs come out too small, thick ones too large
    by_level: Mapping[str, float] = field(default_factory=dict)

    def given(self, contrasts: Iterable[Contrast]) -> Calibration:
        """The calibration for a scan with these contrasts."""
        return self.by_contrasts.get(key_of(contrasts), self)

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Calibration:
        """From the output of `asdict`."""
        by_contrasts = {key: cls.read(value) for key, value in stored["by_contrasts"].items()}
        return cls(float(stored["temperature"]), tuple(map(float, stored["offsets"])), by_contrasts,
                   dict(stored["by_level"]))


def key_of(contrasts: Iterable[Contrast]) -> str:
    """A set of contrasts as text, in the network's channel order: ``water+fat``."""
    there = set(contrasts)
    return "+".join(c for c in Contrast if c in there)


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """Networks ready for use, with the header of their file."""

    network: torch.nn.Module  # the segmenter at full resolution; in evaluation mode, on the CPU
    locator: torch.nn.Module  # the coarse one that finds the spine
    architecture: Architecture
    locator_architecture: Architecture
    calibration: Calibration
    record: dict[str, Any] = field(default_factory=dict)  # data and its hashes, plan, steps, minutes, commit
    path: Path = SHIPPED
    contrasts: tuple[Contrast, ...] = tuple(Contrast)  # those it was trained for, in channel order: the first or all

    def known(self, contrasts: Iterable[Contrast]) -> frozenset[Contrast]:
        """Those of a scan's contrasts that these weights were trained for.

        Raises WeightsError: they were trained for none of them.
        """
        if not (known := frozenset(contrasts) & frozenset(self.contrasts)):
            raise WeightsError(f"a scan with one of {', '.join(self.contrasts)}", f"{', '.join(contrasts)} alone",
                               f"{self.path}, whose networks were not trained for that contrast",
                               "Give another contrast of this visit, or weights trained for this one (--weights; "
                               "weights in study.toml).")
        return known


def chosen_weights(given: Path | None) -> Path:
    """The weights file given by the user, or the shipped one. Raises WeightsError: there is no such file."""
    path = SHIPPED if given is None else given
    if not path.is_file():
        raise WeightsError("a weights file", "no such file", str(path),
                           "Reinstall the package." if given is None else "Check the path.")
    return path


def training_record(path: Path) -> dict[str, Any]:
    """Training record of a weights file, without loading any network.

    Raises WeightsError: the file is missing, damaged, or not made by this toolkit.
    """
    from safetensors import SafetensorError

    try:
        record: dict[str, Any] = json.loads(_header(path)["record"])
        if not isinstance(record, dict) or not isinstance(record.get("plan", {}), dict):
            raise ValueError("a training record of another kind")
        return record
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise WeightsError("a weights file made by this toolkit", brief(error), str(path), "Check the path.") from error


def check_weights(path: Path) -> tuple[Contrast, ...]:
    """Check that a weights file is whole and fits this program, without loading any network: the contrasts it knows.

    Raises WeightsError: it is damaged, or made for another program.
    """
    from safetensors import SafetensorError

    try:
        return _check_header(_header(path))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise _unusable(path, error) from error


def _header(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return dict(file.metadata() or {})


def _check_header(header: Mapping[str, str]) -> tuple[Contrast, ...]:
    for key, wanted in _REQUIRED.items():
        if header[key] != wanted:
            raise ValueError(f"{key} {header[key]}; this program uses {wanted}")
    # Those of the first channels: later programs know more.
    stored = json.loads(header["contrasts"])
    known = tuple(Contrast)[:len(stored)]
    if not stored or stored != list(known):
        raise ValueError(f"contrasts {header['contrasts'][:80]}; this program uses {json.dumps(list(Contrast))}")
    return known


def _unusable(path: Path, error: Exception) -> WeightsError:
    return WeightsError("a weights file made by this toolkit", brief(error), str(path),
                        "Reinstall the package, or train again with `make train`.")


def _architecture(text: str) -> Architecture:
    """From its JSON; sizes that no such network has are refused before memory is taken for them."""
    filters = tuple(json.loads(text)["filters"])
    if not 2 <= len(filters) <= 8 or not all(type(n) is int and 1 <= n <= 1024 for n in filters):
        raise ValueError(f"layers of {str(filters)[:80]} filters")
    return Architecture(filters)


def save_weights(path: Path, trained: TrainedNetwork) -> None:
    """Write both networks with architecture, spacings, label map, intensity rule, calibration and training record."""
    from safetensors.torch import save_file

    header = {
        **_REQUIRED,
        "contrasts": json.dumps(trained.contrasts),
        "architecture": json.dumps(asdict(trained.architecture)),
        "locator_architecture": json.dumps(asdict(trained.locator_architecture)),
        "calibration": json.dumps(asdict(trained.calibration)),
        "record": json.dumps(trained.record),
    }
    tensors = {**_tensors(trained.network, "segmenter"), **_tensors(trained.locator, "locator")}
    with atomic_path(path) as temporary:
        save_file({k: v.detach().contiguous().cpu() for k, v in tensors.items()}, temporary, metadata=header)


def tensors_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers, each once: a state_dict repeats layers that DynUNet knows by two names."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _tensors(network: torch.nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors_of(network).items()}


def load_weights(path: Path = SHIPPED) -> TrainedNetwork:
    """Rebuild the networks of a weights file, in evaluation mode, on the CPU.

    Raises WeightsError: the file is missing, damaged, or not made by this toolkit, or for another spacing, label map or
    intensity rule.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            stored = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        contrasts = _check_header(header)
        architecture, locator_architecture = (_architecture(header[key])
                                              for key in ("architecture", "locator_architecture"))
        network, locator = (build_network(a, channels=len(contrasts)) for a in (architecture, locator_architecture))
        tensors = {**_tensors(network, "segmenter"), **_tensors(locator, "locator")}
        if set(tensors) != set(stored):
            raise ValueError(f"layers that do not fit: {sorted(set(tensors) ^ set(stored))[:3]}")
        with torch.no_grad():
            for key, tensor in tensors.items():
                tensor.copy_(stored[key])
        return TrainedNetwork(network.eval(), locator.eval(), architecture, locator_architecture,
                              Calibration.read(json.loads(header["calibration"])),
                              json.loads(header["record"]), path, contrasts)
    except (OSError, SafetensorError, LookupError, ValueError, TypeError, AttributeError, RuntimeError,
            MemoryError) as error:  # RecursionError is a RuntimeError
        raise _unusable(path, error) from error

