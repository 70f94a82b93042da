"""How well an automatic method follows change: arvd of Li et al. 2018 and the signed error it hides.

Li X. et al. (2018), 3D multi-scale FCN with random modality voxel dropout learning for intervertebral disc
localization and segmentation from multi-modality MR images, Med. Image Anal. 45, 41-54, eq. 4.

Knows nothing of masks.
"""

from __future__ import annotations

import pandas as pd

from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import ARVD
from bedrest.tables.pairs import Volumes, judge
from bedrest.vocabulary import MEASURED, Source


def arvd(vg1: float, vg2: float, vt2: float) -> float:
    """``||Vg1 - Vt2| - |Vg1 - Vg2|| / Vg1``, eq. 4 of Li et al. 2018; a fraction.

    Blind to the sign of change: a disc that truly grows from 100 to 110 but is measured to shrink to 90 has arvd 0.

    Raises ValueError if `vg1` is not above 0. A NaN gives NaN.

    `vg1`, `vg2`: reference-mask volume at time 1 and 2, one unit for all three. `vt2`: automatic volume at time 2.
    """
    _require_positive(vg1)
    return abs(abs(vg1 - vt2) - abs(vg1 - vg2)) / vg1


def signed_change_error(vg1: float, vg2: float, *, vt1: float, vt2: float) -> float:
    """``((Vt2 - Vt1) - (Vg2 - Vg1)) / Vg1``, a fraction; below 0 when growth is underestimated.

    Raises ValueError if `vg1` is not above 0. A NaN gives NaN.

    `vg1`, `vg2`: reference-mask volume at time 1 and 2, one unit for all four. `vt1`, `vt2`: automatic volume at time 1
    and 2.
    """
    _require_positive(vg1)
    return ((vt2 - vt1) - (vg2 - vg1)) / vg1


def _require_positive(vg1: float) -> None:
    if vg1 <= 0:
        raise ValueError(f"Vg1 must be above 0, got {vg1}")


def arvd_frame(measures: pd.DataFrame, *, reference_session: str) -> pd.DataFrame:
    """arvd and signed change error, one row for each subject, level and visit with reference masks at both visits.

    Returns: as in `schemas.ARVD`; no rows when no subject has reference masks at two visits.

    Parameters
    ----------
    measures : as in `schemas.MEASURES`, with both sources; any number of subjects
    """
    volumes = Volumes(measures)
    rows = []
    reference = measures[measures["source"] == Source.REFERENCE]
    for subject, masks in reference.groupby("subject", sort=False):
        if not volumes.has_visit(subject, reference_session, source=Source.REFERENCE):
            continue
        levels = list(dict.fromkeys(masks["level"]))
        for visit in masks[["subject", "group", "session", "study_day"]].drop_duplicates().to_dict("records"):
            if visit["session"] == reference_session:
                continue
            for level in levels:
                values = _values(volumes, visit["subject"], level, sessions=(reference_session, visit["session"]))
                rows.append({**visit, "level": level, "reference_session": reference_session, **values})
    return typed_frame(rows, ARVD)


def _values(volumes: Volumes, subject: str, level: str, *, sessions: tuple[str, str]) -> dict[str, object]:
    sides = [side for source in (Source.REFERENCE, Source.AUTOMATIC)
             for side in volumes.pair(subject, sessions, level=level, source=source)]
    status, findings = judge(level, sides)
    judged: dict[str, object] = {"status": str(status), "findings": findings}
    if status not in MEASURED:
        return judged
    vg1, vg2, vt1, vt2 = (s.volume_mm3 for s in sides)
    return {**judged, "vg1_mm3": vg1, "vg2_mm3": vg2, "vt1_mm3": vt1, "vt2_mm3": vt2, "arvd": arvd(vg1, vg2, vt2),
            "signed_change_error": signed_change_error(vg1, vg2, vt1=vt1, vt2=vt2)}
