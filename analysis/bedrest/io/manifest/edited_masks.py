"""Manually edited masks: which files there are, of which visits, and whether they may be measured.

Reads only: nothing in the toolkit writes or removes them. Knows nothing of measures.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from bedrest.errors import ImageError, ManifestError, Problem
from bedrest.io.files import sha256_of
from bedrest.io.images.masks import placed_on, read_label_map
from bedrest.io.manifest.entries import InputProblem
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import typed
from bedrest.schemas import EDITED_MASKS
from bedrest.settings import Study
from bedrest.types import Grid, LabelMap, require_same_grid
from bedrest.vocabulary import FIRST_UNNAMED_LABEL, LEVEL_OF_LABEL

_ENDINGS = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".mha", ".mgz", ".mgh")
_IMAGES = (*_ENDINGS, ".mhd", ".nhdr", ".img", ".hdr")
_MOST_UNNAMED = 50


def find_edited(study: Study, visits: pd.DataFrame,
                checksum: Callable[[Path], str] = sha256_of) -> tuple[pd.DataFrame, list[InputProblem]]:
    """Edited masks of a study, as in `schemas.EDITED_MASKS`, and files in their folder that belong to no visit.

    `visits`: columns subject and session: every visit that may have a mask. `checksum`: as in `build_manifest`. Raises
    ManifestError: the folder that study.toml names is not there, or is the one that automatic masks are written to.
    """
    folder, results = study.edited_dir, StudyResults(study.output_dir)
    if folder.resolve() == results.mask("x", "y").parent.resolve():
        raise ManifestError("a separate folder for edited masks", "the folder of the automatic ones", str(folder),
                            f"Name another folder as edited in {study.path}.")
    if study.edited is not None and not folder.is_dir():
        raise ManifestError("the folder of edited masks", "no such folder", str(folder),
                            f"Make it, or correct edited in {study.path}.")
    files = sorted(p for p in folder.glob("*") if p.name.lower().endswith(_IMAGES) and not p.name.startswith("."))
    visit_of = {results.mask(s, v).name.removesuffix(".nii.gz"): (s, v)
                for s, v in visits[["subject", "session"]].itertuples(index=False)}
    rows: dict[tuple[str, str], Path] = {}
    problems, unknown = [], []
    for path in files:
        visit = visit_of.get(_stem(path))
        if visit is None or not path.name.lower().endswith(_ENDINGS):
            unknown.append(path)
        elif visit in rows:
            problems.append(InputProblem(*visit, Problem(
                f"{visit[0]} {visit[1]}, edited mask", "one file", f"{rows[visit]} and {path.name}",
                "Keep one of them in the folder."), excludes_subject=True))
        else:
            rows[visit] = path.absolute()
    without = {stem for stem, visit in visit_of.items() if visit not in rows}
    problems += [InputProblem("", "", _unknown_file(path, list(visit_of), without)) for path in unknown]
    frame = pd.DataFrame([(*visit, str(p), _checksum(p, checksum)) for visit, p in rows.items()],
                         columns=EDITED_MASKS.column_names, dtype="str")
    return typed(frame, EDITED_MASKS), problems


def read_edited(path: Path, *, before: LabelMap | None, grid: Grid | None, where: str) -> LabelMap:
    """An edited mask that may be measured in place of the automatic one.

    `before`: the mask before editing, whose unnamed discs may stand in the edited one; None where segmentation made
    none: then the scan's `grid` is used. Raises ImageError: the file cannot be read, holds no disc, or holds labels
    that stand for none; GeometryError: it lies on another grid.
    """
    at = f"{where}, edited mask ({path})"
    mask = read_label_map(path, where=f"{where}, edited mask", by_name=True)
    scan = before.grid if before is not None else grid
    if scan is not None:
        mask = placed_on(mask, scan)
        require_same_grid(scan, mask.grid, where=at, names=("the scan", "the edited mask"),
                          remedy="Save it again on the grid of the automatic mask: see docs/manual_correction.md.")
    labels = set(np.unique(mask.data).tolist()) - {0}
    if not labels:
        raise ImageError("at least one labelled voxel", "an empty mask", at,
                         "Check what was saved; to leave out a whole visit, take it out of the study.")
    if unknown := sorted(labels - _known(before)):
        raise ImageError("labels out of 1 = L5-S1 to 7 = T11-T12 and those of unnamed discs of the automatic mask",
                         f"{', '.join(map(str, unknown))}", at,
                         "Give these voxels the number of their disc; segments must keep their label values.")
    return mask if scan is None else LabelMap(mask.data, scan)  # programs round headers when they save


def _known(before: LabelMap | None) -> set[int]:
    unnamed = (range(FIRST_UNNAMED_LABEL, FIRST_UNNAMED_LABEL + _MOST_UNNAMED) if before is None
               else (k for k in np.unique(before.data).tolist() if k >= FIRST_UNNAMED_LABEL))
    return {*LEVEL_OF_LABEL, *unnamed}


def _stem(path: Path) -> str:
    return next(path.name[:-len(e)] for e in _IMAGES if path.name.lower().endswith(e))


def _unknown_file(path: Path, stems: list[str], without: set[str]) -> Problem:
    """A file that would not be read: reported, so that no correction is lost silently.

    `stems`: of the files that would be, `without`: of those that are not there.
    """
    stem = _stem(path)
    near, ending = get_close_matches(stem, stems, n=1, cutoff=0.5), path.name[len(stem):]
    remedy = "Move it elsewhere."
    if near and near[0] in without:
        remedy = f"Rename it to {near[0]}{ending}?" if ending.lower() in _ENDINGS else f"Save it as {near[0]}.nii.gz."
    return Problem(str(path), "<subject>_<session>_discs.nii.gz (or .nii, .nrrd, .seg.nrrd, .mha, .mgz) of a visit of "
                   "the study", path.name, remedy)


def _checksum(path: Path, checksum: Callable[[Path], str]) -> str:
    try:
        return checksum(path)
    except OSError:
        return ""  # read_edited reports files that cannot be read
