"""Checks a resolved study against its files before anything is computed. Collects, never raises for bad data."""

from __future__ import annotations

import errno
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from bedrest.errors import BedrestError, Problem
from bedrest.io.files import no_plain_file, output_error
from bedrest.io.images.masks import read_label_map, require_inside
from bedrest.io.images.nifti import RESAMPLE_ON_REQUEST, read_grid, read_volume, require_shared
from bedrest.io.manifest.entries import InputProblem, Manifest
from bedrest.settings import Study
from bedrest.types import Grid, LabelMap, require_same_grid
from bedrest.vocabulary import Contrast, MaskRole

_ORDER = (*Contrast, *MaskRole)


@dataclass(frozen=True, eq=False)
class _Placed:
    """The grid of a file, and its labels if it is a mask with any."""

    grid: Grid
    mask: LabelMap | None = None


def check_manifest(study: Study, manifest: Manifest, *, whole: bool = True) -> list[InputProblem]:
    """Every problem of the input of this study: those of the whole study first, then subject by subject.

    `whole`: read every image whole; otherwise only its header, and check that the file is not cut off.
    """
    problems = [*_study_problems(study, manifest), *manifest.problems]
    sessions = manifest.sessions.groupby("subject")["session"].unique()
    files = dict(list(manifest.scans.groupby(["subject", "session"])))
    excluded = {(p.subject, p.session) for p in manifest.problems if p.excludes_visit}
    for subject in manifest.subjects["subject"]:
        visits = list(sessions.get(subject, []))
        if study.reference_session not in visits:
            problems.append(InputProblem(subject, "", Problem(
                subject, f"a visit {study.reference_session}, which change is counted from",
                f"visits {', '.join(visits)}" if len(visits) else "no visit",
                f"Add it, or choose another reference_session in {study.path}; without it there is no change.")))
        for session in dict.fromkeys(visits):
            rows = files.get((subject, session), manifest.scans.iloc[:0])
            if rows.empty and (subject, session) in excluded:
                continue  # why it has no image is told
            problems += [InputProblem(subject, session, p)
                         for p in _visit_problems(study, rows, f"{subject} {session}", whole=whole)]
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
    """Why a folder cannot be written or made, by a trial in the nearest existing folder; None where it can."""
    nearest = next(p for p in (folder, *folder.parents) if p.exists())
    try:
        if not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory")
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(b"bedrest")
            file.flush()
    except OSError as error:
        return replace(output_error(error, nearest).as_problem(), where=f"output folder {folder} ({nearest})")
    return None


def _visit_problems(study: Study, rows: pd.DataFrame, visit: str, *, whole: bool) -> list[Problem]:
    """Problems of one visit: missing files, then each file, then how their grids fit."""
    present = set(rows["contrast"])
    if not present & {*Contrast, MaskRole.MASK}:
        return [Problem(visit, "at least one image", "none", "Add the visit's files, or take the visit out.")]
    problems = [Problem(visit, f"a {c.value} image, as study.toml lists it", f"only {', '.join(sorted(present))}",
                        "Add the file, or take the contrast out of contrasts in study.toml.")
                for c in study.contrasts if c not in present and MaskRole.MASK not in present]
    images: dict[str, tuple[_Placed, str]] = {}
    for contrast in _ORDER:
        for path in rows.loc[rows["contrast"] == contrast, "path"]:
            of_file, image = _file_problems(Path(path), contrast, f"{visit} {contrast.value}", whole=whole)
            problems += of_file
            if image is not None:
                images.setdefault(contrast.value, (image, path))
    return [*problems, *_grid_problems(images, visit, resample=study.images.resample)]


def _file_problems(path: Path, contrast: Contrast | MaskRole, where: str, *,
                   whole: bool) -> tuple[list[Problem], _Placed | None]:
    if why := no_plain_file(path):
        return [Problem(f"{where} ({path})", "an image file", why, "Correct the path, or restore the file.")], None
    try:
        if not whole:
            return [], _Placed(read_grid(path, where=where))
        if isinstance(contrast, Contrast):
            return [], _Placed(read_volume(path, where=where).grid)
        mask = read_label_map(path, where=where)
    except BedrestError as error:
        return [error.as_problem()], None
    if not mask.data.any():
        return [Problem(f"{where} ({path})", "at least one labelled voxel", "an empty mask",
                        "Check that the right file was exported.")], _Placed(mask.grid)
    return [], _Placed(mask.grid, mask)


def _grid_problems(images: dict[str, tuple[_Placed, str]], visit: str, *, resample: bool) -> list[Problem]:
    """Files that are not on the grid of the visit's first file, or cannot be resampled onto it."""
    problems, (first_name, *others) = [], list(images) or [""]
    for name in others:
        (first, first_path), (image, path) = images[first_name], images[name]
        where = f"{visit} {name} ({path})"
        try:
            if not resample:
                require_same_grid(first.grid, image.grid, where=where, names=(first_path, path),
                                  remedy=RESAMPLE_ON_REQUEST)
            elif image.mask is not None:
                require_inside(image.mask, first.grid, where=where)
            else:
                require_shared(first.grid, image.grid, where=where, onto=first_name)
        except BedrestError as error:
            problems.append(error.as_problem())
    return problems
