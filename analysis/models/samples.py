"""One number a subject: what every small-sample method asks of it before it starts.

Knows nothing of the methods.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.errors import ModelError

MINIMUM_SUBJECTS = 3  # in every group: with two, one odd subject is the whole variance


def finite_sample(values: Sequence[float] | np.ndarray, *, where: str) -> np.ndarray:
    """The values as float64, shape (n,).

    Parameters
    ----------
    values : one number a subject
    where : the method that asks, for the message

    Raises
    ------
    ModelError
        If one is missing or infinite: n must not change in silence.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all():
        found = f"shape {x.shape}, {int((~np.isfinite(x)).sum())} of them not finite"
        remedy = "Leave missing subjects out and count them where the values are gathered."
        raise ModelError("a list of finite numbers, one a subject", found, where, remedy)
    return x


def too_few(n: int, *, least: int = MINIMUM_SUBJECTS) -> str:
    """Why `n` subjects are not enough; empty when they are."""
    return f"{n} subjects, at least {least} are needed" if n < least else ""


def constant(values: np.ndarray) -> bool:
    """Whether the values differ by no more than rounding."""
    return bool(np.ptp(values) <= 1e-10 * max(1.0, float(np.abs(values).max())))
