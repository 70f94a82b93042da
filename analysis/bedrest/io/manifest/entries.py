"""The data that resolving a study passes around: its manifest, the entries of a layout, the problems of the input.

Knows no layout and reads nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from bedrest.errors import Problem
from bedrest.findings import Finding, FindingCode, findings_of_error
from bedrest.io.manifest.acquisition import Acquisition
from bedrest.schemas import SCANS, SESSIONS, SUBJECTS
from bedrest.types import Grid


@dataclass(frozen=True)
class InputProblem:
    """One problem of the input of a study: a doubt is a message, a contradiction excludes the visit or the subject."""

    subject: str  # empty when it concerns the whole study, or all visits of the subject
    session: str
    problem: Problem
    # the subject cannot be analysed at all: who it is, or which of its files count, is not certain
    excludes_subject: bool = False
    excludes_visit: bool = False  # its files contradict each other or their headers: none of them is used
    doubt: bool = False  # told, and nothing else: the visit is measured

    @property
    def finding(self) -> Finding:
        """It, as tables and pages hold it."""
        (finding,) = findings_of_error(self.problem)
        return replace(finding, code=FindingCode.DOUBTFUL_INPUT) if self.doubt else finding


@dataclass(frozen=True, eq=False)
class CheckedFile:
    """An image or mask of the study that can be read."""

    subject: str
    session: str
    contrast: str  # a contrast or the role of a mask
    path: Path
    grid: Grid
    fingerprint: str  # see `images.voxel_digest`
    acquisition: Acquisition

    @property
    def visit(self) -> str:
        return f"{self.subject} {self.session}"


@dataclass(frozen=True)
class LeftOut:
    """An image in the image folder that is not used, and why."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Manifest:
    """A study as resolved: one row per subject, per visit and per file."""

    # by their schemas, except for rows of subjects that `problems` exclude
    subjects: pd.DataFrame
    sessions: pd.DataFrame
    scans: pd.DataFrame  # paths are absolute
    problems: tuple[InputProblem, ...] = ()  # met while resolving
    left_out: tuple[LeftOut, ...] = ()  # images that are not used


@dataclass
class LayoutEntries:
    """Subjects, visits and files as one layout lists them, before study.toml completes them."""

    # `subject` and any column of `schemas.SUBJECTS`, further columns kept
    subjects: pd.DataFrame = field(default_factory=lambda: no_rows(SUBJECTS.column_names[:2]))
    # `subject`, `session` and any column of `schemas.SESSIONS`; visits without files may be listed
    visits: pd.DataFrame = field(default_factory=lambda: no_rows(SESSIONS.column_names[:2]))
    # `subject`, `session`, `contrast`, `path` (absolute) and, where given, `sha256`
    scans: pd.DataFrame = field(default_factory=lambda: no_rows(SCANS.column_names))
    subjects_file: str = ""  # the table that lists the subjects; empty when there is none
    problems: list[InputProblem] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def no_rows(columns: Iterable[str]) -> pd.DataFrame:
    """An empty frame of text columns."""
    return pd.DataFrame(columns=list(columns), dtype="str")


def scan_rows(rows: list[tuple[str, str, str, str]]) -> pd.DataFrame:
    """Frame of (subject, session, contrast, path)."""
    frame = pd.DataFrame(rows, columns=SCANS.column_names[:4], dtype="str")
    return frame.assign(sha256="").astype("str")
