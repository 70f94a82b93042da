"""Visits held against each other: copies of images, days and dates, what changes between acquisitions."""

import gzip
import json
import shutil
import time

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from bedrest import schemas
from bedrest.cli import main
from bedrest.io.images.voxel_digest import voxel_sketch
from bedrest.io.manifest.corrections import find_corrections
from bedrest.io.manifest.resolve import build_manifest, check_manifest
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import typed_frame
from bedrest.phantom.demo_cohort import DemoPlan, write_cohort
from bedrest.settings import load_study
from bedrest.tables.change import change_frame
from bedrest.tables.failures import failures_frame
from bedrest.workflow.run import prepare
from given_study import finish_here, write_study
from study_folders import AFFINE, BOTH, anat, bids_study, check, csv_study, image, only, study_of

THREE = BOTH + "A,ses-1,fat,a1f.nii\nA,ses-2,fat,a2f.nii\n"


@pytest.fixture
def bids(tmp_path):
    return bids_study(tmp_path)


def lines(study, *, whole=True):
    """Problems, each told once, as `check` prints them; doubts by themselves."""
    found = check(study) if whole else check_manifest(study, build_manifest(study, None), whole=False)
    return ([*dict.fromkeys(str(p.problem) for p in found if not p.doubt)],
            [*dict.fromkeys(str(p.problem) for p in found if p.doubt)])


def excluded(study):
    return sorted((p.subject, p.session) for p in check(study) if p.excludes_visit)


# Copies.

def as_it_is(source, target):
    shutil.copy(source, target)


def other_compression(source, target):
    target.write_bytes(gzip.compress(gzip.decompress(source.read_bytes()), 1, mtime=5))


def other_text(source, target):
    loaded = nib.load(source)
    copied = nib.Nifti1Image(np.asarray(loaded.dataobj), loaded.affine)
    copied.header["descrip"] = b"resaved"
    nib.save(copied, target)


def other_numbers(source, target):
    loaded = nib.load(source)
    nib.save(nib.Nifti1Image(np.asarray(loaded.dataobj).astype(np.float32) * 2.5, loaded.affine), target)


def other_axes(source, target):
    loaded = nib.load(source)
    nib.save(loaded.as_reoriented(nib.orientations.axcodes2ornt(("A", "L", "S"))), target)


@pytest.mark.parametrize("copied", [as_it_is, other_compression, other_text, other_numbers])
@pytest.mark.parametrize(("subject", "session"), [("sub-01", "ses-2"), ("sub-02", "ses-1")])
def test_an_image_of_another_visit_or_subject_excludes_both(bids, copied, subject, session):
    source = anat(bids.images.root, "sub-01", "ses-1") / "sub-01_ses-1_rec-water_T1w.nii.gz"
    target = anat(bids.images.root, subject, session) / f"{subject}_{session}_rec-water_T1w.nii.gz"
    copied(source, target)
    (told,), doubts = lines(bids)
    assert str(source) in told and str(target) in told and "until then no image of these visits is used" in told
    assert not doubts and excluded(bids) == sorted({("sub-01", "ses-1"), (subject, session)})
    kept, _ = prepare(bids, StudyResults(bids.output_dir))
    left = {*kept.scans[["subject", "session"]].itertuples(index=False, name=None)}
    assert lines(bids, whole=False)[0] == [told]
    assert left == {(s, v) for s in ("sub-01", "sub-02") for v in ("ses-1", "ses-2")} - {*excluded(bids)}
    target.unlink()  # the remedy
    assert excluded(bids) == [] and lines(bids)[0] == []


def test_a_copy_with_other_axes_is_met_where_images_are_read_whole(tmp_path):
    study = csv_study(tmp_path, BOTH)
    other_axes(tmp_path / "a1.nii", tmp_path / "b2.nii")
    assert "one image twice" in lines(study)[0][0]
    assert excluded(study) == [("A", "ses-1"), ("B", "ses-2")]


def test_a_visit_copied_whole_is_told_in_one_line_and_the_command_ends_with_1(bids, capsys):
    for path in anat(bids.images.root, "sub-01", "ses-1").iterdir():
        shutil.copy(path, anat(bids.images.root, "sub-01", "ses-2") / path.name.replace("ses-1", "ses-2"))
    assert main(["check", str(bids.path)]) == 1
    printed = capsys.readouterr().out
    assert printed.count("one image twice") == 1 and printed.count("sub-01 ses-2 fat (") == 1
    assert printed.count("an image of its own") == 1


