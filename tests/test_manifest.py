"""Studies resolved from three layouts, and everything that may be wrong with their input."""

import errno
import json
import os
import shutil
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from analysis.errors import ManifestError, ManyProblems
from analysis.io.files import sha256_of
from analysis.io.manifest import InputProblem, build_manifest, check_manifest
from analysis.io.tables import write_table
from analysis.schemas import SCANS, SESSIONS, SUBJECTS
from analysis.settings import Study, load_study

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
    data = np.random.default_rng(seed).integers(0, 2 if mask else 300, (4, 5, 6)).astype(np.uint8 if mask else np.int16)
    affine = AFFINE.copy()
    affine[1, 3] = shift_mm
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def study_of(folder: Path, images: str, *, head: str = "", groups: str = '["control", "exercise"]') -> Study:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "study.toml").write_text(
        f'name = "s"\ngroups = {groups}\nreference_session = "ses-1"\noutput = "out"\n{head}\n[images]\n{images}\n'
        + SESSION_BLOCKS)
    return load_study(folder / "study.toml")


def anat(root: Path, subject: str, session: str) -> Path:
    return root / subject / session / "anat"


@pytest.fixture
def bids(tmp_path) -> Study:
    """Two subjects, two visits, four contrasts, reference masks."""
    root = tmp_path / "bids"
    for subject in ("sub-01", "sub-02"):
        for session in ("ses-1", "ses-2"):
            for n, ending in enumerate(DIXON):
                image(anat(root, subject, session) / f"{subject}_{session}_{ending}.nii.gz", seed=n)
            masks = anat(root / "derivatives/manual", subject, session)
            image(masks / f"{subject}_{session}_desc-manual_dseg.nii.gz", mask=True)
    (root / "participants.tsv").write_text(
        "participant_id\tgroup\tage\tsex\theight\tweight\tsite\n"
        "sub-01\tcontrol\t30\tF\t168\t61.5\tnorth\nsub-02\texercise\tn/a\tmale\t181\tn/a\tsouth\n")
    return study_of(tmp_path, 'layout = "bids"\nroot = "bids"\nderivatives = "bids/derivatives/manual"')


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
        assert all((p.problem.where, p.problem.expected, p.problem.found, p.problem.remedy)), p
    return found


def only(found: list[InputProblem], *, subject: str, session: str = "", excludes: bool = False) -> str:
    assert len(found) == 1, [str(p.problem) for p in found]
    assert (found[0].subject, found[0].session, found[0].excludes_subject) == (subject, session, excludes)
    return str(found[0].problem)


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
    (folder / "sub-01_ses-1_echo-1_MEGRE.json").write_text(json.dumps(sidecar))
    (folder / "sub-01_ses-1_echo-2_MEGRE.json").write_text(json.dumps({"ImageType": ["OUT_PHASE"]}))
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


def test_a_missing_file(tmp_path):
    told = only(check(csv_study(tmp_path, BOTH + "A,ses-2,fat,absent.nii\n")), subject="A", session="ses-2")
    assert "A ses-2 fat" in told and "absent.nii" in told and "no such file" in told


def test_a_damaged_file_is_told_and_others_go_on(bids):
    path = anat(bids.images.root, "sub-02", "ses-1") / "sub-02_ses-1_rec-water_T1w.nii.gz"
    path.write_bytes(path.read_bytes()[:60])
    told = only(check(bids), subject="sub-02", session="ses-1")
    assert told.startswith(f"sub-02 ses-1 water ({path})")
    assert check_manifest(bids, build_manifest(bids), read_images=False) == []


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
    study = bids.model_copy(update={"contrasts": ("water", "fat")})
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
    study = csv_study(tmp_path, BOTH + f"{name},ses-1,water,c.nii\n", subjects=f"A,control\nB,exercise\n{name},control\n")
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


def test_the_order_of_subjects_does_not_matter(tmp_path):
    turned = "".join(sorted(BOTH.splitlines(keepends=True), reverse=True))
    one, other = (build_manifest(csv_study(tmp_path / n, rows)) for n, rows in (("a", BOTH), ("b", turned)))
    assert one.sessions.equals(other.sessions) and one.subjects.equals(other.subjects)
