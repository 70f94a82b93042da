"""Which DICOM slices make one image, which echoes one acquisition, and header values that change what an image is."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bedrest.cli import main
from bedrest.io.dicom.contrast import classify_contrasts
from bedrest.io.dicom.reader import find_images, read_dicom
from bedrest.io.manifest.resolve import build_manifest
from bedrest.settings import load_study
from bedrest.vocabulary import Contrast
from dicom_files import SAGITTAL, Series, items, pixels, write_enhanced, write_series

pytest.importorskip("pydicom", reason="pydicom is not installed: pip install 'bedrest[dicom]'")

SHAPE = (7, 6, 8)  # columns, rows, slices
WATER, FAT, PLAIN = ("DERIVED", "PRIMARY", "W"), ("DERIVED", "PRIMARY", "F"), ("ORIGINAL", "PRIMARY", "M", "ND")
OPPOSED, IN_PHASE = "echo-1_MEGRE", "echo-2_MEGRE"
REAL = Path(__file__).parents[2] / "shared/data/real/dixon-dualecho-ge-cptac/dicom"


def imported(folder: Path, *more: str) -> tuple[int, dict[str, np.ndarray]]:
    """Exit status and the images written, by the ends of their names."""
    bids = folder.parent / f"bids{len(list(folder.parent.glob('bids*')))}"
    status = main(["import-dicom", str(folder), "-o", str(bids), "--subject", "1", "--session", "1", *more])
    return status, {p.name.removeprefix("sub-1_ses-1_").removesuffix(".nii.gz"): np.asarray(nib.load(p).dataobj)
                    for p in bids.rglob("*.nii.gz")}


def tilt(sign: float, slope: float = 0.0125):
    def change(ds, k: int) -> None:
        along = np.array([0.0, 1.0, slope + sign * (1e-6 if k % 2 else -1e-6)])
        along /= np.linalg.norm(along)
        ds.ImageOrientationPatient = [round(float(v), 7) for v in (*along, 0.0, along[2], -along[1])]
    return change


def put(name: str, *values):
    """One value for even, one for odd slices."""
    return lambda ds, k: setattr(ds, name, values[k % len(values)])


def extra_word(ds, k: int) -> None:
    ds.ImageType = [*WATER, "NORM"] if k == 3 else list(WATER)


def drawn_anew(ds, k: int) -> None:
    ds.SeriesInstanceUID = f"1.2.77.{k}"


# One image.

@pytest.mark.parametrize("each", [
    tilt(1), put("EchoTime", 2.3849, 2.3851), put("PixelSpacing", [1.25005, 1.5], [1.25004, 1.5]),
    put("FlipAngle", 10, 9.9999), put("RepetitionTime", 5.9, 6.4), extra_word, drawn_anew,
    put("FrameOfReferenceUID", *(f"1.2.88.{k}" for k in range(8))), put("AcquisitionNumber", *range(8)),
], ids=["orientation", "echo", "spacing", "flip", "repetition", "word", "series-uid", "frame-of-reference", "number"])
def test_slices_of_one_acquisition_are_one_image(tmp_path, each):
    write_series(tmp_path / "d", Series(8, WATER), pixels(SHAPE), each=each)
    status, images = imported(tmp_path / "d")
    assert status == 0 and list(images) == ["rec-water_T1w"]
    np.testing.assert_array_equal(images["rec-water_T1w"], pixels(SHAPE))


def test_stations_of_another_angle_stay_apart(tmp_path, capsys):
    """Half a degree is no jitter. The remedy printed imports a whole station, and the list says which lies where."""
    write_series(tmp_path / "d", Series(8, WATER), pixels(SHAPE, 1), each=tilt(0, slope=0.0))
    write_series(tmp_path / "d", Series(8, WATER), pixels(SHAPE, 2), each=tilt(0, slope=0.0087), start=8,
                 origin=(-8.0, -70.0, -160.0))
    assert imported(tmp_path / "d") == (1, {})
    listed = capsys.readouterr().out
    assert "8-1, 8-2 could all be water: choose one, as --set 8-1=water" in listed
    assert "8-1 from 91 to 83 mm, 8-2 from -159 to -167 mm" in listed
    status, images = imported(tmp_path / "d", "--set", "8-2=water")
    assert status == 0
    np.testing.assert_array_equal(images["rec-water_T1w"], pixels(SHAPE, 2))


@pytest.mark.parametrize("shift", [0.0, 1.7])
def test_stations_of_one_angle_stay_apart(tmp_path, shift):
    """Two fields of view of a spine in one series: their slices lie in the same planes, or between each other."""
    for n in (0, 1):
        write_series(tmp_path / "d", Series(8, WATER), pixels(SHAPE, n), start=8 * n,
                     origin=(-8.0 + shift * n, -70.0, 90.0 - 250 * n))
    assert [len(i.frames) for i in find_images(tmp_path / "d").images] == [8, 8]
    status, images = imported(tmp_path / "d", "--set", "8-1=water")
    assert status == 0
    np.testing.assert_array_equal(images["rec-water_T1w"], pixels(SHAPE))


@pytest.mark.parametrize("name", ["TemporalPositionIdentifier", "AcquisitionNumber", "EchoNumbers", "AcquisitionTime",
                                  "FrameOfReferenceUID", "TriggerTime"])
def test_repetitions_at_one_place_are_separated_by_what_differs(tmp_path, capsys, name):
    values = {"AcquisitionTime": ("101010", "101500"), "FrameOfReferenceUID": ("1.2.5", "1.2.6")}.get(name, (1, 2))
    for n in (0, 1):
        write_series(tmp_path / "d", Series(8, WATER, more={name: values[n]}), pixels(SHAPE, n), start=8 * n)
    assert imported(tmp_path / "d") == (1, {})
    assert "--set 8-1=water" in capsys.readouterr().out
    status, images = imported(tmp_path / "d", "--set", "8-2=water")
    assert status == 0
    np.testing.assert_array_equal(images["rec-water_T1w"], pixels(SHAPE, 1))


def test_image_types_in_one_series_are_separate_where_both_are_whole(tmp_path):
    for n, word in enumerate(("ND", "DIS2D")):
        write_series(tmp_path / "d", Series(8, (*WATER, word)), pixels(SHAPE, n), start=8 * n)
    status, images = imported(tmp_path / "d", "--set", "8-1=water")
    assert status == 0 and len(find_images(tmp_path / "d").images) == 2
    np.testing.assert_array_equal(images["rec-water_T1w"], pixels(SHAPE, 1))  # DIS2D before ND


def test_second_copies_of_files_do_no_harm_and_are_listed(tmp_path, capsys):
    for path in write_series(tmp_path / "d", Series(8, WATER), pixels(SHAPE)):
        shutil.copy(path, path.with_name(f"copy of {path.name}"))
    status, images = imported(tmp_path / "d")
    assert status == 0 and "left out: 8 second copies of slices" in capsys.readouterr().out
    np.testing.assert_array_equal(images["rec-water_T1w"], pixels(SHAPE))


def test_other_pixels_under_one_instance_uid_are_refused(tmp_path, capsys):
    for n in (0, 1):
        write_series(tmp_path / "d", Series(8, WATER), pixels(SHAPE, n), start=1000 * n,
                     each=lambda ds, k: setattr(ds, "SOPInstanceUID", f"1.2.9.{k}"))
    assert imported(tmp_path / "d") == (1, {})
    assert "16 slices at 8 places" in capsys.readouterr().err


# Echoes.

def echoes(folder: Path, times, *, numbers=(5, 5), tesla=1.5, more=({}, {}), uid="1.2.3.5", word=PLAIN) -> None:
    for n, (echo, number) in enumerate(zip(times, numbers, strict=True)):
        write_series(folder, Series(number, word, echo_ms=echo, tesla=tesla, more=more[n],
                                    uid=uid if number == numbers[0] else ""), pixels(SHAPE, n), start=100 * n)


@pytest.mark.parametrize("more", [({}, {}), ({"AcquisitionTime": "101010.5"}, {"AcquisitionTime": "101010.52"})])
def test_echoes_may_be_series_of_their_own(tmp_path, more):
    """As Siemens XA scanners export them."""
    echoes(tmp_path / "d", (2.38, 4.76), numbers=(9001, 9002), more=more, word=(*PLAIN, "MFSPLIT"))
    status, images = imported(tmp_path / "d")
    assert status == 0 and set(images) == {OPPOSED, IN_PHASE}
    np.testing.assert_array_equal(images[IN_PHASE], pixels(SHAPE, 1))


@pytest.mark.parametrize(("numbers", "first", "second"), [
    ((5, 5), {}, {"RepetitionTime": 150.0}), ((5, 5), {}, {"FlipAngle": 70.0}),
    ((5, 5), {"SequenceName": "*fl2d1"}, {"SequenceName": "*fl3d1"}),
    ((5, 5), {"AcquisitionTime": "101010"}, {"AcquisitionTime": "102010"}), ((5, 6), {}, {"AcquisitionNumber": 3}),
    ((5, 5), {"FrameOfReferenceUID": "1.2.5"}, {"FrameOfReferenceUID": "1.2.6"}), ((5, 9), {}, {}),
    ((5, 6), {"AcquisitionTime": "101010"}, {"AcquisitionTime": "101130"}),
    ((5, 6), {}, {"MagneticFieldStrength": 3.0}),
])
def test_echoes_of_different_sequences_are_no_pair(tmp_path, capsys, numbers, first, second):
    """Also where they share a Series Instance UID. Each alone is not judged by its time; what is printed works."""
    echoes(tmp_path / "d", (2.38, 4.76), numbers=numbers, more=(first, second))
    assert imported(tmp_path / "d") == (1, {})
    listed = capsys.readouterr().out
    names = [i.name for i in find_images(tmp_path / "d").images]
    assert listed.count("a gradient echo alone") == 2 and f"--set {names[1]}=in_phase" in listed
    status, images = imported(tmp_path / "d", "--set", f"{names[1]}=in_phase", "--set", f"{names[0]}=opposed")
    assert status == 0 and set(images) == {OPPOSED, IN_PHASE}


@pytest.mark.parametrize(("times", "tesla"), [
    ((4.92, 7.38), 3.0), ((4.76, 9.52), 1.5), ((5.19, 7.65), 3.0), ((10.0, 12.46), 3.0), ((2.38, 7.14), 1.5)])
def test_field_maps_are_no_dixon_pair(tmp_path, capsys, times, tesla):
    """Only one of the echoes fits, or both are in phase, or opposed, or too late: neither is taken."""
    echoes(tmp_path / "d", times, tesla=tesla)
    write_series(tmp_path / "d", Series(7, PLAIN, echo_ms=100.0, repetition_ms=4000.0, sequence="SE"), pixels(SHAPE, 7))
    status, images = imported(tmp_path / "d")
    assert status == 3 and list(images) == ["T2w"]
    assert "no pair of in and opposed phase (a field map?)" in capsys.readouterr().out
    status, images = imported(tmp_path / "d", "--set", "5-1=in_phase", "--set", "5-2=opposed")
    assert status == 0 and len(images) == 3


@pytest.mark.parametrize(("times", "tesla", "opposed", "in_phase"), [
    ((1.15, 2.3, 3.45, 4.6, 5.75, 6.9), 3.0, 0, 1), ((1.1, 2.2, 3.3, 4.4, 5.5, 6.6), 1.5, 1, 3),
    ((2.3, 3.45, 4.6), 3.0, 1, 0)])
def test_of_many_echoes_the_earliest_ones_count_as_in_bids(tmp_path, capsys, times, tesla, opposed, in_phase):
    for n, echo in enumerate(times):
        write_series(tmp_path / "d", Series(5, PLAIN, echo_ms=echo, tesla=tesla), pixels(SHAPE, n), start=100 * n)
    status, images = imported(tmp_path / "d")
    assert status == 0 and len(images) == 2
    by_contrast = read_back(tmp_path)
    np.testing.assert_array_equal(by_contrast[Contrast.OPPOSED], pixels(SHAPE, opposed))
    np.testing.assert_array_equal(by_contrast[Contrast.IN_PHASE], pixels(SHAPE, in_phase))
    assert ", as the earlier 5-" in capsys.readouterr().out


def test_a_repeated_echo_is_asked_for(tmp_path, capsys):
    for n, (echo, run) in enumerate(((2.38, 1), (4.76, 1), (2.38, 2), (4.76, 2))):
        write_series(tmp_path / "d", Series(5, PLAIN, echo_ms=echo, more={"TemporalPositionIdentifier": run}),
                     pixels(SHAPE, n), start=100 * n)
    assert imported(tmp_path / "d") == (1, {})
    assert "5-1, 5-2 could all be opposed: choose one, as --set 5-1=opposed" in capsys.readouterr().out


def test_source_echoes_beside_images_in_and_opposed_phase_are_no_rivals(tmp_path, capsys):
    """Philips exports echoes with the images that it computes of them, in one series; in another they are asked for."""
    for place, number in (("one", 5), ("other", 6)):
        for n, word in enumerate(("OP", "IP")):
            computed = Series(5, ("DERIVED", "PRIMARY", word), echo_ms=1.3, tesla=3.0, uid="1.2.3.5")
            write_series(tmp_path / place, computed, pixels(SHAPE, n), start=100 * n)
        for n, echo in enumerate((1.3, 2.3), 2):
            write_series(tmp_path / place, Series(number, PLAIN, echo_ms=echo, tesla=3.0, uid=f"1.2.3.{number}"),
                         pixels(SHAPE, n), start=100 * n)
    status, images = imported(tmp_path / "one")
    assert status == 0 and "in_phase by its echo time, 5-1 by Image Type" in capsys.readouterr().out
    np.testing.assert_array_equal(images[OPPOSED], pixels(SHAPE, 0))
    np.testing.assert_array_equal(images[IN_PHASE], pixels(SHAPE, 1))
    assert imported(tmp_path / "other")[0] == 1


@pytest.mark.parametrize("field", [
    {"MagneticFieldStrength": 15000}, {"MagneticFieldStrength": 0, "ImagingFrequency": 63.7},
    {"MagneticFieldStrength": None, "ImagingFrequency": 63.7}])
def test_field_strength_in_gauss_or_by_frequency(tmp_path, field):
    echoes(tmp_path / "d", (2.38, 4.76), more=(field, field))
    status, images = imported(tmp_path / "d")
    assert status == 0 and set(images) == {OPPOSED, IN_PHASE}
    read_back(tmp_path)
    (sidecar, *_) = (tmp_path / "bids0").rglob("*echo-1_MEGRE.json")
    assert json.loads(sidecar.read_text())["MagneticFieldStrength"] == pytest.approx(1.5, abs=0.01)

def test_the_option_for_a_single_echo_names_its_phase_by_its_time(tmp_path, capsys):
    """In and opposed phase of two breath-holds, too far apart to be a pair: the options printed import both."""
    echoes(tmp_path / "d", (2.38, 4.76), numbers=(5, 6),
           more=({"AcquisitionTime": "100000"}, {"AcquisitionTime": "100030"}))
    assert imported(tmp_path / "d") == (1, {})
    listed = capsys.readouterr().out
    assert "as --set 5=opposed" in listed and "as --set 6=in_phase" in listed
    status, images = imported(tmp_path / "d", "--set", "5=opposed", "--set", "6=in_phase")
    assert status == 0 and set(images) == {OPPOSED, IN_PHASE}


# Whether images belong together, and what no choice would help.

T2 = {"echo_ms": 90.0, "repetition_ms": 3000.0, "sequence": "SE"}


@pytest.mark.parametrize("shape", [(7, 6, 1), (7, 6, 3), (7, 6, 5)])
def test_a_localizer_is_no_rival_of_a_t2_series(tmp_path, capsys, shape):
    """Single-shot localizers are T2-weighted by their times."""
    write_series(tmp_path / "d", Series(1, PLAIN, **T2), pixels(shape), step_mm=15.0)
    write_series(tmp_path / "d", Series(2, PLAIN, **T2), pixels(SHAPE, 2))
    status, images = imported(tmp_path / "d")
    assert status == 0 and "but as a localizer has: " in capsys.readouterr().out
    np.testing.assert_array_equal(images["T2w"], pixels(SHAPE, 2))


def test_few_slices_of_water_are_asked_for_beside_another_water(tmp_path, capsys):
    """Stations: what is left of one is no localizer."""
    write_series(tmp_path / "d", Series(1, WATER), pixels((7, 6, 3)))
    write_series(tmp_path / "d", Series(2, WATER), pixels(SHAPE, 2), origin=(-8.0, -70.0, -160.0))
    assert imported(tmp_path / "d") == (1, {}) and "1, 2 could all be water" in capsys.readouterr().out


def test_a_gradient_echo_localizer_is_no_doubt(tmp_path, capsys):
    write_series(tmp_path / "d", Series(1, PLAIN, echo_ms=5.0), pixels((7, 6, 3)), step_mm=20.0)
    write_series(tmp_path / "d", Series(2, WATER), pixels(SHAPE, 2))
    assert imported(tmp_path / "d")[0] == 0 and "3 slices, 20.0 mm apart, as a localizer has" in capsys.readouterr().out


def test_no_choice_is_offered_for_what_is_no_image(tmp_path, capsys):
    """GE writes the first echo time into every echo (dcm2niix 359): nothing separates them."""
    for n in (0, 1):
        write_series(tmp_path / "d", Series(4, PLAIN), pixels(SHAPE, n), start=100 * n)
    assert imported(tmp_path / "d") == (1, {})
    said = "".join(capsys.readouterr())
    assert "no image: expected one slice at each place, found 16 slices at 8 places" in said and "--set" not in said
    write_series(tmp_path / "d", Series(5, WATER), pixels(SHAPE, 5))
    assert imported(tmp_path / "d")[0] == 3 and "Not imported, as in doubt: 4.\n" in capsys.readouterr().out


def test_what_is_in_doubt_is_told_with_an_option_that_works(tmp_path, capsys):
    write_series(tmp_path / "d", Series(5, WATER), pixels(SHAPE, 5))
    write_series(tmp_path / "d", Series(6, PLAIN, **{**T2, "repetition_ms": 700.0}), pixels(SHAPE, 6))
    assert imported(tmp_path / "d")[0] == 3
    said = capsys.readouterr().out
    assert "TR 700 ms, which is below 1000 ms for T2" in said and "--set 6=CONTRAST" in said
    status, images = imported(tmp_path / "d", "--set", "6=t2")
    assert status == 0 and set(images) == {"rec-water_T1w", "T2w"}


@pytest.mark.parametrize(("first", "second", "words"), [
    ({"FrameOfReferenceUID": "1.2.5"}, {"FrameOfReferenceUID": "1.2.6"}, "5 and 9 have two frames of reference"),
    ({"AcquisitionTime": "100000"}, {"AcquisitionTime": "102000"}, "two runs of a sequence, 20 min apart"),
    ({"AcquisitionTime": "100000"}, {"AcquisitionTime": "100100"}, ""),
    ({"FrameOfReferenceUID": "1.2.5"}, {}, ""),
])
def test_images_taken_apart_are_told(tmp_path, capsys, first, second, words):
    """Water of one run and fat of another make a wrong fat fraction wherever the subject moved between."""
    write_series(tmp_path / "d", Series(5, WATER, more=first), pixels(SHAPE))
    write_series(tmp_path / "d", Series(9, FAT, more=second), pixels(SHAPE, 1))
    assert imported(tmp_path / "d")[0] == 0
    said = capsys.readouterr().out
    assert words in said and ("note:" in said) == bool(words)


def read_back(folder: Path) -> dict[Contrast, np.ndarray]:
    """What a study reads of a visit that was imported, with the command's next step: check."""
    (folder / "study.toml").write_text(
        'name = "s"\ngroups = ["a"]\nreference_session = "ses-1"\n[images]\nlayout = "bids"\nroot = "bids0"\n'
        '[[sessions]]\nid = "ses-1"\nstudy_day = -1\nphase = "baseline"\n')
    manifest = build_manifest(load_study(folder / "study.toml"))
    assert not manifest.problems
    return {Contrast(c): np.asarray(nib.load(p).dataobj)
            for c, p in zip(manifest.scans["contrast"], manifest.scans["path"], strict=True)}


