"""Discs as segmentation found and named them -> the table `findings`.

Must not import what measures or compares masks: segmentation would be done again whenever that changes.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import FINDINGS
from bedrest.types import SegmentedDisc


def segmented_frame(discs: Iterable[SegmentedDisc], *, subject: str, session: str) -> pd.DataFrame:
    """One visit's rows of `schemas.FINDINGS`, one per disc."""
    return typed_frame(({
        "subject": subject, "session": session, "level": d.name, "label": d.label,
        "mean_probability": d.mean_probability, "level_confidence": d.level_confidence, "status": d.status.value,
        "findings": d.findings} for d in discs), FINDINGS)
