"""Is the method valid: automatic against reference masks, and repeated scans against each other. Tables in, tables out.

Discs and visits of one subject are not independent. Where a subject brings several values, intervals come from
resampled subjects; where it brings one, from the exact distributions. Column `method` says which. Must not know how
the numbers are computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from bedrest.io.tables.frames import typed_frame
from bedrest.measurement.registry import VOLUME
from bedrest.schemas import AGREEMENT, REPEATABILITY
from bedrest.statistics.estimators.bland_altman import Limits, limits_of_agreement, proportional_bias
from bedrest.statistics.estimators.intervals import REPLICATES, Clusters, Estimate
from bedrest.statistics.estimators.method_comparison import passing_bablok
from bedrest.statistics.estimators.reliability import intraclass, measurement_error
from bedrest.statistics.study.families import Row
from bedrest.vocabulary import ALL_LEVELS, LEVELS, MEASURED, Phase, Status

ONE_A_SUBJECT = "one value a subject: t, noncentral t (Carkeet 2015), F, chi-square and Kendall intervals"
SEVERAL_A_SUBJECT = (f"several values a subject: variance components (Bland and Altman 2007), subjects resampled "
                     f"{REPLICATES} times; lines: clustered by subject")


def agreement_frame(accuracy: pd.DataFrame, arvd: pd.DataFrame, *, confidence_level: float,
                    seed: int = 0) -> pd.DataFrame:
    """Automatic minus reference: volume and change, each level and all discs together, as in `schemas.AGREEMENT`.

    Change is V2 - V1 of each method; in % of vg1, the reference volume at the first visit, for both, so that their
    difference in % is the signed change error. Failed rows and discs without a level are left out and counted in
    `n_failed`. A level with too few subjects keeps its row: failed, with reason. Flagged: something could not be
    computed, or flagged discs are in it. No rows for a quantity that no subject has reference masks for. The numbers of
    a row do not depend on which other rows there are.
    """
    rows = []
    for part, (quantity, pairs) in enumerate((("volume", _volume_pairs(accuracy)), ("change", _change_pairs(arvd)))):
        for place, level, discs in _by_level(pairs):
            rng = np.random.default_rng((seed, part, place))
            row = _agreement_row(quantity, discs, rng=rng, confidence_level=confidence_level)
            rows.append({"quantity": quantity, "level": level, "confidence_level": confidence_level, **row})
    return typed_frame(({**row, "measure": VOLUME.name} for row in rows), AGREEMENT)


def repeatability_frame(measures: pd.DataFrame, *, confidence_level: float, seed: int = 0) -> pd.DataFrame:
    """Error of repeated measurement from subjects with two or more baseline visits, each level and all discs together.

    As in `schemas.REPEATABILITY`. Failed and unnamed discs, and discs measured at one baseline visit only, are left out
    and counted in `n_left_out`. No rows when no subject has two baseline visits; otherwise a level with too few
    subjects keeps its row: failed, with reason. SEM and CV use all baseline visits; the ICC as many, from the first on,
    as every disc has; the limits of agreement the last and the first.
    """
    baseline = measures[measures["phase"] == Phase.BASELINE]
    rows = []
    for source, visits in baseline.groupby("source", sort=False):
        repeated = visits.groupby("subject")["session"].transform("nunique") > 1
        for place, level, discs in _by_level(_repeats(visits[repeated])):
            rng = np.random.default_rng((seed, place))
            row = _repeatability_row(discs, rng=rng, confidence_level=confidence_level)
            rows.append({"source": source, "level": level, "confidence_level": confidence_level, **row})
    return typed_frame(({**row, "measure": VOLUME.name} for row in rows), REPEATABILITY)


def _volume_pairs(accuracy: pd.DataFrame) -> pd.DataFrame:
    automatic, reference = accuracy["volume_predicted_mm3"], accuracy["volume_reference_mm3"]
    return _usable(accuracy, pd.DataFrame({
        "automatic": automatic, "reference": reference, "difference_mm3": automatic - reference,
        "difference_percent": accuracy["volume_error_percent"], "arvd": np.nan,
    }), needed=("difference_mm3", "difference_percent"))


def _change_pairs(arvd: pd.DataFrame) -> pd.DataFrame:
    automatic, reference = arvd["vt2_mm3"] - arvd["vt1_mm3"], arvd["vg2_mm3"] - arvd["vg1_mm3"]
    return _usable(arvd, pd.DataFrame({
        "automatic": 100 * automatic / arvd["vg1_mm3"], "reference": 100 * reference / arvd["vg1_mm3"],
        "difference_mm3": automatic - reference,
        "difference_percent": 100 * arvd["signed_change_error"], "arvd": arvd["arvd"],
    }), needed=("difference_mm3", "difference_percent", "arvd"))


def _usable(rows: pd.DataFrame, values: pd.DataFrame, *, needed: tuple[str, ...]) -> pd.DataFrame:
    finite = np.isfinite(values[list(needed)].to_numpy(dtype=np.float64)).all(axis=1)
    usable = finite & rows["level"].isin(LEVELS) & rows["status"].isin(MEASURED)
    return pd.concat([rows[["subject", "level"]], values], axis=1).assign(
        usable=usable, flagged=rows["status"] == Status.FLAGGED)


def _repeats(visits: pd.DataFrame) -> pd.DataFrame:
    """Baseline volumes in order of time; usable when the disc has two or more."""
    rows = visits.sort_values("study_day", kind="stable")
    measured = rows["level"].isin(LEVELS) & rows["status"].isin(MEASURED) & (rows["volume_mm3"] > 0)
    repeated = measured.groupby([rows["subject"], rows["level"]]).transform("sum") > 1
    return rows[["subject", "level", "volume_mm3"]].assign(usable=measured & repeated,
                                                           flagged=rows["status"] == Status.FLAGGED)


def _by_level(rows: pd.DataFrame) -> Iterator[tuple[int, str, pd.DataFrame]]:
    """Place, name and rows of each level that occurs, from the top down, then of all discs together."""
    present = set(rows["level"])
    for number, level in enumerate(LEVELS):
        if level in present:
            yield number, level, rows[rows["level"] == level]
    if len(rows):
        yield len(LEVELS), ALL_LEVELS, rows


def _agreement_row(quantity: str, pairs: pd.DataFrame, *, rng: np.random.Generator, confidence_level: float) -> Row:
    used = pairs[pairs["usable"]]
    clusters = Clusters.of(used["subject"].to_numpy(), rng=rng)
    at: dict[str, Any] = {"clusters": clusters, "confidence_level": confidence_level}
    row: Row = {"n_subjects": clusters.n, "n_values": len(used), "n_failed": len(pairs) - len(used),
                "method": SEVERAL_A_SUBJECT if clusters.repeated else ONE_A_SUBJECT}
    mm3, percent = (limits_of_agreement(used[f"difference_{u}"].to_numpy(), **at) for u in ("mm3", "percent"))
    if not np.isfinite(mm3.bias.value):
        return {**row, "status": str(Status.FAILED), "reason": mm3.reason}
    automatic, reference = (used[c].to_numpy() for c in ("automatic", "reference"))
    slope = proportional_bias(automatic, reference, **at)
    line = passing_bablok(reference, automatic, **at)
    icc = intraclass(np.column_stack([automatic, reference]), **at)
    suffix = "_mm3" if quantity == "volume" else "_percent"
    row |= {
        **_limit_columns(mm3, "_mm3"), **_limit_columns(percent, "_percent"),
        **_columns("proportional_slope", slope.slope), "proportional_p": slope.p,
        **_columns("passing_bablok_slope", line.slope), **_columns("passing_bablok_intercept", line.intercept, suffix),
        **_columns("icc_agreement", icc.agreement), **_columns("icc_consistency", icc.consistency),
    }
    if quantity == "change":
        row["mean_arvd_percent"] = 100 * float(used["arvd"].mean())
    return {**row, **_status(used, {"limits in mm3": mm3.reason, "limits in %": percent.reason,
                                    "proportional bias": slope.reason, "Passing-Bablok": line.reason,
                                    "ICC": icc.reason})}


def _repeatability_row(visits: pd.DataFrame, *, rng: np.random.Generator, confidence_level: float) -> Row:
    used = visits[visits["usable"]]
    discs = [d["volume_mm3"].to_numpy() for _, d in used.groupby(["subject", "level"])]
    owners = np.array([subject for (subject, _), _ in used.groupby(["subject", "level"])])
    at: dict[str, Any] = {"clusters": Clusters.of(owners, rng=rng), "confidence_level": confidence_level}
    values = Clusters.of(used["subject"].to_numpy(), rng=rng)
    row: Row = {"n_subjects": values.n, "n_values": len(used), "n_left_out": len(visits) - len(used),
                "method": SEVERAL_A_SUBJECT if at["clusters"].repeated else ONE_A_SUBJECT}
    error = measurement_error(used["volume_mm3"].to_numpy(), targets=used.groupby(["subject", "level"]).ngroup(),
                              clusters=values, confidence_level=confidence_level)
    if not np.isfinite(error.sem.value):
        return {**row, "status": str(Status.FAILED), "reason": error.reason}
    n_visits = min(d.size for d in discs)
    icc = intraclass(np.array([d[:n_visits] for d in discs]), **at)
    limits = limits_of_agreement(np.array([100 * (d[-1] - d[0]) / d[0] for d in discs]), **at)
    return {
        **row, **_columns("cv", error.cv_percent, "_percent"), **_columns("sem", error.sem, "_mm3"),
        **_columns("sdc", error.sdc, "_mm3"), **_columns("sdc", error.sdc_percent, "_percent"),
        **_columns("icc_agreement", icc.agreement), **_columns("icc_consistency", icc.consistency),
        **_limit_columns(limits, "_percent"),
        **_status(used, {"error": error.reason, "ICC": icc.reason, "limits": limits.reason}),
    }


def _columns(name: str, estimate: Estimate, suffix: str = "") -> Row:
    return {f"{name}{suffix}": estimate.value, f"{name}_low{suffix}": estimate.low,
            f"{name}_high{suffix}": estimate.high}


def _limit_columns(limits: Limits, suffix: str) -> Row:
    return {**_columns("bias", limits.bias, suffix), f"sd{suffix}": limits.sd,
            **_columns("lower_limit", limits.lower, suffix), **_columns("upper_limit", limits.upper, suffix)}


def _status(used: pd.DataFrame, reasons: dict[str, str]) -> Row:
    notes = [f"{part}: {reason}" for part, reason in reasons.items() if reason]
    if flagged := int(used["flagged"].sum()):
        notes.append(f"{flagged} of {len(used)} values are of flagged discs")
    return {"status": str(Status.FLAGGED if notes else Status.OK), "reason": "; ".join(notes)}
