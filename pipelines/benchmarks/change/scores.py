"""True and measured volumes of synthetic people -> how well one way of measuring tells volumes and their change.

Means and SDs are of what was measured. Shares in per cent are of everything that there was to measure: a disc that was
not found was not told as unchanged, not told as a rise, and no interval of it holds the truth. Knows nothing of images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from bedrest.longitudinal.error_model import Errors
from bedrest.tables.arvd import arvd
from bedrest.tables.change import change_se_percent, half_width
from bedrest.vocabulary import LEVELS, VolumeMethod
from numpy.typing import ArrayLike

from pipelines.benchmarks.change.records import BASELINE, GROWN, REPEAT, Way


@dataclass(frozen=True)
class WaySummary:
    """What one way of measuring reaches; per cent throughout, not a number where nothing was measured.

    Attributes
    ----------
    n, n_missing : int
        Discs at a visit, and how many of them have no volume.
    pairs, pairs_missing : int
        Discs from baseline to another visit, and how many lack a volume at either.
    bias, worst, worst_level
        Mean of (measured - true) / true over all volumes, and over those of the level where it is farthest from 0.
    by_level : level to mean and SD of that error
    cv : float
        Of a disc from baseline to repetition.
    change_error, change_error_sd : float
        Measured change minus true change, each in per cent of its own baseline volume.
    arvd : float
        Mean of Li et al. 2018, eq. 4.
    unchanged, rise, volume_covered, change_covered : float
        Repetitions told as no change beyond error; growths told as a rise beyond error; 95 % intervals of volume and
        of change that hold the truth. Not numbers where errors are not known.
    """

    n: int
    n_missing: int
    pairs: int
    pairs_missing: int
    bias: float
    worst: float
    worst_level: str
    by_level: dict[str, tuple[float, float]]
    cv: float
    change_error: float
    change_error_sd: float
    arvd: float
    unchanged: float = math.nan
    rise: float = math.nan
    volume_covered: float = math.nan
    change_covered: float = math.nan


def errors_of(frame: pd.DataFrame, way: Way) -> pd.Series:
    """(measured - true) / true of every volume, per cent; not a number where there is no volume."""
    return 100 * (frame[way.column] - frame["true_mm3"]) / frame["true_mm3"]


def pairs_of(frame: pd.DataFrame, way: Way) -> pd.DataFrame:
    """Change from baseline to each other visit, one row a disc and visit; a missing volume leaves no change.

    Parameters
    ----------
    frame : DataFrame, as in `change_records.CHANGE_DISCS`, one condition

    Returns
    -------
    DataFrame
        subject, level, session; before_mm3, after_mm3, true_before_mm3, true_after_mm3; boundary_uncertainty_before,
        boundary_uncertainty_after; change_percent, true_percent, each of its own baseline volume; error_percent, the
        first minus the second.
    """
    named = {way.column: "mm3", "true_mm3": "true_mm3", "boundary_uncertainty": "boundary_uncertainty"}
    own = frame[["subject", "level", "session"]].assign(
        **{name: frame[column].astype(float) for column, name in named.items()})
    first = own[own["session"] == BASELINE].drop(columns="session")
    pairs = own[own["session"] != BASELINE].merge(first, on=["subject", "level"], how="left",
                                                  suffixes=("_after", "_before"), validate="many_to_one")
    pairs = pairs.rename(columns={f"{what}mm3_{when}": f"{what}{when}_mm3" for what in ("", "true_")
                                  for when in ("before", "after")})
    pairs["change_percent"] = 100 * (pairs["after_mm3"] / pairs["before_mm3"] - 1)
    pairs["true_percent"] = 100 * (pairs["true_after_mm3"] / pairs["true_before_mm3"] - 1)
    pairs["error_percent"] = pairs["change_percent"] - pairs["true_percent"]
    return pairs


def within_disc_cv(first: ArrayLike, second: ArrayLike) -> float:
    """CV of one measurement from two of each disc, per cent; not a number where no disc has both.

    The within-disc SD of ln volume, sqrt(mean(d^2 / 2)), turned back as in `models.reliability.measurement_error`.
    """
    d = np.log(np.asarray(second, float)) - np.log(np.asarray(first, float))
    d = d[np.isfinite(d)]
    return 100 * math.expm1(math.sqrt(float((d**2).mean()) / 2)) if d.size else math.nan


def summarise_way(frame: pd.DataFrame, way: Way, errors: Errors | None) -> WaySummary:
    """One condition's people measured in one way.

    Parameters
    ----------
    frame : DataFrame, as in `change_records.CHANGE_DISCS`, one condition
    errors : of this way; None where they are not known
    """
    error, pairs = errors_of(frame, way), pairs_of(frame, way)
    per_level = error.groupby(frame["level"])
    by_level = {level: (float(own.mean()), float(own.std()))
                for level, own in sorted(per_level, key=lambda item: LEVELS.index(str(item[0])))}
    worst_level = max((lv for lv, (mean, _) in by_level.items() if not math.isnan(mean)),
                      key=lambda lv: abs(by_level[lv][0]), default="")
    again = pairs[pairs["session"] == REPEAT]
    measured = pairs.dropna(subset="error_percent")
    summary = WaySummary(
        n=len(frame), n_missing=int(error.isna().sum()), pairs=len(pairs), pairs_missing=len(pairs) - len(measured),
        bias=float(error.mean()), worst=by_level[worst_level][0] if worst_level else math.nan, worst_level=worst_level,
        by_level={str(level): found for level, found in by_level.items()},
        cv=within_disc_cv(again["before_mm3"], again["after_mm3"]),
        change_error=float(measured["error_percent"].mean()), change_error_sd=float(measured["error_percent"].std()),
        arvd=100 * _mean([arvd(p.true_before_mm3, p.true_after_mm3, p.after_mm3) for p in measured.itertuples()]))
    return summary if errors is None else _with_intervals(summary, frame, pairs, way, errors)


def _with_intervals(summary: WaySummary, frame: pd.DataFrame, pairs: pd.DataFrame, way: Way, errors: Errors
                    ) -> WaySummary:
    """The summary with what standard errors say. Comparisons with what is not a number are false, as they must be."""
    truth_sd = [errors.truth.sd(s) for s in _uncertainty_of(frame["boundary_uncertainty"], way)]
    volume_reach = half_width(1) * frame[way.column] * truth_sd
    reach = half_width(1) * pd.Series([
        change_se_percent(change, errors.repeat.sd(before), errors.repeat.sd(after))
        for change, before, after in zip(
            pairs["change_percent"], *(_uncertainty_of(pairs[f"boundary_uncertainty_{when}"], way)
                                       for when in ("before", "after")), strict=True)],
        pairs.index, dtype=float)
    same, more, change = pairs["session"] == REPEAT, pairs["session"] == GROWN, pairs["change_percent"]
    return replace(
        summary,
        unchanged=100 * _mean(change[same].abs() <= reach[same]),
        rise=100 * _mean(change[more] > reach[more]),
        volume_covered=100 * _mean((frame[way.column] - frame["true_mm3"]).abs() <= volume_reach),
        change_covered=100 * _mean(pairs["error_percent"].abs() <= reach))


def _uncertainty_of(values: pd.Series, way: Way) -> pd.Series:
    """Boundary uncertainty, which is known of joint volumes alone; 0 for any other way."""
    return values if way.method == VolumeMethod.JOINT else pd.Series(0.0, values.index)


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return float(np.mean(listed)) if listed else math.nan
