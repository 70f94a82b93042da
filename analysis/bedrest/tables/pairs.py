"""One disc at two visits: may the two volumes be compared, and if not, why.

Knows nothing of what is computed from them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from bedrest.io.tables.frames import text
from bedrest.schemas import MEASURES
from bedrest.vocabulary import LEVELS, Status


@dataclass(frozen=True)
class Side:
    """One disc at one visit.

    Attributes
    ----------
    where : the visit in words, for reasons
    volume_mm3 : NaN when it cannot be used
    status, reason : see `vocabulary.Status`
    volume_single_mm3, repeat_sd_mm3 : as in `schemas.MEASURES`
    """

    where: str
    volume_mm3: float
    status: str
    reason: str
    volume_single_mm3: float = math.nan
    repeat_sd_mm3: float = math.nan


class Volumes:
    """Volumes of a measures table, looked up by subject, session, level and source.

    Parameters
    ----------
    measures : DataFrame, as in `schemas.MEASURES`
    """

    def __init__(self, measures: pd.DataFrame) -> None:
        columns = [measures[c] for c in (*MEASURES.key, "volume_mm3", "status", "reason", "volume_single_mm3",
                                         "volume_repeat_sd_mm3")]
        self._rows = {
            (subject, session, level, source): (float(volume), str(status), text(reason), float(single), float(sd))
            for subject, session, level, source, volume, status, reason, single, sd in zip(*columns, strict=True)
        }
        self._visits = {(subject, session, source) for subject, session, _, source in self._rows}

    def has_visit(self, subject: str, session: str, *, source: str) -> bool:
        return (subject, session, source) in self._visits

    def side(self, subject: str, session: str, *, level: str, source: str) -> Side:
        """What is known of one disc at one visit; failed with a reason when there is nothing."""
        where = f"{session} ({source})" if source != "automatic" else session
        if (subject, session, source) not in self._visits:
            return Side(where, math.nan, Status.FAILED, "no such visit among the measures")
        if (subject, session, level, source) not in self._rows:
            return Side(where, math.nan, Status.FAILED, f"{level} was not measured there")
        volume, status, reason, single, repeat_sd = self._rows[subject, session, level, source]
        if status == Status.FAILED:
            return Side(where, math.nan, Status.FAILED, reason or "not measured")
        if not (math.isfinite(volume) and volume > 0):
            return Side(where, math.nan, Status.FAILED, f"no usable volume ({volume})")
        return Side(where, volume, status, reason, single, repeat_sd)


def judge(level: str, sides: list[Side]) -> tuple[str, str]:
    """Status and reason of a comparison: the worst of its sides, every reason with its visit.

    Parameters
    ----------
    level : disc level; an unnamed disc is failed, since nothing says it is the same disc at both visits
    sides : list of Side
    """
    if level not in LEVELS:
        return Status.FAILED, f"{level}: a disc without a level cannot be followed between visits"
    failed = [s for s in sides if s.status == Status.FAILED]
    doubtful = failed or [s for s in sides if s.status != Status.OK]
    reasons = dict.fromkeys(f"{s.where}: {s.reason or s.status}" for s in doubtful)
    if failed:
        return Status.FAILED, "; ".join(reasons)
    return (Status.FLAGGED if doubtful else Status.OK), "; ".join(reasons)
