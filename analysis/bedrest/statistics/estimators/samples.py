"""What every small-sample method asks of its values before it starts. Knows nothing of the methods."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bedrest.errors import ModelError

MINIMUM_SUBJECTS = 3  # in every group: with two, one odd subject is the whole variance


def finite_array(values: ArrayLike, *, name: str, dimensions: int = 1) -> np.ndarray:
    """As float64, refused when a value is missing: whoever calls drops and counts, so n never changes in silence.

    Raises
    ------
    ModelError
        If a value is NaN or infinite, or the number of dimensions is another.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions:
        raise ModelError(f"an array of {dimensions} dimension(s)", f"shape {array.shape}", name, "Reshape it.")
    if bad := int((~np.isfinite(array)).sum()):
        raise ModelError("finite numbers only", f"{bad} missing or infinite of {array.size}", name,
                         "Leave incomplete rows out before, and count them.")
    return array


def too_few(n_subjects: int, *, least: int = MINIMUM_SUBJECTS) -> str:
    """Why there are not enough subjects; empty when there are."""
    return f"{n_subjects} subjects, at least {least} are needed" if n_subjects < least else ""


def constant(values: np.ndarray) -> bool:
    """Are all values one and the same, but for rounding?"""
    return values.size == 0 or float(np.ptp(values)) <= 1e-10 * max(1e-300, float(np.abs(values).max()))
