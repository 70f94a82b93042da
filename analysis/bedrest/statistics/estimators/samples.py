"""What every small-sample method requires of its values. Must not know the methods."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from bedrest.errors import ModelError

MIN_SUBJECTS = 3  # in every group: with two, one odd subject is the whole variance
MIN_SUBJECTS_BOOTSTRAP = 5  # in every group; with 4 the interval is twice as wide as that of t, with 3 infinite


def finite_array(values: ArrayLike, *, name: str, dimensions: int = 1) -> np.ndarray:
    """As float64; ModelError when a value is missing (the caller leaves values out and counts them) or the shape is
    wrong.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions:
        raise ModelError(f"an array of {dimensions} dimension(s)", f"shape {array.shape}", name, "Reshape it.")
    if bad := int((~np.isfinite(array)).sum()):
        raise ModelError("finite numbers only", f"{bad} missing or infinite of {array.size}", name,
                         "Leave incomplete rows out before, and count them.")
    return array


def too_few(*n_subjects: int, least: int = MIN_SUBJECTS) -> str:
    """Why there are not enough subjects, in one group or in two; empty when there are."""
    return _by_group([f"{n} subjects, at least {least} are needed" if n < least else "" for n in n_subjects])


def untestable(*groups: np.ndarray) -> str:
    """Why one group or two, one number a subject, cannot be tested: too few subjects or no variance; else empty."""
    return _by_group([too_few(g.size) or ("no variance between subjects" if constant(g) else "") for g in groups])


def _by_group(reasons: Sequence[str]) -> str:
    names = ("first group: ", "second group: ") if len(reasons) > 1 else ("",)
    return "; ".join(name + reason for name, reason in zip(names, reasons, strict=True) if reason)


def constant(values: np.ndarray) -> bool:
    """Are all values one and the same, but for rounding?"""
    return values.size == 0 or float(np.ptp(values)) <= 1e-10 * max(1e-300, float(np.abs(values).max()))
