"""The demo and exported masks are valid BIDS, by the validator that the standard's own people keep."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from bedrest import schemas
from bedrest.errors import ManifestError, StudyError
from bedrest.io.bids.derivatives import write_derivatives
from bedrest.io.images.masks import write_label_map, write_volume
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import empty_table, typed_frame
from bedrest.io.tables.typed_csv import write_table
from bedrest.phantom.demo_cohort import DemoPlan, write_study_files, write_subject
from bedrest.types import Grid, LabelMap, Volume
from bedrest.vocabulary import LEVEL_OF_LABEL, TISSUE_OF_LABEL
from bedrest.workflow.checks import check_study
from study_folders import image, study_of

# What BIDS would like to know of a scanner, and that one author is few: neither can be known of synthetic scans.
HARMLESS = {"SIDECAR_KEY_RECOMMENDED", "JSON_KEY_RECOMMENDED", "TOO_FEW_AUTHORS", "NO_AUTHORS"}


@pytest.fixture(scope="session")
def validate():
    """Folder -> issues of a dataset and of the derivatives in it, as (severity, code, place)."""
    beside = Path(sys.executable).with_name("bids-validator-deno")
    program = str(beside) if beside.is_file() else shutil.which("bids-validator-deno")
    if program is None:
        pytest.skip("bids-validator-deno is not installed; `pip install -r requirements.lock` brings it")
    offline = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")

    def issues(folder: Path) -> list[tuple[str, str, str]]:
        done = subprocess.run([program, str(folder), "--format", "json", "--recursive"], capture_output=True, text=True,
                              env={**os.environ, **offline, "NO_COLOR": "1"}, timeout=120)
        told = json.loads(done.stdout)
        parts = [told, *told.get("derivativesSummary", {}).values()]
        found = [(i["severity"], i["code"], i.get("location", "")) for p in parts for i in p["issues"]["issues"]]
        assert told["summary"]["totalFiles"] > 0
        assert (done.returncode != 0) == any(severity == "error" for severity, *_ in found)
        return found

    return issues


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory) -> Path:
    """The demo of one subject and one visit."""
    folder, plan = tmp_path_factory.mktemp("bids") / "demo", DemoPlan(1, 1)
    write_study_files(plan, folder, write_subject(0, plan, folder))
    return folder


def test_the_demo_is_valid_bids(demo_folder, validate):
    found = validate(demo_folder / "bids")
    assert {(s, c) for s, c, _ in found if c not in HARMLESS} == set()


def test_the_demo_is_in_order(demo_folder, monkeypatch):
    monkeypatch.chdir(demo_folder)
    checked = check_study(demo_folder / "study.toml", read_images=False)
    assert (checked.problems, checked.doubts, checked.left_out) == ([], [], ())


def test_one_sidecar_for_all_subjects_is_valid_bids(demo_folder, validate, tmp_path, monkeypatch):
    """What `bedrest check` advises where nothing says which echo is in phase."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(demo_folder, tmp_path, dirs_exist_ok=True)
    for n in (1, 2):
        (tmp_path / f"bids/sub-01/ses-1/anat/sub-01_ses-1_echo-{n}_MEGRE.json").unlink()
    (doubt,) = check_study(tmp_path / "study.toml", read_images=False).doubts
    assert f"{tmp_path / 'bids/echo-1_MEGRE.json'} and echo-2_MEGRE.json" in doubt
    for n, te in ((1, 0.00115), (2, 0.0023)):
        (tmp_path / f"bids/echo-{n}_MEGRE.json").write_text(json.dumps({"EchoTime": te, "MagneticFieldStrength": 3}))
    assert check_study(tmp_path / "study.toml", read_images=False).doubts == []
    assert {(s, c) for s, c, _ in validate(tmp_path / "bids") if c not in HARMLESS} == set()


def test_the_validator_would_tell(demo_folder, validate, tmp_path):
    shutil.copytree(demo_folder / "bids", tmp_path / "bids")
    anat = tmp_path / "bids/sub-01/ses-1/anat"
    (anat / "sub-01_ses-1_rec-fat_T1w.nii.gz").rename(anat / "sub-01_ses-1_fat.nii.gz")
    assert ("error", "NOT_INCLUDED", "/sub-01/ses-1/anat/sub-01_ses-1_fat.nii.gz") in validate(tmp_path / "bids")


GRID = Grid((4, 5, 6), np.diag([2.0, 1.25, 1.25, 1.0]))
DISCS = LabelMap(np.repeat(np.arange(6, dtype=np.int32), 20).reshape(4, 5, 6), GRID)


