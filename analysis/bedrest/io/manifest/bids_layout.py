"""Builds a manifest from a BIDS dataset.

BIDS has no suffix for Dixon images, so these are expected as: echo-1 and echo-2 of a MEGRE are opposed- and in-phase
(the first echo at 1.5 T and 3 T is the opposed one; a sidecar takes precedence), rec-water and rec-fat of a T1w are
water and fat. Reference masks are `desc-manual`, `desc-reference` or `desc-truth` `_dseg` files of the
derivatives folder that study.toml names.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from bedrest.errors import Problem
from bedrest.io.contrast_rules import DIXON_WORDS
from bedrest.io.files import no_plain_file, require_plain_file
from bedrest.io.manifest.csv_layout import INPUT_SESSIONS, INPUT_SUBJECTS, load_renamed
from bedrest.io.manifest.entries import InputProblem, LayoutEntries, scan_rows
from bedrest.io.tables.typed_csv import read_text
from bedrest.schemas import SESSIONS, SUBJECTS
from bedrest.settings import Study
from bedrest.vocabulary import Contrast, MaskRole

_PARTICIPANTS = {"participant_id": "subject", "height": "height_cm", "weight": "weight_kg"}
_SEX = {"female": "F", "f": "F", "woman": "F", "male": "M", "m": "M", "man": "M", "other": "O", "o": "O"}
_ECHO = {"1": Contrast.OPPOSED, "2": Contrast.IN_PHASE}
_REC = {"water": Contrast.WATER, "fat": Contrast.FAT}
_PHASES = (Contrast.IN_PHASE, Contrast.OPPOSED)
_REFERENCE_DESC = ("manual", "reference", "truth")


def find_bids(study: Study) -> LayoutEntries:
    """Subjects of participants.tsv, visits of the folders and sessions.tsv files, images and reference masks."""
    root, reference, entries = study.images.root, study.reference_session, LayoutEntries()
    if (root / "participants.tsv").is_file():
        entries.subjects, entries.problems = _participants(root / "participants.tsv")
        entries.subjects_file = str(root / "participants.tsv")
    folders = sorted(p for p in root.glob("sub-*") if p.is_dir())
    if entries.subjects.empty:
        entries.subjects = pd.DataFrame({"subject": [p.name for p in folders]}, dtype="str")
    rows, visits = [], [entries.visits]
    for folder in folders:
        for session, anat in _anat_folders(folder, reference):
            images = [(p, contrast_of(p)) for p in _images(anat)]
            rows += [(folder.name, session, c.value, str(p.absolute())) for p, c in images if c is not None]
        table = folder / f"{folder.name}_sessions.tsv"
        if not no_plain_file(table):
            frame, problems = load_renamed(read_text(table, SESSIONS.name), INPUT_SESSIONS, {"session_id": "session"},
                                           subject=folder.name)
            visits.append(frame.assign(session=[_prefixed("ses-", s) for s in frame["session"]]))
            entries.problems += problems
    if (derivatives := study.images.derivatives) is not None:
        rows += _reference_masks(derivatives, reference)
        if not derivatives.is_dir():
            entries.problems.append(InputProblem("", "", Problem(
                str(derivatives), "the derivatives folder of images.derivatives", "no such folder",
                "Correct the path in study.toml, or remove the key.")))
    entries.scans = scan_rows(rows)
    entries.visits = pd.concat(visits, ignore_index=True)
    return entries


def _participants(path: Path) -> tuple[pd.DataFrame, list[InputProblem]]:
    text = read_text(path, SUBJECTS.name)
    if "sex" in text.frame.columns:
        text.frame["sex"] = [_SEX.get(v.lower(), v) for v in text.frame["sex"]]
    if "participant_id" in text.frame.columns:
        text.frame["participant_id"] = [_prefixed("sub-", v) for v in text.frame["participant_id"]]
    return load_renamed(text, INPUT_SUBJECTS, _PARTICIPANTS)


def _prefixed(prefix: str, value: str) -> str:
    return value if not value or value.startswith(prefix) else prefix + value


def _anat_folders(subject: Path, reference_session: str) -> list[tuple[str, Path]]:
    """(session, anat folder) of a subject; without session folders it is the reference session."""
    sessions = [(p.name, p / "anat") for p in sorted(subject.glob("ses-*")) if p.is_dir()]
    return [*sessions, *([(reference_session, subject / "anat")] if (subject / "anat").is_dir() else [])]


def _images(folder: Path) -> list[Path]:
    files = folder.iterdir() if folder.is_dir() else []
    return sorted(p for p in files if p.name.endswith((".nii", ".nii.gz")) and not p.name.startswith("."))


def _entities(path: Path) -> tuple[dict[str, str], str]:
    """Entities and suffix of a BIDS file name."""
    *pairs, suffix = path.name.removesuffix(".gz").removesuffix(".nii").split("_")
    return dict(p.split("-", 1) for p in pairs if "-" in p), suffix


def contrast_of(path: Path) -> Contrast | None:
    """The contrast of a BIDS image by its name and sidecar; None for images that are of no use here."""
    entities, suffix = _entities(path)
    if suffix == "T2w":
        return Contrast.T2
    if suffix == "T1w":
        return _REC.get(entities.get("rec", ""))
    if suffix == "MEGRE" and entities.get("part", "mag") == "mag":
        return _contrast_of_sidecar(path) or _ECHO.get(entities.get("echo", ""))
    return None


def _contrast_of_sidecar(path: Path) -> Contrast | None:
    sidecar = path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    try:
        require_plain_file(sidecar)
        content = dict(json.loads(sidecar.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    image_type = content.get("ImageType", [])
    words = [str(content.get("DixonPhase", "")), *(image_type if isinstance(image_type, list) else [image_type])]
    phases = {c for w in words if (c := DIXON_WORDS.get(str(w).upper().replace(" ", "_"))) in _PHASES}
    return phases.pop() if len(phases) == 1 else None


def _reference_masks(derivatives: Path, reference_session: str) -> list[tuple[str, str, str, str]]:
    rows = []
    for folder in sorted(p for p in derivatives.glob("sub-*") if p.is_dir()):
        for session, anat in _anat_folders(folder, reference_session):
            for path in _images(anat):
                entities, suffix = _entities(path)
                if suffix == "dseg" and entities.get("desc") in _REFERENCE_DESC:
                    rows.append((folder.name, session, MaskRole.REFERENCE.value, str(path.absolute())))
    return rows
