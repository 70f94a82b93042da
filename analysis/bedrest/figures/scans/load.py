"""Collects the images and masks of a figure from the stored results of a study. Draws nothing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bedrest import schemas
from bedrest.errors import BedrestError
from bedrest.figures.scans.planes import VisitView
from bedrest.imaging.common_grid import labels_on
from bedrest.imaging.resample import resample
from bedrest.io.images.masks import read_label_map
from bedrest.io.images.nifti import read_volume
from bedrest.io.results import StudyResults
from bedrest.measurement.registry import VOLUME
from bedrest.types import LabelMap, Volume, same_grid
from bedrest.vocabulary import LEVELS, Contrast, MaskRole

# In the order of how well discs are visible.
PREFERRED = (Contrast.WATER, Contrast.T2, Contrast.OPPOSED, Contrast.T1, Contrast.IN_PHASE, Contrast.FAT)


def visit_views(results: StudyResults, subject: str) -> list[VisitView]:
    """One view per segmented visit, in the order of the visits; visits that cannot be shown are left out."""
    sessions = results.read_subject(subject, schemas.SESSIONS).sort_values("study_day")
    records = results.read_subject(subject, schemas.SCAN_RECORDS).set_index("session")
    scans = results.read_subject(subject, schemas.SCANS)
    edited = set(results.read_subject(subject, schemas.EDITED_MASKS)["session"])
    views = []
    for session, day in zip(sessions["session"], sessions["study_day"], strict=True):
        rows = scans[scans["session"] == session]
        paths = dict(zip(rows["contrast"], map(Path, rows["path"]), strict=True))
        contrast = next((c for c in PREFERRED if c in paths), None)
        if session not in records.index or contrast is None:
            continue
        automatic = results.mask(subject, session) if records.at[session, "mask_path"] else None
        measured = results.measured_mask(subject, session)
        # An edited mask that could not be used leaves the visit without a measured one.
        path = measured if measured.is_file() or session in edited else automatic
        if path is None:
            continue
        try:
            image = read_volume(paths[contrast], where=f"{subject} {session}")
            mask = read_label_map(path, where=session)
            before = read_label_map(automatic, where=session) if session in edited and automatic else None
        except BedrestError:
            continue  # reported by the stage that met it first
        title = f"{session}, day {day:g} ({contrast}{', edited' if session in edited else ''})"
        views.append(VisitView(title, _shown_on(image, mask), mask, _reference(paths, mask, session), before,
                               str(session)))
    return views


def shown_levels(change: pd.DataFrame, measures: pd.DataFrame) -> dict[str, str]:
    """Discs to show in separate pictures, with the reason: L4-L5, the one that changed most, and L5-S1.

    Parameters
    ----------
    change, measures : DataFrame, one subject's rows as in `schemas`; of the automatic masks
    """
    usable = change[(change["source"] != "reference") & change["change_percent"].notna() & change["level"].isin(LEVELS)]
    shown = {}
    if len(usable):
        most = usable.loc[usable["change_percent"].abs().idxmax()]
        shown[most["level"]] = f"changed most: {most['change_percent']:+.1f} % at {most['session']}"
    measured = set(measures.loc[measures[VOLUME.name].notna(), "level"])
    shown |= {level: shown.get(level, "") for level in ("L4-L5", "L5-S1") if level in measured}
    return {level: shown[level] for level in LEVELS if level in shown}


def held_out_views(results: StudyResults, tested: pd.DataFrame) -> list[VisitView]:
    """One view per tested scan of a training, with the mask of the trained network.

    `tested`: rows of `schemas.TRAINING_SCANS`.
    """
    scans, views = results.read_manifest(schemas.SCANS), []
    for row in tested.itertuples():
        files = scans[(scans["subject"] == row.subject) & (scans["session"] == row.session)]
        paths = dict(zip(files["contrast"], map(Path, files["path"]), strict=True))
        contrast, where = next(c for c in PREFERRED if c in paths), f"{row.subject} {row.session}"
        path = results.mask(str(row.subject), str(row.session))
        if path.exists():
            image, mask = read_volume(paths[contrast], where=where), read_label_map(path, where=where)
            views.append(VisitView(f"{where} ({contrast})", _shown_on(image, mask), mask,
                                   _reference(paths, mask, where)))
    return views


def _shown_on(image: Volume, mask: LabelMap) -> Volume:
    """The image where the mask lies: resampled, for display only, where the files lie on different grids."""
    if same_grid(image.grid, mask.grid):
        return image
    return Volume(resample(image.data, image.grid, mask.grid, order=1), mask.grid)


def _reference(paths: dict[str, Path], mask: LabelMap, session: str) -> LabelMap | None:
    path = paths.get(MaskRole.REFERENCE)
    if path is None:
        return None
    try:
        return labels_on(read_label_map(path, where=session), mask.grid, where=session)
    except BedrestError:
        return None
