"""Everything that may be wrong with a study's input: told with its place and remedy, and others go on."""

import errno
import os
import shutil
import tempfile

import nibabel as nib
import numpy as np
import pytest
from bedrest.errors import ManifestError, ManyProblems
from bedrest.io.files import sha256_of
from bedrest.io.manifest.resolve import build_manifest, check_manifest
from study_folders import AFFINE, BOTH, anat, bids_study, check, csv_study, image, only, study_of


@pytest.fixture
def bids(tmp_path):
    return bids_study(tmp_path)


def test_a_missing_file(tmp_path):
    told = only(check(csv_study(tmp_path, BOTH + "A,ses-2,fat,absent.nii\n")), subject="A", session="ses-2")
    assert "A ses-2 fat" in told and "absent.nii" in told and "no such file" in told


def test_a_damaged_file_is_told_and_others_go_on(bids):
    path = anat(bids.images.root, "sub-02", "ses-1") / "sub-02_ses-1_rec-water_T1w.nii.gz"
    path.write_bytes(path.read_bytes()[:60])
    told = only(check(bids), subject="sub-02", session="ses-1")
    assert told.startswith(f"sub-02 ses-1 water ({path})")
    assert [p.subject for p in check_manifest(bids, build_manifest(bids), whole=False)] == ["sub-02"]


def test_a_whole_file_is_not_read_for_its_header(bids, monkeypatch):
    manifest = build_manifest(bids)
    monkeypatch.setattr("bedrest.io.images.nifti.load_image", lambda *_, **__: pytest.fail("the voxels were read"))
    assert check_manifest(bids, manifest, whole=False) == []


def test_contrasts_and_masks_on_other_grids(bids):
    root = bids.images.root
    image(anat(root, "sub-01", "ses-1") / "sub-01_ses-1_rec-fat_T1w.nii.gz", shift_mm=2)
    image(anat(root / "derivatives/manual", "sub-02", "ses-2") / "sub-02_ses-2_desc-manual_dseg.nii.gz", mask=True,
          shift_mm=7)
    first, second = check(bids)
    assert (first.subject, first.session) == ("sub-01", "ses-1")
    assert "corners up to 2.0 mm apart" in str(first.problem) and "sub-01 ses-1 fat" in str(first.problem)
    assert "corners up to 7.0 mm apart" in str(second.problem) and "desc-manual" in str(second.problem)


def test_an_empty_mask(bids):
    path = anat(bids.images.root / "derivatives/manual", "sub-02", "ses-2") / "sub-02_ses-2_desc-manual_dseg.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.uint8), AFFINE), path)
    assert "an empty mask" in only(check(bids), subject="sub-02", session="ses-2")


def test_a_visit_twice(tmp_path):
    study = csv_study(tmp_path, BOTH, sessions="subject,session,study_day\nA,ses-1,-3\nA,ses-1,-2\n")
    found = check(study)
    assert {(p.subject, p.session, p.excludes_subject) for p in found} == {("A", "ses-1", True)}
    assert all("A, ses-1 more than once" in str(p.problem) and "sessions.csv, row" in str(p.problem) for p in found)


def test_a_subject_twice(tmp_path):
    found = check(csv_study(tmp_path, BOTH, subjects="A,control\nA,exercise\nB,control\n"))
    assert {(p.subject, p.excludes_subject) for p in found} == {("A", True)}


def test_a_contrast_twice(bids):
    folder = anat(bids.images.root, "sub-01", "ses-2")
    shutil.copy(folder / "sub-01_ses-2_rec-water_T1w.nii.gz", folder / "sub-01_ses-2_run-2_rec-water_T1w.nii.gz")
    told = only(check(bids), subject="sub-01", session="ses-2", excludes=True)
    assert "expected one file, found 2" in told and "run-2" in told


def test_unknown_group(tmp_path):
    told = only(check(csv_study(tmp_path, BOTH, subjects="A,contrl\nB,exercise\n")), subject="A", excludes=True)
    assert "'contrl'" in told and "Did you mean 'control'?" in told and "subjects.csv" in told


def test_no_group_at_all(tmp_path):
    image(tmp_path / "bids/sub-1/ses-1/anat/sub-1_ses-1_T2w.nii")
    study = study_of(tmp_path, 'layout = "bids"\nroot = "bids"')
    assert "found no group" in only(check(study), subject="sub-1", excludes=True)


def test_scans_of_somebody_who_is_not_listed(tmp_path):
    found = check(csv_study(tmp_path, BOTH + "BB,ses-1,water,c.nii\n"))
    assert "did you mean 'B'" in only(found, subject="BB", excludes=True)


