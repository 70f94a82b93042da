"""Means of volume with their intervals, and of accuracy, as measured, before any model. Tests nothing."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from bedrest.findings import render
from bedrest.io.tables.finding_cells import findings_of
from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import CHANGE_BANDS, MEASURES, Col, Table
from bedrest.vocabulary import LEVELS, MEASURED

_COLUMN = {c.name: c for c in MEASURES.columns}
GROUP_MEANS = Table("group_means", "mean disc volume of a group at a visit, one row per level and mask source", (
    _COLUMN["source"], _COLUMN["group"], _COLUMN["session"], _COLUMN["study_day"], _COLUMN["phase"], _COLUMN["level"],
    Col("n", "int", "subjects in the mean", "1", minimum=0),
    Col("mean_mm3", "float", "mean volume", "mm3", required=False, minimum=0),
    Col("sd_mm3", "float", "standard deviation between subjects (n - 1)", "mm3", required=False, minimum=0),
    Col("ci_low_mm3", "float", "lower end of the t interval of the mean", "mm3", required=False),
    Col("ci_high_mm3", "float", "upper end of the t interval of the mean", "mm3", required=False),
    Col("confidence_level", "float", "level of the interval", "1"),
), ("source", "group", "session", "level"))


def group_means(measures: pd.DataFrame, *, confidence_level: float = 0.95) -> pd.DataFrame:
    """Mean, SD and t interval of volume by source, group, session and level, as in `GROUP_MEANS`.

    Failed rows are left out, so n differs between rows; unnamed discs are left out. In the order of the study; a group
    without a single usable disc keeps its row with n = 0; SD and interval are NaN below n = 2. `study_day` is the
    median of the group.
    """
    named = measures[measures["level"].isin(LEVELS)]
    rows = []
    for (source, group, session, level), discs in named.groupby(["source", "group", "session", "level"], sort=False):
        usable = discs.loc[discs["status"].isin(MEASURED), "volume_mm3"].dropna().to_numpy(dtype=np.float64)
        n = usable.size
        mean = float(usable.mean()) if n else math.nan
        sd = float(usable.std(ddof=1)) if n > 1 else math.nan
        half = sd / math.sqrt(n) * float(stats.t.ppf((1 + confidence_level) / 2, n - 1)) if n > 1 else math.nan
        rows.append({"source": source, "group": group, "session": session, "level": level,
                     "study_day": float(discs["study_day"].median()), "phase": str(discs["phase"].iloc[0]), "n": n,
                     "mean_mm3": mean, "sd_mm3": sd, "ci_low_mm3": mean - half, "ci_high_mm3": mean + half,
                     "confidence_level": confidence_level})
    return typed_frame(rows, GROUP_MEANS)


ABSOLUTE_CHANGE = Table("absolute_change", "mean absolute change of volume, one row per disc level or subject, visit "
                        "and mask source", (
    Col("by", "str", "what one row is about", values=("level", "subject")),
    Col("name", "str", "the level or the subject"),
    _COLUMN["session"], _COLUMN["source"],
    Col("n", "int", "discs in the mean", "1", minimum=0),
    Col("mean_absolute_percent", "float", "mean of the change without its sign", "%", required=False, minimum=0),
    Col("sd_percent", "float", "its standard deviation over the discs (n - 1)", "%", required=False, minimum=0),
), ("by", "name", "session", "source"))


def absolute_change_means(change: pd.DataFrame) -> pd.DataFrame:
    """Mean absolute volume change of each level and of each subject, as in `ABSOLUTE_CHANGE` and Fig. 10 of Li et al.
    2018.

    Li X. et al. (2018), Med. Image Anal. 45, 41-54. Without their sign, errors do not cancel: the mean of unchanged
    discs is above 0 by the method's error. Where a disc and visit have rows of both sources, it counts only if both are
    known, so that the means of both are over the same discs. Levels from top to bottom, then subjects by name; a level
    or subject without any known change has n = 0.
    """
    named = change[change["level"].isin(LEVELS)].assign(percent=change["change_percent"].abs())
    key = ["subject", "level", "session"]
    unknown = named.loc[named["percent"].isna(), key].drop_duplicates()
    usable = named.merge(unknown, on=key, how="left", indicator="lost").query("lost == 'left_only'")
    days = named.groupby("session")["study_day"].median().sort_values()
    rows = []
    for by, names in (("level", LEVELS), ("subject", sorted(set(named["subject"])))):
        measured = set(named.groupby([by, "session", "source"]).groups)
        means = usable.groupby([by, "session", "source"])["percent"].agg(["size", "mean", "std"]).to_dict("index")
        for name, session, source in product(names, days.index, dict.fromkeys(named["source"])):
            if (name, session, source) not in measured:
                continue
            row = means.get((name, session, source), {"size": 0, "mean": math.nan, "std": math.nan})
            rows.append({"by": by, "name": name, "session": session, "source": source, "n": row["size"],
                         "mean_absolute_percent": row["mean"], "sd_percent": row["std"]})
    return typed_frame(rows, ABSOLUTE_CHANGE)


def change_bands(change: pd.DataFrame) -> pd.DataFrame:
    """Mean change and one SD either way, by source, group, session and level, as in `schemas.CHANGE_BANDS`.

    Failed rows are left out; `study_day` is the median of the group.
    """
    usable = change[change["status"].isin(MEASURED) & change["change_percent"].notna()]
    rows = []
    for (source, group, session, level), discs in usable.groupby(["source", "group", "session", "level"], sort=False):
        mean, sd = discs["change_percent"].mean(), discs["change_percent"].std(ddof=1)
        rows.append({"source": source, "group": group, "session": session,
                     "study_day": float(discs["study_day"].median()), "level": level, "n": len(discs),
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
    """Mean agreement with reference masks, one row per level; failed rows count for nothing; for reading."""
    return accuracy.groupby("level", sort=False).agg(**{
        "n": ("dice", "count"), "mean Dice": ("dice", "mean"), "lowest Dice": ("dice", "min"),
        "MLD (mm)": ("centre_distance_mm", "mean"), "mean ASSD (mm)": ("assd_mm", "mean"),
        "mean volume error (%)": ("volume_error_percent", "mean"), "its SD (%)": ("volume_error_percent", "std"),
    }).reset_index()


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


def volume_methods(measures: pd.DataFrame) -> pd.DataFrame:
    """How volumes counted and of single visits lie to `volume_mm3`, one row per level and method; for reading.

    From measures of one source; discs without a volume count for nothing. Mean and SD of (other - volume_mm3) over
    volume_mm3 in per cent: of voxels counted, and of this visit's probabilities summed.
    """
    known = measures[measures["volume_mm3"].notna() & measures["level"].isin(LEVELS)]
    apart = known.assign(**{name: 100 * (known[column] / known["volume_mm3"] - 1)
                            for name, column in (("counted", "volume_voxels_mm3"), ("single", "volume_single_mm3"))})
    means = apart.groupby(["level", "volume_method"], sort=False).agg(
        n=("volume_mm3", "count"), **{f"{name}, {what} (%)": (name, how) for name in ("counted", "single")
                                      for what, how in (("mean", "mean"), ("SD", "std"))}).reset_index()
    return means.sort_values(["level", "volume_method"], key=lambda c: c.map({v: i for i, v in enumerate(LEVELS)})
                             if c.name == "level" else c, ignore_index=True)


def volume_methods_words(measures: pd.DataFrame) -> str:
    """How many discs were measured by which method, in a sentence; `measures` of one source."""
    counts = measures.loc[measures["volume_mm3"].notna(), "volume_method"].value_counts()
    listed = ", ".join(f"{n} {method}" for method, n in sorted(counts.items()))
    return f"Discs by volume_method: {listed or 'none was measured'}."


def failure_counts(failures: pd.DataFrame) -> pd.DataFrame:
    """How often each finding was made, the most frequent first, with the sentence of its first case; for reading.

    A row may hold several findings: each counts.
    """
    each = pd.DataFrame([
        {"status": row["status"], "stage": row["stage"], "code": f.code.value, "subject": row["subject"],
         "example": render(f)}
        for row, findings in zip(failures.to_dict("records"), findings_of(failures), strict=True) for f in findings
    ], columns=["status", "stage", "code", "subject", "example"])
    counts = each.groupby(["status", "stage", "code"]).agg(
        cases=("subject", "size"), subjects=("subject", "nunique"), example=("example", "first"))
    return counts.reset_index().sort_values(["cases", "status", "code"], ascending=[False, True, True],
                                            ignore_index=True)
