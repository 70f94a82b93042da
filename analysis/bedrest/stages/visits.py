"""The visits of a subject as the manifest has them, and their images. Must not know what is done with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from bedrest import schemas
from bedrest.errors import BedrestError
from bedrest.imaging.common_grid import scan_on_one_grid
from bedrest.io.images.nifti import header_notes, read_contrasts, read_scan
from bedrest.io.tables.frames import text
from bedrest.stages.stage import Job
from bedrest.types import Grid, Scan
from bedrest.vocabulary import Contrast, MaskRole


@dataclass(frozen=True)
class Visit:
    """One visit's files as the manifest has them."""

    subject: str
    session: str
    paths: dict[str, Path]

    @property
    def where(self) -> str:
        return f"{self.subject} {self.session}".strip()

    def contrasts(self) -> dict[Contrast, Path]:
        return {c: self.paths[c] for c in Contrast if c in self.paths}


def visits_of(job: Job) -> list[Visit]:
    """The subject's visits in the order of their study day."""
    sessions = job.results.read_subject(job.subject, schemas.SESSIONS).sort_values("study_day")
    scans = job.results.read_subject(job.subject, schemas.SCANS)
    return [visit_in(scans, job.subject, session) for session in sessions["session"]]


def visit_in(scans: pd.DataFrame, subject: str, session: str) -> Visit:
    """One visit's files of a table of scans."""
    rows = scans[(scans["subject"] == subject) & (scans["session"] == session)]
    return Visit(subject, session, {c: Path(p) for c, p in zip(rows["contrast"], rows["path"], strict=True)})


def is_ours(record: pd.Series) -> bool:
    """Whether segmentation made the mask of a visit's row of `schemas.SCAN_RECORDS`: only then it has a probability."""
    return record["source"] == "automatic" and bool(text(record["mask_path"]))


def like(visit: Visit) -> Path | None:
    """The file whose header codes a mask of this visit takes."""
    return visit.paths.get(MaskRole.MASK) or next(iter(visit.contrasts().values()), None)


def scan_of(visit: Visit, *, resample: bool, target: Grid | None = None) -> Scan:
    """The visit's scan, on one grid: that of its files, or with `resample` (see `settings.Images`) the target or the
    first contrast's.

    Raises
    ------
    ImageError, GeometryError
        A file cannot be used, or the files do not fit each other.
    """
    if not resample:
        return read_scan(visit.contrasts(), where=visit.where)
    scan = scan_on_one_grid(read_contrasts(visit.contrasts(), where=visit.where), where=visit.where, target=target)
    return replace(scan, notes=(*header_notes(visit.contrasts(), where=visit.where), *scan.notes))


def images_of(visit: Visit, *, resample: bool, target: Grid | None = None) -> Scan | None:
    """As `scan_of`; None where it cannot be read, which segmentation has reported."""
    try:
        return scan_of(visit, resample=resample, target=target) if visit.contrasts() else None
    except BedrestError:
        return None
