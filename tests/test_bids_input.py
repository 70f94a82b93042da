"""What a BIDS image is, by name, place and sidecars: contradictions exclude a visit, what is not used is listed."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from bedrest.cli import main
from bedrest.io.bids.contrasts import judged
from bedrest.io.bids.sidecars import BidsName, Sidecar, Sidecars
from bedrest.io.manifest.resolve import Manifest, build_manifest
from bedrest.io.results import StudyResults
from bedrest.vocabulary import Contrast
from bedrest.workflow.run import prepare
from study_folders import bids_study, check, image, only, study_of

REAL = Path(__file__).parents[1] / "shared/data/real"
REAL = REAL if REAL.is_dir() else Path(__file__).parents[2] / "shared/data/real"
ECHO_1, ECHO_2 = "echo-1_MEGRE", "echo-2_MEGRE"
WORDS = {  # as converters write them: dcm2niix of Siemens, Philips and GE, others
    "in_phase": (["ORIGINAL", "PRIMARY", "M", "IN", "PHASE"], ["DERIVED", "PRIMARY", "DIXON", "IN", "PHASE", "PHASE"],
                 ["ORIGINAL", "PRIMARY", "IP", "IP", "DERIVED"], ["M", "IN_PHASE"], ["in phase"], ["In-Phase"],
                 "ORIGINAL\\PRIMARY\\M\\IN_PHASE", ["DERIVED", "INPHASE"]),
    "opposed": (["ORIGINAL", "PRIMARY", "M", "OPP", "PHASE"], ["DERIVED", "PRIMARY", "OUT", "PHASE", "MAGNITUDE",
                                                               "PHASE"],
                ["ORIGINAL", "PRIMARY", "OP", "OP"], ["OUT_PHASE"], ["opposed phase"], ["out-of-phase"],
                "DERIVED\\PRIMARY\\OPP_PHASE", ["OUTPHASE"]),
    "water": (["DERIVED", "PRIMARY", "DIXON", "WATER"], ["ORIGINAL", "PRIMARY", "W", "W", "DERIVED"], ["water"]),
    "fat": (["DERIVED", "PRIMARY", "DIXON", "FAT"], ["ORIGINAL", "PRIMARY", "F", "F"], ["Fat"]),
}


def write(folder: Path, images: dict[str, dict | None], *, subject: str = "sub-01", session: str = "ses-1") -> Path:
    """Images of a visit with their sidecars, by the ends of their names; the anat folder."""
    anat = folder / "bids" / subject / session / "anat"
    for n, (ending, sidecar) in enumerate(images.items()):
        path = image(anat / f"{subject}_{session}_{ending}.nii.gz", seed=n)
        if sidecar is not None:
            path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
    return anat


def study(folder: Path, more: str = ""):
    return study_of(folder, f'layout = "bids"\nroot = "bids"\n{more}', groups='["a"]')


def taken(manifest: Manifest) -> dict[str, str]:
    """The end of each file's name -> its contrast."""
    names = [Path(p).name.removesuffix(".nii.gz").split("ses-1_")[-1] for p in manifest.scans["path"]]
    return dict(zip(names, manifest.scans["contrast"], strict=True))


def unused(manifest: Manifest) -> dict[str, str]:
    return {Path(i.path).name.removesuffix(".nii.gz").split("ses-1_")[-1]: i.reason for i in manifest.left_out}


def refused(folder: Path, expected: str, found: str) -> Manifest:
    """The manifest of a study one visit of which is excluded, with this message."""
    manifest = build_manifest(study(folder))
    contradictions = [p for p in manifest.problems if p.excludes_visit]
    assert [(p.subject, p.session) for p in contradictions] == [("sub-01", "ses-1")], manifest.problems
    assert expected in contradictions[0].problem.expected and found in contradictions[0].problem.actual
    assert ("sub-01", "ses-1") in set(zip(manifest.sessions["subject"], manifest.sessions["session"], strict=True))
    return manifest


# Which echo is which.

@pytest.mark.parametrize(("tesla", "first_ms", "second_ms", "first"), [
    (3, 1.23, 2.46, "opposed"), (2.89, 2.3, 3.45, "in_phase"), (1.5, 2.38, 4.76, "opposed"),
    (1.5, 4.6, 6.9, "in_phase"), (1.494, 2.044, 4.212, "opposed")])
def test_echo_times_and_field_strength_decide(tmp_path, tesla, first_ms, second_ms, first):
    write(tmp_path, {e: {"EchoTime": ms / 1e3, "EchoNumber": n, "MagneticFieldStrength": tesla,
                         "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"]}
                     for n, (e, ms) in enumerate(((ECHO_1, first_ms), (ECHO_2, second_ms)), 1)})
    second = "opposed" if first == "in_phase" else "in_phase"
    assert taken(build_manifest(study(tmp_path))) == {ECHO_1: first, ECHO_2: second}
    assert check(study(tmp_path)) == []


@pytest.mark.parametrize("n", range(8))
def test_words_of_sidecars_in_every_spelling(tmp_path, n):
    """With the echoes exchanged, so that their numbers would be wrong; of Philips' both echo times are those of one."""
    write(tmp_path, {ECHO_1: {"ImageType": WORDS["in_phase"][n], "EchoTime": 0.0012, "MagneticFieldStrength": 3},
                     ECHO_2: {"ImageType": WORDS["opposed"][n], "EchoTime": 0.0012, "MagneticFieldStrength": 3}})
    assert taken(build_manifest(study(tmp_path))) == {ECHO_1: "in_phase", ECHO_2: "opposed"}
    assert check(study(tmp_path)) == []


