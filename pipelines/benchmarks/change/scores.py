"""True and measured volumes of synthetic subjects -> how well a method measures volumes and their change.

Means and SDs are of what was measured. Shares in per cent are of everything that there was to measure: a disc that was
not found is neither unchanged nor grown, and no interval of it holds the truth. Knows nothing of images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from bedrest.longitudinal.error_model import Errors
from bedrest.tables.arvd import arvd
from bedrest.tables.change import change_se_percent, half_width
from bedrest.vocabulary import FROM_ALL_VISITS, VolumeMethod
from numpy.typing import ArrayLike
from scipy.stats import linregress

from pipelines.benchmarks.result_tables import BASELINE, GROWN, REPEAT
from pipelines.benchmarks.volumes import VolumeErrors, volume_errors

STANDARD_NAME = "standard"  # the condition that has targets
METHODS: Mapping[VolumeMethod, str] = {
    VolumeMethod.VOXELS: "voxels counted", VolumeMethod.SINGLE: "probabilities, each visit alone",
    VolumeMethod.JOINT: "probabilities, all visits together", VolumeMethod.DEFORMATION: "images of all visits compared"}
PRODUCT = VolumeMethod.DEFORMATION  # what a study gets; discs that it can't be trusted of take joint volumes
ErrorsOf = Mapping[VolumeMethod, Errors]  # without the methods whose errors are not known


def column_of(method: VolumeMethod) -> str:
    """Column of `CHANGE_DISCS` with the volumes by a method."""
    return f"{method}_mm3"


def volumes_of(frame: pd.DataFrame, method: VolumeMethod) -> pd.Series:
    """Volumes by a method; those by deformation with joint ones where it can't be trusted, as in a study."""
    volumes = frame[column_of(method)].astype(float)
    return volumes.fillna(frame["joint_mm3"].astype(float)) if method == VolumeMethod.DEFORMATION else volumes


@dataclass(frozen=True)
class MethodSummary:
    """What one way of measuring reaches; per cent but for `slope`, not a number where nothing was measured.

    Attributes
    ----------
    volumes : VolumeErrors
        Of discs at a visit whose true volume is known.
    pairs, pairs_missing : int
        Discs from baseline to another visit with a known change, and how many lack a volume at either.
    unnamed : float
        Discs in view, of all visits, that were not found or go by another name.
    cv : float
        Of a disc from baseline to repetition.
    change_error, change_error_sd : float
        Measured change minus true change, each in per cent of its own baseline volume.
    arvd : float
        Mean of Li et al. 2018, eq. 4.
    slope : float
        Of measured on true change, a straight line; where true changes differ.
    unchanged, rise, volume_covered, change_covered : float
        Repetitions with no change beyond error; growths with a rise beyond error; 95 % intervals of volume and of
        change that hold the truth. Not numbers where errors are not known.
    """

    volumes: VolumeErrors
    pairs: int
    pairs_missing: int
    unnamed: float
    cv: float
    change_error: float
    change_error_sd: float
    arvd: float
    slope: float
    unchanged: float = math.nan
    rise: float = math.nan
    volume_covered: float = math.nan
    change_covered: float = math.nan


def pairs_of(frame: pd.DataFrame, method: VolumeMethod) -> pd.DataFrame:
    """Change from baseline to each other visit, one row per disc and visit; a missing volume leaves no change.

    Parameters
    ----------
    frame : DataFrame, as in `CHANGE_DISCS`, one condition

    Returns
    -------
    DataFrame
        subject, level, session; before_mm3, after_mm3, true_before_mm3, true_after_mm3; boundary_uncertainty,
        deformation_mm3 and deformation_ln_se, each with _before and _after; change_percent, true_percent, each of its
        own baseline volume; error_percent, the first minus the second. What nobody knows the true change of
        has neither true nor error.
    """
    sources = {"mm3": volumes_of(frame, method), "true_mm3": frame["true_mm3"],
               "true_percent": frame["true_change_percent"],
               **{name: frame[name] for name in ("boundary_uncertainty", "deformation_mm3", "deformation_ln_se")}}
    visits = frame[["subject", "level", "session"]].assign(
        **{name: values.astype(float) for name, values in sources.items()})
    first = visits[visits["session"] == BASELINE].drop(columns="session")
    pairs = visits[visits["session"] != BASELINE].merge(first, on=["subject", "level"], how="left",
                                                        suffixes=("_after", "_before"), validate="many_to_one")
    pairs = pairs.rename(columns={f"{what}mm3_{when}": f"{what}{when}_mm3" for what in ("", "true_")
                                  for when in ("before", "after")})
    pairs["change_percent"] = 100 * (pairs["after_mm3"] / pairs["before_mm3"] - 1)
    pairs = pairs.rename(columns={"true_percent_after": "true_percent"}).drop(columns="true_percent_before")
    pairs["error_percent"] = pairs["change_percent"] - pairs["true_percent"]
    return pairs


