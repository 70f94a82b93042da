"""One disc at two visits: whether the two volumes can be compared, and if not, why.

Knows nothing of what is computed from them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pandas as pd

from bedrest.findings import Finding, FindingCode
from bedrest.io.tables.finding_cells import findings_of
from bedrest.io.tables.frames import text
from bedrest.measurement.registry import VOLUME
from bedrest.measurement.volumes import VOLUME_SINGLE, VOLUME_VOXELS
from bedrest.schemas import MEASURES
from bedrest.vocabulary import LEVELS, MEASURED, Status, VolumeMethod

# Remarks on a volume that keep it out of changes and models, and what is said of the change.
_REFUSED = {FindingCode.CUT_AT_SIDE: FindingCode.NO_COMMON_PART,
            FindingCode.GRID_SHIFTS_DISAGREE: FindingCode.VOLUME_UNSTABLE}


@dataclass(frozen=True)
class Side:
    """One disc at one visit.

    Attributes
    ----------
    volume_single_mm3, volume_voxels_mm3, volume_method, se_mm3, repeat_sd_mm3, errors_from : as in `schemas.MEASURES`
    recounted : whether its voxels were counted to compare it with a disc that the network did not segment
    """

    volume_mm3: float  # NaN when it cannot be used
    status: str  # see `vocabulary.Status`
    findings: tuple[Finding, ...]  # each with its visit and source
    volume_single_mm3: float = math.nan
    repeat_sd_mm3: float = math.nan
    se_mm3: float = math.nan
    volume_voxels_mm3: float = math.nan
    volume_method: str = ""
    errors_from: str = ""
    recovered: float = 1.0  # `change_recovered`
    recounted: bool = False


class Volumes:
    """Volumes of a measures table, looked up by subject, session, level and source.

    `measures`: as in `schemas.MEASURES`.
    """

    def __init__(self, measures: pd.DataFrame) -> None:
        columns = [measures[c] for c in (*MEASURES.key, VOLUME.name, "status", VOLUME_SINGLE.name,
                                         "volume_repeat_sd_mm3", "volume_se_mm3", VOLUME_VOXELS.name, "volume_method",
                                         "errors_from", "change_recovered")]
        self._rows = {
            (subject, session, level, source): Side(float(volume), str(status), findings, float(single), float(sd),
                                                    float(se), float(voxels), text(method), text(errors_from),
                                                    1.0 if math.isnan(recovered) else float(recovered))
            for (subject, session, level, source, volume, status, single, sd, se, voxels, method, errors_from,
                 recovered, findings) in zip(
                *columns, findings_of(measures), strict=True)
        }
        self._visits = {(subject, session, source) for subject, session, _, source in self._rows}

    def has_visit(self, subject: str, session: str, *, source: str) -> bool:
        return (subject, session, source) in self._visits

    def side(self, subject: str, session: str, *, level: str, source: str) -> Side:
        """What is known of one disc at one visit; failed when there is nothing."""
        def failed(*findings: Finding) -> Side:
            return Side(math.nan, Status.FAILED, _placed(findings, session, source))

        if (subject, session, source) not in self._visits:
            return failed(Finding(FindingCode.NO_SUCH_VISIT))
        if (subject, session, level, source) not in self._rows:
            return failed(Finding(FindingCode.NOT_MEASURED_THERE, {"name": level}))
        row = self._rows[subject, session, level, source]
        if row.status not in MEASURED:
            return Side(math.nan, row.status, _placed(doubts_of(row.status, row.findings), session, source))
        if not (math.isfinite(row.volume_mm3) and row.volume_mm3 > 0):
            return failed(Finding(FindingCode.NO_USABLE_VOLUME, {"value_mm3": row.volume_mm3}))
        return replace(row, findings=_placed(doubts_of(row.status, row.findings), session, source))

    def pair(self, subject: str, sessions: tuple[str, str], *, level: str, source: str) -> tuple[Side, Side]:
        """One disc at two visits, by one method: where one volume was counted, so is the other, without its error.

        A count lies apart from summed probabilities by a per cent or more, as much as bed rest changes a disc.
        """
        one, other = (self.side(subject, session, level=level, source=source) for session in sessions)
        if (one.volume_method == VolumeMethod.VOXELS) != (other.volume_method == VolumeMethod.VOXELS):
            return _counted(one), _counted(other)
        return one, other


def _counted(side: Side) -> Side:
    voxels = side.volume_voxels_mm3
    if side.volume_method in ("", VolumeMethod.VOXELS) or not voxels > 0:
        return side
    return replace(side, volume_mm3=voxels, volume_single_mm3=voxels, repeat_sd_mm3=math.nan,
                   se_mm3=math.nan, errors_from="", recovered=1.0, recounted=True)


def counted_alike(measures: pd.DataFrame) -> pd.DataFrame:
    """Measures with every disc by one method at all its visits: where one volume was counted, so are the others.

    For models, which take all visits of a disc at once: volumes of which no change can be told are left out, unless
    the disc has no other visit. `measures`: as in `schemas.MEASURES`, any number of subjects.
    """
    known = measures["volume_method"].isin(list(VolumeMethod))
    counted = measures["volume_method"] == VolumeMethod.VOXELS
    series = [measures[c] for c in ("subject", "level", "source")]
    chosen = known & ~counted & counted.groupby(series).transform("any") & (measures[VOLUME_VOXELS.name] > 0)
    out = measures.copy()
    for name in (VOLUME.name, VOLUME_SINGLE.name):
        out.loc[chosen, name] = measures.loc[chosen, VOLUME_VOXELS.name]
    out.loc[chosen, "volume_method"] = VolumeMethod.VOXELS.value
    out.loc[chosen, ["volume_se_mm3", "volume_repeat_sd_mm3"]] = math.nan
    refused = pd.Series([any(f.code in _REFUSED for f in listed) for listed in findings_of(measures)],
                        index=measures.index, dtype=bool)
    several = measures.groupby(["subject", "level", "source"])["session"].transform("nunique") > 1
    out.loc[refused & several, [VOLUME.name, VOLUME_SINGLE.name]] = math.nan
    return out


def no_change(sides: Iterable[Side]) -> tuple[Finding, ...]:
    """Why two measured volumes of a disc say nothing of its change; empty where they do."""
    at = {code: tuple(dict.fromkeys(f.session for s in sides for f in s.findings if f.code == code))
          for code in _REFUSED}
    return tuple(Finding(_REFUSED[code], {"sessions": sessions}) for code, sessions in at.items() if sessions)


def doubts_of(status: str, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Of a row's findings those that keep it from being ok; none where it is."""
    if status == Status.OK:
        return ()
    return tuple(f for f in findings if f.status != Status.OK) or (Finding(FindingCode.UNEXPLAINED),)


def _placed(findings: Iterable[Finding], session: str, source: str) -> tuple[Finding, ...]:
    return tuple(replace(f, session=session, source=source) for f in findings)


def judge(level: str, sides: list[Side]) -> tuple[str, tuple[Finding, ...]]:
    """Status and findings of a comparison: the worst of its sides, every finding with its visit.

    Parameters
    ----------
    level : disc level; an unnamed disc is failed, since nothing says it is the same disc at both visits
    """
    if level not in LEVELS:
        return Status.FAILED, (Finding(FindingCode.NOT_FOLLOWED, {"name": level}),)
    for status in (Status.FAILED, Status.NOT_IN_VIEW, Status.FLAGGED, Status.OK):
        if doubtful := [s for s in sides if s.status == status]:
            break
    return status, tuple(dict.fromkeys(f for s in doubtful for f in s.findings))