@pytest.mark.parametrize("key", ["ImageTypeText", "DixonPhase"])
def test_words_under_other_keys(key):
    assert Sidecar({key: ["OUT", "PHASE"], "ImageType": ["ORIGINAL"]}).contrasts == {Contrast.OPPOSED}
    assert Sidecar({"SeriesDescription": "in phase", "ProtocolName": "water"}).words == ()


def test_a_magnitude_image_that_dcm2niix_marks_as_phase(tmp_path):
    write(tmp_path, {f"{ECHO_1}": {"ImageType": ["M", "OUT", "PHASE", "PHASE"]},
                     f"{ECHO_2}_ph": {"ImageType": ["M", "IN", "PHASE", "PHASE"]},
                     "T2w_ph": {"ImageType": ["ORIGINAL", "P"]}})
    manifest = build_manifest(study(tmp_path))
    assert taken(manifest) == {ECHO_1: "opposed", f"{ECHO_2}_ph": "in_phase"}
    assert list(unused(manifest)) == ["T2w_ph"] and check(study(tmp_path)) == []


def test_nothing_but_the_number_is_a_doubt_that_one_sidecar_for_all_resolves(tmp_path):
    for session in ("ses-1", "ses-2"):
        write(tmp_path, {ECHO_1: {}, ECHO_2: None, "rec-water_T1w": None}, session=session)
    assert set(taken(build_manifest(study(tmp_path))).values()) == {"opposed", "in_phase", "water"}
    (doubt,) = check(study(tmp_path))
    assert doubt.doubt and "and 3 more" in doubt.problem.where and "MagneticFieldStrength" in doubt.problem.expected
    for n, te in ((1, 0.0023), (2, 0.0046)):
        (tmp_path / f"bids/echo-{n}_MEGRE.json").write_text(json.dumps({"EchoTime": te, "MagneticFieldStrength": 1.5}))
    assert check(study(tmp_path)) == []


@pytest.mark.parametrize(("first", "second", "expected", "found"), [
    ({"EchoTime": 0.0023, "MagneticFieldStrength": 3, "ImageType": ["OPP", "PHASE"]},
     {"EchoTime": 0.0035, "MagneticFieldStrength": 3}, "opposed, as the words", "in_phase by TE 2.3 ms at 3 T"),
    ({"ImageType": ["IN_PHASE"]}, {"ImageType": ["IN", "PHASE"]}, "another phase", "in_phase for both"),
    ({"ImageType": ["IN_PHASE"]}, None, "another phase", "in_phase for both"),
    ({"ImageType": ["IN_PHASE", "OUT_PHASE"]}, {}, "in_phase or opposed", "in_phase and opposed"),
    ({"ImageType": ["M", "WATER"]}, {}, "in_phase or opposed", "water"),
    ({"EchoTime": 0.0046, "MagneticFieldStrength": 1.5}, {"EchoTime": 0.0023, "MagneticFieldStrength": 1.5},
     "rise with the number", "4.6 and 2.3 ms"),
    ({"EchoTime": 0.0023, "MagneticFieldStrength": 3}, {"EchoTime": 0.0023, "MagneticFieldStrength": 3},
     "rise with the number", "2.3 and 2.3 ms"),
    ({"EchoTime": 0.0023}, {"EchoTime": 0.0023, "ImageType": ["IN_PHASE"]}, "rise with the number", "2.3 and 2.3 ms"),
    ({"EchoNumber": 2}, {"EchoNumber": 1}, "echo 1, as its name", "EchoNumber 2"),
    ({"EchoNumber": 1, "EchoTime": 0.0023}, {"EchoNumber": 1, "EchoTime": 0.0046}, "echo 2, as its name",
     "EchoNumber 1"),
    ({"EchoTime": 0.0023, "MagneticFieldStrength": 1.5}, {"EchoTime": 0.0046, "MagneticFieldStrength": 3},
     "one scanner", "1.5 and 3 T")])
def test_echoes_that_contradict_exclude_the_visit(tmp_path, first, second, expected, found):
    write(tmp_path, {ECHO_1: first, ECHO_2: second, "rec-water_T1w": None})
    manifest = refused(tmp_path, expected, found)
    assert taken(manifest) == {"rec-water_T1w": "water"} and set(unused(manifest)) == {ECHO_1, ECHO_2}


def test_none_of_the_files_of_an_excluded_visit_is_measured(tmp_path):
    for session in ("ses-1", "ses-2"):
        write(tmp_path, {"rec-water_T1w": {"ImageType": ["F" if session == "ses-2" else "W"]}, "T2w": None},
              session=session)
    of_study = study(tmp_path)
    kept, _ = prepare(of_study, StudyResults(of_study.output_dir))
    assert sorted(kept.scans["contrast"]) == ["t2", "water"] and set(kept.scans["session"]) == {"ses-1"}
    assert list(kept.sessions["session"]) == ["ses-1", "ses-2"]


def test_the_remedy_of_a_contradiction(tmp_path):
    anat = write(tmp_path, {ECHO_1: {"EchoTime": 0.0023, "MagneticFieldStrength": 3, "ImageType": ["OPP", "PHASE"]},
                            ECHO_2: {"EchoTime": 0.0035, "MagneticFieldStrength": 3}, "T2w": None})
    (problem,) = check(study(tmp_path))
    assert problem.excludes_visit and "correct the other" in problem.problem.remedy
    (anat / f"sub-01_ses-1_{ECHO_1}.json").write_text('{"EchoTime": 0.0023, "MagneticFieldStrength": 3}')
    assert check(study(tmp_path)) == []


