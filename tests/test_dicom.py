"""DICOM in: geometry and intensities as written, contrasts by header values, nothing guessed, no names kept."""

import builtins
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bedrest.cli import main
from bedrest.errors import BedrestError, StudyError
from bedrest.io.dicom.contrast import classify_contrast
from bedrest.io.dicom.reader import ImageHeader, find_images, grid_of, read_dicom
from bedrest.io.images.nifti import read_scan
from bedrest.io.manifest.resolve import build_manifest
from bedrest.settings import load_study
from bedrest.vocabulary import Contrast
from dicom_files import SAGITTAL, SECRETS, Series, pixels, write_enhanced, write_series

pytest.importorskip("pydicom", reason="pydicom is not installed: pip install 'bedrest[dicom]'")

SHAPE = (7, 6, 5)  # columns, rows, slices
DIXON = {"siemens": {"water": "WATER", "fat": "FAT", "in_phase": "IN_PHASE", "opposed": "OPP_PHASE"},
         "philips": {"water": "W", "fat": "F", "in_phase": "IP", "opposed": "OP"},
         "ge": {"water": "WATER", "fat": "FAT", "in_phase": "IN_PHASE", "opposed": "OUT_PHASE"}}


def image_type(maker: str, word: str) -> tuple[str, ...]:
    return {"siemens": ("DERIVED", "PRIMARY", "M", "DIXON", word, "DIS2D"),
            "philips": ("DERIVED", "PRIMARY", word, word, "DERIVED"),
            "ge": ("DERIVED", "PRIMARY", "DIXON", word)}[maker]


def run(*words: object) -> int:
    return main(["import-dicom", *map(str, words)])


def into(folder: Path, *more: str) -> list[object]:
    return ["-o", folder / "bids", "--subject", "01", "--session", "ses-1", *more]


def dixon_visit(folder: Path, maker: str = "siemens") -> dict[str, np.ndarray]:
    told = {}
    for n, (contrast, word) in enumerate(DIXON[maker].items()):
        told[contrast] = pixels(SHAPE, seed=n)
        write_series(folder, Series(n + 5, image_type(maker, word), maker=maker), told[contrast])
    return told


@pytest.mark.parametrize("maker", DIXON)
def test_a_dixon_visit_becomes_a_visit_of_the_study(tmp_path, capsys, maker):
    """Each maker's words; what is written is what `bedrest` reads as these contrasts, on one grid, same numbers."""
    told = dixon_visit(tmp_path / "dicom", maker)
    assert run(tmp_path / "dicom", *into(tmp_path)) == 0
    (tmp_path / "study.toml").write_text(
        'name = "s"\ngroups = ["a"]\nreference_session = "ses-1"\n[images]\nlayout = "bids"\nroot = "bids"\n'
        '[[sessions]]\nid = "ses-1"\nstudy_day = -1\nphase = "baseline"\n')
    manifest = build_manifest(load_study(tmp_path / "study.toml"))
    paths = {Contrast(c): Path(p) for c, p in zip(manifest.scans["contrast"], manifest.scans["path"], strict=True)}
    assert set(paths) == set(map(Contrast, told)) and not manifest.problems
    scan = read_scan(paths, where="x")
    for contrast, data in told.items():
        np.testing.assert_array_equal(scan.contrasts[Contrast(contrast)].data, data)
    assert nib.aff2axcodes(scan.grid.affine_ras_mm) == ("P", "I", "R")  # rows x columns of a sagittal slice
    np.testing.assert_allclose(scan.grid.spacing_mm, [1.5, 1.25, 4.0])
    assert json.loads((tmp_path / "bids/dataset_description.json").read_text())["BIDSVersion"]


@pytest.mark.parametrize("turn_deg", [0, 17])
def test_every_voxel_lies_where_dicom_says(tmp_path, turn_deg):
    """PS3.3 C.7.6.2.1.1: position + column * spacing along the row direction + row * spacing along the columns."""
    c, s = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
    across, down = np.array([s, c, 0.0]), np.array([0.0, 0.0, -1.0])
    normal, origin = np.cross(across, down), np.array([-8.0, -70.0, 90.0])
    data = pixels(SHAPE)
    write_series(tmp_path, Series(3, image_type("siemens", "WATER")), data, orientation=(*across, *down))
    image, = find_images(tmp_path).images
    volume = read_dicom(image)
    for column, row, k in [(0, 0, 0), (6, 5, 4), (2, 3, 1)]:
        lps = origin + column * 1.5 * across + row * 1.25 * down + k * 4.0 * normal
        index = np.linalg.inv(volume.grid.affine_ras_mm) @ [-lps[0], -lps[1], lps[2], 1]
        i, j, n = np.round(index[:3]).astype(int)
        np.testing.assert_allclose(index[:3], [i, j, n], atol=1e-3)
        assert volume.data[i, j, n] == data[column, row, k]


