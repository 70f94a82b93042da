"""How an image was acquired, as the sidecar beside it says: field strength, scanner, slice thickness, echo time, date.

Says nothing of images without a sidecar, and nothing of contrasts.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bedrest.io.files import require_plain_file
from bedrest.vocabulary import Contrast

COLUMNS = ("field_tesla", "scanner", "slice_mm")  # of `schemas.SESSIONS`


@dataclass(frozen=True)
class Acquisition:
    """What a sidecar says of an acquisition; NaN or empty where it does not."""

    field_tesla: float = math.nan
    scanner: str = ""  # manufacturer, model and serial number
    slice_mm: float = math.nan
    echo_ms: float = math.nan
    taken: str = ""  # date and time


def acquisition_of(image: Path) -> Acquisition:
    """The acquisition of an image by the JSON file beside it; everything unknown where there is none."""
    try:
        sidecar = image.with_name(image.name.removesuffix(".gz").removesuffix(".nii") + ".json")
        require_plain_file(sidecar)
        content = dict(json.loads(sidecar.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return Acquisition()
    parts = (_words(content, "Manufacturer"), _words(content, "ManufacturersModelName"),
             _words(content, "DeviceSerialNumber"))
    return Acquisition(_number(content, "MagneticFieldStrength"), " ".join(filter(None, parts)),
                       _number(content, "SliceThickness"), 1000 * _number(content, "EchoTime"),
                       _words(content, "AcquisitionDateTime") or _words(content, "AcquisitionDate"))


def with_acquisitions(sessions: pd.DataFrame, scans: pd.DataFrame) -> pd.DataFrame:
    """Visits with `COLUMNS` from the sidecars of their images, where the user's table does not give them.

    A column of which nothing is known is left out. `sessions`, `scans`: as in `schemas.SESSIONS` and `SCANS`.
    """
    images = scans[scans["contrast"].isin([*Contrast])]
    known: dict[tuple[str, str], list[Acquisition]] = {}
    for subject, session, path in images[["subject", "session", "path"]].itertuples(index=False):
        known.setdefault((subject, session), []).append(acquisition_of(Path(path)))
    out = sessions.copy()
    for column in COLUMNS:
        values = [next((v for a in known.get(visit, []) if (v := getattr(a, column)) and v == v), None)
                  for visit in sessions[["subject", "session"]].itertuples(index=False, name=None)]
        given = out[column] if column in out else pd.Series(None, index=out.index, dtype="object")
        filled = given.where(given.notna() & (given != ""), pd.Series(values, index=out.index, dtype="object"))
        if filled.notna().any():
            out[column] = filled
    return out


def _number(content: dict[str, Any], key: str) -> float:
    """A finite number above 0, else NaN."""
    with suppress(KeyError, TypeError, ValueError, OverflowError):
        if 0 < (value := float(content[key])) < math.inf:
            return value
    return math.nan


def _words(content: dict[str, Any], key: str) -> str:
    value = content.get(key)
    return " ".join(str(value).split()) if isinstance(value, str | int) else ""
