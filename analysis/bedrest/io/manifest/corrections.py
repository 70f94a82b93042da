"""Manual corrections of a study: edited masks and names of discs. Found and checked, not applied.

Knows nothing of what is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bedrest.errors import BedrestError
from bedrest.io.files import sha256_of
from bedrest.io.images.masks import read_label_map
from bedrest.io.images.nifti import read_grid
from bedrest.io.manifest.edited_masks import find_edited, read_edited
from bedrest.io.manifest.entries import InputProblem, Manifest
from bedrest.io.manifest.level_names import read_levels
from bedrest.io.manifest.same_images import same_edited_masks
from bedrest.io.results import StudyResults
from bedrest.schemas import EDITED_MASKS
from bedrest.settings import Study
from bedrest.types import Grid
from bedrest.vocabulary import Contrast, MaskRole


@dataclass(frozen=True, eq=False)
class Corrections:
    """Manual corrections of a study."""

    edited: pd.DataFrame  # as in `schemas.EDITED_MASKS`
    levels: pd.DataFrame  # as in `schemas.LEVEL_NAMES`
    problems: tuple[InputProblem, ...]  # files and rows that cannot be used; `check_edited` reads the masks


def find_corrections(study: Study, manifest: Manifest, checksum: Callable[[Path], str] = sha256_of) -> Corrections:
    """Edited masks and levels.csv of a study; `checksum` as in `build_manifest`.

    Raises ManifestError, ManyProblems: a folder or file that study.toml names is missing, or levels.csv has wrong
    columns.
    """
    edited, problems = find_edited(study, manifest.sessions, checksum)
    levels, more = read_levels(study, manifest.sessions)
    results = StudyResults(study.output_dir)
    automatic = [(s, v, str(path), checksum(path)) for s, v in manifest.sessions[["subject", "session"]].itertuples(
        index=False) if s in set(edited["subject"]) and (path := results.mask(s, v)).is_file()]
    copies = same_edited_masks(edited, pd.DataFrame(automatic, columns=EDITED_MASKS.column_names, dtype="str"))
    return Corrections(edited, levels, (*problems, *copies, *more))


def check_edited(study: Study, manifest: Manifest, edited: pd.DataFrame) -> list[InputProblem]:
    """Problems of edited masks (as in `schemas.EDITED_MASKS`), as a run would meet them."""
    problems = []
    for subject, session, path in edited[["subject", "session", "path"]].itertuples(index=False):
        where, automatic = f"{subject} {session}", StudyResults(study.output_dir).mask(subject, session)
        try:
            before = read_label_map(automatic, where=where) if automatic.is_file() else None
            grid = _scan_grid(manifest.scans, subject, session) if before is None else None
            read_edited(Path(path), before=before, grid=grid, where=where)
        except BedrestError as error:
            problems.append(InputProblem(subject, session, error.as_problem()))
    return problems


def _scan_grid(scans: pd.DataFrame, subject: str, session: str) -> Grid | None:
    """Grid of a visit's first readable file; unreadable files are reported by `check_manifest`."""
    files = scans[(scans["subject"] == subject) & (scans["session"] == session)]
    path_of = dict(zip(files["contrast"], files["path"], strict=True))
    for kind in (k for k in (*Contrast, MaskRole.MASK) if k in path_of):
        with suppress(BedrestError):
            return read_grid(Path(path_of[kind]), where=f"{subject} {session}")
    return None
