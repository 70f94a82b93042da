"""Named discs of a method against reference masks -> rows by disc, change, and the means as the papers define them.

A disc that was not found counts a Dice of 0 and a false detection, enters no distance and no volume error, and is
counted: the challenges judged a scan as a whole, where a lost disc costs Dice too. Knows nothing of networks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bedrest.findings import render_all
from bedrest.measurement.comparison.agreement import DiscAgreement, compare_masks, mean_sd
from bedrest.measurement.comparison.surfaces import mesh_hausdorff_mm
from bedrest.measurement.geometry import bounding_box
from bedrest.tables.arvd import arvd, signed_change_error
from bedrest.types import LabelMap
from bedrest.vocabulary import LEVEL_OF_LABEL, Status

NEAR_MM = 2.0  # Chen et al. 2016: a detection is right when its centre is at most so far off


@dataclass(frozen=True)
class ArvdSummary:
    """arvd over discs, per cent; see `tables.arvd.arvd`."""

    n: int
    mean: float
    median: float
    maximum: float


@dataclass(frozen=True)
class MethodScore:
    """Many discs together; the fields are columns of `records.METHOD_SCORES`, which says what each means."""

    n: int
    n_missing: int
    mld_mm: float
    sd_mm: float
    p2_percent: float
    mdoc_percent: float
    sddoc_percent: float
    any_name_percent: float
    maad_mm: float
    maad_sd_mm: float
    hausdorff_mm: float
    hausdorff_sd_mm: float
    levels_right_percent: float
    volume_error_percent: float
    volume_error_sd_percent: float
    n_changes: int
    arvd_percent: float
    arvd_median_percent: float
    arvd_max_percent: float
    change_error_percent: float
    change_error_sd_percent: float


@dataclass(frozen=True)
class DiscScore:
    """One disc of one scan against its true mask."""

    agreement: DiscAgreement
    level_right: bool  # see `level_is_right`

    def row(self) -> dict[str, object]:
        """As a row of a table of discs, without the scan it belongs to."""
        names = ("level", "dice", "centre_distance_mm", "volume_predicted_mm3", "volume_reference_mm3",
                 "volume_error_percent")
        return {**{n: getattr(self.agreement, n) for n in names}, "reason": render_all(self.agreement.findings),
                "right": self.level_right}


def level_is_right(predicted: NDArray[np.int32], reference: NDArray[np.int32], label: int) -> bool:
    """Is the disc called `label` the true one: each overlaps the other more than any disc of another name?

    `predicted, reference`: int32, shape (I, J, K), 0 = background, both by `vocabulary.LEVEL_OF_LABEL`.
    """
    pairs = ((predicted[reference == label], label), (reference[predicted == label], label))
    return all(_most_frequent(inside) == wanted for inside, wanted in pairs)


def _most_frequent(labels: NDArray[np.int32]) -> int:
    """The disc most frequent among voxels; 0 where there is none, and where two are equally frequent."""
    names, counts = np.unique(labels[labels > 0], return_counts=True)
    most = names[counts == counts.max()] if names.size else names
    return int(most[0]) if most.size == 1 else 0


def score_discs(predicted: LabelMap, reference: LabelMap, *, levels: Mapping[int, str]) -> list[DiscScore]:
    """Every disc of `levels` (label to level) in a mask against the true one, both on one grid."""
    agreements = compare_masks(predicted, reference, levels=levels, reference_levels=levels)
    return [
        DiscScore(agreement, level_is_right(predicted.data, reference.data, label))
        for label, agreement in zip(levels, agreements, strict=True)
    ]


def levels_of(reference: LabelMap) -> dict[int, str]:
    """Label to level of the discs that a reference mask holds."""
    return {k: v for k, v in LEVEL_OF_LABEL.items() if (reference.data == k).any()}


def disc_rows(predicted: LabelMap, reference: LabelMap) -> list[dict[str, Any]]:
    """Every disc of the reference mask as a row of `METHOD_DISCS`, without row, fold and scan.

    `predicted, reference`: LabelMap, shape (I, J, K), on one grid, labels by `vocabulary.LEVEL_OF_LABEL`.
    Raises GeometryError: the grids differ.
    """
    levels = levels_of(reference)
    voxel = reference.grid.voxel_volume_mm3
    any_name = _dice_under_any_name(predicted, reference, list(levels))
    rows = []
    for label, score in zip(levels, score_discs(predicted, reference, levels=levels), strict=True):
        rows.append({
            **score.row(), "dice_any_name": any_name[label], "maad_mm": score.agreement.maad_mm,
            "mesh_hausdorff_mm": _hausdorff(predicted, reference, label),
            "volume_reference_mm3": float((reference.data == label).sum() * voxel),
            "status": str(score.agreement.status),
        })
    return rows


def _dice_under_any_name(predicted: LabelMap, reference: LabelMap, labels: Sequence[int]) -> dict[int, float]:
    """Of each reference disc with the predicted one that fits it best, whatever its name; 0 where none touches it."""
    sizes = np.bincount(predicted.data.ravel())
    best = {}
    for label in labels:
        inside = reference.data == label
        shared = np.bincount(predicted.data[inside], minlength=len(sizes))
        best[label] = float(np.max(2 * shared[1:] / (sizes[1:] + inside.sum()), initial=0.0))
    return best


def _hausdorff(predicted: LabelMap, reference: LabelMap, label: int) -> float:
    masks = [m.data == label for m in (predicted, reference)]
    box = bounding_box(masks[0] | masks[1])
    assert box is not None  # the reference holds this disc
    return mesh_hausdorff_mm(masks[0][box], masks[1][box], spacing_mm=reference.grid.spacing_mm)


def failed_rows(reference: LabelMap, *, reason: str) -> list[dict[str, Any]]:
    """As `disc_rows`, where the method gave nothing for the scan."""
    voxel = reference.grid.voxel_volume_mm3
    return [{"level": level, "volume_reference_mm3": float((reference.data == label).sum() * voxel), "right": False,
             "status": str(Status.FAILED), "reason": reason} for label, level in levels_of(reference).items()]


def change_rows(discs: pd.DataFrame, *, reference_session: str) -> list[dict[str, Any]]:
    """Rows of `METHOD_CHANGES`: each disc of the reference masks at the reference visit and at another tested one.

    `discs`: DataFrame, as in `METHOD_DISCS`; a disc's visits may have been tested in different folds: volumes at visit
    1 and 2 then come from two networks.
    """
    volumes = {(r, s, v, lv): (reference, predicted) for r, s, v, lv, reference, predicted in discs[[
        "row", "subject", "session", "level", "volume_reference_mm3", "volume_predicted_mm3"]].itertuples(index=False)}
    rows = []
    for (row, subject, session, level), (vg2, vt2) in volumes.items():
        first = volumes.get((row, subject, reference_session, level))
        if session == reference_session or first is None:
            continue
        vg1, vt1 = first
        missing = [where for where, v in ((reference_session, vt1), (session, vt2)) if math.isnan(v)]
        rows.append({
            "row": row, "subject": subject, "session": session, "level": level,
            "reference_session": reference_session, "vg1_mm3": vg1, "vg2_mm3": vg2, "vt1_mm3": vt1, "vt2_mm3": vt2,
            "arvd_percent": 100 * arvd(vg1, vg2, vt2),
            "reference_baseline_error_percent": 100 * signed_change_error(vg1, vg2, vt1=vg1, vt2=vt2),
            "change_error_percent": 100 * signed_change_error(vg1, vg2, vt1=vt1, vt2=vt2),
            "reason": f"not found at {' and '.join(missing)}" if missing else "",
        })
    return rows


def summarise_discs(discs: pd.DataFrame, changes: pd.DataFrame) -> MethodScore:
    """Means over discs as the papers define them: Li et al. 2018 eq. 2 and 3, Chen et al. 2016, Gao 2018.

    `discs` are as in `METHOD_DISCS`; a column may be absent, as in published tables: what it would give is then not a
    number. `changes` are as in `METHOD_CHANGES` and may be empty.
    """
    n = len(discs)
    dice, distance, any_name = (_values(discs, c) for c in ("dice", "centre_distance_mm", "dice_any_name"))
    detected = ~np.isnan(dice)
    near = float(100 * (distance <= NEAR_MM).sum() / n) if n and not np.isnan(distance).all() else math.nan
    right = float(100 * discs["right"].astype(bool).mean()) if n and "right" in discs else math.nan
    arvd_summary = summarise_arvd(_values(changes, "arvd_percent"))
    change_errors = _present(_values(changes, "change_error_percent"))
    return MethodScore(
        n, n - int(detected.sum()), *mean_sd(_present(distance)),
        0.0 if n and "dice" in discs and not detected.any() else near,
        *mean_sd([float(v) for v in 100 * np.nan_to_num(dice)] if "dice" in discs else []),
        float(100 * np.nan_to_num(any_name).mean()) if n and "dice_any_name" in discs else math.nan,
        *mean_sd(_present(_values(discs, "maad_mm"))), *mean_sd(_present(_values(discs, "mesh_hausdorff_mm"))), right,
        *mean_sd(_present(_values(discs, "volume_error_percent"))),
        len(change_errors), arvd_summary.mean, arvd_summary.median, arvd_summary.maximum, *mean_sd(change_errors))


def summarise_arvd(values: Iterable[float]) -> ArvdSummary:
    """Mean, median and largest arvd, as given; values that are not numbers are left out."""
    present = _present(np.asarray(list(values), dtype=float))
    if not present:
        return ArvdSummary(0, math.nan, math.nan, math.nan)
    return ArvdSummary(len(present), float(np.mean(present)), float(np.median(present)), max(present))


def _values(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    if column not in frame:
        return np.full(len(frame), math.nan)
    return np.asarray(frame[column], dtype=np.float64)


def _present(values: NDArray[np.float64]) -> list[float]:
    return [float(v) for v in values if not math.isnan(v)]
