"""Disc measures and agreements -> the tables `measures` and `accuracy`.

Knows nothing of images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

import pandas as pd

from analysis.measure.agreement import DiscAgreement
from analysis.measure.discs import DiscMeasure
from analysis.schemas import ACCURACY, MEASURES
from analysis.tables.frames import typed_frame
from analysis.vocabulary import SIGNAL_COLUMNS, Status

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class VisitKey:
    """Which subject was seen when.

    Attributes
    ----------
    subject, group, session : identifiers as in the manifest
    study_day : day of the study, day 1 is the first in bed
    phase : see `vocabulary.Phase`
    """

    subject: str
    group: str
    session: str
    study_day: float
    phase: str


def measures_frame(
    measures: Iterable[DiscMeasure],
    *,
    visit: VisitKey,
    source: str,
    mean_probability: Mapping[str, float],
    doubts: Mapping[str, str] = _NOTHING,
) -> pd.DataFrame:
    """One visit's rows of `schemas.MEASURES`, one a disc, in the order of `measures`.

    Parameters
    ----------
    measures : iterable of DiscMeasure
    visit : VisitKey
    source : automatic, reference or given
    mean_probability : level to mean network probability; a level without one is missing
    doubts : level to what segmentation already said against it; a measured disc with a doubt is flagged
    """
    rows = []
    for m in measures:
        status, reason = m.status, m.reason
        doubt = doubts.get(m.level, "")
        if doubt and status != Status.FAILED:
            status, reason = Status.FLAGGED, "; ".join(r for r in (doubt, reason) if r)
        rows.append(
            {
                **asdict(visit),
                "level": m.level,
                "source": source,
                "volume_mm3": m.volume_mm3,
                "n_voxels": m.n_voxels,
                "height_mean_mm": m.height_mean_mm,
                "diameter_ap_mm": m.diameter_ap_mm,
                "diameter_transverse_mm": m.diameter_transverse_mm,
                **dict(zip(("centre_x_mm", "centre_y_mm", "centre_z_mm"), m.centre_mm, strict=True)),
                **{SIGNAL_COLUMNS[c]: value for c, value in m.signals.items()},
                "mean_probability": None if status == Status.FAILED else mean_probability.get(m.level),
                "status": str(status),
                "reason": reason,
            }
        )
    return typed_frame(rows, MEASURES)


def accuracy_frame(agreements: Iterable[DiscAgreement], *, subject: str, session: str) -> pd.DataFrame:
    """One visit's rows of `schemas.ACCURACY`, one a disc, in the order of `agreements`.

    Parameters
    ----------
    agreements : iterable of DiscAgreement
    subject, session : identifiers as in the manifest
    """
    return typed_frame(({"subject": subject, "session": session, **asdict(a)} for a in agreements), ACCURACY)
