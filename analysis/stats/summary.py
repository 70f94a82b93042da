"""Means of volume with their intervals, and of accuracy, as measured, before any model. Tests nothing."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats

from analysis.schemas import MEASURES, Col, Table
from analysis.tables.frames import typed_frame
from analysis.vocabulary import LEVELS, Status

_COLUMN = {c.name: c for c in MEASURES.columns}


def _mm3(name: str, meaning: str, minimum: float | None = None) -> Col:
    return Col(name, "float", meaning, "mm3", required=False, minimum=minimum)


GROUP_MEANS = Table("group_means", "mean disc volume of a group at a visit, one row a level and mask source", (
    _COLUMN["source"], _COLUMN["group"], _COLUMN["session"], _COLUMN["study_day"], _COLUMN["phase"], _COLUMN["level"],
    Col("n", "int", "subjects in the mean", "1", minimum=0),
    _mm3("mean_mm3", "mean volume", 0),
    _mm3("sd_mm3", "standard deviation between subjects (n - 1)", 0),
    _mm3("ci_low_mm3", "lower end of the t interval of the mean"),
    _mm3("ci_high_mm3", "upper end of the t interval of the mean"),
    Col("confidence_level", "float", "level of the interval", "1"),
), ("source", "group", "session", "level"))


def group_means(measures: pd.DataFrame, *, confidence_level: float = 0.95) -> pd.DataFrame:
    """Mean, SD and interval of volume by source, group, session and level.

    Parameters
    ----------
    measures : DataFrame
        As in `schemas.MEASURES`. Failed rows are left out, so n differs between rows; unnamed discs are left out.
    confidence_level : float
        Of the t interval, 0 to 1.

    Returns
    -------
    DataFrame, as in `GROUP_MEANS`
        In the order of the study; a group without a single usable disc keeps its row with n = 0; SD and interval are
        NaN below n = 2. `study_day` is the median of the group.
    """
    named = measures[measures["level"].isin(LEVELS)]
    rows = []
    for (source, group, session, level), own in named.groupby(["source", "group", "session", "level"], sort=False):
        usable = own.loc[own["status"] != Status.FAILED, "volume_mm3"].dropna().to_numpy(dtype=np.float64)
        n = usable.size
        mean = float(usable.mean()) if n else math.nan
        sd = float(usable.std(ddof=1)) if n > 1 else math.nan
        half = sd / math.sqrt(n) * float(stats.t.ppf((1 + confidence_level) / 2, n - 1)) if n > 1 else math.nan
        rows.append(
            {
                "source": source,
                "group": group,
                "session": session,
                "study_day": float(own["study_day"].median()),
                "phase": str(own["phase"].iloc[0]),
                "level": level,
                "n": n,
                "mean_mm3": mean,
                "sd_mm3": sd,
                "ci_low_mm3": mean - half,
                "ci_high_mm3": mean + half,
                "confidence_level": confidence_level,
            }
        )
    return typed_frame(rows, GROUP_MEANS)


CHANGE_BANDS = Table("change_bands", "spread of a group's changes at a visit, one row a level and mask source", (
    *(_COLUMN[c] for c in ("source", "group", "session", "study_day", "level")),
    Col("n", "int", "subjects with a change", "1", minimum=0),
    Col("mean_percent", "float", "mean change", "%"),
    Col("low_percent", "float", "mean minus one SD between subjects; empty below n = 2", "%", required=False),
    Col("high_percent", "float", "mean plus one SD", "%", required=False),
), ("source", "group", "session", "level"))


def change_bands(change: pd.DataFrame) -> pd.DataFrame:
    """Mean change and one SD either way, by source, group, session and level: how a group's discs spread.

    Parameters
    ----------
    change : DataFrame, as in `schemas.CHANGE`; failed rows are left out

    Returns
    -------
    DataFrame, as in `CHANGE_BANDS`; `study_day` is the median of the group
    """
    usable = change[(change["status"] != Status.FAILED) & change["change_percent"].notna()]
    rows = []
    for (source, group, session, level), own in usable.groupby(["source", "group", "session", "level"], sort=False):
        mean, sd = own["change_percent"].mean(), own["change_percent"].std(ddof=1)
        rows.append({"source": source, "group": group, "session": session,
                     "study_day": float(own["study_day"].median()), "level": level, "n": len(own),
                     "mean_percent": mean, "low_percent": mean - sd, "high_percent": mean + sd})
    return typed_frame(rows, CHANGE_BANDS)


def with_marginal_means(grid: pd.DataFrame) -> pd.DataFrame:
    """A grid of subjects by discs with a last column and a last row `mean`; missing cells count for nothing.

    The corner is the mean of all cells, not of the means: a subject with few discs weighs little.
    """
    framed = grid.assign(mean=grid.mean(axis=1))
    framed.loc["mean"] = [*grid.mean(axis=0), float(np.nanmean(grid.to_numpy()))]
    return framed


def accuracy_means(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Mean agreement with reference masks, one row a level; for reading.

    Parameters
    ----------
    accuracy : DataFrame, as in `schemas.ACCURACY`; failed rows count for nothing
    """
    return accuracy.groupby("level", sort=False).agg(
        n=("dice", "count"), mean_dice=("dice", "mean"), lowest_dice=("dice", "min"),
        MLD_mm=("centre_distance_mm", "mean"), mean_ASSD_mm=("assd_mm", "mean"),
        mean_volume_error_percent=("volume_error_percent", "mean"), SD_of_it=("volume_error_percent", "std"),
    ).reset_index()


def accuracy_words(accuracy: pd.DataFrame) -> str:
    """Agreement with reference masks of all discs together, in a sentence."""
    means = accuracy[["dice", "centre_distance_mm", "volume_error_percent"]].mean()
    return (f"All discs: mean Dice {means['dice']:.3f}, MLD {means['centre_distance_mm']:.2f} mm, mean volume error "
            f"{means['volume_error_percent']:+.1f} %, n = {accuracy['dice'].count()} discs.")


def arvd_words(arvd: pd.DataFrame) -> str:
    """arvd of all discs together with the signed error beside it, in a sentence."""
    signed = 100 * arvd["signed_change_error"]
    return (f"All discs: mean arvd {100 * arvd['arvd'].mean():.2f} %; signed change error {signed.mean():+.2f} % "
            f"(SD {signed.std():.2f} %), n = {arvd['arvd'].count()} changes.")
