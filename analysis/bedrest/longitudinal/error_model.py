"""How far a measured volume may be from the truth, and from itself when the disc is scanned again.

Both were found on synthetic scans (`pipelines.benchmarks.change.errors`), for one network, one set of contrasts and one
way of measuring. The variance of the relative error has two parts: what every disc has (`floor`), and what a disc whose
boundary the network is unsure of has more (`slope`). Real scans have faults that synthetic ones lack: where a study
has repeated scans of its own, those speak first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from bedrest.errors import WeightsError
from bedrest.vocabulary import VolumeMethod


@dataclass(frozen=True)
class ErrorPart:
    """Variance of a relative error: floor^2 + (slope x softness)^2.

    Attributes
    ----------
    floor : float
        SD of the error that every disc has, relative.
    slope : float
        What a share of undecided volume adds.
    """

    floor: float
    slope: float = 0.0

    def sd(self, softness: float = 0.0) -> float:
        """Relative standard error of a disc of which this share of the volume is undecided."""
        return math.hypot(self.floor, self.slope * softness)


@dataclass(frozen=True)
class Errors:
    """What one way of measuring gets wrong.

    Attributes
    ----------
    truth : ErrorPart
        Measured against true volume. Most of it stays with a disc and so leaves its change alone.
    repeat : ErrorPart
        One measurement against another of the same disc, lain down anew: what change is judged by.
    discs : int
        Discs it was found on.
    bias : mapping of level to float
        Mean relative error, which joint volumes are freed from; single ones are calibrated with the network.
    """

    truth: ErrorPart
    repeat: ErrorPart
    discs: int
    bias: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ErrorModel:
    """What was found for one network.

    Attributes
    ----------
    weights_sha256 : str
        Of the file it was found for.
    found : mapping of contrasts (`weights.key_of`) to VolumeMethod to Errors
    """

    weights_sha256: str
    found: Mapping[str, Mapping[str, Errors]]

    def given(self, contrasts: str, method: str) -> Errors | None:
        """Errors of this way of measuring from these contrasts; None where nobody looked.

        A set of contrasts that was not tried takes the worst of those that were: no set does worse than its worst
        member alone.
        """
        if method not in (VolumeMethod.JOINT, VolumeMethod.SINGLE):
            return None
        if contrasts in self.found:
            return self.found[contrasts].get(method)
        tried = [by_method[method] for by_method in self.found.values() if method in by_method]
        worst = max(tried, key=lambda e: e.repeat.sd(), default=None)
        return replace(worst, bias={}) if worst else None


def errors_path(weights: Path) -> Path:
    """Where the errors of a weights file are kept: beside it."""
    return weights.with_suffix(".errors.json")


def load_errors(weights: Path, *, sha256: str) -> ErrorModel | None:
    """The error model of a weights file; None where there is none, or where it is of other weights.

    Raises
    ------
    WeightsError
        The file is there and cannot be read.
    """
    path = errors_path(weights)
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        found = {contrasts: {method: Errors(ErrorPart(**e["truth"]), ErrorPart(**e["repeat"]), int(e["discs"]),
                                            dict(e["bias"]))
                             for method, e in by_method.items()} for contrasts, by_method in stored["found"].items()}
        return ErrorModel(stored["weights_sha256"], found) if stored["weights_sha256"] == sha256 else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError("errors of a network as `make fit-errors` writes them", str(error), str(path),
                           "Make them anew with `make fit-errors`.") from error


def errors_text(model: ErrorModel) -> str:
    """The file's content, JSON."""
    return json.dumps(asdict(model), indent=1, sort_keys=True) + "\n"
