"""Studies resolved from three layouts: who, when, which files."""

import json
from pathlib import Path

import numpy as np
import pytest
from bedrest.io.files import sha256_of
from bedrest.io.manifest.resolve import build_manifest
from study_folders import BOTH, DIXON, anat, bids_study, check, csv_study, image, only, study_of


@pytest.fixture
def bids(tmp_path):
    return bids_study(tmp_path)


def test_bids_is_resolved(bids):
    manifest = build_manifest(bids)
    assert check(bids) == []
    first = manifest.subjects.iloc[0]
    assert (first["subject"], first["group"], first["age"], first["height_cm"]) == ("sub-01", "control", 30, 168)
    second = manifest.subjects.iloc[1]
    assert second["sex"] == "M" and np.isnan(second["age"]) and second["site"] == "south"
    assert list(manifest.sessions["study_day"]) == [-3, 60, -3, 60]
    assert len(manifest.scans) == 2 * 2 * 5
    for ending, contrast in DIXON.items():
        path = anat(bids.images.root, "sub-01", "ses-1") / f"sub-01_ses-1_{ending}.nii.gz"
        row = manifest.scans[manifest.scans["path"] == str(path)].iloc[0]
        assert row["contrast"] == contrast and row["sha256"] == sha256_of(path)
    assert (manifest.scans["contrast"] == "reference_mask").sum() == 4


@pytest.mark.parametrize("sidecar", [{"ImageType": ["ORIGINAL", "PRIMARY", "IN_PHASE"]}, {"DixonPhase": "in phase"}])
def test_a_sidecar_decides_which_echo_is_which(bids, sidecar):
    folder = anat(bids.images.root, "sub-01", "ses-1")
    (folder / "sub-01_ses-1_echo-1_MEGRE.json").write_text(json.dumps({"EchoTime": 0.0023, **sidecar}))
    (folder / "sub-01_ses-1_echo-2_MEGRE.json").write_text(json.dumps({"EchoTime": 0.0035, "ImageType": ["OUT_PHASE"]}))
    (anat(bids.images.root, "sub-01", "ses-2") / "sub-01_ses-2_echo-1_MEGRE.json").write_text("not json")
    scans = build_manifest(bids).scans.set_index(["subject", "session", "contrast"])["path"]
    assert "echo-1" in scans["sub-01", "ses-1", "in_phase"] and "echo-2" in scans["sub-01", "ses-1", "opposed"]
    assert "echo-1" in scans["sub-01", "ses-2", "opposed"]


def test_sessions_tsv_goes_before_study_toml(bids):
    (bids.images.root / "sub-02" / "sub-02_sessions.tsv").write_text(
        "session_id\tstudy_day\tphase\tminutes_supine\tacq_time\nses-1\t-8\tbaseline\t25\tx\nses-2\tn/a\tn/a\t30\tx\n")
    sessions = build_manifest(bids).sessions.set_index(["subject", "session"])
    assert sessions.loc[("sub-02", "ses-1"), "study_day"] == -8
    assert sessions.loc[("sub-02", "ses-2"), "study_day"] == 60
    assert sessions.loc[("sub-02", "ses-2"), "phase"] == "bed_rest"
    assert sessions.loc[("sub-02", "ses-1"), "minutes_supine"] == 25
    assert np.isnan(sessions.loc[("sub-01", "ses-1"), "minutes_supine"])


def test_images_without_a_session_folder_belong_to_the_reference_session(tmp_path):
    image(tmp_path / "bids/sub-7/anat/sub-7_T2w.nii")
    study = study_of(tmp_path, 'layout = "bids"\nroot = "bids"', groups='["everybody"]')
    manifest = build_manifest(study)
    assert check(study) == []
    assert manifest.scans.loc[0, ["session", "contrast"]].tolist() == ["ses-1", "t2"]
    assert manifest.subjects.loc[0, "group"] == "everybody"


@pytest.mark.parametrize("names", [("{0}_fat.nii", "{0}_inn.nii", "{0}_opp.nii", "{0}_wat.nii", "{0}_Labels.nii"),
                                   ("{0}_Fat.nii.gz", "{0}_INN.nii.gz", "{0}_Opp.nii.gz", "{0}_wat.nii.gz",
                                    "{0}_labels.nii.gz")])
def test_ivdm3seg_in_several_spellings(tmp_path, names):
    for case in ("01", "02"):
        for name in names:
            image(tmp_path / "set" / case / name.format(case), mask="abels" in name)
    (tmp_path / "set" / "docs").mkdir()
    study = study_of(tmp_path, 'layout = "ivdm3seg"\nroot = "set"', groups='["volunteers"]')
    manifest = build_manifest(study)
    assert check(study) == []
    assert list(manifest.subjects["subject"]) == ["01", "02"] and set(manifest.sessions["session"]) == {"ses-1"}
    assert set(manifest.scans["contrast"]) == {"water", "fat", "in_phase", "opposed", "reference_mask"}


def test_ivdm3seg_pairs_and_case_16(tmp_path):
    for case in ("15", "16"):
        image(tmp_path / "set" / case / f"{case}_wat.nii")
        image(tmp_path / "set" / case / f"{case}_Labels.nii", mask=True, shift_mm=4 if case == "16" else 0)
    study = study_of(tmp_path, 'layout = "ivdm3seg"\nroot = "set"\npairs = {15 = ["P", "ses-1"], 16 = ["P", "ses-2"]}',
                     groups='["volunteers"]')
    told = only(check(study), subject="P", session="ses-2")
    assert "corners up to 4.0 mm apart" in told and "16_Labels.nii" in told and "16_wat.nii" in told
    absent = study_of(tmp_path, 'layout = "ivdm3seg"\nroot = "set"\npairs = {1 = ["P", "ses-1"]}', groups='["v"]')
    assert any("images.pairs" in str(p.problem) and "'1'" in str(p.problem) for p in check(absent))


def test_csv_is_resolved(tmp_path):
    study = csv_study(tmp_path, BOTH + "B,ses-2,reference_mask,m.nii\n",
                      sessions="subject,session,minutes_supine\nA,ses-1,30\n")
    manifest = build_manifest(study)
    assert check(study) == []
    assert list(manifest.sessions["study_day"]) == [-3, 60, -3, 60]
    assert manifest.sessions["minutes_supine"].tolist()[0] == 30
    assert manifest.scans["path"].map(lambda p: Path(p).is_absolute()).all()


def test_csv_overrides_single_files_of_another_layout(bids):
    root = bids.images.root
    image(root / "better.nii.gz", seed=9)
    (root.parent / "scans.csv").write_text(
        "subject,session,contrast,path\nsub-01,ses-1,water,better.nii.gz\nsub-01,ses-1,mask,mask.nii.gz\n")
    image(root / "mask.nii.gz", mask=True)
    study = study_of(root.parent, 'layout = "bids"\nroot = "bids"\nscans_csv = "scans.csv"')
    scans = build_manifest(study).scans.set_index(["subject", "session", "contrast"])["path"]
    assert scans["sub-01", "ses-1", "water"].endswith("better.nii.gz") and len(scans) == 17
    assert scans["sub-01", "ses-2", "water"].endswith("T1w.nii.gz")


def test_the_order_of_subjects_does_not_matter(tmp_path):
    turned = "".join(sorted(BOTH.splitlines(keepends=True), reverse=True))
    one, other = (build_manifest(csv_study(tmp_path / n, rows)) for n, rows in (("a", BOTH), ("b", turned)))
    assert one.sessions.equals(other.sessions) and one.subjects.equals(other.subjects)
