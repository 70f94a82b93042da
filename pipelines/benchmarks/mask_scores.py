"""Discs against their true masks -> the few numbers that our own engine is judged by.

Stricter than a study's own summary: a disc that was not found counts as a Dice of 0 and as a wrong level. Knows
nothing of where masks come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from bedrest.measurement.comparison.agreement import summarise_agreement
from bedrest.protocols.scores import DiscScore
from bedrest.vocabulary import Status


@dataclass(frozen=True)
class MaskScore:
    """Many discs together."""

    n: int  # discs looked for
    n_missing: int  # of these, not found
    dice: float  # mean over the discs looked for; one not found counts 0
    mld_mm: float  # mean distance of the centres of mass over the discs found, Li et al. 2018 eq. 2
    levels_right_percent: float  # share of the discs looked for
    volume_bias_percent: float  # mean signed error of the volume against the true mask, over the discs found


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
