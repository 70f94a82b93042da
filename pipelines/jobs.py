"""What one stage is asked to do, and the visits it is about."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from analysis import schemas
from analysis.errors import BedrestError
from analysis.io.images import read_scan
from analysis.io.results import StudyResults
from analysis.io.tables import concat_tables, write_table
from analysis.settings import Study
from analysis.tables.frames import text
from analysis.types import Scan
from analysis.vocabulary import Contrast, MaskRole

if TYPE_CHECKING:
    from analysis.segmentation.weights import TrainedNetwork


@dataclass(frozen=True)
class Job:
    """What one stage is asked to do."""

    study: Study
    results: StudyResults
    subject: str
    device: str
    threads: int
    page: str = ""


@dataclass(frozen=True)
class Visit:
    """One visit's files as the manifest has them."""

    subject: str
    session: str
    paths: dict[str, Path]

    @property
    def where(self) -> str:
        return f"{self.subject} {self.session}"

    def contrasts(self) -> dict[Contrast, Path]:
        return {c: self.paths[c] for c in Contrast if c in self.paths}


def visits_of(job: Job) -> list[Visit]:
    """The subject's visits in the order of their study day."""
    sessions = job.results.read_subject(job.subject, schemas.SESSIONS).sort_values("study_day")
    scans = job.results.read_subject(job.subject, schemas.SCANS)
    out = []
    for session in sessions["session"]:
        rows = scans[scans["session"] == session]
        paths = {c: Path(p) for c, p in zip(rows["contrast"], rows["path"], strict=True)}
        out.append(Visit(job.subject, session, paths))
    return out


def is_ours(record: pd.Series) -> bool:
    """Did segmentation make a mask of this visit itself: only then there is a probability behind it.

    Parameters
    ----------
    record : the visit's row of `schemas.SCAN_RECORDS`
    """
    return record["source"] == "automatic" and bool(text(record["mask_path"]))


def like(visit: Visit) -> Path | None:
    """The file whose header codes a mask of this visit takes."""
    return visit.paths.get(MaskRole.MASK) or next(iter(visit.contrasts().values()), None)


def images_of(visit: Visit) -> Scan | None:
    """The visit's scan; None where it cannot be read, which segmentation has already told."""
    try:
        return read_scan(visit.contrasts(), where=visit.where) if visit.contrasts() else None
    except BedrestError:
        return None


def use_threads(device: str, threads: int) -> None:
    """Let the network use this many threads where it runs on the CPU."""
    if device == "cpu":
        import torch

        torch.set_num_threads(threads)


@cache
def loaded_weights(path: Path) -> TrainedNetwork:
    """A trained network, loaded once for all subjects of a process; it is used and never changed."""
    from analysis.segmentation.weights import load_weights

    return load_weights(path)


def write_slice(job: Job, frame: pd.DataFrame, table: schemas.Table) -> None:
    """One subject's slice of a table."""
    write_table(concat_tables([frame], table), job.results.subject_table(job.subject, table), table)
