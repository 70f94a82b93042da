"""Builds a manifest from a BIDS dataset.

BIDS has no suffix for Dixon images: echo-1 and echo-2 of a MEGRE are opposed- and in-phase unless sidecars say
otherwise, rec-water and rec-fat of a T1w are water and fat, any other is T1. Reference masks are
`desc-manual`, `desc-reference` or `desc-truth` `_dseg` files of the derivatives folder that study.toml names. A file
whose name or sidecar contradicts where it lies or what it is excludes its visit; every image not taken is listed.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bedrest.errors import Problem
from bedrest.io.files import no_plain_file
from bedrest.io.manifest.bids_folders import list_images, list_reference_masks, subject_folders
from bedrest.io.manifest.csv_layout import INPUT_SESSIONS, INPUT_SUBJECTS, load_renamed
from bedrest.io.manifest.entries import InputProblem, LayoutEntries, scan_rows
from bedrest.io.manifest.unused_images import left_out
from bedrest.io.tables.typed_csv import read_text
from bedrest.schemas import SESSIONS, SUBJECTS
from bedrest.settings import Study

_PARTICIPANTS = {"participant_id": "subject", "height": "height_cm", "weight": "weight_kg"}
_SEX = {"female": "F", "f": "F", "woman": "F", "male": "M", "m": "M", "man": "M", "other": "O", "o": "O"}
_NO_IMAGES = ("derivatives", "sourcedata", "code", "stimuli")  # folders of a dataset that hold none to measure


def find_bids(study: Study) -> LayoutEntries:
    """Subjects of participants.tsv, visits of the folders and sessions.tsv files, images and reference masks."""
    root, derivatives, entries = study.images.root, study.images.derivatives, LayoutEntries()
    if (root / "participants.tsv").is_file():
        entries.subjects, entries.problems = _participants(root / "participants.tsv")
        entries.subjects_file = str(root / "participants.tsv")
    folders = subject_folders(root)
    if entries.subjects.empty:
        entries.subjects = pd.DataFrame({"subject": [p.name for p in folders]}, dtype="str")
    visits = [entries.visits]
    for folder in folders:
        table = folder / f"{folder.name}_sessions.tsv"
        if not no_plain_file(table):
            frame, problems = load_renamed(read_text(table, SESSIONS.name), INPUT_SESSIONS, {"session_id": "session"},
                                           subject=folder.name)
            visits.append(frame.assign(session=[_prefixed("ses-", s) for s in frame["session"]]))
            entries.problems += problems
    ours = [study.output_dir, study.edited_dir]
    spare = [*ours, *(root / name for name in _NO_IMAGES), *([derivatives] if derivatives not in (None, root) else [])]
    images = list_images(root, study.reference_session, spare=spare, resample=study.images.resample)
    rows, unused = images.rows, images.left_out
    entries.problems += images.problems
    if derivatives is not None:
        masks = list_reference_masks(derivatives, study.reference_session, spare=[*ours, root])
        rows, unused = rows + masks.rows, {**masks.left_out, **unused}
        entries.problems += masks.problems
        if not derivatives.is_dir():
            entries.problems.append(InputProblem("", "", Problem(
                str(derivatives), "the derivatives folder of images.derivatives", "no such folder",
                "Correct the path in study.toml, or remove the key.")))
    entries.scans, entries.left_out = scan_rows(rows), left_out(sorted(unused.items()))
    # A visit none of whose images is used, or whose files are refused, is one, too.
    met = [(p.subject, p.session) for p in images.problems if p.excludes_visit]
    met += [(parts[0], parts[1]) for p in images.left_out if len(parts := p.relative_to(root).parts) > 2
            and parts[0].startswith("sub-") and parts[1] in study.session_ids]
    visits.append(pd.DataFrame(met, columns=["subject", "session"], dtype="str"))
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