@pytest.mark.parametrize(("times", "tesla"), [((4.76, 7.14), 1.5), ((2.3, 3.45), 3.0), ((1.15, 2.3), 3.0)])
def test_numbers_of_echoes_rise_with_their_times(tmp_path, times, tesla):
    """In phase may be the first echo: BIDS counts by time, and the sidecar says which is which."""
    echoes(tmp_path / "d", times, tesla=tesla)
    status, images = imported(tmp_path / "d")
    assert status == 0
    np.testing.assert_array_equal(images["echo-1_MEGRE"], pixels(SHAPE, 0))
    first, second = (Contrast.OPPOSED, Contrast.IN_PHASE) if times[0] == 1.15 else (Contrast.IN_PHASE, Contrast.OPPOSED)
    by_contrast = read_back(tmp_path)
    np.testing.assert_array_equal(by_contrast[first], pixels(SHAPE, 0))
    np.testing.assert_array_equal(by_contrast[second], pixels(SHAPE, 1))


def test_image_types_exchanged_against_echo_times_are_asked_for(tmp_path, capsys):
    """In phase at 2.38 ms and opposed at 4.76 ms at 1.5 T: one of the two is wrong. The remedy goes on to the study."""
    for n, (echo, word) in enumerate(((2.38, "IN_PHASE"), (4.76, "OPP_PHASE"))):
        write_series(tmp_path / "d", Series(5 + n, ("DERIVED", "PRIMARY", word), echo_ms=echo), pixels(SHAPE, n))
    assert imported(tmp_path / "d") == (1, {})
    assert "say the opposite: choose, as --set 5=opposed --set 6=in_phase" in capsys.readouterr().out
    assert imported(tmp_path / "d", "--set", "5=in_phase", "--set", "6=opposed")[0] == 0
    np.testing.assert_array_equal(read_back(tmp_path)[Contrast.IN_PHASE], pixels(SHAPE, 0))