def test_a_multi_frame_object_is_taken_apart_by_frame_type_and_echo(tmp_path):
    parts = [(("DERIVED", "PRIMARY", "W", "W", "DERIVED"), 2.3, pixels(SHAPE, 1)),
             (("DERIVED", "PRIMARY", "F", "F", "DERIVED"), 2.3, pixels(SHAPE, 2))]
    write_enhanced(tmp_path / "dicom", 4, parts)
    found = find_images(tmp_path / "dicom").images
    assert [i.name for i in found] == ["4-1", "4-2"]
    assert run(tmp_path / "dicom", *into(tmp_path)) == 0
    anat = tmp_path / "bids/sub-01/ses-1/anat"
    for ending, (_, _, data) in zip(("rec-water", "rec-fat"), parts, strict=True):
        image = nib.load(anat / f"sub-01_ses-1_{ending}_T1w.nii.gz")
        np.testing.assert_array_equal(np.asarray(image.dataobj), data * 2.0 + 5)
    sidecar = json.loads((anat / "sub-01_ses-1_rec-fat_T1w.json").read_text())
    assert sidecar["RepetitionTime"] == 0.006 and sidecar["EchoTime"] == 0.0023


# 217 Hz at 1.5 T, 434 Hz at 3 T: in phase at 4.6 (2.3) ms, opposed at 2.3 (1.15, 3.45) ms
@pytest.mark.parametrize(("tesla", "echoes"), [(1.5, (2.38, 4.76)), (3.0, (1.23, 2.46)), (3.0, (3.4, 4.6))])
def test_two_echoes_are_told_by_their_time(tmp_path, tesla, echoes):
    for n, echo in enumerate(echoes):
        write_series(tmp_path / "dicom", Series(2, ("ORIGINAL", "PRIMARY", "M", "ND"), echo_ms=echo, tesla=tesla),
                     pixels(SHAPE, n), start=100 * n)
    assert run(tmp_path / "dicom", *into(tmp_path)) == 0
    anat = tmp_path / "bids/sub-01/ses-1/anat"
    for n, ending in enumerate(("echo-1_MEGRE", "echo-2_MEGRE")):
        np.testing.assert_array_equal(np.asarray(nib.load(anat / f"sub-01_ses-1_{ending}.nii.gz").dataobj),
                                      pixels(SHAPE, n))


def header(**values) -> ImageHeader:
    base = {"series_uid": "1", "series_number": 1, "image_type": ("ORIGINAL", "PRIMARY", "M"), "echo_time_ms": 2.38,
            "repetition_time_ms": 6.0, "flip_angle_deg": 10.0, "field_tesla": 1.5, "sequence": ("GR",), "options": (),
            "size": (6, 7), "spacing_mm": (1.0, 1.0), "orientation": SAGITTAL}
    return ImageHeader(**{**base, **values})


SHORT = {"sequence": ("SE",), "echo_time_ms": 10.0, "repetition_time_ms": 500.0}
SPIN = {"sequence": ("SE",), "echo_time_ms": 95.0, "repetition_time_ms": 3500.0}


