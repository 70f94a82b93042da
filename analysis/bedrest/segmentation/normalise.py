"""One intensity rule for training and segmentation. Knows nothing of anatomy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CEILING = 4.0
RULE = "intensity over the mean of those above the mean, 0 to 4"  # stored with the weights


def normalise(intensity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intensities over the mean of those above the mean, between 0 and 4; negative values count as 0.

    The mean above the mean follows tissue and not the share of air in view.

    `intensity`: float32, shape (I, J, K), arbitrary units.
    """
    positive = np.maximum(intensity, 0)
    bright = positive[positive > positive.mean()]
    unit = float(bright.mean()) if bright.size else 1.0
    return np.minimum(positive / max(unit, 1e-6), CEILING).astype(np.float32)
