"""Masks against known truth -> the few numbers a benchmark is judged by.

Stricter than a study's own summary: a disc that was not found counts as a Dice of 0 and as a wrong level. Knows
nothing of where masks come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bedrest.findings import render_all
from bedrest.measurement.comparison.agreement import DiscAgreement, compare_masks, summarise_agreement
from bedrest.types import LabelMap
from bedrest.vocabulary import Status


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


@dataclass(frozen=True)
class MaskScore:
    """Many discs together."""

    n: int  # n, n_missing: discs looked for, and how many of them were not found
    n_missing: int
    dice: float  # mean over the discs looked for; one not found counts 0
    mld_mm: float  # mean distance of the centres of mass over the discs found, Li et al. 2018 eq. 2
    levels_right_percent: float  # share of the discs looked for
    volume_bias_percent: float  # mean signed error of the volume against the true mask, over the discs found


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


def summarise(scores: Iterable[DiscScore]) -> MaskScore:
    """One `MaskScore` of many discs; its means are not numbers where there is nothing to take a mean of."""
    listed = list(scores)
    summary = summarise_agreement(s.agreement for s in listed)
    errors = [s.agreement.volume_error_percent for s in listed if s.agreement.status != Status.FAILED]
    n = len(listed)
    return MaskScore(
        n=n,
        n_missing=summary.n_failed,
        dice=summary.mdoc * summary.n / n if summary.n else (0.0 if n else math.nan),
        mld_mm=summary.mld_mm,
        levels_right_percent=100 * sum(s.level_right for s in listed) / n if n else math.nan,
        volume_bias_percent=float(np.mean(errors)) if errors else math.nan,
    )
