"""What the engine and the measurement of change are asked to reach, row by row, and how a measured number is judged.

The one place where targets stand. A number that was not measured says why; a number that is no number meets nothing.
Knows nothing of how anything is measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class TargetResult(StrEnum):
    MET = "yes"
    MISSED = "no"
    NOT_MEASURED = "not measured"
    NO_TARGET = "-"  # stands beside a target, for comparison


@dataclass(frozen=True)
class Target:
    """One number that a row measures.

    Attributes
    ----------
    what : str
        What the number is.
    form : str
        How it is written, unit included.
    low, high : float
        The target: both ends belong to it. Infinite on both sides: no target.
    """

    what: str
    form: str
    low: float = -math.inf
    high: float = math.inf

    @property
    def wanted(self) -> str:
        """The target in words."""
        low, high = math.isfinite(self.low), math.isfinite(self.high)
        if low and high:
            return self._write(self.low) if self.low == self.high else (
                f"{self._write(self.low)} to {self._write(self.high)}")
        return f">= {self._write(self.low)}" if low else f"<= {self._write(self.high)}" if high else "-"

    def _write(self, value: float) -> str:
        return self.form.format(value)


@dataclass(frozen=True)
class TargetRow:
    """One question: what is measured on, why the targets are what they are, the numbers."""

    name: str
    subject: str
    why: str
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Missing:
    """A number that could not be measured, and why."""

    reason: str


@dataclass(frozen=True)
class Check:
    """A measured number beside its target.

    Attributes
    ----------
    row : str
        Name of the row.
    what, target, measured : str
        In words; `measured` is empty when it was not.
    verdict : TargetResult
    note : str
        Why it was not measured, or what to know of the number.
    """

    row: str
    what: str
    target: str
    measured: str
    verdict: TargetResult
    note: str = ""


DICE, MM, PERCENT, SIGNED, SECONDS = "{:.3f}", "{:.2f} mm", "{:.1f} %", "{:+.2f} %", "{:.2f} s"
TWO = "{:.2f} %"
ALONE: Mapping[str, str] = {"water": "water", "fat": "fat", "in_phase": "in-phase", "opposed": "opposed-phase",
                            "t2": "T2-weighted"}

ENGINE: tuple[TargetRow, ...] = (
    TargetRow("synthetic", "synthetic cohort never seen in training, four Dixon contrasts, SNR 14",
        "Li et al. 2018 on real scans: Dice 0.913, 0.36 mm", (
            Target("mean Dice", DICE, low=0.95),
            Target("mean distance of centres (MLD)", MM, high=0.30),
            Target("levels right", PERCENT, low=100, high=100),
        )),
    TargetRow("volumes", "the same, against analytic volumes",
        "Li et al. 2018, Table 6: arvd 5.18 % on real scans; change in bed rest is a few per cent", (
            Target("volume bias, mean over discs", SIGNED, low=-1, high=1),
            Target("volume bias, worst level", SIGNED, low=-1, high=1),
            Target("mean arvd (eq. 4)", TWO, high=1.0),
            Target("signed change error, mean", SIGNED),
            Target("signed change error, SD", TWO),
        )),
    TargetRow("contrasts", "the same, one contrast alone", "Li et al. 2018, Table 4: Dice 0.867 to 0.897",
        tuple(Target(f"mean Dice, {words} alone", DICE, low=0.93) for words in ALONE.values())),
    TargetRow("t2-discs", "real T2 with manual disc masks, never used in training",
        "another rater's masks, on slices of 4.4 mm", (
            Target("mean Dice", DICE, low=0.85),
            Target("levels right", PERCENT, low=100, high=100),
        )),
    TargetRow("vertebrae", "real scans with vertebral-body masks, never used in training",
        "no disc masks there: a disc must lie between its two vertebrae", (
            Target("discs right, Dixon water", PERCENT, low=100, high=100),
            Target("discs right, T2", PERCENT, low=100, high=100),
            Target("largest share of a disc inside vertebrae", PERCENT, high=10),
        )),
    TargetRow("speed", "CPU, 2 threads, four contrasts of 36 x 256 x 256, after loading",
        "a study of 100 scans within minutes on an office machine", (
            Target("median time of a scan", SECONDS, high=4),
            Target("peak memory of the process", "{:.2f} GB", high=3),
        )),
    TargetRow("sliding-window", "the same network through MONAI's sliding window over the whole scan (overlap 0.5, "
        "gaussian, training patch), same process", "what speed costs in accuracy", (
            Target("times as slow as ours", "{:.1f}", low=5),
            Target("our Dice minus its Dice", "{:+.4f}", low=-0.002),
        )),
    TargetRow("gpu", "CUDA, four contrasts of 36 x 256 x 256", "a cohort while one waits", (
        Target("networks, time of a scan", "{:.3f} s", high=0.1),
        Target("24 scans, from memory to masks", SECONDS, high=15),
        Target("lowest Dice of a disc against the CPU's", DICE),
    )),
    TargetRow("nnunet", "nnU-Net v2 (3d_fullres), same minutes, same synthetic scans, same machine",
        "the method everybody compares with", (
            Target("our mean Dice minus nnU-Net's", "{:+.3f}", low=0),
            Target("the same, whatever the discs are called", "{:+.3f}", low=0),
            Target("times as slow as ours", "{:.1f}", low=5),
        )),
)
BY_NAME: Mapping[str, TargetRow] = {row.name: row for row in ENGINE}

# The change benchmark: one list of numbers, the same for every maker and set of contrasts.
SD_JOINT, SD_SINGLE, MEAN_ERROR, SLOPE = (
    "error of change, SD, visits together", "error of change, SD, each visit alone", "error of change, mean",
    "slope of measured on true change")
CHANGE_COVERED, VOLUME_COVERED = ("95 % intervals of change that hold the truth",
                                  "95 % intervals of volume that hold the truth")
NONE_TOLD, RISE_TOLD = "no change, none beyond error", "+3 %, a rise beyond error"
BIAS, BIAS_LEVEL, CV, ARVD, UNNAMED = ("volume bias, mean over discs", "volume bias, worst level",
                                       "scan-rescan CV of volume", "mean arvd (eq. 4)", "discs in view without a name")
CHANGE: tuple[Target, ...] = (
    Target(SD_JOINT, TWO), Target(SD_SINGLE, TWO), Target(MEAN_ERROR, SIGNED), Target(SLOPE, "{:.2f}", 0.95, 1.05),
    Target(CHANGE_COVERED, PERCENT, 90, 98), Target(VOLUME_COVERED, PERCENT, 90, 98),
    Target(NONE_TOLD, PERCENT, low=95), Target(RISE_TOLD, PERCENT, low=90), Target(BIAS, SIGNED),
    Target(BIAS_LEVEL, SIGNED), Target(CV, TWO),
    Target(ARVD, TWO), Target(UNNAMED, PERCENT, high=1))
# Where a maker's target is its own: maker and set of contrasts, or maker alone.
CHANGE_OWN: Mapping[tuple[str, str], Mapping[str, tuple[float, float]]] = {
    ("own", "standard"): {SD_JOINT: (-math.inf, 0.6), BIAS_LEVEL: (-1, 1), CV: (-math.inf, 0.5), ARVD: (-math.inf, 1)},
    ("second", "standard"): {SD_JOINT: (-math.inf, 1.0)},
    ("real-anatomy", "standard"): {SD_JOINT: (-math.inf, 1.0), BIAS_LEVEL: (-3, 3)},
    ("real-t2", "t2"): {SD_JOINT: (-math.inf, 0.9)},
    ("real-repeats", "t1"): {SD_JOINT: (-math.inf, 3.0)},
    ("real-repeats", "in_phase"): {SD_JOINT: (-math.inf, 3.0)},
}


def change_targets(maker: str, set_name: str) -> tuple[Target, ...]:
    """Numbers of the change benchmark with the targets of one maker and set of contrasts."""
    bounds = dict(CHANGE_OWN.get((maker, set_name), {}))
    if set_name == "t2":
        bounds[RISE_TOLD] = (80, math.inf)
    return tuple(replace(t, low=bounds[t.what][0], high=bounds[t.what][1]) if t.what in bounds else t for t in CHANGE)


def judge(name: str, values: Mapping[str, float | Missing], *, notes: Mapping[str, str] | None = None) -> list[Check]:
    """The checks of a row.

    Parameters
    ----------
    name : str
        Of the row.
    values : number or `Missing` for each of the row's targets
    notes : target to what must be known of its number

    Raises
    ------
    KeyError
        A target has no value, or a value no target: a fault of the caller.
    """
    row = BY_NAME[name]
    if unknown := set(values) - {t.what for t in row.targets}:
        raise KeyError(f"{name} has no target {sorted(unknown)}")
    return [check_of(name, target, values[target.what], (notes or {}).get(target.what, "")) for target in row.targets]


def check_of(name: str, target: Target, value: float | Missing, note: str = "") -> Check:
    """One number held against its target."""
    if isinstance(value, Missing):
        return Check(name, target.what, target.wanted, "", TargetResult.NOT_MEASURED, value.reason)
    if math.isnan(value):
        return Check(name, target.what, target.wanted, "no value", TargetResult.MISSED, note or "nothing was found")
    verdict = TargetResult.NO_TARGET if target.wanted == "-" else (
        TargetResult.MET if target.low <= value <= target.high else TargetResult.MISSED)
    return Check(name, target.what, target.wanted, target.form.format(value), verdict, note)


def not_measured(name: str, reason: str) -> list[Check]:
    """The checks of a row of which nothing could be measured."""
    return judge(name, {t.what: Missing(reason) for t in BY_NAME[name].targets})
