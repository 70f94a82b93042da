"""MetaImage, NRRD, segmentations of 3D Slicer, FreeSurfer volumes: the same voxels at the same places, or a message."""

from __future__ import annotations

import gzip
import re
import struct
import warnings
from pathlib import Path

import bedrest
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from bedrest.cli import main
from bedrest.errors import BedrestError, GeometryError, ImageError
from bedrest.io.images import limits
from bedrest.io.images.masks import placed_on, read_label_map
from bedrest.io.images.nifti import read_grid, read_scan, read_volume
from bedrest.types import Grid, LabelMap, Volume, same_grid
from bedrest.vocabulary import Contrast
from given_study import write_study
from scipy.spatial.transform import Rotation
from spine_masks import AFFINE, DISC_VOXELS, LEVELS, SHAPE, numbered, spine

TURNED = np.eye(4)
TURNED[:3, :3] = Rotation.from_euler("xyz", (10, -20, 5), degrees=True).as_matrix() @ np.diag([-1.5, 0.8, 2.0])
TURNED[:3, 3] = [12, -34, 56]


def nifti(path: Path, data: np.ndarray, affine: np.ndarray = TURNED) -> Path:
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def converted(source: Path, ending: str, *, compress: bool = True) -> Path:
    """The same image as other programs write it: ITK reads the NIfTI itself, in its own frame."""
    target = source.with_name(source.name.removesuffix(".nii.gz") + ending)
    if ending in (".mgz", ".mgh"):
        image = nib.load(source)
        nib.save(nib.MGHImage(np.asarray(image.dataobj).astype(np.int32), image.affine), target)
    else:
        sitk.WriteImage(sitk.ReadImage(str(source)), str(target), compress)
    return target


def nrrd(path: Path, data: np.ndarray, fields: dict[str, str], keys: dict[str, str] | None = None) -> Path:
    """A NRRD written by hand, first axis fastest."""
    head = {"type": "short", "dimension": "3", "space": "left-posterior-superior", "endian": "little",
            "sizes": " ".join(map(str, data.shape)), "space directions": "(2,0,0) (0,2,0) (0,0,2)",
            "kinds": "domain domain domain", "encoding": "gzip", "space origin": "(0,0,0)"} | fields
    lines = ["NRRD0005", *(f"{k}: {v}" for k, v in head.items() if v), *(f"{k}:={v}" for k, v in (keys or {}).items())]
    path.write_bytes("\n".join([*lines, "", ""]).encode() + gzip.compress(data.astype("<i2").tobytes(order="F")))
    return path


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".mgz", ".MHA"])
def test_the_same_voxels_lie_at_the_same_places(tmp_path: Path, rng, ending: str, compress: bool) -> None:
    data = rng.integers(0, 300, (5, 6, 7)).astype(np.int16)
    source = nifti(tmp_path / "i.nii.gz", data)
    path = converted(source, ending.lower(), compress=compress)
    path = path.rename(path.with_suffix(ending))
    ours, theirs = read_volume(path, where="s"), read_volume(source, where="s")
    assert same_grid(ours.grid, theirs.grid) and np.array_equal(ours.data, data)
    assert np.array_equal(read_label_map(path, where="s").data, data)
    assert same_grid(read_grid(path, where="s"), theirs.grid)
    scan = read_scan({Contrast.WATER: nifti(tmp_path / "w.nii.gz", data + 1), Contrast.FAT: path}, where="s")
    assert set(scan.contrasts) == {Contrast.WATER, Contrast.FAT}


def test_a_nrrd_may_have_its_world_to_the_right_and_front(tmp_path: Path, rng) -> None:
    data = rng.integers(0, 300, (4, 5, 6))
    path = nrrd(tmp_path / "i.nrrd", data, {"space": "right-anterior-superior", "space origin": "(1,2,3)",
                                            "space directions": "(0,0,3) (-2,0,0) (0,1,0)"})
    volume = read_volume(path, where="s")
    assert np.allclose(volume.grid.affine_ras_mm, [[0, -2, 0, 1], [0, 0, 1, 2], [3, 0, 0, 3], [0, 0, 0, 1]])
    assert np.array_equal(volume.data, data)