def test_computed_phases_may_carry_one_echo_time(tmp_path):
    """As Philips writes them: the words count, and no sidecar says what contradicts them."""
    for n, word in enumerate(("IP", "OP")):
        write_series(tmp_path / "d", Series(5 + n, ("DERIVED", "PRIMARY", word)), pixels(SHAPE, n))
    assert imported(tmp_path / "d")[0] == 0
    np.testing.assert_array_equal(read_back(tmp_path)[Contrast.IN_PHASE], pixels(SHAPE, 0))
    assert [("EchoTime" in json.loads(p.read_text())) for p in sorted((tmp_path / "bids0").rglob("*MEGRE.json"))] == [
        True, False]


def test_an_echo_that_lost_a_slice_is_still_one_of_the_pair(tmp_path, capsys):
    echoes(tmp_path / "d", (2.38, 4.76))
    next((tmp_path / "d").glob("*-5-100-7.dcm")).unlink()
    status, images = imported(tmp_path / "d")
    assert status == 3 and list(images) == [OPPOSED]
    assert "1 slice is missing that image 5-1 has" in capsys.readouterr().out


def test_the_field_may_be_given_as_a_frequency(tmp_path):
    echoes(tmp_path / "d", (2.38, 4.76), more=({"MagneticFieldStrength": None, "ImagingFrequency": 63.87},) * 2)
    assert imported(tmp_path / "d")[0] == 0


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no {REAL}")
def test_a_real_dual_echo_is_classified_by_echo_time_alone(tmp_path, capsys):
    (tmp_path / "d").symlink_to(REAL)
    status, images = imported(tmp_path / "d")
    assert status == 0
    assert {n: i.shape for n, i in images.items()} == {OPPOSED: (512, 512, 20), IN_PHASE: (512, 512, 20)}
    assert "40 slices here, 80 in the acquisition" in capsys.readouterr().out