def test_two_sequences_of_one_echo_each_are_no_contradiction(tmp_path):
    """The scanner calls the only echo of a sequence the first."""
    write(tmp_path, {e: {"EchoTime": te, "EchoNumber": 1, "MagneticFieldStrength": 3}
                     for e, te in ((ECHO_1, 0.00115), (ECHO_2, 0.0023))})
    assert taken(build_manifest(study(tmp_path))) == {ECHO_1: "opposed", ECHO_2: "in_phase"}
    assert check(study(tmp_path)) == []


def test_later_echoes_and_times_between_the_phases_are_left_out(tmp_path):
    write(tmp_path, {f"echo-{n}_MEGRE": {"EchoTime": te, "MagneticFieldStrength": 3}
                     for n, te in ((1, 0.00115), (2, 0.0017), (3, 0.0023), (4, 0.0046))})
    write(tmp_path, {"acq-b_echo-5_MEGRE": {"EchoTime": 0.0046}, "acq-c_MEGRE": None})
    manifest = build_manifest(study(tmp_path))
    assert taken(manifest) == {ECHO_1: "opposed", "echo-3_MEGRE": "in_phase"} and check(study(tmp_path)) == []
    reasons = unused(manifest)
    assert "neither in- nor opposed-phase: TE 1.7 ms at 3 T" in reasons[ECHO_2]
    assert reasons["echo-4_MEGRE"] == "in_phase, as the earlier sub-01_ses-1_echo-3_MEGRE.nii.gz"
    assert "neither echo-1 nor echo-2" in reasons["acq-b_echo-5_MEGRE"] and "acq-c_MEGRE" in reasons


@pytest.mark.parametrize(("te", "tesla", "named"), [(2.3, 3, ["EchoTime"]), (0.0023, 30000, ["MagneticFieldStrength"]),
                                                    (2.3, 28900, ["EchoTime", "MagneticFieldStrength"])])
def test_other_units_are_understood_and_told(tmp_path, te, tesla, named):
    write(tmp_path, {ECHO_1: {"EchoTime": te, "MagneticFieldStrength": tesla},
                     ECHO_2: {"EchoTime": 0.0035, "MagneticFieldStrength": 3}})
    assert taken(build_manifest(study(tmp_path))) == {ECHO_1: "in_phase", ECHO_2: "opposed"}
    found = check(study(tmp_path))
    assert [p.problem.where.split(": ")[-1] for p in found] == named and all(p.doubt for p in found)
    assert all((p.subject, p.session) == ("sub-01", "ses-1") and "taken for" in p.problem.actual for p in found)


def test_a_field_strength_that_is_none_is_not_used(tmp_path):
    write(tmp_path, {"echo-1_MEGRE": {"EchoTime": 0.0023, "MagneticFieldStrength": 127.8}})
    assert taken(build_manifest(study(tmp_path))) == {ECHO_1: "opposed"}
    words = [p.problem.actual for p in check(study(tmp_path)) if p.doubt]
    assert len(words) == 2 and any("127.8, which is not used" in w for w in words)


@pytest.mark.parametrize(("images", "words"), [
    (["rec-water_run-1_T1w", "rec-fat_run-2_T1w"], "another run"),
    (["run-1_rec-water_T1w", "rec-fat_T1w"], "another run"),
    (["acq-a_echo-1_MEGRE", "acq-b_echo-2_MEGRE"], "another run or acq"),
    (["run-01_rec-water_T1w", "rec-fat_run-1_T1w"], ""), (["acq-dixonW_rec-water_T1w", "acq-dixonF_rec-fat_T1w"], ""),
    (["rec-water_run-1_T1w", "run-2_T2w"], ""), (["run-2_echo-1_part-mag_MEGRE", "run-2_echo-2_MEGRE"], "")])
def test_images_of_several_runs_are_a_doubt(tmp_path, images, words):
    """A fat fraction of two runs is wrong wherever the subject moved between."""
    write(tmp_path, {name: {"EchoTime": 0.0046 if "echo-2" in name else 0.0023, "MagneticFieldStrength": 1.5}
                     for name in images if "T2w" not in name} | {name: None for name in images if "T2w" in name})
    doubts = check(study(tmp_path))
    assert len(taken(build_manifest(study(tmp_path)))) == 2
    assert len(doubts) == bool(words) and all(d.doubt and words in d.problem.actual for d in doubts)


@pytest.mark.parametrize(("tesla", "opposed_ms", "in_phase_ms", "doubtful"), [
    (1.5, 1.1, 2.2, True), (1.5, 2.2, 2.4, True), (3, 1.49, 2.73, False), (1.5, 2.39, 4.77, False)])
def test_words_of_computed_phases_go_before_times_of_any_phase(tmp_path, tesla, opposed_ms, in_phase_ms, doubtful):
    """Only times that exchange both words refuse the visit; as import-dicom does."""
    write(tmp_path, {e: {"EchoTime": te / 1e3, "MagneticFieldStrength": tesla, "ImageType": ["DIXON", w, "PHASE"]}
                     for e, te, w in ((ECHO_1, opposed_ms, "OUT"), (ECHO_2, in_phase_ms, "IN"))})
    assert taken(build_manifest(study(tmp_path))) == {ECHO_1: "opposed", ECHO_2: "in_phase"}
    assert [d.doubt for d in check(study(tmp_path))] == [True] * doubtful


# Sidecars and where they lie.