def test_one_image_as_two_contrasts_excludes_the_visit(bids):
    folder = anat(bids.images.root, "sub-02", "ses-2")
    as_it_is(folder / "sub-02_ses-2_echo-1_MEGRE.nii.gz", folder / "sub-02_ses-2_echo-2_MEGRE.nii.gz")
    told = only(check(bids), subject="sub-02", session="ses-2")
    assert "an image of its own for every contrast" in told and "echo-1" in told and "echo-2" in told
    assert excluded(bids) == [("sub-02", "ses-2")]


def test_one_file_listed_for_two_visits(tmp_path):
    study = csv_study(tmp_path, BOTH.replace("a2.nii", "a1.nii"))
    assert excluded(study) == [("A", "ses-1"), ("A", "ses-2")]


def test_one_mask_for_two_visits_is_a_doubt(bids):
    masks = [anat(bids.images.root / "derivatives/manual", "sub-01", s) / f"sub-01_{s}_desc-manual_dseg.nii.gz"
             for s in ("ses-1", "ses-2")]
    as_it_is(*masks)
    problems, (doubt,) = lines(bids)
    assert problems == [] and excluded(bids) == [] and all(str(m) in doubt for m in masks)
    edited = bids.output_dir / "masks/edited"
    edited.mkdir(parents=True)
    for n in ("ses-1", "ses-2"):
        as_it_is(masks[0], edited / f"sub-02_{n}_discs.nii.gz")
    found = find_corrections(bids, build_manifest(bids)).problems
    assert [(p.session, p.doubt, p.excludes_subject) for p in found] == [("ses-1", True, False), ("ses-2", True, False)]


def test_a_reference_mask_that_is_the_given_one(tmp_path):
    study = csv_study(tmp_path, BOTH + "A,ses-1,mask,m1.nii\nA,ses-1,reference_mask,m2.nii\n")
    as_it_is(tmp_path / "m1.nii", tmp_path / "m2.nii")
    assert "apart from the mask that it judges" in lines(study)[1][0]


def test_images_alike_at_their_beginning_are_no_copies(tmp_path):
    """Nothing around the body, the first voxels that differ from it the same by chance."""
    study = csv_study(tmp_path, BOTH)
    for n in (1, 2):
        data = np.zeros((4, 160, 160), np.int16)
        data[0, 0, 1] = 7
        data[:, 100:150, 20:140] = np.random.default_rng(n).integers(0, 300, (4, 50, 120))
        nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / f"a{n}.nii")
    assert voxel_sketch(tmp_path / "a1.nii") != voxel_sketch(tmp_path / "b1.nii")
    assert lines(study, whole=False) == ([], []) == lines(study)
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "a1.nii")
    assert len(lines(study, whole=False)[0]) == 1


def test_sketches_are_remembered(bids, monkeypatch):
    """From one run to the next, once a file is older than two seconds."""
    read: list[str] = []
    monkeypatch.setattr("bedrest.workflow.run.voxel_sketch", lambda p: read.append(p.name) or voxel_sketch(p))
    now = time.time_ns() + 10**10
    monkeypatch.setattr("bedrest.io.files.time.time_ns", lambda: now)
    results = StudyResults(bids.output_dir)
    prepare(bids, results)
    assert len(read) == 20
    prepare(bids, results)
    assert len(read) == 20


# Days.

def sessions_of(study, rows, *, name="study_day", subject="sub-01"):
    """Write sessions.tsv: one value a visit."""
    text = "".join(f"ses-{n}\t{value}\n" for n, value in enumerate(rows, 1))
    (study.images.root / subject / f"{subject}_sessions.tsv").write_text(f"session_id\t{name}\n{text}")


def longer(folder, days=(-3, 30, 60), *, reference="ses-1"):
    """One subject with three visits."""
    root = folder / "bids"
    phases = ["baseline" if d < 1 else "bed_rest" for d in days]
    blocks = "".join(f'\n[[sessions]]\nid = "ses-{n}"\nstudy_day = {d}\nphase = "{phase}"\n'
                     for n, (d, phase) in enumerate(zip(days, phases, strict=True), 1))
    for n in range(1, len(days) + 1):
        image(anat(root, "sub-01", f"ses-{n}") / f"sub-01_ses-{n}_T2w.nii.gz")
    (folder / "study.toml").write_text('name = "s"\ngroups = ["g"]\noutput = "out"\n'
                                       f'reference_session = "{reference}"\n'
                                       f'[images]\nlayout = "bids"\nroot = "bids"\n{blocks}')
    return load_study(folder / "study.toml")


