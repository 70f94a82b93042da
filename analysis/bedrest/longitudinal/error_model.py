"""How far a measured volume may be from the truth, and from itself when the disc is scanned again.

Both are fitted on synthetic scans (`pipelines.benchmarks.change.fit_errors`), for one network, each set of contrasts
and each way of measuring; the second also on a study's own scans (`bedrest calibrate`), which then takes precedence.
The variance of the relative error has two parts: one that every disc has (`floor`), and one that grows with the
uncertainty of the network about the disc's boundary (`slope`). Real scans have faults that synthetic ones lack: where a
study has repeated scans of its own, those take precedence over either. Knows nothing of tables.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from bedrest.errors import WeightsError
from bedrest.vocabulary import FROM_ALL_VISITS, ErrorsFrom, VolumeMethod


@dataclass(frozen=True)
class ErrorPart:
    """Variance of a relative error: floor^2 + (slope x boundary uncertainty)^2."""

    floor: float  # SD of the error that every disc has, relative
    slope: float = 0.0  # added SD per unit of boundary uncertainty

    def sd(self, boundary_uncertainty: float = 0.0) -> float:
        """Relative standard error of a disc with this boundary uncertainty, 0 to 1."""
        return math.hypot(self.floor, self.slope * boundary_uncertainty)


USUAL_SHIFTS_SD = 0.009  # synthetic scans: 0.0066 with all Dixon contrasts, 0.0083 with T2 (docs/change_benchmark.csv)
# Synthetic discs have 0.02 at most. Real T1 scans given as in-phase: 0.01 to 0.04 where volumes repeat within 9 %, 0.1
# to 0.6 where they do not, nothing between.
MOST_SHIFTS_SD = 0.05
MIN_COVERED = 0.6  # of a disc: a smaller common part of all visits is not measured


@dataclass(frozen=True)
class Errors:
    """Errors of one way of measuring."""

    truth: ErrorPart  # of a volume against the true one. Most of it stays with a disc and cancels in its change.
    repeat: ErrorPart  # of a repeated measurement of the same disc after repositioning: what change is judged by
    discs: int  # number of discs it was fitted on
    # mean relative error, by which joint volumes are corrected; single ones are calibrated with the network
    bias: Mapping[str, float] = field(default_factory=dict)
    # SD of the volume over the grid shifts, relative, root mean square over the discs it was fitted on
    usual_shifts_sd: float = USUAL_SHIFTS_SD
    recovered: float = 1.0  # share of a true change that is measured; 1 where it is not known to be less
    origin: ErrorsFrom = ErrorsFrom.SHIPPED

    def added_by_shifts(self, shifts_sd: float) -> float:
        """Relative SD that a disc has beside the model's, for its grid shifts disagree more than usual.

        `shifts_sd`: SD over the grid shifts over the volume. The SD and not the error of the mean: what makes one
        segmentation differ from the next on a shifted grid makes one visit differ from the next.
        """
        return math.sqrt(max(0.0, shifts_sd**2 - self.usual_shifts_sd**2))


    def repeat_sd(self, method: str, uncertainty: float, shifts_sd: float) -> float:
        """Relative SD of a volume by `method`, a `VolumeMethod`, when the disc is scanned again.

        On which grids a disc was segmented changes its volume, and no difference by deformation. `uncertainty`: what
        `repeat` was fitted on, for that method.
        """
        return math.hypot(self.repeat.sd(uncertainty),
                          self.added_by_shifts(shifts_sd) if method == VolumeMethod.JOINT else 0.0)


@dataclass(frozen=True)
class ErrorModel:
    """Errors of one network, by contrasts and way of measuring."""

    weights_sha256: str  # checksum of the weights file it was fitted for
    errors: Mapping[str, Mapping[str, Errors]]  # mapping of contrasts (`weights.key_of`) to VolumeMethod to Errors

    def given(self, contrasts: str, method: str) -> Errors | None:
        """Errors of this way of measuring from these contrasts; None where it was never fitted.

        A set of contrasts that was not fitted takes the worst of those that were: no set does worse than its worst
        member alone.
        """
        if method not in (*FROM_ALL_VISITS, VolumeMethod.SINGLE):
            return None
        if contrasts in self.errors:
            return self.errors[contrasts].get(method)
        tried = [by_method[method] for by_method in self.errors.values() if method in by_method]
        worst = max(tried, key=lambda e: e.repeat.sd(), default=None)
        return replace(worst, bias={}) if worst else None


def errors_path(weights: Path) -> Path:
    """The file with the error model of a weights file, beside it."""
    return weights.with_suffix(".errors.json")


def load_errors(weights: Path, *, sha256: str) -> ErrorModel | None:
    """The error model of a weights file; None where there is none, or where it is of other weights.

    Raises WeightsError: the file is there and cannot be read.
    """
    return read_errors(errors_path(weights), sha256=sha256)


def read_errors(path: Path, *, sha256: str) -> ErrorModel | None:
    """An error model's file, as `load_errors`."""
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        errors = {contrasts: {method: Errors(ErrorPart(**e["truth"]), ErrorPart(**e["repeat"]), int(e["discs"]),
                                            dict(e["bias"]), float(e.get("usual_shifts_sd", USUAL_SHIFTS_SD)),
                                            float(e.get("recovered", 1)),
                                            ErrorsFrom(e.get("origin", ErrorsFrom.SHIPPED)))
                             for method, e in by_method.items()} for contrasts, by_method in stored["errors"].items()}
        return ErrorModel(stored["weights_sha256"], errors) if stored["weights_sha256"] == sha256 else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError("errors of a network as `make fit-errors` writes them", str(error), str(path),
                           "Make them anew with `make fit-errors`.") from error


def joined(shipped: ErrorModel | None, study: ErrorModel | None) -> ErrorModel | None:
    """Both as one: what the study's own scans tell takes precedence, set of contrasts by set and way by way."""
    if shipped is None or study is None:
        return study or shipped
    errors = {key: {**shipped.errors.get(key, {}), **study.errors.get(key, {})}
              for key in (*shipped.errors, *study.errors)}
    return ErrorModel(study.weights_sha256, errors)


def errors_text(model: ErrorModel) -> str:
    """The file's content, JSON."""
    return json.dumps(asdict(model), indent=1, sort_keys=True) + "\n"