@pytest.mark.parametrize(("values", "contrast", "words"), [
    (SPIN, Contrast.T2, "a spin echo"),
    ({**SPIN, "sequence": ("SE", "IR")}, None, "suppressed"),
    ({**SPIN, "options": ("PFP", "FS")}, None, "suppressed"),
    (SHORT, Contrast.T1, "a spin echo, TE 10 ms, TR 500 ms"),
    ({**SHORT, "sequence": ("SE", "IR")}, None, "suppressed"), ({**SHORT, "options": ("FS",)}, None, "suppressed"),
    ({**SHORT, "contrast_agent": True}, None, "contrast agent"),
    ({**SHORT, "repetition_time_ms": 3000.0}, None, "not up to 1200 ms"),
    ({**SHORT, "repetition_time_ms": float("nan")}, None, "not up to 1200 ms"),
    ({**SHORT, "echo_time_ms": 45.0}, None, "neither"),
    ({**SHORT, "image_type": ("DERIVED", "PRIMARY", "W")}, Contrast.WATER, "Image Type"),
    ({"sequence": ("GR", "IR"), "inversion_time_ms": 900.0}, None, "inverts"),  # MPRAGE
    ({**SPIN, "image_type": ("DERIVED", "PRIMARY", "W", "W", "DERIVED")}, None, "T2-weighted Dixon"),
    ({"image_type": ("DERIVED", "PRIMARY", "WATER", "FAT")}, None, "fat and water"),
    ({"image_type": ("ORIGINAL", "PRIMARY", "P", "ND")}, None, "phase image"),
    ({"image_type": ("DERIVED", "PRIMARY", "FAT_FRACTION")}, None, "computed"),
    ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, None, "localizer"),
    ({"sequence": ("SE", "GR")}, None, "neither Image Type nor echo times"),
    ({}, None, "a gradient echo"),  # T1, or a half of a pair
    ({"component": "MIXED"}, None, "MIXED"),
    ({"image_type": ("ORIGINAL", "PRIMARY", "M"), "component": "PHASE"}, None, "phase image"),
    ({"image_type": ("ORIGINAL", "PRIMARY", "M", "MOSAIC")}, None, "mosaic"),
    ({"image_type": ("DERIVED", "SECONDARY", "REFORMATTED", "WATER")}, None, "reformation"),
])
def test_what_headers_do_not_tell_is_not_guessed(values, contrast, words):
    told = classify_contrast(header(**values))
    assert told.contrast == contrast and words in told.reason


def test_rivals_are_listed_and_a_person_chooses(tmp_path, capsys):
    """The same water image with and without distortion correction: neither is taken until somebody says which."""
    dixon_visit(tmp_path / "dicom")
    other = pixels(SHAPE, 50)
    write_series(tmp_path / "dicom", Series(30, ("DERIVED", "PRIMARY", "M", "DIXON", "WATER", "ND")), other)
    assert run(tmp_path / "dicom", *into(tmp_path)) == 3
    assert "5, 30 could all be water: choose one, as --set 5=water" in capsys.readouterr().out
    water = tmp_path / "bids/sub-01/ses-1/anat/sub-01_ses-1_rec-water_T1w.nii.gz"
    assert not water.exists() and water.with_name("sub-01_ses-1_rec-fat_T1w.nii.gz").exists()
    again = ["-o", tmp_path / "again", "--subject", "sub-01", "--session", "1", "--set", "30=water"]
    assert run(tmp_path / "dicom", *again) == 0
    assert "you chose another image" in capsys.readouterr().out
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "again" / water.relative_to(tmp_path / "bids")
                                                      ).dataobj), other)


def test_nothing_of_a_person_gets_into_outputs(tmp_path, capsys):
    """Names, dates, numbers and free text stand in every header; no byte and no name of any output holds them."""
    dixon_visit(tmp_path / "dicom")
    write_series(tmp_path / "dicom", Series(40, ("ORIGINAL", "PRIMARY", "M"), maker=SECRETS[0]), pixels(SHAPE))
    run(tmp_path / "dicom", *into(tmp_path))
    files = [p for p in (tmp_path / "bids").rglob("*") if p.is_file()]
    assert len(files) == 9  # four images, four sidecars, dataset_description.json
    said = capsys.readouterr()
    content = [said.out + said.err, *(str(p.relative_to(tmp_path)) for p in files)]
    content += [(gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes()).decode("latin-1")
                for p in files]
    parts = {s for secret in SECRETS for s in (secret, *secret.split("^")) if len(s) > 3}
    assert [s for s in parts for text in content if s.lower() in text.lower()] == []


@pytest.mark.parametrize(("break_it", "words"), [
    ({"skip": (2,)}, "slices at even distances"),
    ({"step_mm": 0.0}, "one slice at each place"),
    ({"spacing": (1.25, 0.0)}, "positive pixel spacings"),
    ({"orientation": (0.0, 1.0, 0.0, 0.0, 0.7, -0.7)}, "two unit vectors at right angles"),
])
def test_series_with_broken_geometry_are_refused(tmp_path, capsys, break_it, words):
    write_series(tmp_path / "dicom", Series(9, image_type("siemens", "FAT")), pixels(SHAPE), **break_it)
    image, = find_images(tmp_path / "dicom").images
    with pytest.raises(BedrestError, match=words):
        grid_of(image)
    dixon_visit(tmp_path / "dicom")
    assert run(tmp_path / "dicom", *into(tmp_path, "--set", "9=fat")) == 3
    assert words in capsys.readouterr().err
    assert len(list((tmp_path / "bids").rglob("*.nii.gz"))) == 3  # the others are there all the same