DATES = [("1925-03-10T08:00:00", "1925-01-02T08:00:00"), ("1880-05-01", "1880-02-28"),
         ("20240310080000.000000", "20240102080000"), ("20240310", "20240102"),
         ("2024-03-10T08:00:00.5Z", "2024-01-02T08:00:00Z"), ("10/03/2024", "02/01/2024"), ("10.3.1925", "2.1.1925")]


@pytest.mark.parametrize(("name", "rows"), [("study_day", ("60", "-3")), *(("acq_time", d) for d in DATES)])
def test_visits_in_reverse_are_refused(bids, name, rows, capsys):
    sessions_of(bids, rows, name=name)
    (told,), doubts = lines(bids)
    assert name in told and "ses-2" in told and "wrong sign" in told
    assert excluded(bids) == [("sub-01", "ses-1"), ("sub-01", "ses-2")]
    assert bool(doubts) == ("." in rows[0][:5] or "/" in rows[0])  # that the dates are not as BIDS writes them
    assert main(["check", str(bids.path)]) == 1 and capsys.readouterr().out.count("wrong sign") == 1
    sessions_of(bids, rows[::-1], name=name)  # the remedy
    assert lines(bids)[0] == []


@pytest.mark.parametrize("place", ["ses-{0}/sub-01_ses-{0}_scans.tsv", "sidecar"])
def test_dates_of_files_count_too(bids, place):
    for n, taken in ((1, "1925-03-10T08:00:00"), (2, "1925-01-02T09:30:00")):
        folder = bids.images.root / "sub-01"
        if place == "sidecar":
            path = anat(bids.images.root, "sub-01", f"ses-{n}") / f"sub-01_ses-{n}_rec-fat_T1w.json"
            path.write_text(json.dumps({"AcquisitionDateTime": taken}))
        else:
            (folder / place.format(n)).write_text(
                f"filename\tacq_time\toperator\nanat/sub-01_ses-{n}_rec-water_T1w.nii.gz\t{taken}\tn/a\n")
    assert excluded(bids) == [("sub-01", "ses-1"), ("sub-01", "ses-2")]


def test_csv_has_dates_too(tmp_path):
    table = "subject,session,acq_time\nA,ses-1,2024-03-10\nA,ses-2,2024-01-02\nB,ses-1,2024-01-02\nB,ses-2,2024-03-05\n"
    assert excluded(csv_study(tmp_path, BOTH, sessions=table)) == [("A", "ses-1"), ("A", "ses-2")]


def test_only_visits_in_the_wrong_order_are_refused(tmp_path):
    study = longer(tmp_path)
    sessions_of(study, (-2, 61, 29))
    assert excluded(study) == [("sub-01", "ses-2"), ("sub-01", "ses-3")]
    assert "wrong sign" not in lines(study)[0][0]
    sessions_of(study, (-2, 47, 45))
    assert lines(study)[0] == [] and "the order of study.toml" in lines(study)[1][0]


def test_times_that_are_no_contradiction(bids):
    for rows in (("08:00:00", "07:30:00"), ("XXXX-XX-XXT09:00:00", "XXXX-XX-XXT08:00:00"),
                 ("n/a", "1925-01-02T08:00:00"), ("2024-01-02", "2024-03-09"),
                 ("1925-01-02T08:00:00", "1925-03-07T20:00:00")):
        sessions_of(bids, rows, name="acq_time")
        assert lines(bids) == ([], []), rows
    sessions_of(bids, ("01/05/2024", "03/04/2024"), name="acq_time")  # the order depends on the reading
    problems, (doubt,) = lines(bids)
    assert problems == [] and "every reading says the same" in doubt and "'01/05/2024'" in doubt
    sessions_of(bids, ("10-MAR-2024", "02-JAN-2024"), name="acq_time")
    problems, (doubt,) = lines(bids)
    assert problems == [] and "dates as 2024-03-10T08:00:00" in doubt and "'10-MAR-2024'" in doubt