def test_links_to_what_was_not_fetched_say_so(tmp_path):
    """DataLad leaves links without content behind, of images and of sidecars."""
    anat = write(tmp_path, {"T2w": {}, "rec-fat_T1w": None})
    for end in ("nii.gz", "json"):
        (anat / f"sub-01_ses-1_T2w.{end}").rename(tmp_path / f"fetched.{end}")
        (anat / f"sub-01_ses-1_T2w.{end}").symlink_to(tmp_path / f"object.{end}")
    problems = check(study(tmp_path))
    assert len(problems) == 2 and all("datalad get" in p.problem.actual for p in problems)
    for end in ("nii.gz", "json"):
        (tmp_path / f"fetched.{end}").rename(tmp_path / f"object.{end}")
    assert check(study(tmp_path)) == []


def test_sidecars_are_inherited_the_nearest_wins_key_by_key(tmp_path):
    anat = write(tmp_path, {ECHO_1: {"ImageType": ["IN_PHASE"]}})
    root = tmp_path / "bids"
    for folder, name, content in (
            (root, "MEGRE", {"EchoTime": 1e-3, "MagneticFieldStrength": 1.5, "EchoNumber": 9}),
            (root, "echo-1_MEGRE", {"EchoTime": 2e-3}), (root, "echo-2_MEGRE", {"EchoNumber": 7}),
            (root, "acq-a_echo-1_MEGRE", {"EchoNumber": 8}), (root, "T2w", {"EchoNumber": 6}),
            (root / "sub-01", "sub-01_MEGRE", {"MagneticFieldStrength": 3}),
            (root / "sub-01", "sub-02_MEGRE", {"MagneticFieldStrength": 7}),
            (root / "sub-01/ses-1", "sub-01_ses-1_MEGRE", {"EchoTime": 4e-3})):
        (folder / f"{name}.json").write_text(json.dumps(content))
    sidecar = Sidecars(root).of(anat / f"sub-01_ses-1_{ECHO_1}.nii.gz")
    assert (sidecar.echo_time_ms, sidecar.field_tesla, sidecar.echo_number) == (4, 3, 9)
    assert sidecar.contrasts == {Contrast.IN_PHASE}


def test_a_sidecar_of_the_same_name_hides_the_more_general_one_beside_it(tmp_path):
    write(tmp_path, {"T2w": {"InversionTime": 0.15}, "acq-tse_T2w": {"EchoTime": 0.1}, "acq-other_T2w": None})
    manifest = build_manifest(study(tmp_path))
    assert taken(manifest) == {"acq-tse_T2w": "t2"} and set(unused(manifest)) == {"T2w", "acq-other_T2w"}


def test_a_sidecar_of_one_acquisition_is_not_that_of_another(tmp_path):
    write(tmp_path, {"acq-a_echo-1_MEGRE": None, "acq-a_echo-2_MEGRE": None})
    for n, word in ((1, "IN_PHASE"), (2, "OUT_PHASE")):
        (tmp_path / f"bids/acq-b_echo-{n}_MEGRE.json").write_text(json.dumps({"ImageType": [word]}))
    assert taken(build_manifest(study(tmp_path)))["acq-a_echo-1_MEGRE"] == "opposed"
    for n in (1, 2):
        (tmp_path / f"bids/acq-b_echo-{n}_MEGRE.json").rename(tmp_path / f"bids/acq-a_echo-{n}_MEGRE.json")
    assert taken(build_manifest(study(tmp_path)))["acq-a_echo-1_MEGRE"] == "in_phase"


def test_a_sidecar_for_all_echoes_cannot_tell_them_apart(tmp_path):
    write(tmp_path, {ECHO_1: None, ECHO_2: None})
    (tmp_path / "bids/MEGRE.json").write_text('{"EchoTime": 0.0023, "MagneticFieldStrength": 3}')
    refused(tmp_path, "rise with the number", "2.3 and 2.3 ms")


@pytest.mark.parametrize(("content", "words"), [(b"{", "Expecting"), (b"[]", "a list"), (b"3", "a single value"),
                                                (b"[" * 9999, "")])
def test_a_sidecar_that_cannot_be_read_is_a_doubt(tmp_path, content, words):
    write(tmp_path, {"rec-water_T1w": None, "rec-fat_T1w": None})
    (tmp_path / "bids/T1w.json").write_bytes(content)
    (doubt,) = check(study(tmp_path))
    assert (doubt.subject, doubt.doubt) == ("", True) and "T1w.json" in doubt.problem.where
    assert words in doubt.problem.actual


@pytest.mark.parametrize("content", ['{"ImageType": ["FAT"]}'.encode("utf-8-sig"),
                                     '{"ImageType": ["FAT"]}'.encode("utf-16"),
                                     '{"InstitutionName": "Charité", "ImageType": ["FAT"]}'.encode("latin-1")])
def test_sidecars_in_other_encodings(tmp_path, content):
    anat = write(tmp_path, {"rec-water_T1w": None})
    (anat / "sub-01_ses-1_rec-water_T1w.json").write_bytes(content)
    refused(tmp_path, "water, as its name says", "fat, as its sidecar says")


# Names and sidecars of single images.

