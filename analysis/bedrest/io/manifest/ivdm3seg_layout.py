"""Builds a manifest from the layout of the IVDM3Seg challenge.

`01/01_fat.nii`, `_inn`, `_opp`, `_wat` and `01_Labels.nii`, in any case, .nii or .nii.gz.

The challenge has 16 scans of 8 subjects and does not say which belong together. Unless study.toml pairs them, every
folder counts as another subject, scanned at the reference session.
"""

from __future__ import annotations

import re

import pandas as pd

from bedrest.errors import Problem, did_you_mean
from bedrest.io.manifest.entries import InputProblem, LayoutEntries, scan_rows
from bedrest.settings import Study
from bedrest.vocabulary import Contrast, MaskRole

_FILE = re.compile(r"^(?P<case>\w+?)[_-](?P<what>[a-z]+)\.nii(\.gz)?$", re.IGNORECASE)
_WHAT: dict[str, Contrast | MaskRole] = {
    "fat": Contrast.FAT, "inn": Contrast.IN_PHASE, "in": Contrast.IN_PHASE, "opp": Contrast.OPPOSED,
    "wat": Contrast.WATER, "water": Contrast.WATER, "labels": MaskRole.REFERENCE, "label": MaskRole.REFERENCE,
}


def find_ivdm3seg(study: Study) -> LayoutEntries:
    """Every folder with files named as in the challenge is a scan."""
    root, pairs = study.images.root, study.images.pairs
    rows: list[tuple[str, str, str, str]] = []
    cases = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        files = [(p, m["what"].lower()) for p in sorted(folder.iterdir()) if (m := _FILE.match(p.name))]
        known = [(p, _WHAT[what]) for p, what in files if what in _WHAT]
        if not known:
            continue
        subject, session = pairs.get(folder.name, (folder.name, study.reference_session))
        cases.append((folder.name, subject))
        rows += [(subject, session, what.value, str(p.absolute())) for p, what in known]
    folders = [case for case, _ in cases]
    problems = [InputProblem("", "", Problem(
        f"{study.path}: images.pairs", f"scan folders of {root}", repr(name),
        did_you_mean(name, folders, "Remove the pair or correct images.root.")))
        for name in pairs if name not in folders]
    subjects = pd.DataFrame({"subject": list(dict.fromkeys(s for _, s in cases))}, dtype="str")
    return LayoutEntries(subjects=subjects, scans=scan_rows(rows), problems=problems)
