"""Measured and true volumes -> their bias, level by level. Knows nothing of images and of networks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
from bedrest.vocabulary import LEVELS


@dataclass(frozen=True)
class VolumeErrors:
    """Signed errors of volumes, per cent; not a number where nothing was measured.

    Attributes
    ----------
    n, n_missing : int
        Discs at a visit with a true volume, and how many of them have no measured one.
    bias, worst : float
        Mean of (measured - true) / true over all discs, and over those of the level where it is farthest from 0.
    worst_level : str
    by_level : level to mean and SD of that error
    """

    n: int
    n_missing: int
    bias: float
    worst: float
    worst_level: str
    by_level: dict[str, tuple[float, float]]


def errors_percent(measured: pd.Series, true: pd.Series) -> pd.Series:
    """(measured - true) / true of every volume, per cent; not a number where there is no volume."""
    return 100 * (measured - true) / true


def volume_errors(measured: pd.Series, true: pd.Series, level: pd.Series) -> VolumeErrors:
    """Errors of many discs.

    Parameters
    ----------
    measured, true : volumes in mm3, one a disc at a visit; a measured one may be missing
    level : of each disc
    """
    error = errors_percent(measured, true)
    by_level = {name: (float(errors.mean()), float(errors.std()))
                for name in LEVELS if len(errors := error[level == name])}
    worst = max((name for name, (mean, _) in by_level.items() if not math.isnan(mean)),
                key=lambda name: abs(by_level[name][0]), default="")
    return VolumeErrors(n=len(error), n_missing=int(error.isna().sum()), bias=float(error.mean()),
                        worst=by_level[worst][0] if worst else math.nan, worst_level=worst, by_level=by_level)
