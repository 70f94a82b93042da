"""How an image was acquired, as the sidecar beside it says: field strength, scanner, slice thickness, echo time, date.

Says nothing of images without a sidecar, and nothing of contrasts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from bedrest.io.bids.sidecars import Sidecar, Sidecars
from bedrest.io.files import require_plain_file
from bedrest.settings import Study
from bedrest.vocabulary import Contrast

COLUMNS = ("field_tesla", "scanner", "slice_mm")  # of `schemas.SESSIONS`


@dataclass(frozen=True)
class Acquisition:
    """What a sidecar says of an acquisition; NaN or empty where it does not."""

    field_tesla: float = math.nan
    scanner: str = ""  # manufacturer and model, and of the serial number a short digest: tables are shared
    slice_mm: float = math.nan
    echo_ms: float = math.nan
    taken: str = ""  # date and time


def acquisition_reader(study: Study) -> Callable[[Path], Acquisition]:
    """What returns the acquisition of an image: by all its sidecars in a BIDS dataset, else by the one beside it."""
    if study.images.layout == "bids":
        sidecars = Sidecars(study.images.root)
        return lambda image: _acquisition(sidecars.of(image))
    return lambda image: _acquisition(Sidecar(_beside(image)))


def _acquisition(sidecar: Sidecar) -> Acquisition:
    content = sidecar.content
    parts = (_words(content, "Manufacturer"), _words(content, "ManufacturersModelName"),
             _digest(_words(content, "DeviceSerialNumber")))
    return Acquisition(sidecar.field_tesla, " ".join(filter(None, parts)), _number(content, "SliceThickness"),
                       sidecar.echo_time_ms,
                       _words(content, "AcquisitionDateTime") or _words(content, "AcquisitionDate"))


def _digest(serial_number: str) -> str:
    return f"#{sha256(serial_number.encode()).hexdigest()[:4]}" if serial_number else ""


def _beside(image: Path) -> dict[str, Any]:
    try:
        sidecar = image.with_name(image.name.removesuffix(".gz").rsplit(".", 1)[0] + ".json")
        require_plain_file(sidecar)
        return dict(json.loads(sidecar.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return {}


def with_acquisitions(sessions: pd.DataFrame, scans: pd.DataFrame,
                      acquisition_of: Callable[[Path], Acquisition]) -> pd.DataFrame:
    """Visits with `COLUMNS` from the sidecars of their images, where the user's table does not give them.

    A column of which nothing is known is left out. `sessions`, `scans`: as in `schemas.SESSIONS` and `SCANS`.
    `acquisition_of`: see `acquisition_reader`.
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


def _number(content: Mapping[str, Any], key: str) -> float:
    """A finite number above 0, else NaN."""
    with suppress(KeyError, TypeError, ValueError, OverflowError):
        if 0 < (value := float(content[key])) < math.inf:
            return value
    return math.nan


def _words(content: Mapping[str, Any], key: str) -> str:
    value = content.get(key)
    return " ".join(str(value).split()) if isinstance(value, str | int) else ""