def test_a_real_mask_lies_where_its_header_says(real_data: Path) -> None:
    """100_t2.mha: axes to the left, back and head; its canal lies behind its discs."""
    path = real_data / "spider-disc-masks" / "100_t2.mha"
    if not path.is_file():
        pytest.skip(f"no {path}")
    mask = read_label_map(path, where="s")
    assert np.allclose(mask.grid.affine_ras_mm[:3, 3], [44.777, 122.578, -106.772], atol=1e-3)
    behind = [np.argwhere(mask.data == label) @ mask.grid.affine_ras_mm[1, :3] for label in (100, 203)]
    assert behind[0].mean() < behind[1].mean() - 20


@pytest.mark.parametrize(("code", "taken"), [(1, "sform"), (2, "qform"), (4, "qform")])
def test_itk_takes_another_form_than_nibabel(tmp_path: Path, code: int, taken: str) -> None:
    """What docs/importing_images.md says of SimpleITK 2.5.7, and that we do as nibabel does."""
    image = nib.Nifti1Image(np.arange(120, dtype=np.int16).reshape(4, 5, 6), AFFINE)
    moved = AFFINE.copy()
    moved[0, 3] += 0.5
    image.set_sform(AFFINE, code)
    image.set_qform(moved, 1)
    nib.save(image, tmp_path / "i.nii.gz")
    origin = sitk.ReadImage(str(tmp_path / "i.nii.gz")).GetOrigin()[0]
    assert -origin == pytest.approx({"sform": AFFINE, "qform": moved}[taken][0, 3])
    assert read_volume(tmp_path / "i.nii.gz", where="s").grid.affine_ras_mm[0, 3] == AFFINE[0, 3]
    image.set_qform(AFFINE @ np.diag([-1, 1, 1, 1.0]), 1)  # left and right exchanged in one of the two
    nib.save(image, tmp_path / "i.nii.gz")
    with pytest.raises(BedrestError, match="sform and qform that agree"):
        read_volume(tmp_path / "i.nii.gz", where="s")


def test_one_image_with_a_qform_and_one_with_a_sform_lie_in_one_place(tmp_path: Path, rng) -> None:
    paths = {}
    for contrast, codes in ((Contrast.WATER, (1, 0)), (Contrast.FAT, (0, 1))):
        image = nib.Nifti1Image(rng.integers(0, 300, (4, 5, 6)).astype(np.int16), TURNED)
        image.set_sform(TURNED if codes[0] else None, codes[0])
        image.set_qform(TURNED, codes[1])
        nib.save(image, tmp_path / f"{contrast}.nii.gz")
        paths[contrast] = tmp_path / f"{contrast}.nii.gz"
    assert set(read_scan(paths, where="s").contrasts) == set(paths)
    wrong = nib.load(paths[Contrast.FAT])
    wrong.set_qform(AFFINE, 1)
    wrong.set_sform(None, 0)
    nib.save(nib.Nifti1Image(np.asarray(wrong.dataobj), None, wrong.header), tmp_path / "wrong.nii.gz")
    with pytest.raises(BedrestError, match="grid"):
        read_scan({**paths, Contrast.FAT: tmp_path / "wrong.nii.gz"}, where="s")


# 3D Slicer.