@pytest.mark.parametrize("wrong", [("-3", "bed_rest", "-1"), ("-3", "baseline", "60"), ("2", "recovery", "0.5")])
def test_phase_and_day_that_contradict_each_other(bids, wrong):
    first, phase, second = wrong
    (bids.images.root / "sub-01/sub-01_sessions.tsv").write_text(
        f"session_id\tstudy_day\tphase\nses-1\t{first}\tbaseline\nses-2\t{second}\t{phase}\n")
    problems, _ = lines(bids)
    assert problems and ("sub-01", "ses-2") in excluded(bids) and ("sub-02", "ses-2") not in excluded(bids)


@pytest.mark.parametrize(("rows", "words"), [
    (("-0.4", "8.6"), "these look like weeks"), (("-3", "160"), "planned 60"), (("-3", "-3"), "both at day -3")])
def test_days_that_are_doubtful(bids, rows, words):
    phase = "baseline" if rows[1] == "-3" else "n/a"  # else it contradicts the day
    (bids.images.root / "sub-01/sub-01_sessions.tsv").write_text(
        f"session_id\tstudy_day\tphase\nses-1\t{rows[0]}\t{phase}\nses-2\t{rows[1]}\t{phase}\n")
    problems, doubts = lines(bids)
    assert problems == [] and any(words in d for d in doubts) and excluded(bids) == []


@pytest.mark.parametrize(("second", "words"), [("1925-01-02T10:00:00", "0 days by acq_time, 63 by study_day"),
                                               ("1925-09-02T10:00:00", "243 days by acq_time, 63 by study_day")])
def test_dates_that_do_not_fit_the_days(bids, second, words):
    sessions_of(bids, ("1925-01-02T08:00:00", second), name="acq_time")
    problems, (doubt,) = lines(bids)
    assert problems == [] and words in doubt


def test_images_of_one_visit_taken_on_two_days(bids):
    (bids.images.root / "sub-01/ses-1/sub-01_ses-1_scans.tsv").write_text(
        "filename\tacq_time\nanat/a.nii.gz\t1925-01-02T08:00:00\nanat/b.nii.gz\t1925-01-02T08:20:00\n")
    assert lines(bids) == ([], [])
    (bids.images.root / "sub-01/ses-1/sub-01_ses-1_scans.tsv").write_text(
        "filename\tacq_time\nanat/a.nii.gz\t1925-01-02T08:00:00\nanat/b.nii.gz\t1925-03-02T08:00:00\n")
    problems, (doubt,) = lines(bids)
    assert problems == [] and "one date for all images of a visit" in doubt


def test_a_plan_that_counts_from_the_wrong_visit(tmp_path):
    assert lines(longer(tmp_path)) == ([], [])
    assert lines(longer(tmp_path, (-9, -3, 60), reference="ses-2")) == ([], [])  # baseline twice
    study = longer(tmp_path, reference="ses-3")
    problems, (doubt,) = lines(study)
    assert problems == [] and "a reference_session at baseline" in doubt and "ses-1, ses-2" in doubt
    toml = study.path.read_text().replace("study_day = -3", "study_day = 5").replace('"ses-3"', '"ses-1"', 1)
    study.path.write_text(toml)
    problems, (doubt,) = lines(load_study(study.path))
    assert problems == [] and "ses-1: baseline at day 5" in doubt


# Acquisitions.

def sidecars(study, one, other, *, subject="sub-01"):
    """Sidecars of the water images of both visits."""
    for session, content in (("ses-1", one), ("ses-2", other)):
        (anat(study.images.root, subject, session) / f"{subject}_{session}_rec-water_T1w.json").write_text(
            json.dumps(content))


SIEMENS = {"MagneticFieldStrength": 3, "Manufacturer": "Siemens", "ManufacturersModelName": "Skyra",
           "DeviceSerialNumber": "45012", "SliceThickness": 3.5, "EchoTime": 0.0048}


@pytest.mark.parametrize(("key", "value", "words"), [
    ("MagneticFieldStrength", 1.5, "one field strength at every visit, found water: ses-1: 3 T; ses-2: 1.5 T"),
    ("ManufacturersModelName", "Aera", "Siemens Skyra #ccaa; ses-2: Siemens Aera #ccaa"),
    ("DeviceSerialNumber", 7, "one scanner at every visit"),
    ("SliceThickness", "4", "ses-1: 3.5 mm; ses-2: 4 mm"),
    ("EchoTime", 0.0024, "ses-1: 4.8 ms; ses-2: 2.4 ms")])
