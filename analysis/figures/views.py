"""A subject's stored images and masks -> what the overlay figures draw. Reads; draws nothing itself."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis import schemas
from analysis.errors import BedrestError
from analysis.figures.overlays import SAME_GRID_MM, VisitImages
from analysis.io.images import read_volume
from analysis.io.masks import label_table_path, read_label_map
from analysis.io.results import StudyResults
from analysis.measure.agreement import name_binary_reference
from analysis.types import LabelMap, Volume
from analysis.vocabulary import LEVEL_OF_LABEL, Contrast, MaskRole


def visit_images(results: StudyResults, subject: str) -> list[VisitImages]:
    """Every visit of a subject in the order of its study day, with whatever of it can be read.

    Parameters
    ----------
    results : StudyResults
    subject : str

    Returns
    -------
    list of VisitImages
        What cannot be read is left out, and `note` says why.
    """
    sessions = results.read_subject(subject, schemas.SESSIONS).sort_values("study_day")
    scans = results.read_subject(subject, schemas.SCANS)
    out = []
    for session, day in zip(sessions["session"], sessions["study_day"], strict=True):
        rows = scans[scans["session"] == session]
        paths = {c: Path(p) for c, p in zip(rows["contrast"], rows["path"], strict=True)}
        out.append(_visit(results, subject, session=session, title=f"{session}, day {day:g}", paths=paths))
    return out


def _visit(results: StudyResults, subject: str, *, session: str, title: str, paths: dict[str, Path]) -> VisitImages:
    where, notes = f"{subject} {session}", []
    image: Volume | None = None
    for contrast in [c for c in Contrast if c in paths]:
        try:
            image = read_volume(paths[contrast], where=f"{where} {contrast}")
            break
        except BedrestError as error:
            notes.append(str(error))
    if image is None:
        return VisitImages(title, note="; ".join(notes) or f"{where}: no scan in the study")
    mask = results.mask(subject, session)
    masks: dict[str, LabelMap] = {}
    for role, path in (("automatic", mask if mask.exists() else None), ("reference", paths.get(MaskRole.REFERENCE))):
        if path is None:
            continue
        try:
            masks[role] = _named(read_label_map(path, where=where)) if role == "reference" else read_label_map(
                path, where=where)
            if masks[role].grid.max_corner_distance_mm(image.grid) > SAME_GRID_MM:
                notes.append(f"{where}: the {role} mask lies on another grid than the scan and is not drawn")
        except BedrestError as error:
            notes.append(str(error))
    return VisitImages(title, image, automatic=masks.get("automatic"), reference=masks.get("reference"),
                       names=_names(mask), note="; ".join(notes))


def _named(reference: LabelMap) -> LabelMap:
    """A reference mask with one number for all discs is named as it was when it was measured."""
    return name_binary_reference(reference) if set(pd.unique(reference.data.ravel())) == {0, 1} else reference


def _names(mask: Path) -> dict[int, str]:
    """Names from the label table beside a mask; the standard ones without it."""
    table = label_table_path(mask)
    if not table.exists():
        return dict(LEVEL_OF_LABEL)
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()[1:]]
    return {int(index): name for index, name in rows}