def slicer(path: Path, names: dict[int, str], *, told: bool = True) -> Path:
    """A segmentation as Slicer writes it: the box around the segments, named, with the geometry it was drawn on."""
    mask = spine(numbered(1))
    low, high = (3, 12, 14), (23, 32, 120)
    data = mask.data[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    ras = AFFINE[:3, :3] @ low + AFFINE[:3, 3]
    extent = ";".join(f"0;{n - 1}" for n in SHAPE)
    keys = {f"Segment{i}_{key}": value for i, (label, name) in enumerate(names.items()) for key, value in (
        ("ID", f"Segment_{i}"), ("Name", name), ("LabelValue", str(label)), ("Layer", "0"))}
    if told:
        matrix = ";".join(str(v) for v in AFFINE.ravel())
        keys |= {"Segmentation_ReferenceImageExtentOffset": " ".join(map(str, low)),
                 "Segmentation_ConversionParameters": "Smoothing factor|0.5|x.&Reference image geometry|"
                 f"{matrix};{extent};|Image geometry description string.&"}
    return nrrd(path, data, {"space directions": "(-2,0,0) (0,-2,0) (0,0,2)",
                             "space origin": f"({-ras[0]},{-ras[1]},{ras[2]})"}, keys)


def test_segments_are_put_back_where_they_were_drawn(tmp_path: Path) -> None:
    path = slicer(tmp_path / "m.seg.nrrd", {1: "Segment_1"})
    mask, whole = read_label_map(path, where="m"), spine(numbered(1))
    assert same_grid(mask.grid, whole.grid) and np.array_equal(mask.data, whole.data)
    rows = bedrest.measure(path)
    assert dict(zip(rows["level"], rows["n_voxels"], strict=True)) == DISC_VOXELS
    assert not rows["reason"].str.contains("edge").any()
    image = nifti(tmp_path / "i.nii.gz", (100 + whole.data).astype(np.int16), AFFINE)
    assert bedrest.measure(path, image=image)["signal"].tolist() == [101.0 + i for i in range(7)]


@pytest.mark.parametrize("how", ["nothing is told", "drawn finer", "beyond the image"])
def test_segments_without_a_usable_reference_stay_in_their_box(tmp_path: Path, how: str) -> None:
    path = slicer(tmp_path / "m.seg.nrrd", {1: "a"}, told=how != "nothing is told")
    if how != "nothing is told":
        text = path.read_bytes()
        old, new = (b"geometry|2.0;", b"geometry|4.0;") if how == "drawn finer" else (b"Offset:=3 ", b"Offset:=9 ")
        assert old in text
        path.write_bytes(text.replace(old, new))
    mask = read_label_map(path, where="m")
    assert mask.grid.shape == (20, 20, 106) and same_grid(read_grid(path, where="m"), mask.grid)


def test_a_box_of_segments_is_compared_on_the_grid_of_the_other_mask(tmp_path: Path) -> None:
    path = slicer(tmp_path / "m.seg.nrrd", {1: "a"}, told=False)
    assert bedrest.evaluate(spine(numbered(1)), path)["dice"].tolist() == [1.0] * 7


def test_segments_are_known_by_name_whatever_their_numbers(tmp_path: Path) -> None:
    names = {label: f"disc {level}".replace("-", "/") for level, label in numbered(7, -1).items()}
    path = slicer(tmp_path / "m.seg.nrrd", names)  # numbered from the top, but named
    mask = read_label_map(path, where="m", by_name=True)
    assert {level: int((mask.data == i).sum()) for i, level in enumerate(LEVELS, 1)} == dict(
        zip(LEVELS, [*DISC_VOXELS.values()][::-1], strict=True))
    with warnings.catch_warnings(action="ignore"):
        by_value = bedrest.measure(path, levels="1=L5-S1").set_index("level")
        by_name = bedrest.measure(path).set_index("level")
    assert by_value.loc["L5-S1", "centre_z_mm"] < by_name.loc["L5-S1", "centre_z_mm"]
    assert by_name["reason"].str.contains("numbered from the top").all()  # names and places are both the user's


def test_two_segments_of_one_name_are_refused(tmp_path: Path) -> None:
    path = slicer(tmp_path / "m.seg.nrrd", {1: "L5-S1", 2: "L5/S1", 3: "Segment_3"})
    with pytest.raises(ImageError, match="'L5-S1', 'L5/S1'"):
        read_label_map(path, where="m", by_name=True)
    assert set(np.unique(read_label_map(path, where="m").data)) == set(range(8))


def test_other_segments_keep_apart_from_those_that_are_named(tmp_path: Path) -> None:
    path = slicer(tmp_path / "m.seg.nrrd", {1: "lesion", 2: "L5-S1", 3: "vertebra L4"})
    labels = set(np.unique(read_label_map(path, where="m", by_name=True).data))
    assert labels == {0, 1001, 1, 12, 1004, 1005, 1006, 1007}


def test_overlapping_segments_are_refused_with_the_remedy(tmp_path: Path) -> None:
    data = np.zeros((2, 6, 7, 8))
    path = nrrd(tmp_path / "m.seg.nrrd", data, {
        "dimension": "4", "kinds": "list domain domain domain", "space directions": "none (2,0,0) (0,2,0) (0,0,2)"},
        {"Segment0_ID": "a", "Segment0_Layer": "0", "Segment1_ID": "b", "Segment1_Layer": "1"})
    with pytest.raises(ImageError, match=r"2 layers of segments.*overwrite all"):
        read_label_map(path, where="m")
    one_layer = nrrd(tmp_path / "o.seg.nrrd", np.ones((1, 6, 7, 8)), {
        "dimension": "4", "kinds": "list domain domain domain", "space directions": "none (2,0,0) (0,2,0) (0,0,2)"})
    assert read_label_map(one_layer, where="m").data.shape == (6, 7, 8)


# Refused.

def mha(path: Path, *, drop: str = "", **fields: str) -> Path:
    head = {"ObjectType": "Image", "NDims": "3", "BinaryData": "True", "TransformMatrix": "1 0 0 0 1 0 0 0 1",
            "Offset": "0 0 0", "ElementSpacing": "1 1 1", "DimSize": "4 5 6", "ElementType": "MET_SHORT"} | fields
    head.setdefault("ElementDataFile", "LOCAL")
    lines = [f"{k} = {v}" for k, v in head.items() if k != drop]
    path.write_bytes("\n".join([*lines, ""]).encode() + np.arange(120, dtype="<i2").tobytes())
    return path


def packed(path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 300, (20, 20, 20)).astype(np.int16)
    return converted(nifti(path.with_name("i.nii.gz"), noise), ".mha")


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-40])
    return path


