"""Builds a manifest from the layout of the IVDM3Seg challenge.

`01/01_fat.nii`, `_inn`, `_opp`, `_wat` and `01_Labels.nii`, in any case, .nii or .nii.gz.

The challenge has 16 scans of 8 subjects and does not say which belong together. Unless study.toml pairs them, every
folder counts as another subject, scanned at the reference session. Images that are named otherwise are listed.
"""

from __future__ import annotations

import re

import pandas as pd

from bedrest.errors import Problem, did_you_mean
from bedrest.io.manifest.entries import InputProblem, LayoutEntries, scan_rows
from bedrest.io.manifest.unused_images import images_below, left_out
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
    cases, problems, refused = [], list[InputProblem](), []
    scans = sorted(p for p in root.iterdir() if p.is_dir())
    for folder in scans:
        files = [(p, m["case"], m["what"].lower()) for p in sorted(folder.iterdir()) if (m := _FILE.match(p.name))]
        known = [(p, case, _WHAT[what]) for p, case, what in files if what in _WHAT]
        if not known:
            continue
        subject, session = pairs.get(folder.name, (folder.name, study.reference_session))
        cases.append((folder.name, subject))
        others = {p.name for p in scans} - {folder.name}
        for path, case, what in known:
            if case in others:
                refused.append((subject, session))
                problems.append(InputProblem(subject, session, Problem(
                    str(path), f"a file of scan {folder.name}, as its folder says", f"{case} in its name",
                    "Move the file to where it belongs, or correct its name."), excludes_visit=True))
            else:
                rows.append((subject, session, what.value, str(path.absolute())))
    folders = [case for case, _ in cases]
    problems += [InputProblem("", "", Problem(
        f"{study.path}: images.pairs", f"scan folders of {root}", repr(name),
        did_you_mean(name, folders, "Remove the pair or correct images.root.")))
        for name in pairs if name not in folders]
    subjects = pd.DataFrame({"subject": list(dict.fromkeys(s for _, s in cases))}, dtype="str")
    reason = "not named as in CASE/CASE_fat.nii, with fat, inn, opp, wat or Labels"
    unused = ((p, reason) for p in images_below(root, spare=[study.output_dir, study.edited_dir])
              if p.parent.parent != root or not ((m := _FILE.match(p.name)) and m["what"].lower() in _WHAT))
    return LayoutEntries(subjects=subjects, scans=scan_rows(rows), problems=problems, left_out=left_out(unused),
                         visits=pd.DataFrame(refused, columns=["subject", "session"], dtype="str"))
