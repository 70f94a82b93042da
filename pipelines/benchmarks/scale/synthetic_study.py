"""A synthetic study of any size on disk: tables of every subject, images of full size of a few.

Images of the others are a few voxels, so that every file is there and is read, and the disk does not fill. The
network is never run: what it would have left is drawn. Everything is synthetic.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from bedrest import schemas
from bedrest.io.bids.writer import write_scan
from bedrest.io.files import atomic_path, write_bytes, write_text
from bedrest.io.images.masks import write_label_map
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import empty_table
from bedrest.io.tables.typed_csv import write_parts, write_table
from bedrest.phantom.demo_cohort import DemoPlan, draw_subject
from bedrest.phantom.paint import paint_levels
from bedrest.phantom.render import Artefacts
from bedrest.settings import Study, load_study
from bedrest.statistics.planning.simulated_cohorts import Scenario
from bedrest.types import LabelMap
from bedrest.vocabulary import LEVEL_OF_LABEL, Contrast
from PIL import Image

VISITS = 4
SAMPLE = 1  # subjects with images of full size
_TOML = """name = "scale"
description = "Synthetic study: no subject was scanned."
groups = [{groups}]
reference_session = "{first}"
output = "out"
device = "cpu"
[images]
layout = "csv"
root = "images"
subjects_csv = "subjects.csv"
sessions_csv = "sessions.csv"
scans_csv = "scans.csv"
[statistics]
recovery_band_percent = 2
{sessions}"""
_BLOCK = '[[sessions]]\nid = "{session}"\nstudy_day = {study_day:g}\nphase = "{phase}"\n'
SLICES = (schemas.SCAN_RECORDS, schemas.MEASURES, schemas.SPINE_MEASURES, schemas.CHANGE, schemas.ARVD,
           schemas.ACCURACY, schemas.FAILURES)
EMPTY_SLICES = (schemas.FINDINGS, schemas.MATCHES, schemas.JOINT, schemas.EDITS, schemas.RENAMES)


def scenario_of(subjects: int) -> Scenario:
    """Seven discs, four visits, a visit in twenty missing."""
    return Scenario(subjects, levels=7, missing=0.05)


def write_inputs(folder: Path, scenario: Scenario, simulated: dict[schemas.Table, pd.DataFrame], *,
                 sample: int = SAMPLE) -> Study:
    """study.toml, its three tables and one image a visit.

    Parameters
    ----------
    folder : Path
    scenario : Scenario
    simulated : from `simulated_results.draw_results`
    sample : subjects with images of full size
    """
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    subjects, sessions = simulated[schemas.SUBJECTS], simulated[schemas.SESSIONS]
    planned = sessions.drop_duplicates("session").sort_values("study_day").to_dict("records")
    write_text(folder / "study.toml", _TOML.format(
        groups=", ".join(f'"{g}"' for g in scenario.plan.groups), first=scenario.sessions[0],
        sessions="".join(_BLOCK.format(**row) for row in planned)))
    write_table(subjects, folder / "subjects.csv", schemas.SUBJECTS)
    write_table(sessions, folder / "sessions.csv", schemas.SESSIONS)
    rng, rows = np.random.default_rng(0), []
    for subject, session in sessions[["subject", "session"]].itertuples(index=False):
        path = images / f"{subject}_{session}.nii"
        with atomic_path(path) as temporary:
            nib.save(nib.Nifti1Image(rng.integers(1, 500, (4, 4, 4), dtype=np.int16), np.eye(4)), temporary)
        rows.append({"subject": subject, "session": session, "contrast": "water", "path": path.name})
    scans = pd.DataFrame(rows)
    _write_sample(folder, subjects["subject"].head(sample), scans)
    write_table(scans, folder / "scans.csv", schemas.SCANS)
    return load_study(folder / "study.toml")


def _write_sample(folder: Path, subjects: pd.Series, scans: pd.DataFrame) -> None:
    """Phantoms in place of a few subjects' images, with their true masks as if they had been segmented."""
    results = StudyResults(folder / "out")
    for index, subject in enumerate(subjects):
        for rendered in draw_subject(index, DemoPlan(len(subjects), VISITS), Artefacts()):
            session = rendered.visit.session
            at = (scans["subject"] == subject) & (scans["session"] == session)
            if not at.any():  # a visit that did not take place
                continue
            write_scan(folder / "images", subject, session, scan=rendered.scan)
            water = sorted((folder / "images" / subject / session).rglob(f"*{Contrast.WATER}*.nii.gz"))
            scans.loc[at, "path"] = str(water[0].relative_to(folder / "images"))
            mask: LabelMap = paint_levels(rendered.spine, rendered.scan.grid)
            write_label_map(mask, results.mask(subject, session), names=LEVEL_OF_LABEL)


def write_slices(results: StudyResults, simulated: dict[schemas.Table, pd.DataFrame]) -> None:
    """What segmenting, following, measuring and change of every subject would have left."""
    subjects = simulated[schemas.SUBJECTS]["subject"]
    for table in (*SLICES, *EMPTY_SLICES):
        write_parts(simulated.get(table, empty_table(table)),
                    {s: results.subject_table(s, table) for s in subjects}, table)


def write_pages(results: StudyResults, simulated: dict[schemas.Table, pd.DataFrame], *, made: int = SAMPLE) -> None:
    """Stand-ins for the pages and thumbnails of all subjects but the first `made`."""
    subjects = list(simulated[schemas.SUBJECTS]["subject"])[made:]
    standing, picture = set(subjects), BytesIO()
    Image.effect_noise((64, 96), 60).save(picture, "WEBP", quality=60)
    for subject, session in simulated[schemas.SESSIONS][["subject", "session"]].itertuples(index=False):
        if subject in standing:
            write_bytes(results.thumbnail(subject, session), picture.getvalue())
    for subject in subjects:
        write_text(results.subject_html(subject), "<!doctype html><title>stands for a page</title>")
        row = {"page": f"subjects/{subject}.html", "notebook": "", "status": "ok", "reason": ""}
        write_table(pd.DataFrame([row]), results.page_record(f"subjects/{subject}"), schemas.REPORTS)
