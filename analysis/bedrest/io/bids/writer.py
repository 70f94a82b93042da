"""Writes scans as a BIDS dataset. BIDS 1.11 has no Dixon suffix, so in- and opposed-phase are echoes of a MEGRE and
water and fat are reconstructions of a T1w; both pass the BIDS validator.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from bedrest.io.files import atomic_path, write_text
from bedrest.io.images.label_tables import bids_label_table
from bedrest.types import LabelMap, Scan, Volume
from bedrest.vocabulary import LEVEL_OF_LABEL, Contrast

# contrast -> (file name ending, sidecar); echo times of a 1.5 T Dixon pair, for synthetic images
_BIDS: dict[Contrast, tuple[str, dict[str, object]]] = {
    Contrast.OPPOSED: ("echo-1_MEGRE", {"EchoTime": 0.00238, "ImageType": ["DERIVED", "PRIMARY", "OPP_PHASE"]}),
    Contrast.IN_PHASE: ("echo-2_MEGRE", {"EchoTime": 0.00476, "ImageType": ["DERIVED", "PRIMARY", "IN_PHASE"]}),
    Contrast.WATER: ("rec-water_T1w", {"ImageType": ["DERIVED", "PRIMARY", "WATER"]}),
    Contrast.FAT: ("rec-fat_T1w", {"ImageType": ["DERIVED", "PRIMARY", "FAT"]}),
    Contrast.T2: ("T2w", {}),
    Contrast.T1: ("T1w", {}),
}

# What validators want to know of columns that BIDS does not define.
_MEANINGS: dict[str, dict[str, object]] = {
    "group": {"Description": "Arm of the study"},
    "height": {"Description": "Standing height", "Units": "cm"},
    "weight": {"Description": "Body mass", "Units": "kg"},
    "study_day": {"Description": "Day of the study; day 1 is the first day in bed", "Units": "day"},
    "phase": {"Description": "Phase of the study",
              "Levels": {"baseline": "before bed rest", "bed_rest": "in bed", "recovery": "up again"}},
    "minutes_supine": {"Description": "Time lying down before the scan", "Units": "min"},
}
SMALL = 100.0  # images that reach no higher would be coarse as whole numbers


def write_scan(root: Path, subject: str, session: str, *, scan: Scan) -> None:
    """Write every contrast of a scan to ``root/subject/session/anat`` with its sidecar."""
    for contrast, volume in scan.contrasts.items():
        write_contrast(root, subject, session, contrast, volume, sidecar={"Manufacturer": "synthetic"})


def contrast_path(root: Path, subject: str, session: str, contrast: Contrast, echo: int | None = None) -> Path:
    """Where a contrast of a visit lies. `echo`: number of an in- or opposed-phase echo, where in phase is the first."""
    ending = _BIDS[contrast][0]
    if echo is not None and ending.endswith("MEGRE"):
        ending = f"echo-{echo}_MEGRE"
    return root / subject / session / "anat" / f"{subject}_{session}_{ending}.nii.gz"


def write_contrast(root: Path, subject: str, session: str, contrast: Contrast, volume: Volume, *,
                   sidecar: Mapping[str, object]) -> None:
    """Write one synthetic contrast of a visit with its sidecar, as whole numbers where they are fine enough.

    `sidecar`: goes before what a contrast's sidecar holds by itself.
    """
    path = contrast_path(root, subject, session, contrast)
    _write_nifti(volume, path, np.int16 if SMALL < _highest(volume) < 2**15 else np.float32)
    _write_json(_sidecar_path(path), {**_BIDS[contrast][1], **sidecar})


def write_scanned(path: Path, contrast: Contrast, volume: Volume, *, sidecar: Mapping[str, object]) -> None:
    """Write one contrast of a scanner at its `contrast_path`: fractions are kept, and no echo time is made up."""
    whole = bool((volume.data == np.round(volume.data)).all()) and _highest(volume) < 2**15
    _write_nifti(volume, path, np.int16 if whole else np.float32)
    known = {k: v for k, v in _BIDS[contrast][1].items() if k != "EchoTime"}
    _write_json(_sidecar_path(path), {**known, **sidecar})


def write_reference_mask(derivatives: Path, subject: str, session: str, *, mask: LabelMap) -> None:
    """Write a truth mask as ``desc-truth_dseg`` below a derivatives folder; `write_truth_dataset` names its labels."""
    path = derivatives / subject / session / "anat" / f"{subject}_{session}_desc-truth_dseg.nii.gz"
    _write_nifti(mask, path, np.uint8)


def write_truth_dataset(derivatives: Path, *, description: Mapping[str, object], readme: str) -> None:
    """Write what all truth masks of a derivatives folder share: label table and sidecar are inherited by each."""
    _write_json(derivatives / "dataset_description.json", description)
    write_text(derivatives / "README", readme)
    write_text(derivatives / "desc-truth_dseg.tsv", bids_label_table(LEVEL_OF_LABEL))
    _write_json(derivatives / "desc-truth_dseg.json",
                {"Description": "Discs of a synthetic spine, painted from its analytic shape.", "Manual": False})


def write_dataset_files(root: Path, *, description: Mapping[str, object], readme: str, participants: pd.DataFrame,
                        sessions: Mapping[str, pd.DataFrame]) -> None:
    """Write dataset_description.json, README, participants.tsv and one sessions.tsv a subject, with their sidecars."""
    visits = next(iter(sessions.values()), pd.DataFrame())
    for name, table in (("participants", participants), ("sessions", visits)):
        _write_json(root / f"{name}.json", {c: _MEANINGS[c] for c in table.columns if c in _MEANINGS})
    _write_json(root / "dataset_description.json", description)
    write_text(root / "README", readme)
    write_text(root / "participants.tsv", participants.to_csv(sep="\t", index=False, na_rep="n/a"))
    for subject, table in sessions.items():
        text = table.to_csv(sep="\t", index=False, na_rep="n/a")
        write_text(root / subject / f"{subject}_sessions.tsv", text)


def _highest(volume: Volume) -> float:
    return float(np.abs(volume.data).max(initial=0))


def _sidecar_path(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    write_text(path, json.dumps(content, indent=1) + "\n")


def _write_nifti(image: Volume | LabelMap, path: Path, dtype: type) -> None:
    data: np.ndarray = (np.round(image.data) if np.issubdtype(dtype, np.integer) else image.data).astype(dtype)
    nifti = nib.Nifti1Image(data, image.grid.affine_ras_mm)
    nifti.header.set_xyzt_units("mm")
    nifti.header.set_intent("label" if isinstance(image, LabelMap) else "none")
    nifti.set_sform(image.grid.affine_ras_mm, code=1)
    nifti.set_qform(image.grid.affine_ras_mm, code=1)
    with atomic_path(path) as temporary:
        nib.save(nifti, temporary)