@pytest.mark.parametrize("contrast", ["water", "fat"])
def test_water_and_fat_are_held_against_their_names(tmp_path, contrast):
    other = "fat" if contrast == "water" else "water"
    for n, words in enumerate(WORDS[contrast]):
        write(tmp_path / f"{n}", {f"rec-{contrast}_T1w": {"ImageType": words, "EchoTime": 0.002}})
        assert taken(build_manifest(study(tmp_path / f"{n}"))) == {f"rec-{contrast}_T1w": contrast}
    for n, words in enumerate((*WORDS[other], *WORDS["in_phase"])):
        write(tmp_path / f"other-{n}", {f"rec-{contrast}_T1w": {"ImageType": words}, "T2w": {}})
        assert taken(refused(tmp_path / f"other-{n}", contrast, "as its sidecar says")) == {"T2w": "t2"}


def test_a_magnitude_image_by_name_and_a_phase_image_by_sidecar(tmp_path):
    write(tmp_path, {"part-mag_echo-1_MEGRE": {"ComplexImageComponent": "PHASE"}, "T2w": None})
    refused(tmp_path, "a magnitude image", "a phase image")


@pytest.mark.parametrize(("ending", "sidecar", "reason"), [
    ("rec-water_T2w", None, "of a T2-weighted Dixon"),
    ("T2w", {"ImageType": ["M", "IN", "PHASE"]}, "in_phase of"),
    ("acq-water_T2w", None, "of a T2-weighted Dixon"), ("rec-Fat_T2w", None, "of a T2-weighted Dixon"),
    ("acq-tseDixonFat_T2w", None, "of a T2-weighted Dixon"), ("acq-dixonW_T2w", None, "of a T2-weighted Dixon"),
    ("rec-inphase_T2w", None, "of a T2-weighted Dixon"), ("acq-opp_T2w", None, "of a T2-weighted Dixon"),
    ("rec-water_T1w", {"EchoTime": 0.092}, "TE 92 ms: water of a T2-weighted Dixon"),
    ("T2w", {"EchoTime": 0.08, "ScanningSequence": "EP_SE"}, "echo-planar"),
    ("echo-1_MEGRE", {"EchoTime": 0.01, "ScanningSequence": ["EP", "GR"]}, "echo-planar"),
    ("T2w", {"ScanningSequence": "GR"}, "a gradient echo"),
    ("echo-1_MEGRE", {"EchoTime": 0.0023, "MagneticFieldStrength": 1.5, "ScanOptions": "FS"}, "fat suppression"),
    ("echo-1_MEGRE", {"EchoTime": 0.0023, "MagneticFieldStrength": 1.5, "InversionTime": 0.4}, "inversion"),
    ("acq-STIR_T2w", None, "suppressed"), ("acq-sagTIRM_T2w", None, "suppressed"), ("acq-T2fs_T2w", None, "suppressed"),
    ("T2w", {"ScanningSequence": "SE_IR"}, "inversion"), ("T2w", {"ScanningSequence": ["SE", "IR"]}, "inversion"),
    ("T2w", {"InversionTime": 0.15}, "inversion"), ("T2w", {"ImageType": ["ORIGINAL", "M_IR", "M", "IR"]}, "inversion"),
    ("rec-inphase_T1w", None, "named echo-1_MEGRE"), ("echo-1_T1w", {"EchoTime": 0.0024}, "named echo-1_MEGRE"),
    ("T2w", {"ScanOptions": "SAT1\\FS"}, "fat suppression"),
    ("T2w", {"ScanOptions": ["PFP", "SPAIR"]}, "fat suppression"), ("T2w", {"EchoTime": 0.012}, "TE 12 ms"),
    ("echo-1_T2w", {"EchoTime": 0.0118}, "TE 11.8 ms"), ("echo-1_T2w", None, "one echo of several"),
    ("acq-PDw_T2w", None, "proton density"), ("PDw", None, "suffix 'PDw'"), ("T2star", None, "suffix"),
    ("t2w", None, "did you mean T2w"), ("T2W", None, "did you mean T2w"), ("part-phase_T2w", None, "part-phase"),
    ("rec-water_part-real_T1w", None, "part-real"), ("part-Imag_echo-1_MEGRE", None, "part-imag"),
    ("inv-1_T1w", None, "inv-1"), ("ce-gadolinium_rec-water_T1w", None, "contrast agent"),
    ("label-6_T2w", None, "label-6"), ("desc-denoised_T2w", None, "derivative"), ("space-T1w_T2w", None, "derivative"),
    ("chunk-1_T2w", None, "part of the field of view"), ("mt-on_echo-1_MEGRE", None, "magnetization transfer"),
    ("T1w", {"ScanningSequence": "GR"}, "a gradient echo"), ("acq-mprage_T1w", None, "a gradient echo"),
    ("acq-sagVIBE_T1w", None, "a gradient echo"), ("T1w", {"ScanningSequence": ["GR", "IR"]}, "a gradient echo"),
    ("T1w", {"ScanningSequence": "SE", "InversionTime": 0.8}, "inversion"), ("acq-T1fs_T1w", None, "suppressed"),
    ("T1w", {"ScanOptions": "FS"}, "fat suppression"), ("acq-a_T1w", {"EchoTime": 0.09}, "TE 90 ms"),
    ("T1w", {"EchoTime": 0.012, "RepetitionTime": 3.0}, "TR 3000 ms"), ("ce-gd_T1w", None, "contrast agent"),
    ("T1w", {"ContrastBolusIngredient": "GADOLINIUM"}, "contrast agent"), ("echo-1_T1w", None, "one echo of several"),
    ("echo-1_T1w", {"ScanningSequence": "SE"}, "whose echo time"), ("acq-dixonW_T1w", None, "of a Dixon"),
    ("acq-a_T1w", {"ImageType": ["DERIVED", "PRIMARY", "WATER"]}, "water, as its sidecar says"),
    ("rec-water_T1w", {"ImageType": ["DERIVED", "FAT", "FRAC"]}, "a map"),
    ("rec-water_T1w", {"ImageType": ["DERIVED", "PROJECTION", "IMAGE", "MIP"]}, "projection"),
    ("T2w", {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "phase image"),
    ("echo-1_MEGRE", {"ImageType": ["ORIGINAL", "PRIMARY", "R", "FFE"]}, "real or imaginary"),
    ("rec-water_echo-1_MEGRE", None, "named rec-water_T1w"),
    ("echo-1_MEGRE", {"ScanningSequence": "SE", "EchoTime": 0.1, "MagneticFieldStrength": 3}, "a spin echo")])
def test_what_is_not_used_says_why(tmp_path, ending, sidecar, reason):
    write(tmp_path, {ending: sidecar, "rec-fat_T1w": None})
    manifest = build_manifest(study(tmp_path))
    assert taken(manifest) == {"rec-fat_T1w": "fat"} and list(unused(manifest)) == [ending]
    assert reason in unused(manifest)[ending] and check(study(tmp_path)) == []


@pytest.mark.parametrize(("ending", "sidecar", "contrast"), [
    *((f"acq-{label}_T2w", {"EchoTime": 0.1, "ScanningSequence": "SE"}, "t2")
      for label in ("sag", "T2W", "tseT2W", "spaceISO", "HASTE", "tseWIP", "axial", "dropIn", "lowSAR")),
    ("T2w", {"ScanningSequence": ["SE", "GR"], "EchoTime": 0.1}, "t2"), ("T2w", {"ScanOptions": ["SAT1", "PFP"]}, "t2"),
    ("rec-water_T1w", {"EchoTime": 0.0096, "ScanningSequence": "SE"}, "water"), ("T1w", None, "t1"),
    *((f"{label}T1w", {"EchoTime": 0.011, "RepetitionTime": 0.65, "ScanningSequence": "SE",
                       "ContrastBolusIngredient": "NONE"}, "t1")
      for label in ("", "acq-tse_", "acq-sag_run-1_", "rec-norm_", "echo-1_", "part-mag_")),
    ("echo-1_MEGRE", {"ImageType": ["OUT", "PHASE"], "ScanOptions": "FS"}, "opposed"),
    ("echo-1_MEGRE", {"EchoTime": 0.0023, "ImagingFrequency": 127.7}, "in_phase"),
    ("echo-1_MEGRE", {"EchoTime": 0.0023, "ImagingFrequency": 127.7, "MagneticFieldStrength": 1.5}, "opposed")])
def test_what_is_in_order_is_used(tmp_path, ending, sidecar, contrast):
    write(tmp_path, {ending: sidecar})
    assert taken(build_manifest(study(tmp_path))) == {ending: contrast} and check(study(tmp_path)) == []


@pytest.mark.parametrize(("ending", "contrast"), [
    ("rec-Water_T1w", "water"), ("REC-FAT_T1w", "fat"), ("rec-F_T1w", "fat"), ("acq-spiral_T2w", "t2"),
    ("part-mag_T2w", "t2"), ("run-01_T2w", "t2"), ("acq-sag_run-2_T2w", "t2"), ("rec-norm_T2w", "t2"),
    ("echo-2_T2w", "t2"), ("T2w_", None)])
def test_valid_names_in_other_spellings(tmp_path, ending, contrast):
    write(tmp_path, {ending: {"EchoTime": 0.1 if contrast == "t2" else 0.01, "ScanningSequence": "SE",
                              "InversionTime": 0, "ScanOptions": "SFS",
                              "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"]}})
    assert taken(build_manifest(study(tmp_path))) == ({ending: contrast} if contrast else {})