def test_unknown_session_is_left_out_and_told(tmp_path):
    study = csv_study(tmp_path, BOTH + "A,ses_2,fat,a3.nii\n")
    told = only(check(study), subject="A", session="ses_2")
    assert "Did you mean 'ses-2'?" in told and "left out" in told
    assert set(build_manifest(study).scans["session"]) == {"ses-1", "ses-2"}


def test_no_reference_session(tmp_path):
    told = only(check(csv_study(tmp_path, BOTH.replace("A,ses-1,water,a1.nii\n", ""))), subject="A")
    assert "a visit ses-1" in told and "reference_session" in told


def test_a_listed_subject_without_files_does_not_vanish(tmp_path):
    study = csv_study(tmp_path, BOTH, subjects="A,control\nB,exercise\nC,control\n")
    assert [(p.subject, p.session) for p in check(study)] == [("C", "ses-1"), ("C", "ses-2")]
    assert (build_manifest(study).sessions["subject"] == "C").sum() == 2


def test_an_expected_contrast_is_absent(bids):
    (anat(bids.images.root, "sub-01", "ses-1") / "sub-01_ses-1_rec-fat_T1w.nii.gz").unlink()
    keys = 'layout = "bids"\nroot = "bids"\nderivatives = "bids/derivatives/manual"'
    study = study_of(bids.path.parent, keys, head='contrasts = ["water", "fat"]')
    told = only(check(study), subject="sub-01", session="ses-1")
    assert "a fat image" in told and "contrasts in study.toml" in told


def test_a_file_that_no_longer_has_its_checksum(tmp_path):
    study = csv_study(tmp_path, BOTH)
    (tmp_path / "scans.csv").write_text(f"subject,session,contrast,path,sha256\nA,ses-1,water,a1.nii,{'0' * 64}\n"
                                        f"B,ses-1,water,b1.nii,{sha256_of(tmp_path / 'b1.nii')}\n")
    assert "has changed" in only(check(study), subject="A", session="ses-1")


def test_cells_that_cannot_be_read_exclude_their_subject(bids):
    path = bids.images.root / "participants.tsv"
    path.write_text(path.read_text().replace("\t30\t", "\tthirty\t"))
    told = only(check(bids), subject="sub-01", excludes=True)
    assert "participants.tsv, row 2, column age" in told and "'thirty'" in told


def test_a_column_that_looks_misspelt(bids):
    path = bids.images.root / "participants.tsv"
    path.write_text(path.read_text().replace("height", "heigth_cm"))
    assert "Did you mean 'height_cm'?" in only(check(bids), subject="")


@pytest.mark.parametrize("name", ["../x", "a/b", "_"])
def test_subjects_name_files(tmp_path, name):
    listed = f"A,control\nB,exercise\n{name},control\n"
    study = csv_study(tmp_path, BOTH + f"{name},ses-1,water,c.nii\n", subjects=listed)
    assert "it names files" in only([p for p in check(study) if p.excludes_subject], subject=name, excludes=True)


def test_nothing_found(tmp_path):
    (tmp_path / "bids").mkdir()
    told = only(check(study_of(tmp_path, 'layout = "bids"\nroot = "bids"')), subject="")
    assert "expected subjects in the layout 'bids', found none" in told and "README" in told


def test_no_image_folder_and_no_table(tmp_path):
    with pytest.raises(ManifestError, match=r"no such folder.*images\.root"):
        build_manifest(study_of(tmp_path, 'layout = "bids"\nroot = "absent"'))
    study = csv_study(tmp_path, BOTH)
    (tmp_path / "subjects.csv").write_text("subject,gruop\nA,control\n")
    assert any("Did you mean 'group'?" in str(p.problem) for p in check(study))
    (tmp_path / "scans.csv").write_text("subject,session,contrats,path\n")
    with pytest.raises(ManyProblems, match="Rename 'contrats'"):
        build_manifest(study)


def test_derivatives_that_are_not_there(bids):
    study = study_of(bids.path.parent, 'layout = "bids"\nroot = "bids"\nderivatives = "nowhere"')
    assert "images.derivatives" in only(check(study), subject="")


def test_an_output_folder_that_is_a_file(bids):
    bids.output_dir.write_text("")
    told = only(check(bids), subject="")
    assert str(bids.output_dir) in told and "another output folder" in told


def test_an_output_folder_on_a_full_disk(bids, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    assert "a full disk" in only(check(bids), subject="")