def within_disc_cv(first: ArrayLike, second: ArrayLike) -> float:
    """CV of one measurement from two of each disc, per cent; not a number where no disc has both.

    The within-disc SD of ln volume, sqrt(mean(d^2 / 2)), back-transformed as in
    `statistics.estimators.reliability.measurement_error`.
    """
    d = np.log(np.asarray(second, float)) - np.log(np.asarray(first, float))
    d = d[np.isfinite(d)]
    return 100 * math.expm1(math.sqrt(float((d**2).mean()) / 2)) if d.size else math.nan


def summarise_method(frame: pd.DataFrame, method: VolumeMethod, errors: ErrorsOf | None) -> MethodSummary:
    """The subjects of one condition, measured in one way.

    Parameters
    ----------
    frame : DataFrame, as in `CHANGE_DISCS`, one condition
    errors : by method; None where they are not known
    """
    pairs = pairs_of(frame, method).dropna(subset="true_percent")
    again, measured = pairs[pairs["session"] == REPEAT], pairs.dropna(subset="error_percent")
    known = measured.dropna(subset=["true_before_mm3", "true_after_mm3"])
    true = frame.dropna(subset="true_mm3")
    summary = MethodSummary(
        volume_errors(volumes_of(true, method), true["true_mm3"], true["level"]),
        pairs=len(pairs), pairs_missing=len(pairs) - len(measured), unnamed=100 * _mean(~frame["named"].astype(bool)),
        cv=within_disc_cv(again["before_mm3"], again["after_mm3"]),
        change_error=float(measured["error_percent"].mean()), change_error_sd=float(measured["error_percent"].std()),
        arvd=100 * _mean([arvd(p.true_before_mm3, p.true_after_mm3, p.after_mm3) for p in known.itertuples()]),
        slope=_slope(measured["true_percent"], measured["change_percent"]))
    if not errors or not knows_errors(method, errors):
        return summary
    return _with_intervals(summary, frame, pairs, method, errors)


def knows_errors(method: VolumeMethod, errors: ErrorsOf) -> bool:
    """Whether errors of a method, or for deformation of joint volumes at least, are known."""
    return method in errors or (method == VolumeMethod.DEFORMATION and VolumeMethod.JOINT in errors)


def _with_intervals(summary: MethodSummary, frame: pd.DataFrame, pairs: pd.DataFrame, method: VolumeMethod,
                    errors: ErrorsOf) -> MethodSummary:
    """The summary with what standard errors say. Comparisons with what is not a number are false, as they must be."""
    frame = frame.dropna(subset="true_mm3")
    volume = volumes_of(frame, method)
    soft = frame["boundary_uncertainty"] if method in FROM_ALL_VISITS else 0.0 * volume
    truth = (errors.get(method) or errors[VolumeMethod.JOINT]).truth
    volume_reach = half_width(1) * volume * [truth.sd(s) for s in soft]
    before, after = (_repeat_sd(pairs, when, method, errors) for when in ("before", "after"))
    reach = half_width(1) * pd.Series([change_se_percent(*row) for row in zip(pairs["change_percent"], before, after,
                                                                              strict=True)], pairs.index, dtype=float)
    same, more, change = pairs["session"] == REPEAT, pairs["session"] == GROWN, pairs["change_percent"]
    return replace(
        summary,
        unchanged=100 * _mean(change[same].abs() <= reach[same]),
        rise=100 * _mean(change[more] > reach[more]),
        volume_covered=100 * _mean((volume - frame["true_mm3"]).abs() <= volume_reach),
        change_covered=100 * _mean(pairs["error_percent"].abs() <= reach))


def _repeat_sd(pairs: pd.DataFrame, when: str, method: VolumeMethod, errors: ErrorsOf) -> list[float]:
    """SD of a repeated volume, relative, of each pair's visit `when`: before or after."""
    if method not in FROM_ALL_VISITS:
        return [errors[method].repeat.sd()] * len(pairs)
    sds = []
    for deformed, deformation_se, boundary in zip(*(pairs[f"{name}_{when}"] for name in (
            "deformation_mm3", "deformation_ln_se", "boundary_uncertainty")), strict=True):
        by_deformation = method == VolumeMethod.DEFORMATION and deformed > 0
        known = errors.get(VolumeMethod.DEFORMATION if by_deformation else VolumeMethod.JOINT)
        sds.append(known.repeat.sd(deformation_se if by_deformation else boundary) if known else math.nan)
    return sds


def _slope(true: pd.Series, measured: pd.Series) -> float:
    return float(linregress(true, measured).slope) if len(true) > 2 and np.ptp(true) > 1 else math.nan


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return float(np.mean(listed)) if listed else math.nan