def freesurfer(path: Path, sizes: tuple[int, int, int, int], *, good: int = 1, version: int = 1) -> Path:
    path.write_bytes(gzip.compress(struct.pack(">7ih", version, *sizes, 3, 0, good) + bytes(2000)))
    return path


REFUSED = {
    "voxels in another file": (lambda d: mha(d / "i.mha", ElementDataFile="i.raw"), "in another file"),
    "detached nrrd": (lambda d: nrrd(d / "i.nrrd", np.ones((4, 5, 6)), {"data file": "i.raw"}), "in another file"),
    "no voxel sizes": (lambda d: mha(d / "i.mha", drop="ElementSpacing"), "ElementSpacing"),
    "zero voxel size": (lambda d: mha(d / "i.mha", ElementSpacing="1 0 1"), "expected an"),
    "too few bytes": (lambda d: mha(d / "i.mha", DimSize="4 5 7"), "ends early"),
    "too many voxels": (lambda d: mha(d / "i.mha", DimSize="70 80 90"), "at most 100,000 voxels"),
    "negative size": (lambda d: mha(d / "i.mha", DimSize="4 -5 6"), "one 3-D image"),
    "a slice": (lambda d: mha(d / "i.mha", NDims="2", DimSize="20 6"), "one 3-D image"),
    "a series": (lambda d: mha(d / "i.mha", NDims="4", DimSize="4 5 3 2"), "one 3-D image"),
    "colour": (lambda d: mha(d / "i.mha", ElementNumberOfChannels="3"), "3 numbers"),
    "as text": (lambda d: mha(d / "i.mha", BinaryData="False"), "as text"),
    "cut off when packed": (lambda d: cut(packed(d / "i.mha")), "ends early"),
    "cut off": (lambda d: cut(nrrd(d / "i.nrrd", np.arange(1200).reshape(40, 5, 6) ** 2 % 251, {})), "damaged"),
    "cut off unpacked": (lambda d: cut(converted(nifti(d / "i.nii.gz", np.ones((9, 9, 9), np.int16)), ".nrrd",
                                                 compress=False)), "damaged"),
    "not packed": (lambda d: mha(d / "i.mha", CompressedData="True"), "damaged"),
    "colour nrrd": (lambda d: nrrd(d / "i.nrrd", np.ones((3, 4, 5, 6)), {
        "dimension": "4", "kinds": "RGB-color domain domain domain",
        "space directions": "none (2,0,0) (0,2,0) (0,0,2)"}), "3 numbers"),
    "no place": (lambda d: nrrd(d / "i.nrrd", np.ones((4, 5, 6)), {"space": "", "space directions": ""}), "space none"),
    "micrometres": (lambda d: nrrd(d / "i.nrrd", np.ones((4, 5, 6)), {"space units": '"um" "um" "um"'}), "unit um"),
    "nrrd bomb": (lambda d: nrrd(d / "i.nrrd", np.ones((4, 5, 6)), {"sizes": "400 500 600"}), "at most 100,000"),
    "packed too well": (lambda d: nrrd(d / "i.nrrd", np.ones((1, 2, 2)), {"sizes": "90 90 12"}), "damaged"),
    "no nrrd": (lambda d: nifti(d / "x.nii.gz", np.ones((4, 5, 6))).rename(d / "i.nrrd"), "another format"),
    "empty": (lambda d: (d / "i.mha").touch() or d / "i.mha", "in another file"),
    "no file": (lambda d: d / "i.mha", "an image file"),
    "a folder": (lambda d: (d / "i.mgz").mkdir() or d / "i.mgz", "an image file"),
    "freesurfer bomb": (lambda d: freesurfer(d / "i.mgz", (900, 900, 900, 1)), "at most 100,000"),
    "freesurfer without a place": (lambda d: freesurfer(d / "i.mgz", (4, 5, 6, 1), good=0), "goodRASFlag 0"),
    "no freesurfer": (lambda d: freesurfer(d / "i.mgz", (4, 5, 6, 1), version=7), "another format"),
    "freesurfer series": (lambda d: freesurfer(d / "i.mgz", (4, 5, 6, 3)), "one 3-D image"),
    "other ending": (lambda d: mha(d / "i.mhd"), ".mha, .nrrd or .mgz"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_refused(tmp_path: Path, monkeypatch, capfd, kind: str) -> None:
    monkeypatch.setattr(limits, "MAX_VOXELS", 100_000)
    make, said = REFUSED[kind]
    path = make(tmp_path)
    for read in (read_volume, read_label_map, read_grid):
        with pytest.raises(BedrestError, match=re.escape(said)) as caught:
            read(path, where="sub-1")
        assert "sub-1" in caught.value.where and path.name in caught.value.where and caught.value.remedy
    assert capfd.readouterr().err == ""  # ITK's own words stay away


# Numbers.

def scaled(path: Path, data: np.ndarray, slope: float, offset: float = 0.0) -> Path:
    image = nib.Nifti1Image(data.astype(np.int16), AFFINE)
    image.header.set_slope_inter(slope, offset)
    nib.save(image, path)
    return path


def test_numbers_within_a_thousandth_are_those_numbers(tmp_path: Path) -> None:
    data = spine(numbered(1)).data
    near = nifti(tmp_path / "f.nii.gz", np.where(data > 0, data + 0.0009, 0).astype(np.float32), AFFINE)
    assert np.array_equal(read_label_map(near, where="m").data, data)
    far = nifti(tmp_path / "g.nii.gz", np.where(data > 0, data + 0.01, 0).astype(np.float32), AFFINE)
    with pytest.raises(ImageError, match="must not be interpolated"):
        read_label_map(far, where="m")


@pytest.mark.parametrize(("slope", "offset"), [(1.0005, 0.0), (0.5, 0.25)])
def test_a_scale_factor_is_named_and_the_remedy_works(tmp_path: Path, slope: float, offset: float) -> None:
    path = scaled(tmp_path / "m.nii.gz", spine(numbered(1)).data, slope, offset)
    with pytest.raises(ImageError, match=f"scale factor {slope:g}") as caught:
        read_label_map(path, where="m")
    recipe = re.search(r"Nifti1Image\(.*\)", caught.value.remedy)
    assert recipe is not None
    image = nib.load(path)
    saved = eval(recipe[0], {"np": np, "Nifti1Image": nib.Nifti1Image, "image": image})  # as a reader would type it
    nib.save(saved, path)
    assert read_label_map(path, where="m").data.max() == np.round(7 * slope + offset)


@pytest.mark.parametrize(("value", "said"), [(np.nan, "NaN or infinite"), (-1, "values from -1"), (3e9, "3e+09")])
def test_values_that_are_no_labels_are_named(tmp_path: Path, value: float, said: str) -> None:
    data = spine(numbered(1)).data.astype(np.float64)
    data[0, 0, 0] = value
    with pytest.raises(ImageError, match=re.escape(said)):
        read_label_map(nifti(tmp_path / "m.nii.gz", data, AFFINE), where="m")


# A study.

def test_a_study_takes_other_formats_and_numberings(tmp_path: Path, capsys) -> None:
    folder = write_study(tmp_path)
    rows = (folder / "scans.csv").read_text()
    for path in folder.glob("*.nii.gz"):
        if "mask" in path.name:
            image = nib.load(path)
            labels = np.asarray(image.dataobj).astype(np.int16)
            nifti(path, np.where(labels > 0, 125 - labels, 0).astype(np.int16), image.affine)  # as SPINEPS has it
        rows = rows.replace(path.name, converted(path, ".mha" if "mask" in path.name else ".nrrd").name)
    (folder / "scans.csv").write_text(rows)
    study = (folder / "study.toml").read_text()
    (folder / "study.toml").write_text(study.replace("[images]", '[images]\nlabels = "spineps"'))
    assert main(["check", str(folder / "study.toml")]) == 0, capsys.readouterr()
    (folder / "study.toml").write_text(study.replace("[images]", '[images]\nlabels = "bedrest"'))
    assert main(["check", str(folder / "study.toml")]) == 1
    shown = capsys.readouterr()
    assert (shown.out + shown.err).count("expected labels of bedrest") == 4
    (folder / "study.toml").write_text(study.replace("[images]", '[images]\nlabels = "spinebs"'))
    assert main(["check", str(folder / "study.toml")]) == 1
    shown = capsys.readouterr()
    assert "Did you mean 'spineps'?" in shown.out + shown.err


def _segments(names: tuple[str, ...], values: tuple[int, ...] | None) -> dict[str, str]:
    keys = {f"Segment{i}_Name": name for i, name in enumerate(names)} | {"Segment0_ID": "Segment_1"}
    return keys | ({} if values is None else {f"Segment{i}_LabelValue": str(v) for i, v in enumerate(values)})


def test_segments_without_numbers_of_their_own_are_refused(tmp_path: Path) -> None:
    """Without LabelValue every segment would be number 1, and the last name would stand for it."""
    path = nrrd(tmp_path / "i.seg.nrrd", np.arange(27).reshape(3, 3, 3) % 3, {}, _segments(("L5-S1", "L4-L5"), None))
    with pytest.raises(ImageError, match="one number for several of 2 segments"):
        read_label_map(path, where="s", by_name=True)
    assert read_label_map(path, where="s").data.max() == 2


def test_two_segments_of_one_vertebra_do_not_refuse_the_discs(tmp_path: Path) -> None:
    data = np.arange(64).reshape(4, 4, 4) % 4
    path = nrrd(tmp_path / "i.seg.nrrd", data, {}, _segments(("L4 body", "L4 arch", "L4/5"), (1, 2, 3)))
    assert set(np.unique(read_label_map(path, where="s", by_name=True).data)) == {0, 2, 1001, 1002}


@pytest.mark.parametrize(("fields", "found"), [({"encoding": "bzip2"}, "the encoding bzip2"),
                                               ({"data file": "i.raw"}, "voxels lie in another file")])
def test_nrrd_that_is_not_read_says_why(tmp_path: Path, fields: dict[str, str], found: str) -> None:
    path = nrrd(tmp_path / "i.nrrd", np.zeros((3, 3, 3)), fields)
    if "data file" in fields:  # a header alone ends without a blank line
        path.write_bytes(path.read_bytes().partition(b"\n\n")[0] + b"\n")
    with pytest.raises(ImageError, match=found):
        read_label_map(path, where="s")


@pytest.mark.parametrize(("stored", "highest"), [(np.uint8, 7), (np.int16, 207), (np.int16, 1007)])
def test_whole_numbers_that_a_scale_factor_rounds_are_read(tmp_path: Path, stored: type, highest: int) -> None:
    """nibabel saves floats under a header of whole numbers with a scale factor that makes 1 into 0.988."""
    labels = np.arange(512).reshape(8, 8, 8) % 8
    labels = np.where(labels > 0, labels + highest - 7, 0)
    image = nib.Nifti1Image(labels.astype(np.float64), TURNED)
    image.set_data_dtype(stored)
    nib.save(image, tmp_path / "m.nii.gz")
    assert np.abs(nib.load(tmp_path / "m.nii.gz").get_fdata() - labels).max() > 1e-3
    assert np.array_equal(read_label_map(tmp_path / "m.nii.gz", where="s").data, labels)


@pytest.mark.parametrize("values", [np.linspace(0, 7, 512), np.linspace(0, 1, 512)])
def test_a_scale_factor_excuses_no_interpolated_mask(tmp_path: Path, values: np.ndarray) -> None:
    image = nib.Nifti1Image(values.reshape(8, 8, 8), TURNED)
    image.set_data_dtype(np.uint8)
    nib.save(image, tmp_path / "m.nii.gz")
    with pytest.raises(ImageError, match="whole numbers"):
        read_label_map(tmp_path / "m.nii.gz", where="s")


def test_probabilities_are_told_to_be_cut_at_one_half(tmp_path: Path, rng) -> None:
    path = nifti(tmp_path / "p.nii.gz", rng.random((4, 5, 6)))
    with pytest.raises(ImageError, match=r"probabilities\. Write 1 where they exceed one half"):
        read_label_map(path, where="s")


def _same_voxels_elsewhere_in_memory(mask: LabelMap, how: str) -> LabelMap:
    data, affine = mask.data, mask.grid.affine_ras_mm
    if how == "flipped":
        data, turn = data[::-1], np.diag([-1.0, 1, 1, 1])
        turn[0, 3] = data.shape[0] - 1
    elif how == "permuted":
        data, turn = data.transpose(2, 0, 1), np.eye(4)[:, [2, 0, 1, 3]]
    else:
        low, high = np.argwhere(data).min(0), np.argwhere(data).max(0) + 1
        data, turn = data[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], np.eye(4)
        turn[:3, 3] = low
    return LabelMap(np.ascontiguousarray(data), Grid(data.shape, affine @ turn))


@pytest.mark.parametrize("how", ["flipped", "permuted", "cropped"])
def test_the_same_voxels_in_another_order_are_the_same_mask(how: str) -> None:
    mask = spine(numbered(1), affine=TURNED)
    other = _same_voxels_elsewhere_in_memory(mask, how)
    assert np.array_equal(placed_on(other, mask.grid).data, mask.data)
    assert (bedrest.evaluate(mask, other)["dice"] == 1).all()
    image = Volume(mask.data.astype(np.float32), mask.grid)
    assert bedrest.measure(other, image=image)["volume_mm3"].tolist() == bedrest.measure(mask)["volume_mm3"].tolist()


def test_a_mask_moved_by_whole_voxels_is_not_put_back() -> None:
    mask = spine(numbered(1))
    moved = AFFINE.copy()
    moved[:3, 3] += AFFINE[:3, 1]
    assert placed_on(LabelMap(mask.data, Grid(SHAPE, moved)), mask.grid).grid.affine_ras_mm is moved


@pytest.mark.parametrize("space", ["scanner-xyz", "3D-right-handed", "left-posterior-superior-time"])
def test_a_nrrd_that_does_not_say_where_left_and_head_are_is_refused(tmp_path: Path, rng, space: str) -> None:
    path = nrrd(tmp_path / "i.nrrd", rng.integers(0, 300, (4, 5, 6)), {
        "space": space, "space origin": "(1,2,3)", "space directions": "(2,0,0) (0,1,0) (0,0,3)"})
    with pytest.raises(GeometryError, match=f"found the space {space}"):
        read_volume(path, where="s")
