"""What was measured in visits made with known changes -> the study's error model, and how far changes can be trusted.

Knows nothing of images and of how visits are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from bedrest.calibration.fitting import enlargement, fit_part, recovery, rounded
from bedrest.io.tables.frames import text, typed_frame
from bedrest.longitudinal.error_model import ErrorModel, Errors
from bedrest.measurement.definition import Needs, Scale
from bedrest.measurement.registry import DISC_MEASURES, VOLUME
from bedrest.measurement.volumes import VOLUME_SINGLE, VOLUME_VOXELS
from bedrest.schemas import CALIBRATION, MADE_VISITS
from bedrest.tables.change import change_se_percent, half_width, repeat_uncertainty
from bedrest.vocabulary import ALL_LEVELS, FROM_ALL_VISITS, LEVELS, MEASURED, ErrorsFrom, Source, Status, VolumeMethod

DETECTED_PERCENT = 3.0  # the change whose detection is reported
# By how much made visits flatter, since they share the noise of the scan they were made from: SD of the error of change
# between independent scans over that between made visits, docs/calibration.md.
SHARED_NOISE_FACTOR = 1.0
_WORSE = (Status.OK, Status.FLAGGED, Status.NOT_IN_VIEW, Status.FAILED)
_VOLUMES = (VOLUME.name, VOLUME_SINGLE.name, VOLUME_VOXELS.name)  # whose true change is known in every disc
_MEASURES = [m.name for m in DISC_MEASURES
             if m.scale is Scale.RATIO and not m.whole and m.needs in (Needs.MASK, Needs.PROBABILITY)]


def made_frame(measures: pd.DataFrame, joint: pd.DataFrame, true_percent: Mapping[str, Mapping[str, float]], *,
               reference: str, contrasts: str) -> pd.DataFrame:
    """One subject's rows of `schemas.MADE_VISITS`.

    `measures`, `joint`: as in `schemas.MEASURES` and `JOINT`, of the made visits. `true_percent`: made visit to level
    to the change of volume that was made. `reference`: the made reference visit. A disc without a value keeps its row.
    """
    of_disc = measures[measures["source"] == Source.AUTOMATIC].set_index(["session", "level"])
    doubts = joint.set_index(["session", "level"])[["grid_shifts_sd_percent"]].assign(
        boundary_uncertainty=repeat_uncertainty(joint))
    subject, rows = str(measures["subject"].iloc[0]), []
    for session, levels in true_percent.items():
        for level, made in levels.items():
            true = round(made, 1) + 0.0  # within what is wanted of it; unchanged is 0, not nearly
            keys = [(reference, level), (session, level)]
            sides = [of_disc.loc[k] if k in of_disc.index else None for k in keys]
            worst = max(sides, key=lambda s: 9 if s is None else _WORSE.index(s["status"]))
            status, reason = (Status.FAILED, "no such disc") if worst is None else (worst["status"], worst["reason"])
            for name in _MEASURES:
                before, after = (np.nan if s is None else float(s[name]) for s in sides)
                rows.append({
                    "subject": subject, "session": session, "level": level, "measure": name, "contrasts": contrasts,
                    "true_percent": true if name in _VOLUMES or true == 0 else np.nan, "reference_value": before,
                    "value": after, "change_percent": 100 * (after / before - 1) if before else np.nan,
                    **{f"{column}{suffix}": values.get(k, np.nan) for column, values in doubts.items()
                       for k, suffix in zip(keys, ("_reference", ""), strict=True)},
                    "volume_method": "" if sides[1] is None else text(sides[1]["volume_method"]),
                    "status": str(status), "reason": text(reason)})
    return typed_frame(rows, MADE_VISITS)


def fitted_errors(made: pd.DataFrame, shipped: ErrorModel | None) -> dict[str, dict[str, Errors]]:
    """Errors by contrasts and method: of a repeated measurement from `made`; against the truth as shipped, at least.

    `made`: as in `schemas.MADE_VISITS`. Flagged discs do not count: one that is cut off would speak for all. A set of
    contrasts without a measured disc has no errors.
    """
    fitted: dict[str, dict[str, Errors]] = {}
    sound = made[made["status"] == Status.OK].dropna(subset=["change_percent", "true_percent"])
    for contrasts, rows in sound.groupby("contrasts", sort=True):
        for method in (*FROM_ALL_VISITS, VolumeMethod.SINGLE):
            pairs = rows[rows["measure"] == (VOLUME.name if method in FROM_ALL_VISITS else VOLUME_SINGLE.name)]
            if method in FROM_ALL_VISITS:
                pairs = pairs[pairs["volume_method"] == method].dropna(subset="boundary_uncertainty")
            if len(pairs) > 1:
                fitted.setdefault(str(contrasts), {})[method.value] = _errors(
                    pairs, method, shipped.given(str(contrasts), method) if shipped else None)
    return fitted


def _errors(pairs: pd.DataFrame, method: VolumeMethod, shipped: Errors | None) -> Errors:
    true, measured = pairs["true_percent"].to_numpy(float), pairs["change_percent"].to_numpy(float)
    recovered = recovery(true, measured).recovered
    ln = np.log1p(measured / 100) - np.log1p(recovered * true / 100)
    both = np.hypot(pairs["boundary_uncertainty_reference"], pairs["boundary_uncertainty"]).to_numpy() / np.sqrt(2)
    discs = len(pairs[["subject", "level"]].drop_duplicates())  # whose errors differ more than those of subjects
    enlarged = enlargement(discs) * SHARED_NOISE_FACTOR
    repeat = fit_part(enlarged * ln / np.sqrt(2), both if method in FROM_ALL_VISITS else None)
    usual = float(np.mean(both)) if method is VolumeMethod.JOINT else 0.0
    base, shifts_sd = shipped or Errors(repeat, repeat, 0), pairs["grid_shifts_sd_percent"].dropna() / 100
    if len(shifts_sd):
        base = replace(base, usual_shifts_sd=rounded(float(np.sqrt((shifts_sd**2).mean()))))
    truth = base.truth if method is VolumeMethod.DEFORMATION else max(base.truth, repeat, key=lambda p: p.sd(usual))
    return replace(base, truth=truth, repeat=repeat, discs=discs, recovered=rounded(recovered),
                   origin=ErrorsFrom.STUDY)


def calibration_frame(made: pd.DataFrame, shipped: ErrorModel | None) -> pd.DataFrame:
    """Rows of `schemas.CALIBRATION` from those of `schemas.MADE_VISITS`; `shipped`: errors beside the weights."""
    judged = made.assign(**{f"reach{s}": np.nan for s in ("", "_shipped")}, recovered=1.0)
    for subject in made["subject"].unique():
        others = made[made["subject"] != subject]
        theirs = fitted_errors(others if len(others) else made, shipped)
        for errors, suffix in ((ErrorModel("", theirs), ""), (shipped, "_shipped")):
            rows = judged[(judged["subject"] == subject) & (judged["measure"] == VOLUME.name)]
            for row in rows.itertuples():
                of = errors.given(row.contrasts, row.volume_method) if errors else None
                if of is not None and row.status in MEASURED:
                    together = row.volume_method in FROM_ALL_VISITS
                    sds = [of.repeat_sd(row.volume_method, u if together else 0.0, s / 100)
                           for u, s in ((row.boundary_uncertainty_reference, row.grid_shifts_sd_percent_reference),
                                        (row.boundary_uncertainty, row.grid_shifts_sd_percent))]
                    judged.loc[row.Index, f"reach{suffix}"] = half_width(change_se_percent(row.change_percent, *sds))
                    if not suffix:
                        judged.loc[row.Index, "recovered"] = of.recovered
    rows = [_row(discs, contrasts, measure, level) for (contrasts, measure), group in
            judged.groupby(["contrasts", "measure"], sort=False)
            for level in (*(v for v in LEVELS if v in set(group["level"])), ALL_LEVELS)
            if len(discs := group if level == ALL_LEVELS else group[group["level"] == level])]
    return typed_frame(rows, CALIBRATION)


def _row(discs: pd.DataFrame, contrasts: str, measure: str, level: str) -> dict[str, object]:
    """One row of `schemas.CALIBRATION`."""
    known = discs.dropna(subset=["true_percent", "change_percent"])
    true, measured = known["true_percent"].to_numpy(float), known["change_percent"].to_numpy(float)
    sound, error = (known["status"] == Status.OK).to_numpy(), measured - true
    line = recovery(true[sound], measured[sound])
    row: dict[str, object] = {
        "contrasts": contrasts, "measure": measure, "level": level, "n_subjects": discs["subject"].nunique(),
        "n_values": len(known), "n_lost": int((~discs["status"].isin(MEASURED)).sum()),
        "n_flagged": int((~sound).sum()), "bias_percent": error[sound].mean() if sound.any() else np.nan,
        "sd_percent": error[sound].std(ddof=1) if sound.sum() > 1 else np.nan,
        "slope": line.slope, "slope_low": line.low, "slope_high": line.high,
        "method": "Theil-Sen" if line.slope == line.slope else ""}
    if measure == VOLUME.name:
        reach, shipped = known["reach"].to_numpy(), known["reach_shipped"].to_numpy()
        three = np.abs(np.abs(true) - DETECTED_PERCENT) < 0.5
        recovered = known["recovered"].to_numpy()
        low, high = measured - reach, measured + reach
        held = (np.minimum(low, low / recovered) <= true) & (true <= np.maximum(high, high / recovered))
        row |= {"unchanged_percent": _share(np.abs(measured) <= reach, (true == 0) & ~np.isnan(reach)),
                "detected_percent": _share(np.sign(true) * measured > reach, three & ~np.isnan(reach)),
                "coverage_percent": _share(held, ~np.isnan(reach)),
                "coverage_shipped_percent": _share(np.abs(error) <= shipped, ~np.isnan(shipped))}
    return row


def _share(hit: np.ndarray, among: np.ndarray) -> float:
    """Per cent of those among which are hit; not a number where there are none."""
    return 100 * float(hit[among].mean()) if among.any() else float("nan")


def badge_words(calibration: pd.DataFrame, study: str) -> str:
    """One or more sentences for every report: what of a true change is recovered in this study's own scans.

    `calibration`: as in `schemas.CALIBRATION`, without rows where none was made. `study`: name of its study.toml.
    """
    rows = calibration[(calibration["measure"] == VOLUME.name) & (calibration["level"] == ALL_LEVELS)
                       & calibration["slope"].notna()]
    if rows.empty:
        return ("How well change is measured in this study's own scans is not known: its errors were estimated on "
                f"synthetic scans. To measure it: bedrest calibrate {study}")
    several = len(rows) > 1
    return " ".join(
        f"Of a true {DETECTED_PERCENT:.0f} % in this study's own scans{f' ({r.contrasts})' if several else ''}, "
        f"{DETECTED_PERCENT * r.slope:.1f} % was recovered, SD {r.sd_percent:.1f} % ({r.n_values} changes in visits "
        f"made from {r.n_subjects} subject(s)' scans; {r.n_flagged} flagged and left out, {r.n_lost} lost)."
        for r in rows.itertuples())