def test_a_t1w_beside_others_counts_on_their_grid_alone(tmp_path):
    """Many a T1w shows another place, as the head; it must not keep the visit from being measured."""
    write(tmp_path / "a", {"T2w": None, "T1w": None})
    assert taken(build_manifest(study(tmp_path / "a"))) == {"T2w": "t2", "T1w": "t1"}
    assert not check(study(tmp_path / "a"))
    for n, (shift_mm, keys, used) in enumerate([(1.25, "", False), (1.25, "resample = true", True),
                                                (900.0, "resample = true", False)]):
        anat = write(tmp_path / str(n), {"T2w": None})
        image(anat / "sub-01_ses-1_T1w.nii.gz", shift_mm=shift_mm)
        manifest = build_manifest(study(tmp_path / str(n), keys))
        assert taken(manifest) == {"T2w": "t2", **({"T1w": "t1"} if used else {})}
        assert used or "another grid than sub-01_ses-1_T2w" in unused(manifest)["T1w"]
    anat = write(tmp_path / "alone", {"acq-a_T1w": None, "acq-b_T1w": None})
    assert "one file" in str(build_manifest(study(tmp_path / "alone")).problems[0].problem)
    image(anat / "sub-01_ses-1_rec-water_T1w.nii.gz")
    manifest = build_manifest(study(tmp_path / "alone"))
    assert taken(manifest) == {"rec-water_T1w": "water"} and "one of several T1w" in unused(manifest)["acq-a_T1w"]


def test_padded_numbers_are_those_without(tmp_path):
    write(tmp_path, {"echo-01_MEGRE": None, "echo-002_MEGRE": None})
    assert taken(build_manifest(study(tmp_path))) == {"echo-01_MEGRE": "opposed", "echo-002_MEGRE": "in_phase"}
    assert BidsName.of(Path("sub-01_run-01_echo-1_MEGRE.nii.gz")).entities == {"sub": "01", "run": "1", "echo": "1"}