def test_another_acquisition_is_a_doubt(bids, key, value, words):
    sidecars(bids, SIEMENS, {**SIEMENS, key: value})
    problems, (doubt,) = lines(bids)
    assert problems == [] and words in doubt and doubt.startswith("sub-01: ")
    assert lines(bids, whole=False) == ([], [doubt])


@pytest.mark.parametrize("other", [
    {**SIEMENS, "MagneticFieldStrength": 2.89362}, {**SIEMENS, "Manufacturer": "SIEMENS"}, {"EchoTime": 0.00481}, {},
    {**SIEMENS, "SliceThickness": None, "MagneticFieldStrength": "n/a", "DeviceSerialNumber": 45012}])
def test_what_is_spelt_otherwise_or_not_known_is_none(bids, other):
    sidecars(bids, SIEMENS, other)
    assert lines(bids) == ([], [])


def test_sidecars_are_inherited_in_bids_and_lie_beside_the_image_elsewhere(bids, tmp_path):
    for n, tesla in ((1, 3), (2, 1.5)):
        sidecar = bids.images.root / f"sub-01/ses-{n}/sub-01_ses-{n}_T1w.json"
        sidecar.write_text(json.dumps({"MagneticFieldStrength": tesla}))
    assert "ses-1: 3 T; ses-2: 1.5 T" in lines(bids)[1][0]
    study = csv_study(tmp_path / "csv", BOTH)
    for name, tesla in (("a1", 3), ("a2", 1.5), ("b1", 3), ("b2", 30000)):  # the last one in gauss
        (study.images.root / f"{name}.json").write_text(json.dumps({"MagneticFieldStrength": tesla}))
    problems, (doubt,) = lines(study)
    assert problems == [] and doubt.startswith("A: ")


def grids(tmp_path, shape=(8, 40, 40), spacing=(4.0, 1.25, 1.25), *, first=((8, 40, 40), (4.0, 1.25, 1.25))):
    study = csv_study(tmp_path, BOTH)
    for n, (size, mm) in enumerate((first, (shape, spacing)), 1):
        data = np.random.default_rng(n).integers(0, 300, size).astype(np.int16)
        nib.save(nib.Nifti1Image(data, np.diag([*mm, 1.0])), tmp_path / f"a{n}.nii")
    return study


@pytest.mark.parametrize(("shape", "spacing", "words"), [
    ((8, 40, 40), (5.0, 1.0, 1.0), ("one voxel size", "one field of view")),
    ((40, 40, 8), (1.25, 1.25, 4.0), ("sagittal, 4 x 1.25 x 1.25", "axial, 1.25 x 1.25 x 4", "one field of view")),
    ((8, 80, 80), (4.0, 0.625, 0.625), ("one voxel size",)),
    ((6, 40, 40), (4.0, 1.25, 1.25), ("one field of view",))])
def test_another_grid_is_a_doubt(tmp_path, shape, spacing, words):
    problems, doubts = lines(grids(tmp_path, shape, spacing))
    assert problems == [] and all(any(w in d for d in doubts) for w in words) and len(doubts) <= 2


def test_axes_stored_otherwise_are_the_same_grid(tmp_path):
    study = grids(tmp_path)
    loaded = nib.Nifti1Image.from_bytes((tmp_path / "a2.nii").read_bytes())
    nib.save(loaded.as_reoriented(nib.orientations.axcodes2ornt(("S", "A", "L"))), tmp_path / "a2.nii")
    assert lines(study) == ([], [])


def test_a_visit_with_fewer_contrasts(tmp_path):
    problems, doubts = lines(csv_study(tmp_path / "one", BOTH + "A,ses-1,fat,a1f.nii\n"))
    assert problems == [] and len(doubts) == 1
    assert "ses-1: water+fat; ses-2: water" in doubts[0] and "from water alone" in doubts[0]
    rows = BOTH.replace("A,ses-2,water", "A,ses-2,t2")
    assert "each is measured alone" in lines(csv_study(tmp_path / "none", rows))[1][0]
    assert lines(csv_study(tmp_path / "same", THREE)) == ([], [])
    given = BOTH + "A,ses-1,fat,a1f.nii\nA,ses-1,mask,m.nii\n"  # its mask does not come from the images
    assert lines(csv_study(tmp_path / "given", given)) == ([], [])


