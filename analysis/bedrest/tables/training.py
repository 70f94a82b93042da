"""What training did -> the tables `training_scans`, `training_folds`, `training_curves`, `training_accuracy`.

Knows nothing of networks and images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import TRAINING_ACCURACY, TRAINING_CURVES, TRAINING_FOLDS, TRAINING_SCANS
from bedrest.vocabulary import LEVELS, level_name

if TYPE_CHECKING:
    from bedrest.segmentation.training.finetune import Fold, FoldResult


def training_scans_frame(visits: Iterable[tuple[str, str, Iterable[str], Iterable[int]]],
                         folds: Sequence[Fold]) -> pd.DataFrame:
    """Rows of `schemas.TRAINING_SCANS`.

    Parameters
    ----------
    visits : of (subject, session, contrasts, labels in the mask)
    folds : the final one last
    """
    tester = {subject: fold.name for fold in folds for subject in fold.tested}
    return typed_frame(({
        "subject": subject, "session": session, "contrasts": "+".join(contrasts), "discs": disc_names(labels),
        "role": "validation" if subject in folds[-1].validation else "training", "tested_in": tester.get(subject, ""),
    } for subject, session, contrasts, labels in visits), TRAINING_SCANS)


def disc_names(labels: Iterable[int]) -> str:
    """Names of the labelled discs from the top down; a mask of one label has no names."""
    numbers = sorted(set(labels) - {0}, reverse=True)
    return "not named" if numbers == [1] else ", ".join(level_name(k) for k in numbers)


def folds_frame(results: Iterable[FoldResult]) -> pd.DataFrame:
    """Rows of `schemas.TRAINING_FOLDS`, one per run."""
    return typed_frame(({
        "fold": r.fold.name, "training": ", ".join(r.fold.training), "validation": ", ".join(r.fold.validation),
        "held_out": ", ".join(r.fold.held_out), "steps": r.steps, "minutes": r.minutes, "stopped": r.stopped,
        "start_dice": r.start_dice, "best_dice": r.dice,
    } for r in results), TRAINING_FOLDS)


def curves_frame(results: Iterable[FoldResult]) -> pd.DataFrame:
    """Rows of `schemas.TRAINING_CURVES`: losses and validations of a run merged by step."""
    rows = []
    for r in results:
        steps: dict[int, dict[str, object]] = {}
        if r.start_dice is not None:
            steps[0] = {"minutes": 0.0, "validation_dice": r.start_dice}
        for name, points in (("loss", r.curve), ("validation_dice", r.validations)):
            for step, seconds, value in points:
                steps.setdefault(int(step), {}).update({"minutes": seconds / 60, name: value})
        rows += [{"fold": r.fold.name, "step": step, **values} for step, values in sorted(steps.items())]
    return typed_frame(rows, TRAINING_CURVES)


def training_accuracy_frame(frames: Mapping[str, pd.DataFrame], *, fold: str) -> pd.DataFrame:
    """Rows of `schemas.TRAINING_ACCURACY` from rows of `schemas.ACCURACY` of each network, start and trained."""
    rows = [{"fold": fold, "network": network, **row} for network, frame in frames.items()
            for row in frame.to_dict("records")]
    return typed_frame(rows, TRAINING_ACCURACY)


def accuracy_by_level(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Mean Dice and signed volume error of each level by both networks, side by side; `all` in the last row.

    A disc that a network missed has no values: its count stands in `missed`.

    `accuracy`: rows of `schemas.TRAINING_ACCURACY`.
    """
    order = [*dict.fromkeys(accuracy["level"]), "all"]
    out: dict[str, dict[str, object]] = {}
    for network in ("start", "trained"):
        of_network = accuracy[accuracy["network"] == network]
        for level in order:
            rows = of_network if level == "all" else of_network[of_network["level"] == level]
            dice, error = rows["dice"], rows["volume_error_percent"]
            out[level] = {**out.get(level, {"level": level, "discs": len(rows)}),
                          f"missed, {network}": int(dice.isna().sum()), f"Dice, {network}": _mean(dice),
                          f"volume error (%), {network}": _mean(error)}
    return pd.DataFrame([out[level] for level in order])


def disc_by_disc(accuracy: pd.DataFrame) -> pd.DataFrame:
    """One row per tested disc, both networks side by side; the reason is the trained network's.

    `accuracy`: rows of `schemas.TRAINING_ACCURACY`.
    """
    key = ["subject", "session", "level"]
    names = {"dice": "Dice", "volume_error_percent": "volume error (%)"}
    before, after = (accuracy[accuracy["network"] == n].rename(columns={c: f"{name}, {n}" for c, name in names.items()})
                     for n in ("start", "trained"))
    both = before[[*key, *(f"{n}, start" for n in names.values())]].merge(
        after[[*key, *(f"{n}, trained" for n in names.values()), "status", "reason"]], on=key, how="outer", sort=False)
    rank = {level: i for i, level in enumerate(LEVELS)}
    return both.sort_values(key, key=lambda c: c.map(lambda v: rank.get(v, 99)) if c.name == "level" else c,
                            kind="stable").reset_index(drop=True)


def _mean(values: pd.Series) -> float:
    return float(values.mean()) if values.notna().any() else np.nan
