"""A small synthetic study whose masks are given, run through every stage in this process: no network, no Snakemake.

Hostile words stand in every place that takes free text, and a person's name and date of birth in every header field
that takes text, so that tests can look for both in what comes out.
"""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bedrest.io.results import StudyResults
from bedrest.segmentation import weights
from bedrest.settings import Study, load_study
from bedrest.stages.all_stages import SUBJECT_STAGES, stage
from bedrest.stages.provenance import write_program
from bedrest.stages.stage import Job
from bedrest.vocabulary import LEVEL_OF_LABEL
from bedrest.workflow.run import prepare

PLANTED = "DOE^JANE 19700101"  # what a header may hold of a person
EVIL = "<script>alert(1)</script>\"'&"
STYLE = "</style></title><img src=x onerror=alert(2)><a href=\"javascript:alert(3)\">x</a>[y](https://evil.example)*b*"
GROUPS = (f"{EVIL} one", f"$x^2$ {STYLE}"[:99])
SUBJECTS = ("Kowalski-04", "Meyer-11", "Okafor-27", "Rossi-35")
LOST = "Rossi-35"  # whose second visit cannot be read
SESSIONS = ('[[sessions]]\nid = "ses-1"\nstudy_day = -3\nphase = "baseline"\n'
            '[[sessions]]\nid = "ses-2"\nstudy_day = 60\nphase = "bed_rest"\n')
SHAPE, AFFINE = (16, 40, 90), np.diag([3.0, 1.5, 2.0, 1.0])


def planted_image(data: np.ndarray, path: Path) -> Path:
    """Write a NIfTI file with a person's name in every header field that takes text, and in extensions."""
    image = nib.Nifti1Image(data, AFFINE)
    image.header.set_xyzt_units("mm")
    for name, size in (("descrip", 80), ("aux_file", 24), ("intent_name", 16), ("db_name", 18), ("data_type", 10)):
        image.header[name] = PLANTED.encode()[:size]
    for code in (0, 4, 6):  # unknown, AFNI, comment
        image.header.extensions.append(nib.nifti1.Nifti1Extension(code, PLANTED.encode()))
    nib.save(image, path)
    path.with_name(path.name.removesuffix(".nii.gz") + ".json").write_text(json.dumps(
        {"PatientName": PLANTED, "PatientBirthDate": "19700101", "ImageComments": EVIL}))
    return path


def write_hostile_study(folder: Path, *, masks: bool = True) -> Study:
    """study.toml, three tables and the files they name."""
    rng = np.random.default_rng(5)
    rows, people, visits = [], [], []
    images = folder / "images {of} the study"
    images.mkdir(parents=True)
    for i, subject in enumerate(SUBJECTS):
        people.append([subject, GROUPS[i % 2], str(30 + i), EVIL, f"=cmd|{i}"])
        for n, session in enumerate(("ses-1", "ses-2")):
            labels = np.zeros(SHAPE, np.uint8)
            for label in LEVEL_OF_LABEL:
                deep = 24 + int(rng.integers(0, 6)) + 3 * n
                labels[int(rng.integers(2, 5)) : 12, 10:deep + 4, 12 * label - 4 : 12 * label] = label
            image = (rng.normal(60, 10, SHAPE) + 100 * (labels > 0)).clip(0).astype(np.int16)
            rows.append([subject, session, "water", planted_image(image, images / f"{subject}_{session}.nii.gz").name])
            if masks:
                mask = planted_image(labels, images / f"{subject}_{session}_mask.nii.gz")
                rows.append([subject, session, "mask", mask.name])
            visits.append([subject, session, EVIL if n else "=1+1"])
    for name, head, body in (("scans", "subject,session,contrast,path", rows),
                             ("subjects", f"subject,group,age,note <b>,@{EVIL.replace(chr(34), '')}", people),
                             ("sessions", "subject,session,scan_time", visits)):
        lines = [",".join('"' + c.replace('"', '""') + '"' for c in row) for row in body]
        (folder / f"{name}.csv").write_text("\n".join([head, *lines]) + "\n")
    lost = images / f"{LOST}_ses-2{'_mask' if masks else ''}.nii.gz"
    lost.write_bytes(lost.read_bytes()[:400])
    (folder / "study.toml").write_text(
        f'name = "hostile"\ndescription = {json.dumps(EVIL + STYLE)}\ngroups = {json.dumps(GROUPS)}\n'
        f'reference_session = "ses-1"\noutput = "out"\n[statistics]\nresamples = 200\n[images]\nlayout = "csv"\n'
        f'root = "images {{of}} the study"\nsubjects_csv = "subjects.csv"\nsessions_csv = "sessions.csv"\n'
        f'scans_csv = "scans.csv"\n{SESSIONS}')
    return load_study(folder / "study.toml")


def run_stages(study: Study) -> StudyResults:
    """Every stage but those that make the pages of notebooks, and figures."""
    results = StudyResults(study.output_dir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "load_weights", lambda *_: None)  # masks are given: a second for each subject saved
        return _run_stages(study, results)


def _run_stages(study: Study, results: StudyResults) -> StudyResults:
    manifest, _ = prepare(study, results)
    write_program(results, study)
    for subject in manifest.subjects["subject"]:
        for name in SUBJECT_STAGES:
            stage(name).run(Job(study, results, subject, "cpu", 1))
    for name in ("tables", "statistics", "index"):
        stage(name).run(Job(study, results, "", "cpu", 1))
    return results
