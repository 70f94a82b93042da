"""Writes small studies of every layout into a folder, for the tests of the manifest."""

import json
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from bedrest.io.manifest.resolve import InputProblem, build_manifest, check_manifest
from bedrest.io.tables.typed_csv import write_table
from bedrest.schemas import SCANS, SESSIONS, SUBJECTS
from bedrest.settings import Study, load_study

AFFINE = np.diag([2.0, 1.25, 1.25, 1.0])
DIXON = {"echo-1_MEGRE": "opposed", "echo-2_MEGRE": "in_phase", "rec-water_T1w": "water", "rec-fat_T1w": "fat"}
SESSION_BLOCKS = """
[[sessions]]
id = "ses-1"
study_day = -3
phase = "baseline"
[[sessions]]
id = "ses-2"
study_day = 60
phase = "bed_rest"
"""


def image(path: Path, *, shift_mm: float = 0.0, mask: bool = False, seed: int = 0) -> Path:
    place = zlib.crc32("/".join(path.parts[-5:]).encode())  # every file has an image of its own
    values = np.random.default_rng([place, seed]).integers(0, 2 if mask else 300, (4, 5, 6))
    affine = AFFINE.copy()
    affine[1, 3] = shift_mm
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values.astype(np.uint8 if mask else np.int16), affine), path)
    return path


def study_of(folder: Path, images: str, *, head: str = "", groups: str = '["control", "exercise"]') -> Study:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "study.toml").write_text(
        f'name = "s"\ngroups = {groups}\nreference_session = "ses-1"\noutput = "out"\n{head}\n[images]\n{images}\n'
        + SESSION_BLOCKS)
    return load_study(folder / "study.toml")


def anat(root: Path, subject: str, session: str) -> Path:
    return root / subject / session / "anat"


def bids_study(folder: Path) -> Study:
    """Two subjects, two visits, four contrasts with sidecars of all subjects, reference masks."""
    root = folder / "bids"
    for subject in ("sub-01", "sub-02"):
        for session in ("ses-1", "ses-2"):
            for n, ending in enumerate(DIXON):
                image(anat(root, subject, session) / f"{subject}_{session}_{ending}.nii.gz", seed=n)
            masks = anat(root / "derivatives/manual", subject, session)
            image(masks / f"{subject}_{session}_desc-manual_dseg.nii.gz", mask=True)
    for n, te in ((1, 0.00115), (2, 0.0023)):
        (root / f"echo-{n}_MEGRE.json").write_text(json.dumps({"EchoTime": te, "MagneticFieldStrength": 3}))
    (root / "participants.tsv").write_text(
        "participant_id\tgroup\tage\tsex\theight\tweight\tsite\n"
        "sub-01\tcontrol\t30\tF\t168\t61.5\tnorth\nsub-02\texercise\tn/a\tmale\t181\tn/a\tsouth\n")
    return study_of(folder, 'layout = "bids"\nroot = "bids"\nderivatives = "bids/derivatives/manual"')


def csv_study(folder: Path, scans: str, *, subjects: str = "A,control\nB,exercise\n", sessions: str = "",
              more: str = "") -> Study:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "scans.csv").write_text("subject,session,contrast,path\n" + scans)
    (folder / "subjects.csv").write_text("subject,group\n" + subjects)
    if sessions:
        (folder / "sessions.csv").write_text(sessions)
        more += '\nsessions_csv = "sessions.csv"'
    for n, row in enumerate(scans.splitlines()):
        path = folder / row.split(",")[3]
        if not path.exists() and "absent" not in path.name:
            image(path, mask="mask" in row.split(",")[2], seed=n)
    keys = 'layout = "csv"\nroot = "."\nsubjects_csv = "subjects.csv"\nscans_csv = "scans.csv"\n' + more
    return study_of(folder, keys)


BOTH = "A,ses-1,water,a1.nii\nA,ses-2,water,a2.nii\nB,ses-1,water,b1.nii\nB,ses-2,water,b2.nii\n"


def check(study: Study) -> list[InputProblem]:
    manifest = build_manifest(study)
    excluded = {p.subject for p in manifest.problems if p.excludes_subject}
    for frame, table in ((manifest.subjects, SUBJECTS), (manifest.sessions, SESSIONS), (manifest.scans, SCANS)):
        # Whatever was met, what is not excluded can be written.
        write_table(frame[~frame["subject"].isin(excluded)], study.path.parent / "kept.csv", table)
    found = check_manifest(study, manifest)
    for p in found:
        assert all((p.problem.where, p.problem.expected, p.problem.actual, p.problem.remedy)), p
    return found


def only(found: list[InputProblem], *, subject: str, session: str = "", excludes: bool = False) -> str:
    assert len(found) == 1, [str(p.problem) for p in found]
    assert (found[0].subject, found[0].session, found[0].excludes_subject) == (subject, session, excludes)
    return str(found[0].problem)