def test_one_message_a_subject_and_kind(tmp_path):
    study = longer(tmp_path)
    for n, tesla in ((1, 3), (2, 1.5), (3, 3)):
        (anat(study.images.root, "sub-01", f"ses-{n}") / f"sub-01_ses-{n}_T2w.json").write_text(
            json.dumps({"MagneticFieldStrength": tesla}))
    assert [d for d in lines(study)[1] if "ses-1, ses-3: 3 T; ses-2: 1.5 T" in d] == lines(study)[1] != []


def test_the_table_of_visits_has_the_acquisition(bids):
    sidecars(bids, SIEMENS, {"MagneticFieldStrength": 1.5})
    (bids.images.root / "sub-01/sub-01_sessions.tsv").write_text("session_id\tfield_tesla\nses-1\t7\nses-2\tn/a\n")
    found = build_manifest(bids).sessions.set_index(["subject", "session"])
    first = found.loc[("sub-01", "ses-1"), ["field_tesla", "scanner", "slice_mm"]].tolist()
    assert first == [7, "Siemens Skyra #ccaa", 3.5]
    assert found.loc[("sub-01", "ses-2"), "field_tesla"] == 1.5 and found.loc[("sub-01", "ses-2"), "scanner"] == ""
    assert found.loc[("sub-02", "ses-1"), "field_tesla"] == 3  # of the sidecar of the whole dataset
    assert np.isnan(found.loc[("sub-02", "ses-1"), "slice_mm"])


# Change.

def disc(session, volume, **more):
    return {"subject": "A", "group": "g", "session": session, "study_day": 1.0, "phase": "bed_rest", "level": "L4-L5",
            "source": "automatic", "mask_origin": "automatic", "volume_mm3": volume, "volume_method": "joint",
            "volume_se_mm3": 0.05 * volume, "volume_repeat_sd_mm3": 0.01 * volume, "status": "ok", **more}


def change(known, **more):
    measures = typed_frame([disc("ses-1", 8000.0, **more), disc("ses-2", 8800.0, **more)], schemas.MEASURES)
    frame = pd.DataFrame([{"subject": "A", "session": f"ses-{n}", **k} for n, k in enumerate(known, 1)])
    return change_frame(measures, reference_session="ses-1", acquisitions=frame).iloc[0]


@pytest.mark.parametrize(("one", "other", "differs"), [
    ({"field_tesla": 3.0}, {"field_tesla": 1.5}, "field_tesla"), ({"field_tesla": 3.0}, {"field_tesla": 2.89}, ""),
    ({"scanner": "GE Discovery"}, {"scanner": "ge discovery"}, ""), ({"scanner": "GE"}, {"scanner": ""}, ""),
    ({"slice_mm": 4.0, "scanner": "a"}, {"slice_mm": 5.0, "scanner": "b"}, "scanner+slice_mm"),
    ({"voxel_mm": "4 x 1.25 x 1.25"}, {"voxel_mm": "4 x 1.249 x 1.25"}, ""),
    ({"voxel_mm": "4 x 1.25 x 1.25"}, {"voxel_mm": "5 x 1.25 x 1.25"}, "voxel_mm"),
    ({"contrasts": "water+fat"}, {"contrasts": "water"}, "")])  # joint volumes are from what both have
def test_a_change_between_unlike_visits_has_the_whole_error(one, other, differs):
    row = change([one, other])
    assert row["acquisition_differs"] == differs
    # 110 % x sqrt(2) x 5 % where nothing of the error cancels, x 1 % of repeated scans where the visits are alike
    assert row["se_percent"] == pytest.approx(110 * np.sqrt(2) * (0.05 if differs else 0.01))
    assert row["status"] == ("flagged" if differs else "ok")
    assert ("acquired unlike ses-1" in row["reason"]) == bool(differs)


def test_contrasts_count_where_each_visit_was_measured_alone():
    known = [{"contrasts": "water+fat"}, {"contrasts": "t2"}]
    assert change(known, volume_method="single")["acquisition_differs"] == "contrasts"
    smaller = change(known, volume_method="single", volume_se_mm3=1.0)  # never narrower than between visits alike
    assert smaller["se_percent"] == pytest.approx(110 * np.hypot(80 / 8000, 80 / 8000) * 1, rel=0.1)
    unknown = change(known, volume_method="voxels", volume_se_mm3=np.nan, volume_repeat_sd_mm3=np.nan)
    assert unknown["acquisition_differs"] == "" and np.isnan(unknown["se_percent"])