def test_two_runs_are_two_files_for_one_contrast(tmp_path):
    write(tmp_path, {"run-1_T2w": None, "run-2_T2w": None})
    found = check(study(tmp_path))
    assert "expected one file, found 2" in only(found, subject="sub-01", session="ses-1", excludes=True)


# Names against folders.

@pytest.mark.parametrize(("name", "found"), [
    ("sub-02_ses-1_rec-water_T1w", "sub-02 ses-1"), ("sub-01_ses-2_rec-water_T1w", "sub-01 ses-2"),
    ("sub-02_T2w", "sub-02"), ("sub-1_ses-1_T2w", "sub-1 ses-1"), ("sub-01_ses-01_PDw", "sub-01 ses-01")])
def test_a_file_of_somebody_else_or_of_another_visit(tmp_path, name, found):
    anat = write(tmp_path, {"rec-fat_T1w": None})
    image(anat / f"{name}.nii.gz")
    manifest = refused(tmp_path, "sub-01 ses-1 in its name", found)
    assert taken(manifest) == {"rec-fat_T1w": "fat"}
    (anat / f"{name}.nii.gz").rename(anat / "sub-01_ses-1_T2w.nii.gz")
    assert check(study(tmp_path)) == []


def test_a_file_of_a_visit_among_those_without_one(tmp_path):
    image(tmp_path / "bids/sub-01/anat/sub-01_ses-2_T2w.nii.gz")
    image(tmp_path / "bids/sub-02/anat/sub-02_ses-1_T2w.nii.gz")
    assert list(refused(tmp_path, "sub-01 ses-1", "sub-01 ses-2").scans["subject"]) == ["sub-02"]


def test_names_that_leave_out_the_visit_or_the_subject(tmp_path):
    anat = write(tmp_path, {})
    image(anat / "sub-01_T2w.nii.gz")
    image(anat / "rec-water_T1w.nii.gz")
    manifest = build_manifest(study(tmp_path))
    (doubt,) = check(study(tmp_path))
    assert doubt.doubt and "Rename the file sub-01_ses-1_" in doubt.problem.remedy
    assert list(manifest.scans["contrast"]) == ["t2"]
    assert unused(manifest) == {"rec-water_T1w": "the name does not begin with sub-01_"}


@pytest.mark.parametrize("place", [
    "sub-01/anat/sub-01_T2w.nii.gz", "sub-01/ses-1/sub-01_ses-1_T2w.nii.gz",
    "sub-01/ses-1/func/sub-01_ses-1_bold.nii.gz",
    "sub-01/ses-1/Anat/sub-01_ses-1_T2w.nii", "sub-01/ses1/anat/sub-01_ses1_T2w.mha", "sub01/ses-1/anat/T2w.nrrd",
    "sub-01/ses-1/anat/old/sub-01_ses-1_T2w.nii.gz", "sub-01/ses-1/anat/sub-01_ses-1_T2w.NII.GZ",
    "sub-01/ses-1/anat/sub-01_ses-1_T2w.mgz", "DICOM/a/1.dcm", "T2w.nii.gz", "sub-01/ses-1/anat/T2w.img"])
