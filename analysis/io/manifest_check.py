"""Checks a resolved study against its files before anything is computed. Collects, never raises for bad data."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pandas as pd

from analysis.errors import BedrestError, Problem
from analysis.io.files import output_error
from analysis.io.images import read_volume, require_same_grid
from analysis.io.manifest_types import InputProblem, Manifest
from analysis.io.masks import read_label_map
from analysis.settings import Study
from analysis.types import Grid
from analysis.vocabulary import Contrast, MaskRole

_ORDER = (*Contrast, *MaskRole)


def check_manifest(study: Study, manifest: Manifest, *, read_images: bool = True) -> list[InputProblem]:
    """Everything that speaks against running this study as it is.

    Parameters
    ----------
    study : Study
    manifest : Manifest
    read_images : bool
        Read every image whole; otherwise only see that it is there.

    Returns
    -------
    list of InputProblem
        Study-wide ones first, then subject by subject.
    """
    problems = [*_study_problems(study, manifest), *manifest.problems]
    sessions = manifest.sessions.groupby("subject")["session"].unique()
    files = dict(list(manifest.scans.groupby(["subject", "session"])))
    for subject in manifest.subjects["subject"]:
        visits = list(sessions.get(subject, []))
        if study.reference_session not in visits:
            problems.append(InputProblem(subject, "", Problem(
                subject, f"a visit {study.reference_session}, which change is counted from",
                f"visits {', '.join(visits)}" if len(visits) else "no visit",
                f"Add it, or choose another reference_session in {study.path}; without it there is no change.")))
        for session in visits:
            rows = files.get((subject, session), manifest.scans.iloc[:0])
            found = _visit_problems(study, rows, f"{subject} {session}", read_images=read_images)
            problems += [InputProblem(subject, session, p) for p in found]
    return sorted(problems, key=lambda p: (p.subject, p.session))


def _study_problems(study: Study, manifest: Manifest) -> list[InputProblem]:
    problems = []
    if manifest.subjects.empty:
        problems.append(Problem(str(study.images.root), f"subjects in the layout {study.images.layout!r}", "none",
                                f"Correct images.root or images.layout in {study.path}; see data_manifest/README.md."))
    elif manifest.scans.empty:
        problems.append(Problem(str(study.images.root), f"images in the layout {study.images.layout!r}", "none",
                                "See data_manifest/README.md for the file names of this layout."))
    if (problem := unwritable(study.output_dir)) is not None:
        problems.append(problem)
    if study.weights is not None and not study.weights.is_file():
        problems.append(Problem(str(study.weights), "a weights file", "no such file",
                                f"Correct weights in {study.path}, or leave it out to use the shipped network."))
    return [InputProblem("", "", p) for p in problems]


def unwritable(folder: Path) -> Problem | None:
    """Why a folder cannot be written or made, found out by trying in the nearest folder that exists."""
    nearest = next(p for p in (folder, *folder.parents) if p.exists())
    try:
        if not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory")
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(b"bedrest")
            file.flush()
    except OSError as error:
        told = output_error(error, nearest)
        return Problem(f"output folder {folder} ({nearest})", told.expected, told.found, told.remedy)
    return None


def _visit_problems(study: Study, rows: pd.DataFrame, visit: str, *, read_images: bool) -> list[Problem]:
    """What is wrong with one visit's files, the images first, then what is missing, then how they fit."""
    problems: list[Problem] = []
    present = set(rows["contrast"])
    if not present & {*Contrast, MaskRole.MASK}:
        return [Problem(visit, "at least one image", "none", "Add the visit's files, or take the visit out.")]
    if MaskRole.MASK not in present:
        problems += [
            Problem(visit, f"a {contrast.value} image, as study.toml lists it", f"only {', '.join(sorted(present))}",
                    "Add the file, or take the contrast out of contrasts in study.toml.")
            for contrast in study.contrasts if contrast not in present
        ]
    grids: dict[str, tuple[Grid, str]] = {}
    for contrast in _ORDER:
        for path in rows.loc[rows["contrast"] == contrast, "path"]:
            found, grid = _file_problems(Path(path), contrast, f"{visit} {contrast.value}", read_images=read_images)
            problems += found
            if grid is not None:
                grids.setdefault(contrast.value, (grid, path))
    return [*problems, *_grid_problems(grids, visit)]


def _file_problems(path: Path, contrast: Contrast | MaskRole, where: str, *,
                   read_images: bool) -> tuple[list[Problem], Grid | None]:
    if not path.is_file():
        return [Problem(f"{where} ({path})", "an image file", "a folder" if path.is_dir() else "no such file",
                        "Correct the path, or restore the file.")], None
    if not read_images:
        return [], None
    try:
        if isinstance(contrast, Contrast):
            return [], read_volume(path, where=where).grid
        mask = read_label_map(path, where=where)
    except BedrestError as error:
        return [Problem(error.where, error.expected, error.found, error.remedy)], None
    if not mask.data.any():
        return [Problem(f"{where} ({path})", "at least one labelled voxel", "an empty mask",
                        "Check that the right file was exported.")], mask.grid
    return [], mask.grid


def _grid_problems(grids: dict[str, tuple[Grid, str]], visit: str) -> list[Problem]:
    """Files that do not lie on the grid of the visit's first file."""
    problems = []
    names = list(grids)
    for name in names[1:]:
        (first, first_path), (grid, path) = grids[names[0]], grids[name]
        try:
            require_same_grid(first, grid, where=f"{visit} {name} ({path})", names=(first_path, path))
        except BedrestError as error:
            problems.append(Problem(error.where, error.expected, error.found, error.remedy))
    return problems