def test_failures_list_an_unlike_visit_once_and_hide_nothing():
    late = {"L4-L5": 8800.0, "L3-L4": 12000.0, "L2-L3": 8100.0}
    measures = typed_frame([disc(s, v, level=level) for level, volume in late.items()
                            for s, v in (("ses-1", 8000.0), ("ses-2", volume))], schemas.MEASURES)
    known = pd.DataFrame({"subject": "A", "session": ["ses-1", "ses-2"], "field_tesla": [3.0, 1.5]})
    frame = change_frame(measures, reference_session="ses-1", acquisitions=known)
    listed = failures_frame(measures=measures, change=frame)
    assert listed[["session", "level"]].values.tolist() == [["ses-2", "L3-L4"], ["ses-2", ""]]
    assert "outside" in listed["reason"][0] and "acquired unlike" in listed["reason"][1]


def test_a_run_tells_and_refuses_what_check_does(tmp_path, monkeypatch):
    """A: another field strength at its second visit. B: its second water image is a copy of the first."""
    study = write_study(tmp_path)
    (study / "sessions.csv").write_text("subject,session,field_tesla\nA,ses-1,3\nA,ses-2,1.5\nB,ses-1,3\nB,ses-2,3\n")
    shutil.copy(study / "B_ses-1_water.nii.gz", study / "B_ses-2_water.nii.gz")
    toml = study / "study.toml"
    toml.write_text(toml.read_text().replace("scans_csv =", 'sessions_csv = "sessions.csv"\nscans_csv ='))
    finish_here(study, monkeypatch)
    rows = pd.read_csv(study / "out/tables/change.csv").set_index(["subject", "level"])
    assert set(rows.loc["A", "acquisition_differs"]) == {"field_tesla"}
    assert set(rows.loc["A", "status"]) == {"flagged"} and set(rows.loc["B", "status"]) == {"failed"}
    failures = pd.read_csv(study / "out/tables/failures.csv")
    assert failures.loc[failures["subject"] == "B", "reason"].str.contains("one image twice").sum() == 2
    records = pd.read_csv(study / "out/work/A/scan_records.csv")
    assert set(records["voxel_mm"]) == {"4 x 2 x 2"}


# No false alarms.

def test_the_demo_cohort_is_in_order(tmp_path):
    write_cohort(DemoPlan(subjects=1, sessions=2), tmp_path)
    study = load_study(tmp_path / "study.toml")
    for whole in (True, False):
        found = check_manifest(study, build_manifest(study), whole=whole)
        assert [p for p in found if p.subject or p.doubt or p.excludes_visit] == []


def test_real_scans_are_no_copies_of_each_other(real_data, tmp_path):
    """Every T2 image of one data set as a subject of its own, and its Dixon images as contrasts of one visit."""
    images = sorted((real_data / "lumbar-t2-ivd-fmrp").rglob("*_t2.nii.gz"))
    if not images:
        pytest.skip("no images of lumbar-t2-ivd-fmrp")
    (tmp_path / "scans.csv").write_text("subject,session,contrast,path\n" + "".join(
        f"s{n},ses-1,t2,{path}\n" for n, path in enumerate(images)))
    study = study_of(tmp_path, 'layout = "csv"\nroot = "."\nscans_csv = "scans.csv"', groups='["g"]')
    assert [p for p in check(study) if p.doubt or p.excludes_visit] == []


def test_real_visits_of_one_subject_are_no_copies(real_data, tmp_path):
    """One lumbar spine scanned three times, twice of them on one occasion."""
    images = sorted((real_data / "lumbar-t1-repeat-siegen").glob("*_t1.nii.gz"))
    if len(images) != 3:
        pytest.skip("no images of lumbar-t1-repeat-siegen")
    study = longer(tmp_path)
    for n, path in enumerate(images, 1):
        shutil.copy(path, anat(study.images.root, "sub-01", f"ses-{n}") / f"sub-01_ses-{n}_T2w.nii.gz")
    assert lines(study) == ([], []) == lines(study, whole=False)