def test_a_stack_that_leans_is_refused(tmp_path):
    paths = write_series(tmp_path, Series(9, image_type("siemens", "FAT")), pixels(SHAPE))
    import pydicom

    for k, path in enumerate(sorted(paths, key=lambda p: p.name.split("-")[-1])):
        ds = pydicom.dcmread(path)
        ds.ImagePositionPatient = [ds.ImagePositionPatient[0], ds.ImagePositionPatient[1] + 0.5 * k,
                                   ds.ImagePositionPatient[2]]
        ds.save_as(path)
    with pytest.raises(BedrestError, match=r"a stack that leans by 2\.0 mm"):
        grid_of(find_images(tmp_path).images[0])


def test_pixels_that_cannot_be_decoded_say_so(tmp_path):
    from pydicom.uid import JPEGLSLossless

    for path in write_series(tmp_path, Series(9, image_type("siemens", "FAT")), pixels(SHAPE)):
        import pydicom

        ds = pydicom.dcmread(path)
        ds.file_meta.TransferSyntaxUID = JPEGLSLossless
        ds["PixelData"].VR = "OB"
        ds.PixelData = pydicom.encaps.encapsulate([b"\0" * 40])
        ds.save_as(path)
    with pytest.raises(BedrestError, match="decompress"):
        read_dicom(find_images(tmp_path).images[0])


def test_folders_that_are_no_visit(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "letter.txt").write_text("hello")
    (tmp_path / "empty" / "cut.dcm").write_bytes(b"\0" * 128 + b"DICM\x08\x00")
    (tmp_path / "empty" / "loop").symlink_to(tmp_path / "empty")
    assert run(tmp_path / "empty", *into(tmp_path)) == 1
    assert "expected MR images in DICOM" in capsys.readouterr().err
    dixon_visit(tmp_path / "two")
    write_series(tmp_path / "two", Series(9, ("ORIGINAL", "PRIMARY", "M")), pixels(SHAPE), study="1.2.4")
    assert run(tmp_path / "two", *into(tmp_path)) == 1
    assert "expected one examination, found 2" in capsys.readouterr().err
    assert run(tmp_path / "absent", *into(tmp_path)) == 1
    assert run(tmp_path / "two", "-o", tmp_path / "b", "--subject", "../x", "--session", "1") == 1
    assert "letters and digits" in capsys.readouterr().err
    assert not (tmp_path / "bids").exists() and not (tmp_path / "b").exists()


def test_what_is_there_is_not_written_over(tmp_path, capsys):
    dixon_visit(tmp_path / "dicom")
    assert run(tmp_path / "dicom", *into(tmp_path)) == 0
    before = {p: p.read_bytes() for p in (tmp_path / "bids").rglob("*") if p.is_file()}
    assert run(tmp_path / "dicom", *into(tmp_path)) == 1
    assert "4 already there" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in (tmp_path / "bids").rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("word", ["7", "7=marrow", "99=water"])
def test_a_choice_that_cannot_be_is_refused(tmp_path, capsys, word):
    dixon_visit(tmp_path / "dicom")
    assert run(tmp_path / "dicom", *into(tmp_path, "--set", word)) == 1
    assert "--set" in capsys.readouterr().err and not (tmp_path / "bids").exists()


def test_without_the_extra_it_says_how_to_install_it(tmp_path, monkeypatch):
    real = builtins.__import__

    def none(name, *rest):
        if name == "pydicom":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", none)
    with pytest.raises(StudyError, match=r"pip install pydicom==3\.0\.2.*bedrest\[dicom\]"):
        find_images(tmp_path)


def test_the_command_line_answers(tmp_path):
    """In a process of its own, as a user runs it."""
    dixon_visit(tmp_path / "dicom")
    done = subprocess.run([sys.executable, "-m", "bedrest", "import-dicom", "dicom", "-o", "bids", "--subject",
                           "01", "--session", "1"], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                          env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert "by Image Type" in done.stdout and "4 images" in done.stdout
