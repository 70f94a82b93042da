"""Checks a resolved study against its files before anything is computed. Collects, never raises for bad data."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from bedrest.errors import BedrestError, Problem
from bedrest.io.files import no_plain_file, output_error
from bedrest.io.images.masks import read_label_map, require_inside, voxels_of
from bedrest.io.images.nifti import RESAMPLE_ON_REQUEST, read_grid, read_volume, require_shared
from bedrest.io.images.voxel_digest import voxel_digest, voxel_sketch
from bedrest.io.manifest.acquisition import acquisition_reader
from bedrest.io.manifest.acquisition_checks import acquisition_doubts
from bedrest.io.manifest.entries import CheckedFile, InputProblem, Manifest
from bedrest.io.manifest.same_images import same_image_problems
from bedrest.io.manifest.visit_days import day_problems
from bedrest.settings import Study
from bedrest.types import Grid, LabelMap, require_same_grid
from bedrest.vocabulary import Contrast, MaskRole

_ORDER = (*Contrast, *MaskRole)


@dataclass(frozen=True, eq=False)
class _Placed:
    """The grid of a file, its fingerprint (see `images.voxel_digest`), and its labels if it is a mask with any."""

    grid: Grid
    fingerprint: str
    mask: LabelMap | None = None


def check_manifest(study: Study, manifest: Manifest, *, whole: bool = True,
                   sketch: Callable[[Path], str] = voxel_sketch) -> list[InputProblem]:
    """Every problem of the input of this study: those of the whole study first, then subject by subject.

    `whole`: read every image whole; otherwise only its header and, by `sketch`, the first voxels, and check that the
    file is not cut off.
    """
    problems = [*_study_problems(study, manifest), *manifest.problems]
    sessions = manifest.sessions.groupby("subject")["session"].unique()
    files = dict(list(manifest.scans.groupby(["subject", "session"])))
    excluded = {(p.subject, p.session) for p in manifest.problems if p.excludes_visit}
    checked: dict[str, list[CheckedFile]] = {}
    unreadable: dict[str, set[str]] = {}
    acquisition_of = acquisition_reader(study)
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
            of_visit, placed = _visit_problems(study, rows, f"{subject} {session}", sketch=None if whole else sketch)
            problems += [InputProblem(subject, session, p) for p in of_visit]
            checked.setdefault(subject, []).extend(
                CheckedFile(subject, session, contrast, Path(path), image.grid, image.fingerprint,
                            acquisition_of(Path(path))) for contrast, path, image in placed)
            unreadable.setdefault(subject, set()).update({*rows["contrast"]} - {contrast for contrast, *_ in placed})
    problems += [doubt for subject, of_subject in checked.items()
                 for doubt in acquisition_doubts([f for f in of_subject if (f.subject, f.session) not in excluded],
                                                 reported={*study.contrasts, *unreadable[subject]})]
    together = [f for of_subject in checked.values() for f in of_subject]
    problems += [*same_image_problems(together, whole=whole), *day_problems(study, manifest.sessions, together)]
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


def _visit_problems(study: Study, rows: pd.DataFrame, visit: str, *, sketch: Callable[[Path], str] | None
                    ) -> tuple[list[Problem], list[tuple[str, str, _Placed]]]:
    """Problems of one visit: missing files, then each file, then how their grids fit. And its readable files."""
    present = set(rows["contrast"])
    if not present & {*Contrast, MaskRole.MASK}:
        return [Problem(visit, "at least one image", "none", "Add the visit's files, or take the visit out.")], []
    problems = [Problem(visit, f"a {c.value} image, as study.toml lists it", f"only {', '.join(sorted(present))}",
                        "Add the file, or take the contrast out of contrasts in study.toml.")
                for c in study.contrasts if c not in present and MaskRole.MASK not in present]
    placed: list[tuple[str, str, _Placed]] = []
    images: dict[str, tuple[_Placed, str]] = {}
    for contrast in _ORDER:
        for path in rows.loc[rows["contrast"] == contrast, "path"]:
            of_file, image = _file_problems(Path(path), contrast, f"{visit} {contrast.value}", sketch=sketch)
            problems += of_file
            if image is not None:
                placed.append((contrast.value, path, image))
                images.setdefault(contrast.value, (image, path))
    return [*problems, *_grid_problems(images, visit, resample=study.images.resample)], placed


def _file_problems(path: Path, contrast: Contrast | MaskRole, where: str, *,
                   sketch: Callable[[Path], str] | None) -> tuple[list[Problem], _Placed | None]:
    if why := no_plain_file(path):
        return [Problem(f"{where} ({path})", "an image file", why, "Correct the path, or restore the file.")], None
    try:
        if sketch is not None:
            grid = read_grid(path, where=where)
            return [], _Placed(grid, sketch(path) or str(path))
        if isinstance(contrast, Contrast):
            image = read_volume(path, where=where)
            return [], _Placed(image.grid, voxel_digest(image.data, image.grid))
        mask = read_label_map(path, where=where)
    except BedrestError as error:
        return [error.as_problem()], None
    if not mask.data.any():
        return [Problem(f"{where} ({path})", "at least one labelled voxel", "an empty mask",
                        "Check that the right file was exported.")], _Placed(mask.grid, str(path))
    return [], _Placed(mask.grid, voxel_digest(mask.data, mask.grid), mask)


def _grid_problems(images: dict[str, tuple[_Placed, str]], visit: str, *, resample: bool) -> list[Problem]:
    """Files that are not on the grid of the visit's first file, or cannot be resampled onto it."""
    problems, (first_name, *others) = [], list(images) or [""]
    for name in others:
        (first, first_path), (image, path) = images[first_name], images[name]
        where = f"{visit} {name} ({path})"
        try:
            if not resample and not (name in {*MaskRole} and voxels_of(image.grid, first.grid) is not None):
                require_same_grid(first.grid, image.grid, where=where, names=(first_path, path),
                                  remedy=RESAMPLE_ON_REQUEST)
            elif not resample:
                continue
            elif image.mask is not None:
                require_inside(image.mask, first.grid, where=where)
            else:
                require_shared(first.grid, image.grid, where=where, onto=first_name)
        except BedrestError as error:
            problems.append(error.as_problem())
    return problems
