"""How far a measured volume, and a measured change, may be from the truth.

Two parts make up the variance of the relative error: what every disc of this kind has (`floor`), and what this disc
shows of itself, as the spread of its looks. Both were fitted on synthetic scans (`analysis.benchmarks.change_errors`),
for one network and one set of contrasts: real scans have faults that synthetic ones lack, so where a study has
repeated scans of its own, those speak first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

SHIPPED = Path(__file__).parent / "errors.json"


@dataclass(frozen=True)
class ErrorPart:
    """Variance of a relative error: floor^2 + (slope x spread)^2.

    Attributes
    ----------
    floor : float
        SD of the error of a disc whose looks agree, relative.
    slope : float
        How much the spread of the looks adds.
    """

    floor: float
    slope: float

    def sd(self, spread: float) -> float:
        """Standard error, relative, of a disc whose looks have this relative spread."""
        return math.hypot(self.floor, self.slope * spread)