# What the image is.

@pytest.mark.parametrize("component", ["PHASE", "REAL", "IMAGINARY"])
@pytest.mark.parametrize("enhanced", [True, False])
def test_magnitude_is_separated_by_complex_component(tmp_path, capsys, component, enhanced):
    """Image Type is the same for both; as multi-frame object, and as single slices of GE with their private code."""
    words, parts = ("ORIGINAL", "PRIMARY", "OTHER"), []
    for n, (echo, kind) in enumerate([(t, c) for t in (2.38, 4.76) for c in (component, "MAGNITUDE")]):
        parts.append((echo, kind, pixels(SHAPE, n)))

        def each(ds, k, kind=kind):
            code = {"MAGNITUDE": 0, "PHASE": 1, "REAL": 2, "IMAGINARY": 3}[kind]
            ds.private_block(0x43, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", code)

        if not enhanced:
            write_series(tmp_path / "d", Series(5, words, echo_ms=echo, uid="1.2.5"), parts[-1][2], start=100 * n,
                         each=each)
    if enhanced:
        write_enhanced(tmp_path / "d", 5, [(words, echo, data) for echo, _, data in parts], maker="SIEMENS",
                       top={"ComplexImageComponent": "MIXED"}, each=lambda group, n, k: setattr(
                           group.MRImageFrameTypeSequence[0], "ComplexImageComponent", parts[n][1]))
    status, images = imported(tmp_path / "d")
    assert status == 0 and set(images) == {OPPOSED, IN_PHASE}
    np.testing.assert_array_equal(images[OPPOSED], parts[1][2] * 2.0 + 5 if enhanced else parts[1][2])
    assert capsys.readouterr().out.count("a phase image" if component == "PHASE" else f"{component.lower()} part") == 2


def test_phase_images_alone_are_not_taken(tmp_path, capsys):
    echoes(tmp_path / "d", (2.38, 4.76), more=({"ComplexImageComponent": "PHASE"},) * 2)
    assert imported(tmp_path / "d") == (1, {})
    assert "found none" in capsys.readouterr().err


SPIN = {"EchoPulseSequence": "SPIN"}


@pytest.mark.parametrize(("top", "modifier", "taken"), [
    (SPIN, {}, True), (SPIN, {"SpectrallySelectedExcitation": "NONE"}, True),
    ({**SPIN, "SpectrallySelectedSuppression": "FAT"}, {}, False),
    (SPIN, {"SpectrallySelectedExcitation": "WATER"}, False), (SPIN, {"InversionRecovery": "YES"}, False),
    (SPIN, {"SpectrallySelectedSuppression": "FAT"}, False),
    ({**SPIN, "EchoPlanarPulseSequence": "YES"}, {}, False),
])
def test_suppression_is_read_in_multi_frame_objects(tmp_path, top, modifier, taken):
    def each(group, n: int, k: int) -> None:
        group.MRModifierSequence = items(**modifier)

    write_enhanced(tmp_path / "d", 5, [(("ORIGINAL", "PRIMARY", "T2", "NONE"), 95.0, pixels(SHAPE))],
                   timing=(4000.0, 90.0), top=top, each=each)
    status, images = imported(tmp_path / "d")
    assert (status == 0, list(images)) == (taken, ["T2w"] if taken else [])


@pytest.mark.parametrize(("word", "sequence", "more", "taken"), [
    (PLAIN, "SE", {}, True), (PLAIN, "SE", {"InversionTime": 0}, True), (PLAIN, "SE", {"InversionTime": 160}, False),
    (("ORIGINAL", "PRIMARY", "M_IR", "M", "IR"), "SE", {}, False), (PLAIN, "SE", {"ScanOptions": ["FS_GEMS"]}, False),
    (PLAIN, ["EP", "SE"], {}, False), (("ORIGINAL", "PRIMARY", "M", "STIR"), "SE", {}, False)])
def test_suppression_is_read_in_single_slices(tmp_path, word, sequence, more, taken):
    write_series(tmp_path / "d", Series(5, word, echo_ms=95.0, repetition_ms=4000.0, sequence=sequence, more=more),
                 pixels(SHAPE))
    assert (imported(tmp_path / "d")[0] == 0) == taken


def test_fat_suppressed_echoes_show_no_phase_of_fat(tmp_path, capsys):
    echoes(tmp_path / "d", (2.38, 4.76), more=({"ScanOptions": ["FS"]},) * 2)
    assert imported(tmp_path / "d") == (1, {}) and "suppresses" in capsys.readouterr().out


def test_a_multi_frame_object_of_all_four_contrasts_is_taken_apart(tmp_path):
    words = {"W": "rec-water_T1w", "F": "rec-fat_T1w", "IP": IN_PHASE, "OP": OPPOSED}
    write_enhanced(tmp_path / "d", 4, [(("DERIVED", "PRIMARY", w, w, "DERIVED"), 1.4, pixels(SHAPE, n))
                                       for n, w in enumerate([*words, "FF"])])
    status, images = imported(tmp_path / "d")
    assert status == 0 and set(images) == set(words.values())
    for n, ending in enumerate(words.values()):
        np.testing.assert_array_equal(images[ending], pixels(SHAPE, n) * 2.0 + 5)


# Values.

def philips(rescale: float, scale: float | None, bytes_alone: bool = False):
    def each(ds, k: int) -> None:
        ds.private_block(0x2005, "Another", create=True).add_new(0x0E, "FL", 7.0)
        ds.Manufacturer, ds.RescaleSlope, ds.RescaleIntercept = "Philips Medical Systems", rescale, 0
        if scale is not None:
            block = ds.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
            block.add_new(0x0E, "UN" if bytes_alone else "FL", np.float32(scale).tobytes() if bytes_alone else scale)
    return each


@pytest.mark.parametrize("bytes_alone", [False, True])
def test_philips_values_are_measured_ones(tmp_path, bytes_alone):
    """Stored 400 in both; at scale slopes of 0.02 and 0.2 the fat is a tenth of the water."""
    flat = np.full(SHAPE, 400, np.uint16)
    write_series(tmp_path / "d", Series(1, WATER), flat, each=philips(2.0, 0.02, bytes_alone))
    write_series(tmp_path / "d", Series(2, FAT), flat, each=philips(3.0, 0.2, bytes_alone))
    status, images = imported(tmp_path / "d")
    assert status == 0
    np.testing.assert_allclose(images["rec-water_T1w"], 20_000, rtol=1e-6)
    np.testing.assert_allclose(images["rec-fat_T1w"], 2_000, rtol=1e-6)


@pytest.mark.parametrize(("water", "fat"), [(philips(2.0, 0.02), philips(2.0, None)),
                                            (philips(2.0, None), philips(3.0, None))])
def test_values_that_cannot_be_compared_are_asked_for(tmp_path, capsys, water, fat):
    write_series(tmp_path / "d", Series(1, WATER), pixels(SHAPE), each=water)
    write_series(tmp_path / "d", Series(2, FAT), pixels(SHAPE), each=fat)
    assert imported(tmp_path / "d") == (1, {})
    listed = capsys.readouterr().out
    assert "Scale Slope (2005,100E) is missing" in listed and "--accept 1" in listed and "--accept 2" in listed
    status, images = imported(tmp_path / "d", "--accept", "1", "--accept", "2")
    assert status == 0 and len(images) == 2
    np.testing.assert_array_equal(images["rec-water_T1w"], pixels(SHAPE) * 2.0)  # as displayed


def test_equal_rescaling_of_philips_is_no_doubt(tmp_path):
    for number, word in ((1, WATER), (2, FAT)):
        write_series(tmp_path / "d", Series(number, word), pixels(SHAPE), each=philips(2.0, None))
    assert imported(tmp_path / "d")[0] == 0


@pytest.mark.parametrize("slope", [0.25, 2.0])
def test_fractions_are_kept(tmp_path, slope):
    write_series(tmp_path / "d", Series(1, WATER, more={"RescaleSlope": slope, "RescaleIntercept": 0}), pixels(SHAPE))
    assert imported(tmp_path / "d")[0] == 0
    image = nib.load(next((tmp_path / "bids0").rglob("*.nii.gz")))
    np.testing.assert_array_equal(np.asarray(image.dataobj), pixels(SHAPE) * slope)
    assert image.get_data_dtype() == (np.float32 if slope < 1 else np.int16)


def test_signed_numbers_are_read_and_inverted_ones_refused(tmp_path, capsys):
    def signed(ds, k: int) -> None:
        ds.PixelRepresentation, ds.PixelData = 1, (np.full((6, 7), -3 - k)).astype("<i2").tobytes()

    write_series(tmp_path / "s", Series(1, WATER), pixels(SHAPE), each=signed)
    image, = find_images(tmp_path / "s").images
    assert set(np.unique(read_dicom(image).data)) == set(range(-10, -2))
    write_series(tmp_path / "i", Series(1, WATER), pixels(SHAPE), each=put("PhotometricInterpretation", "MONOCHROME1"))
    assert imported(tmp_path / "i")[0] == 1 and "MONOCHROME1" in capsys.readouterr().err


def test_sidecars_hold_the_middle_of_what_jitters(tmp_path):
    write_series(tmp_path / "d", Series(8, WATER), pixels(SHAPE), each=put("EchoTime", 2.38, 2.39))
    imported(tmp_path / "d")
    assert json.loads(next((tmp_path / "bids0").rglob("*T1w.json")).read_text())["EchoTime"] == 0.002385


def test_a_choice_of_the_user_is_never_overridden(tmp_path):
    write_series(tmp_path / "d", Series(8, WATER), pixels(SHAPE))
    images = find_images(tmp_path / "d").images
    assert images[0].header.orientation == SAGITTAL
    assert classify_contrasts(images, {"8": Contrast.FAT})["8"].contrast == Contrast.FAT