def test_every_image_that_is_not_taken_is_listed(tmp_path, place, capsys):
    write(tmp_path, {"rec-water_T1w": None})
    path = tmp_path / "bids" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    (image_left_out,) = build_manifest(study(tmp_path)).left_out
    assert image_left_out.path == str(path) and image_left_out.reason
    assert main(["check", str(tmp_path / "study.toml")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"- not used: {path}: {image_left_out.reason}" in lines and lines[-1].endswith("1 image(s) not used")


def test_what_is_not_an_image_to_measure_is_not_listed(tmp_path):
    write(tmp_path, {"rec-water_T1w": None})
    root = tmp_path / "bids"
    for place in ("derivatives/x/sub-01/a.nii.gz", "sourcedata/1.dcm", ".git/annex/b.nii", "sub-01/ses-1/anat/._c.nii",
                  "../out/masks/d.nii.gz", "sub-01/ses-1/anat/notes.txt"):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(b"")
    (root / "sub-01/loop").symlink_to("..")
    assert build_manifest(study(tmp_path)).left_out == ()
    assert build_manifest(study_of(tmp_path, 'layout = "bids"\nroot = "bids"', groups='["a"]', head='edited = "bids/e"'
                                   )).left_out == ()


def test_many_images_in_one_wrong_place_are_one_line(tmp_path):
    write(tmp_path, {"rec-water_T1w": None})
    for n in range(300):
        path = tmp_path / f"bids/DICOM/{n}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    (line,) = build_manifest(study(tmp_path)).left_out
    assert line.path == str(tmp_path / "bids/DICOM") and line.reason.startswith("300 images: in DICOM/")


def test_a_visit_none_of_whose_images_is_used_does_not_vanish(tmp_path):
    write(tmp_path, {"T2w": None})
    write(tmp_path, {"PDw": None}, session="ses-2")
    image(tmp_path / "bids/sub-02/ses-2/sub-02_ses-2_T2w.nii.gz")
    write(tmp_path, {"bold": None}, session="ses-mri9")
    told = {(p.subject, p.session): p.problem.expected for p in check(study(tmp_path)) if not p.excludes_subject}
    assert told["sub-01", "ses-2"] == told["sub-02", "ses-2"] == "at least one image"
    assert ("sub-01", "ses-mri9") not in told


def test_an_image_that_the_scans_table_names_is_used(tmp_path):
    anat = write(tmp_path, {"T1w": None})
    (tmp_path / "scans.csv").write_text(
        "subject,session,contrast,path\nsub-01,ses-1,in_phase,sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz\n")
    manifest = build_manifest(study(tmp_path, 'scans_csv = "scans.csv"'))
    assert manifest.left_out == () and list(manifest.scans["path"]) == [str(anat / "sub-01_ses-1_T1w.nii.gz")]


# Reference masks.

@pytest.mark.parametrize(("ending", "reason"), [
    ("desc-manual_dseg", ""), ("label-disc_desc-truth_dseg", ""), ("label-IVD_desc-Manual_dseg", ""),
    ("label-vertebrae_desc-manual_dseg", "not a mask of discs"), ("label-cord_desc-manual_dseg", "not a mask of discs"),
    ("dseg", "desc-manual"), ("desc-discs_dseg", "desc-manual"), ("label-disc_desc-manual_mask", "suffix 'mask'"),
    ("desc-manual_probseg", "suffix")])
def test_which_masks_are_reference_masks(tmp_path, ending, reason):
    write(tmp_path, {"T2w": None})
    path = image(tmp_path / f"bids/derivatives/m/sub-01/ses-1/anat/sub-01_ses-1_{ending}.nii.gz", mask=True)
    manifest = build_manifest(study(tmp_path, 'derivatives = "bids/derivatives/m"'))
    assert (str(path) in set(manifest.scans["path"])) == (not reason)
    assert [reason in i.reason for i in manifest.left_out] == [True] * bool(reason)


def test_masks_in_the_wrong_place(tmp_path):
    write(tmp_path, {"T2w": None})
    masks = tmp_path / "bids/derivatives"
    other = image(masks / "sub-01/ses-1/anat/sub-02_ses-1_desc-manual_dseg.nii.gz", mask=True)
    deep = image(masks / "m/sub-01/ses-1/anat/sub-01_ses-1_desc-manual_dseg.nii.gz", mask=True)
    of_study = study(tmp_path, 'derivatives = "bids/derivatives"')
    (problem,) = check(of_study)
    assert problem.problem.where == str(other) and not (problem.excludes_visit or problem.doubt)
    (left,) = build_manifest(of_study).left_out
    assert left.path == str(deep) and "in m/sub-01/ses-1/anat/" in left.reason


def test_masks_among_the_images_are_listed_once(tmp_path):
    anat = write(tmp_path, {"T2w": None, "PDw": None})
    image(anat / "sub-01_ses-1_desc-manual_dseg.nii.gz", mask=True)
    manifest = build_manifest(study(tmp_path, 'derivatives = "bids"'))
    assert sorted(manifest.scans["contrast"]) == ["reference_mask", "t2"] and list(unused(manifest)) == ["PDw"]


# The layout of IVDM3Seg.

def test_ivdm3seg_lists_what_it_does_not_take(tmp_path):
    for name in ("01/01_wat.nii", "01/01_T1.nii", "01/old/01_fat.nii", "03_wat.nii", "04/scan.mha"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image(path) if path.suffix == ".nii" else path.write_bytes(b"")
    manifest = build_manifest(study_of(tmp_path, 'layout = "ivdm3seg"\nroot = "set"', groups='["a"]'))
    assert {str(Path(i.path).relative_to(tmp_path / "set")) for i in manifest.left_out} == {
        "01/01_T1.nii", "01/old/01_fat.nii", "03_wat.nii", "04/scan.mha"}
    assert list(manifest.scans["contrast"]) == ["water"]


def test_a_file_of_another_scan_of_ivdm3seg(tmp_path):
    for name in ("01/01_wat.nii", "01/02_fat.nii", "02/02_wat.nii", "scan3/03_wat.nii"):
        image(tmp_path / "set" / name)
    of_study = study_of(tmp_path, 'layout = "ivdm3seg"\nroot = "set"', groups='["a"]')
    (problem,) = check(of_study)
    assert (problem.subject, problem.excludes_visit) == ("01", True) and "02_fat.nii" in problem.problem.where
    shutil.move(tmp_path / "set/01/02_fat.nii", tmp_path / "set/02/02_fat.nii")
    assert check(of_study) == []


# What is in order.

def test_a_study_in_order_has_nothing_to_tell(tmp_path):
    of_study = bids_study(tmp_path)
    assert check(of_study) == [] and build_manifest(of_study).left_out == ()


def test_t2_scans_of_real_scanners():
    """Header values of SPIDER: 251 T2 series of two makers, one of which is a STIR that is called T2."""
    if not (table := REAL / "spider-tables/overview.csv").is_file():
        pytest.skip(f"{table} is not there")
    frame = pd.read_csv(table)
    t2 = frame[frame["new_file_name"].str.contains("_t2")]
    assert len(t2) == 251
    result = judged({Path(f"sub-{row['new_file_name'].replace('_', '')}_T2w.nii.gz"): Sidecar({
        "EchoTime": row["EchoTime"] / 1000, "RepetitionTime": row["RepetitionTime"] / 1000,
        "ScanningSequence": row["ScanningSequence"], "MagneticFieldStrength": row["MagneticFieldStrength"]})
        for row in t2.to_dict("records")})
    assert [p.name for p in result.left_out] == ["sub-116t2_T2w.nii.gz"] and result.contradictions == []
    assert len(result.contrasts) == 250 and set(result.contrasts.values()) == {Contrast.T2}