def results_of(folder: Path, *, subjects=("sub-01", "sub-02"), layout="bids") -> tuple:
    """Stored masks: of the first subject automatic and edited ones, of the second one visit that failed."""
    scan = image(folder / "bids/sub-01/ses-1/anat/sub-01_ses-1_T2w.nii.gz")
    study = study_of(folder, f'layout = "{layout}"\nroot = "bids"')
    results = StudyResults(study.output_dir)
    keys = [{"subject": s, "session": v} for s in subjects for v in ("ses-1", "ses-2")]
    lost = (subjects[-1], "ses-2")
    people = typed_frame([{"subject": s, "group": "control"} for s in subjects], schemas.SUBJECTS)
    visits = typed_frame([{**k, "study_day": -3 if k["session"] == "ses-1" else 60,
                           "phase": "baseline" if k["session"] == "ses-1" else "bed_rest"} for k in keys],
                         schemas.SESSIONS)
    scans = typed_frame([{**k, "contrast": "t2", "path": str(scan)} for k in keys], schemas.SCANS)
    records = []
    for k in keys:
        mask = results.mask(k["subject"], k["session"])
        failed = (k["subject"], k["session"]) == lost
        if not failed:
            write_label_map(DISCS, mask, names=LEVEL_OF_LABEL)
            write_label_map(DISCS, results.tissue_mask(k["subject"], k["session"]), names=TISSUE_OF_LABEL)
            write_volume(Volume((DISCS.data > 0).astype(np.float32), GRID),
                         results.probability(k["subject"], k["session"]), dtype=np.int16)
        records.append({**k, "mask_path": "" if failed else str(mask.relative_to(results.output_dir)),
                        "source": "automatic", "status": "failed" if failed else "ok"})
    by_hand = LabelMap(np.where(DISCS.data == 1, 0, DISCS.data), GRID)
    write_label_map(by_hand, results.measured_mask(subjects[0], "ses-2"), names=LEVEL_OF_LABEL)
    edited = typed_frame([{"subject": subjects[0], "session": "ses-2", "path": "x.nii.gz"}], schemas.EDITED_MASKS)
    for table, frame in ((schemas.SUBJECTS, people), (schemas.SESSIONS, visits)):
        write_table(frame, results.manifest_table(table), table)
    for table, frame in ((schemas.SCANS, scans), (schemas.EDITED_MASKS, edited),
                         (schemas.SCAN_RECORDS, typed_frame(records, schemas.SCAN_RECORDS))):
        for s in subjects:
            own = frame[frame["subject"] == s]
            write_table(own if len(own) else empty_table(table), results.subject_table(s, table), table)
    return study, results


def test_exported_masks_are_valid_bids(tmp_path, validate):
    study, results = results_of(tmp_path)
    assert write_derivatives(study, results, tmp_path / "out-bids") == 3
    found = validate(tmp_path / "out-bids")
    assert {(s, c) for s, c, _ in found if c not in HARMLESS} == set()


def test_what_is_exported(tmp_path):
    study, results = results_of(tmp_path)
    out = tmp_path / "bids/derivatives/bedrest"
    write_derivatives(study, results, out)
    first, second = out / "sub-01/ses-1/anat", out / "sub-01/ses-2/anat"
    assert sorted(p.name for p in first.iterdir()) == [
        f"sub-01_ses-1_{name}" for name in (
            "desc-discs_dseg.json", "desc-discs_dseg.nii.gz", "desc-discs_dseg.tsv", "desc-tissues_dseg.json",
            "desc-tissues_dseg.nii.gz", "desc-tissues_dseg.tsv", "label-disc_probseg.json",
            "label-disc_probseg.nii.gz")]
    # The corrected visit: the mask that was measured, and nothing that only belongs to the automatic one.
    assert sorted(p.name for p in second.iterdir()) == [
        f"sub-01_ses-2_desc-discs_dseg.{ending}" for ending in ("json", "nii.gz", "tsv")]
    assert not (np.asarray(nib.load(second / "sub-01_ses-2_desc-discs_dseg.nii.gz").dataobj) == 1).any()
    sidecars = [json.loads(next(f.glob("*discs_dseg.json")).read_text()) for f in (first, second)]
    assert [s["Manual"] for s in sidecars] == [False, True]
    assert sidecars[0]["SpatialReference"] == "bids:raw:sub-01/ses-1/anat/sub-01_ses-1_T2w.nii.gz"
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["GeneratedBy"][0]["Name"] == "bedrest" and description["DatasetLinks"] == {"raw": "../.."}
    labels = pd.read_csv(first / "sub-01_ses-1_desc-discs_dseg.tsv", sep="\t").set_index("index")["name"].to_dict()
    assert labels == LEVEL_OF_LABEL
    assert not list(out.glob("sub-02/ses-2/anat/*"))
    visits = pd.read_csv(out / "sub-02/sub-02_sessions.tsv", sep="\t")
    assert list(visits["session_id"]) == ["ses-1"]


def test_subjects_get_bids_labels(tmp_path):
    study, results = results_of(tmp_path, subjects=("P_1", "02"), layout="ivdm3seg")
    write_derivatives(study, results, tmp_path / "d")
    assert {p.name for p in (tmp_path / "d").glob("sub-*")} == {"sub-P1", "sub-02"}
    assert "DatasetLinks" not in json.loads((tmp_path / "d/dataset_description.json").read_text())


def test_two_subjects_with_one_label_are_refused(tmp_path):
    study, results = results_of(tmp_path, subjects=("P_1", "P1"), layout="ivdm3seg")
    with pytest.raises(ManifestError, match=r"'P1' and 'P_1'"):
        write_derivatives(study, results, tmp_path / "d")
    assert not (tmp_path / "d").exists() and not list(tmp_path.glob(".tmp*"))


def test_a_folder_with_content_is_never_written_to(tmp_path):
    study, results = results_of(tmp_path)
    (tmp_path / "d").mkdir()
    (tmp_path / "d/mine.txt").write_text("mine")
    with pytest.raises(StudyError, match="an empty folder"):
        write_derivatives(study, results, tmp_path / "d")
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["mine.txt"]
