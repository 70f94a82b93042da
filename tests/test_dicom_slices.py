"""Slices that are missing or far apart, files that are read or named, examinations under several identifiers."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from bedrest.cli import main
from bedrest.io.dicom import header
from bedrest.io.dicom.reader import find_images
from dicom_files import Series, change, items, pixels, write_enhanced, write_series

pytest.importorskip("pydicom", reason="pydicom is not installed: pip install 'bedrest[dicom]'")

SHAPE = (7, 6, 12)  # columns, rows, slices
WORDS = {"rec-water": ("DERIVED", "PRIMARY", "W"), "rec-fat": ("DERIVED", "PRIMARY", "F"),
         "echo-2": ("DERIVED", "PRIMARY", "IP"), "echo-1": ("DERIVED", "PRIMARY", "OP")}
WATER = WORDS["rec-water"]


def imported(folder: Path, *more: str) -> tuple[int, list[str]]:
    bids = folder.parent / f"bids{len(list(folder.parent.glob('bids*')))}"
    status = main(["import-dicom", str(folder), "-o", str(bids), "--subject", "1", "--session", "1", *more])
    return status, sorted(p.name.split("_")[2] for p in bids.rglob("*.nii.gz"))


def place(path: Path) -> int:
    return int(path.stem.split("-")[-1])


def numbered(ds, k: int) -> None:
    ds.InstanceNumber = k + 1


def unnumbered(ds, k: int) -> None:
    del ds.InstanceNumber


# Slices.

@pytest.mark.parametrize(("values", "words"), [
    ({"SliceThickness": 3.6, "SpacingBetweenSlices": 4.0}, "lie 8.00 mm apart, Spacing Between Slices is 4 mm"),
    ({"SliceThickness": 4.0}, "lie 8.00 mm apart and are 4 mm thick"),
    ({"SpacingBetweenSlices": 4.0}, "Spacing Between Slices is 4 mm"),
    ({"SliceThickness": 4.0, "SpacingBetweenSlices": 4.0}, "slices are missing"),  # no gap between them
    ({}, "6 slices lie 8.0 mm apart"),
])
def test_every_second_slice_lost(tmp_path, capsys, values, words):
    """Even slices, twice as far apart as headers say: not taken, also with --set, until it is accepted."""
    def each(ds, k: int) -> None:
        unnumbered(ds, k)
        for name, value in values.items():
            setattr(ds, name, value)

    write_series(tmp_path / "d", Series(8, WATER), pixels(SHAPE), each=each, skip=tuple(range(1, 12, 2)))
    for more in ((), ("--set", "8=water")):
        assert imported(tmp_path / "d", *more) == (1, [])
        listed = capsys.readouterr().out
        assert words in listed and "import it as it is: --accept 8" in listed
    assert imported(tmp_path / "d", "--accept", "8") == (0, ["rec-water"])
    assert "accepted although" in capsys.readouterr().out


@pytest.mark.parametrize(("values", "step"), [
    ({"SliceThickness": 5.0, "SpacingBetweenSlices": 6.0}, 6.0),
    ({"SliceThickness": 4.0, "SpacingBetweenSlices": 2.0}, 2.0),
    ({"SliceThickness": 4.0, "SpacingBetweenSlices": 0.4}, 4.4), ({"SliceThickness": 3.0}, 4.5), ({}, 4.0),
    ({"SliceThickness": 4.0, "SpacingBetweenSlices": 4.4}, 4.4), ({"SpacingBetweenSlices": -4.0}, 4.0)])
def test_gaps_overlaps_and_their_spellings_are_no_doubt(tmp_path, values, step):
    """A gap of a fifth, interpolated slices, the gap alone as Spacing Between Slices, a gap of half a slice."""
    write_series(tmp_path / "d", Series(8, WATER, more=values), pixels(SHAPE), step_mm=step)
    assert imported(tmp_path / "d") == (0, ["rec-water"])


@pytest.mark.parametrize(("lost", "words"), [
    ((0,), "Instance Numbers begin at 2"), ((0, 1, 2), "Instance Numbers begin at 4"),
    (tuple(range(1, 12, 2)), "Instance Numbers jump from 1 to 3"), (tuple(range(0, 12, 2)), "jump from 2 to 4")])
def test_instance_numbers_show_what_is_lost(tmp_path, capsys, lost, words):
    write_series(tmp_path / "d", Series(8, WATER), pixels(SHAPE), skip=lost, step_mm=3.0, each=numbered)
    assert imported(tmp_path / "d") == (1, [])
    assert words in capsys.readouterr().out
    assert imported(tmp_path / "d", "--accept", "8") == (0, ["rec-water"])


def test_numbers_of_interleaved_images_skip_each_other(tmp_path, capsys):
    """Two echoes numbered 1, 3, 5 ... and 2, 4, 6 ...; then one in two of both is lost."""
    for n, echo in enumerate((2.38, 4.76)):
        write_series(tmp_path / "d", Series(5, ("ORIGINAL", "PRIMARY", "M"), echo_ms=echo), pixels(SHAPE, n),
                     start=100 * n, step_mm=3.0, each=lambda ds, k, n=n: setattr(ds, "InstanceNumber", 2 * k + n + 1))
    assert imported(tmp_path / "d") == (0, ["echo-1", "echo-2"])
    for path in (tmp_path / "d").iterdir():
        if place(path) % 2:
            path.unlink()
    assert imported(tmp_path / "d") == (1, [])
    assert "jump from 1 to 5" in capsys.readouterr().out


def test_one_series_may_be_numbered_after_another(tmp_path):
    for n, ending in enumerate(("rec-water", "rec-fat")):
        write_series(tmp_path / "d", Series(8 + n, WORDS[ending]), pixels(SHAPE, n),
                     each=lambda ds, k, n=n: setattr(ds, "InstanceNumber", 12 * n + k + 1))
    assert imported(tmp_path / "d") == (0, ["rec-fat", "rec-water"])


def test_numbers_may_run_through_the_whole_study(tmp_path, capsys):
    """Some archives number on from one series to the next, whatever its sequence; without that one, a doubt."""
    for n, series in enumerate((Series(7, ("ORIGINAL", "PRIMARY", "M"), echo_ms=95, repetition_ms=4000, sequence="SE"),
                                Series(8, WATER))):
        files = write_series(tmp_path / "d", series, pixels(SHAPE, n),
                             each=lambda ds, k, n=n: setattr(ds, "InstanceNumber", 12 * n + k + 1))
    assert imported(tmp_path / "d")[0] == 0
    for path in {*(tmp_path / "d").iterdir()} - {*files}:
        path.unlink()
    assert imported(tmp_path / "d")[0] == 1 and "Instance Numbers begin at 13" in capsys.readouterr().out


@pytest.mark.parametrize("lost", [(11,), (0,), (0, 11), tuple(range(0, 12, 2))])
def test_images_of_one_acquisition_have_the_same_slices(tmp_path, capsys, lost):
    """The last slice of the fat image is lost: nothing in its own headers shows it, the others do."""
    for number, (ending, words) in enumerate(WORDS.items(), 1):
        write_series(tmp_path / "d", Series(number, words), pixels(SHAPE), skip=lost if ending == "rec-fat" else (),
                     step_mm=3.0, each=unnumbered)
    assert imported(tmp_path / "d") == (3, ["echo-1", "echo-2", "rec-water"])
    assert f"{len(lost)} slice{'s are' if len(lost) > 1 else ' is'} missing that image 1 has" in capsys.readouterr().out
    assert imported(tmp_path / "d", "--accept", "2") == (0, sorted(WORDS))


def test_another_sequence_may_have_other_slices(tmp_path):
    write_series(tmp_path / "d", Series(1, WATER), pixels((7, 6, 14)))
    write_series(tmp_path / "d", Series(2, ("ORIGINAL", "PRIMARY", "M"), echo_ms=95, repetition_ms=4000, sequence="SE"),
                 pixels(SHAPE))
    assert imported(tmp_path / "d")[0] == 0


@pytest.mark.parametrize(("n", "step"), [(3, 4.0), (2, 40.0), (5, 15.0)])
def test_few_slices_far_apart_are_asked_for(tmp_path, capsys, n, step):
    write_series(tmp_path / "d", Series(1, WATER), pixels((7, 6, n)), step_mm=step)
    assert imported(tmp_path / "d") == (1, []) and "slices may be missing" in capsys.readouterr().out
    assert imported(tmp_path / "d", "--accept", "1") == (0, ["rec-water"])


@pytest.mark.parametrize("lost", [(5,), (3, 4), (1, 2, 4, 5, 7, 8)])
def test_slices_missing_in_the_middle_are_refused(tmp_path, capsys, lost):
    write_series(tmp_path / "d", Series(1, WATER), pixels(SHAPE), skip=lost)
    for more in ((), ("--accept", "1")):
        assert imported(tmp_path / "d", *more) == (1, [])
        assert "A slice is missing or belongs elsewhere" in capsys.readouterr().err


def test_slices_lost_within_a_multi_frame_object_are_noticed(tmp_path, capsys):
    def each(group, n: int, k: int) -> None:
        group.FrameContentSequence = items(InStackPositionNumber=2 * k + 1, StackID="1")

    write_enhanced(tmp_path / "d", 4, [(WATER, 2.3, pixels(SHAPE))], each=each, step_mm=6.0)
    assert imported(tmp_path / "d") == (1, []) and "jump from 1 to 3" in capsys.readouterr().out


def test_several_frames_without_positions_are_no_slice(tmp_path, capsys):
    """A multi-frame object of another kind holds more than its first frame."""
    path, = write_series(tmp_path / "d", Series(1, WATER), pixels((7, 6, 1)))
    change([path], lambda ds: setattr(ds, "NumberOfFrames", 4))
    assert imported(tmp_path / "d") == (1, [])
    assert "4 MR images that do not say where they lie" in capsys.readouterr().err


def test_only_listed_images_can_be_accepted(tmp_path, capsys):
    write_series(tmp_path / "d", Series(1, WATER), pixels(SHAPE))
    assert imported(tmp_path / "d", "--accept", "7")[0] == 1
    assert "Run without --accept to see the list" in capsys.readouterr().err


# Files.

def rewritten(paths: list[Path], how) -> None:
    for path in paths:
        path.write_bytes(how(path.read_bytes()))


def bare(paths: list[Path], implicit: bool) -> None:
    """Without preamble and file meta information, as ACR-NEMA and old research exports."""
    import pydicom

    for path in paths:
        ds = pydicom.dcmread(path)
        with path.open("wb") as file:
            pydicom.dcmwrite(file, pydicom.Dataset({e.tag: e for e in ds}), implicit_vr=implicit, little_endian=True)


@pytest.mark.parametrize("how", ["gzip", "no preamble", "no meta, explicit", "no meta, implicit", "gzip, no preamble",
                                 "no modality"])
def test_files_are_read_however_they_begin(tmp_path, how):
    paths = write_series(tmp_path / "d", Series(1, WATER), pixels(SHAPE))
    if "no meta" in how:
        bare(paths, "implicit" in how)
    if "no preamble" in how:
        rewritten(paths, lambda b: b[132:])
    if "gzip" in how:
        rewritten(paths, gzip.compress)
    if how == "no modality":
        change(paths, lambda ds: delattr(ds, "Modality"))
    assert imported(tmp_path / "d") == (0, ["rec-water"])


def test_gzipped_files_are_unpacked_up_to_a_limit(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(header, "MAX_UNPACKED_BYTES", 2000)
    paths = write_series(tmp_path / "d", Series(1, WATER), pixels((40, 40, 5)))
    rewritten(paths, gzip.compress)
    rewritten(paths[3:4], lambda b: b[:100])
    (tmp_path / "d" / "zeros.gz").write_bytes(gzip.compress(bytes(1_000_000)))
    assert imported(tmp_path / "d") == (1, [])
    message = capsys.readouterr().err
    assert "4 gzipped files of more than 2,000 bytes" in message and "1 damaged gzip files" in message
    assert "1 files that are no DICOM" in message


@pytest.mark.parametrize(("make", "words", "remedy"), [
    (lambda d: shutil.make_archive(str(d / "exam"), "zip", d), "1 archives", "Unpack the archives first"),
    (lambda d: (d / "a").write_bytes(b""), "1 empty files", "Correct the path"),
    (lambda d: write_series(d, Series(1, WATER, more={"Modality": "CT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}),
                            pixels(SHAPE)), "12 DICOM objects of modality CT", "Correct the path"),
    (lambda d: change(write_series(d, Series(1, WATER), pixels(SHAPE)), lambda ds: delattr(ds, "ImagePositionPatient")),
     "12 MR images that do not say where they lie", "Export the images as the scanner made them"),
    (lambda d: None, "found no file", "Correct the path"),
])
def test_what_is_no_image_is_named(tmp_path, capsys, make, words, remedy):
    (tmp_path / "d").mkdir()
    make(tmp_path / "d")
    assert imported(tmp_path / "d") == (1, [])
    message = capsys.readouterr().err
    assert words in message and remedy in message


def test_a_dicomdir_alone_says_that_the_images_are_elsewhere(tmp_path, capsys):
    import pydicom

    (tmp_path / "d").mkdir()
    shutil.copy(Path(pydicom.__file__).parent / "data/test_files/dicomdirtests/DICOMDIR", tmp_path / "d")
    assert imported(tmp_path / "d") == (1, [])
    assert "Copy the folders that lie beside the DICOMDIR as well" in capsys.readouterr().err
    write_series(tmp_path / "d" / "IMAGES", Series(1, WATER), pixels(SHAPE))
    assert imported(tmp_path / "d") == (0, ["rec-water"])


def test_a_file_for_a_folder(tmp_path, capsys):
    path = write_enhanced(tmp_path / "d", 4, [(WATER, 2.3, pixels(SHAPE))])
    assert imported(path) == (1, []) and "Give the folder it lies in" in capsys.readouterr().err
    assert imported(path.parent) == (0, ["rec-water"])


def test_files_cut_off_are_named_as_such(tmp_path, capsys):
    paths = write_series(tmp_path / "d", Series(1, WATER), pixels(SHAPE))
    rewritten(paths[4:5], lambda b: b[:-20])
    assert imported(tmp_path / "d") == (1, [])
    assert "Copy or export the file again" in capsys.readouterr().err


# Examinations.

def four_studies(folder: Path, **each_more) -> None:
    for n, words in enumerate(WORDS.values()):
        more = {name: values[n] for name, values in each_more.items()}
        write_series(folder, Series(n + 1, words, more=more), pixels(SHAPE, n), study=f"1.2.9.{n}")


@pytest.mark.parametrize(("more", "words"), [
    ({}, "4 Study Instance UIDs with one Patient ID, one day"),
    ({"FrameOfReferenceUID": ["1.2.5"] * 4}, "one day, one frame of reference"),
    ({"PatientID": [""] * 4, "StudyDate": [""] * 4}, "found 4 Study Instance UIDs."),
])
def test_an_examination_split_by_an_anonymiser_is_imported_on_request(tmp_path, capsys, more, words):
    four_studies(tmp_path / "d", **more)
    assert imported(tmp_path / "d") == (1, [])
    message = capsys.readouterr().err
    assert words in message.replace(f"{tmp_path}", "") and "add --one-examination" in message
    assert imported(tmp_path / "d", "--one-examination") == (0, sorted(WORDS))


@pytest.mark.parametrize("name", ["PatientID", "StudyDate"])
@pytest.mark.parametrize("studies", [1, 4])
def test_subjects_and_days_are_not_mixed(tmp_path, capsys, name, studies):
    """Also where an anonymiser gave all the same Study Instance UID; unless they share a frame of reference."""
    values = ["20260101", "20260101", "20260301", "20260301"]
    four_studies(tmp_path / "d", **{name: values})
    if studies == 1:
        change(sorted((tmp_path / "d").iterdir()), lambda ds: setattr(ds, "StudyInstanceUID", "1.2.9"))
    for more in ((), ("--one-examination",)):
        assert imported(tmp_path / "d", *more) == (1, [])
        message = capsys.readouterr().err
        assert "expected one examination, found images of 2" in message and "folder of its own" in message
    change(sorted((tmp_path / "d").iterdir()), lambda ds: setattr(ds, "FrameOfReferenceUID", "1.2.5"))
    assert imported(tmp_path / "d") == (1, []) and "--one-examination" in capsys.readouterr().err
    assert imported(tmp_path / "d", "--one-examination") == (0, sorted(WORDS))


def test_nothing_that_serves_comparison_is_shown(tmp_path, capsys):
    four_studies(tmp_path / "d", PatientID=["SECRET1", "SECRET2", "SECRET1", "SECRET1"])
    imported(tmp_path / "d")
    assert "SECRET" not in "".join(capsys.readouterr())


def test_slices_are_in_the_order_of_their_places(tmp_path):
    write_series(tmp_path / "d", Series(1, WATER), pixels(SHAPE), each=numbered)
    image, = find_images(tmp_path / "d").images
    assert sorted(f.number for f in image.frames) == list(range(1, 13))
    assert np.ptp([f.position_mm[0] for f in image.frames]) == 44.0
