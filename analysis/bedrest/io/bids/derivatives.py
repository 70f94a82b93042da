"""Writes the masks of a study as a BIDS derivatives dataset. Knows where results lie, not how they came about."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from bedrest import __version__, schemas
from bedrest.errors import ManifestError, StudyError
from bedrest.io.bids.writer import write_dataset_files
from bedrest.io.files import atomic_path, output_error, write_text
from bedrest.io.images.masks import label_table_path
from bedrest.io.results import StudyResults
from bedrest.settings import Study
from bedrest.vocabulary import Contrast

DISCS, TISSUES, PROBABILITY = "desc-discs_dseg", "desc-tissues_dseg", "label-disc_probseg"
_DESCRIPTIONS = {
    DISCS: "Intervertebral discs, one label a level; the mask that was measured.",
    TISSUES: "The same discs with vertebral bodies, sacrum and spinal canal.",
    PROBABILITY: "Calibrated probability of intervertebral disc, from which volumes are measured.",
}
_README = """Masks of intervertebral discs, made by bedrest {version} of the study "{name}".
Research use only, not a medical device. The shipped network was trained on synthetic images alone.

*_desc-discs_dseg.nii.gz     the discs as they were measured, manual corrections included; names in the .tsv beside it
*_desc-tissues_dseg.nii.gz   the same with vertebral bodies, sacrum and canal; not of corrected masks
*_label-disc_probseg.nii.gz  calibrated probability of disc; not of corrected masks
"""


def write_derivatives(study: Study, results: StudyResults, folder: Path) -> int:
    """Write every mask of a study's results as BIDS derivatives, whole or not at all.

    `folder`: must be empty or not there. Inside a BIDS dataset it lies in its ``derivatives`` folder. Returns how many
    visits have a mask. Raises StudyError: the folder holds something already; ManifestError: two subjects, or two
    sessions, have one BIDS label; OutputError: the folder cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StudyError("an empty folder, or none", "a folder or file with content", str(folder),
                         "Delete it, or choose another with -o.")
    records = pd.concat([results.read_subject(s, schemas.SCAN_RECORDS)
                         for s in results.read_manifest(schemas.SUBJECTS)["subject"]], ignore_index=True)
    subjects, sessions = _labels("sub", records["subject"]), _labels("ses", records["session"])
    temporary = folder.with_name(f".tmp-{os.getpid()}-{folder.name}")
    try:
        temporary.mkdir(parents=True)
        written = []
        for subject, session, mask_path in records[["subject", "session", "mask_path"]].itertuples(index=False):
            labels = subjects[subject], sessions[session]
            stem = temporary.joinpath(*labels, "anat", "_".join(labels))
            if _write_visit(study, results, (subject, session), mask_path, stem):
                written.append((subject, session))
        _write_texts(study, results, temporary, written, subjects, sessions, dataset=folder)
        temporary.replace(folder)
    except OSError as error:
        raise output_error(error, folder) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(written)


def _labels(entity: str, names: Iterable[str]) -> dict[str, str]:
    """Name -> BIDS label, which holds letters and digits alone."""
    labels = {n: f"{entity}-{''.join(c for c in n.removeprefix(f'{entity}-') if c.isascii() and c.isalnum())}"
              for n in dict.fromkeys(names)}
    for name, label in labels.items():
        same = [n for n, other in labels.items() if other == label]
        if len(same) > 1 or label == f"{entity}-":
            raise ManifestError("names that differ in their letters and digits", " and ".join(map(repr, same)),
                                "BIDS labels hold nothing else", f"Rename {name!r} in the tables of the study.")
    return labels


def _write_visit(study: Study, results: StudyResults, visit: tuple[str, str], mask_path: str, stem: Path) -> bool:
    """Copy the masks of one visit; False when it has none."""
    subject, session = visit
    edited = session in set(results.read_subject(subject, schemas.EDITED_MASKS)["session"])
    corrected = results.measured_mask(subject, session)
    if corrected.is_file():
        files = {DISCS: corrected}
    elif edited or not mask_path:  # an edited mask that could not be used leaves none
        return False
    else:
        files = {DISCS: results.output_dir / mask_path, TISSUES: results.tissue_mask(subject, session),
                 PROBABILITY: results.probability(subject, session)}
    about = _reference(study, results, visit)
    for ending, path in files.items():
        if not path.is_file():
            continue
        target = stem.with_name(f"{stem.name}_{ending}.nii.gz")
        _copy(path, target)
        if ending != PROBABILITY:
            _copy(label_table_path(path), label_table_path(target))
        sidecar = {"Description": _DESCRIPTIONS[ending], **about,
                   **({"Manual": edited} if ending != PROBABILITY else {})}
        write_text(label_table_path(target).with_suffix(".json"), json.dumps(sidecar, indent=1) + "\n")
    return True


def _reference(study: Study, results: StudyResults, visit: tuple[str, str]) -> dict[str, object]:
    """The images a mask was made from, where they are part of a BIDS dataset."""
    scans = results.read_subject(visit[0], schemas.SCANS)
    paths = scans.loc[(scans["session"] == visit[1]) & scans["contrast"].isin([*Contrast]), "path"]
    root = study.images.root.absolute()
    images = [f"bids:raw:{p.relative_to(root).as_posix()}" for p in map(Path, paths)
              if study.images.layout == "bids" and p.is_relative_to(root)]
    return {"SpatialReference": images[0], "Sources": images} if images else {}


def _write_texts(study: Study, results: StudyResults, root: Path, written: list[tuple[str, str]],
                 subjects: dict[str, str], sessions: dict[str, str], *, dataset: Path) -> None:
    names = list(dict.fromkeys(subject for subject, _ in written))
    participants = results.read_manifest(schemas.SUBJECTS)[["subject", "group"]]
    participants = participants[participants["subject"].isin(names)].rename(columns={"subject": "participant_id"})
    participants["participant_id"] = participants["participant_id"].map(subjects)
    visits = results.read_manifest(schemas.SESSIONS)
    visits = visits[pd.MultiIndex.from_frame(visits[["subject", "session"]]).isin(written)]
    visits = visits.assign(session_id=visits["session"].map(sessions))
    tables = {subjects[n]: visits.loc[visits["subject"] == n, ["session_id", "study_day", "phase"]] for n in names}
    description: dict[str, object] = {
        "Name": f"Disc masks of {study.name}", "BIDSVersion": "1.11.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "bedrest", "Version": __version__,
                         "Description": "Segments, names and measures intervertebral discs. Research use only."}]}
    if study.images.layout == "bids":
        raw = os.path.relpath(study.images.root.absolute(), dataset.absolute())
        description["DatasetLinks"] = {"raw": Path(raw).as_posix()}
    write_dataset_files(root, description=description, readme=_README.format(version=__version__, name=study.name),
                        participants=participants, sessions=tables)


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
