"""Images in and masks out: what is refused says what, where and the remedy; geometry survives the round trip."""

import gzip
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bedrest.errors import BedrestError, GeometryError, ImageError
from bedrest.findings import Finding, FindingCode
from bedrest.io.images.masks import label_table_path, read_label_map, write_label_map
from bedrest.io.images.nifti import read_scan, read_volume
from bedrest.types import Grid, LabelMap
from bedrest.vocabulary import LEVEL_OF_LABEL, Contrast

OBLIQUE = np.array([[-1.9, 0.3, 0.1, 40], [0.2, 1.2, -0.2, -60], [0.1, 0.15, 1.22, 900], [0, 0, 0, 1.0]])
PLAIN = np.diag([2.0, 1.25, 1.25, 1.0])
SHAPE = (6, 7, 8)


def save(path: Path, data, affine=PLAIN, *, s_code=1, q_code=1, q_affine=None) -> Path:
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine if s_code else None, s_code)
    image.set_qform(affine if q_affine is None else q_affine, q_code)
    nib.save(image, path)
    return path


def noise(rng, shape=SHAPE):
    return rng.integers(0, 300, shape).astype(np.int16)


def patch_header(path: Path, offset: int, content: bytes) -> Path:
    raw = bytearray(path.read_bytes())
    raw[offset : offset + len(content)] = content
    path.write_bytes(raw)
    return path


def truncated_gzip(folder, rng):
    path = save(folder / "i.nii.gz", noise(rng, (30, 30, 30)))
    path.write_bytes(path.read_bytes()[:9000])
    return path


def cut_off_in_the_header(folder, rng):
    (folder / "i.nii.gz").write_bytes(gzip.compress(b"\x5c\x01\x00\x00" + b"\0" * 100)[:40])
    return folder / "i.nii.gz"


def empty_file(folder, rng):
    (folder / "i.nii").write_bytes(b"")
    return folder / "i.nii"


def not_an_image(folder, rng):
    (folder / "i.nii.gz").write_text("this is a letter")
    return folder / "i.nii.gz"


def another_format(folder, rng):
    nib.save(nib.Nifti1Pair(noise(rng), PLAIN), folder / "i.img")
    return folder / "i.img"


def with_nan(folder, rng):
    data = noise(rng).astype(np.float32)
    data[0, 0, :3] = np.nan
    data[1, 1, 1] = np.inf
    return save(folder / "i.nii", data)


def rgb(folder, rng):
    return save(folder / "i.nii", np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")]))


def no_spacing(folder, rng):
    return patch_header(save(folder / "i.nii", noise(rng)), 84, struct.pack("<f", 0.0))


def nan_spacing(folder, rng):
    return patch_header(save(folder / "i.nii", noise(rng)), 84, struct.pack("<f", np.nan))


def in_metres(folder, rng):
    return patch_header(save(folder / "i.nii", noise(rng)), 123, bytes([1]))


def singular_affine(folder, rng):
    # srow_z becomes srow_y
    path = save(folder / "i.nii", noise(rng), q_code=0)
    return patch_header(path, 312, path.read_bytes()[296:312])


def negative_spacing(folder, rng):
    return patch_header(save(folder / "i.nii", noise(rng)), 84, struct.pack("<f", -1.25))


def other_spacing(folder, rng):
    """The affine says 2 mm, pixdim 2.2 mm: a volume would be wrong by 10 % in one of the two."""
    return patch_header(save(folder / "i.nii", noise(rng), q_code=0), 80, struct.pack("<f", 2.2))


def turned_header(folder, rng):
    flipped = PLAIN @ np.diag([-1.0, 1, 1, 1])
    flipped[0, 3] = 10
    return save(folder / "i.nii", noise(rng), q_affine=flipped)


def two_headers(folder, rng):
    moved = PLAIN.copy()
    moved[0, 3] = 12
    return save(folder / "i.nii", noise(rng), q_affine=moved)


BAD = [
    (lambda f, r: f / "absent.nii", ImageError, "no such file", "manifest"),
    (not_an_image, ImageError, "a NIfTI image", "Export"),
    (another_format, ImageError, "i.img", "Convert"),
    (truncated_gzip, ImageError, "ends early", "again"),
    (cut_off_in_the_header, ImageError, "a NIfTI image", "cut off"),
    (empty_file, ImageError, "Empty file", "again"),
    (lambda f, r: save(f / "i.nii", np.zeros((0, 4, 4), np.int16)), ImageError, "(0, 4, 4)", "one volume"),
    (lambda f, r: save(f / "i.nii", noise(r, (6, 7))), ImageError, "(6, 7)", "not a slice"),
    (lambda f, r: save(f / "i.nii", noise(r, (6, 7, 8, 2))), ImageError, "(6, 7, 8, 2)", "series"),
    (rgb, ImageError, "colour", "grey-scale"),
    (with_nan, ImageError, "4 voxels that are NaN or infinite", "set these voxels"),
    (lambda f, r: save(f / "i.nii", np.full(SHAPE, 7, np.int16)), ImageError, "everywhere (7)", "right file"),
    (no_spacing, GeometryError, "[2.0, 0.0, 1.25] mm", "Repair the header"),
    (nan_spacing, GeometryError, "nan", "Repair the header"),
    (in_metres, GeometryError, "the unit meter", "Convert"),
    (singular_affine, GeometryError, "singular", "Repair the header"),
    (negative_spacing, GeometryError, "[2.0, -1.25, 1.25] mm", "Repair the header"),
    (other_spacing, GeometryError, "2 x 1.25 x 1.25 mm in the affine, 2.2 x 1.25 x 1.25 mm in pixdim", "which one"),
    (two_headers, GeometryError, "corners up to 12.0 mm apart", "which one is right"),
    (turned_header, GeometryError, "corners up to 10.0 mm apart", "which one is right"),
]


@pytest.mark.parametrize(("make", "kind", "found", "remedy"), BAD, ids=[b[2] for b in BAD])
def test_bad_images_say_what_where_and_the_remedy(tmp_path, rng, capfd, make, kind, found, remedy):
    path = make(tmp_path, rng)
    with pytest.raises(BedrestError) as caught:
        read_volume(path, where="sub-01 ses-1 water")
    error = caught.value
    assert type(error) is kind
    assert found in error.actual or found in error.expected
    assert remedy in error.remedy
    assert error.where == f"sub-01 ses-1 water ({path})"
    assert capfd.readouterr().err == ""  # nibabel's own words about headers stay away


def test_a_good_image_is_read_in_its_own_frame(tmp_path, rng):
    data = noise(rng)
    volume = read_volume(save(tmp_path / "i.nii.gz", data[..., None], OBLIQUE, q_code=0), where="x")
    np.testing.assert_array_equal(volume.data, data)
    assert volume.data.dtype == np.float32
    np.testing.assert_allclose(volume.grid.affine_ras_mm, OBLIQUE, atol=1e-4)


def test_sform_goes_before_qform(tmp_path, rng):
    nudged = PLAIN.copy()
    nudged[2, 3] = 0.5
    volume = read_volume(save(tmp_path / "i.nii", noise(rng), q_affine=nudged), where="x")
    np.testing.assert_allclose(volume.grid.affine_ras_mm, PLAIN)


def test_what_a_header_leaves_open_is_noted_on_the_scan(tmp_path, rng):
    """Up to 1 mm between sform and qform is read as nibabel does, and said; above 0.1 mm it could show."""
    nudged, hardly = PLAIN.copy(), PLAIN.copy()
    nudged[2, 3], hardly[2, 3] = 0.5, 0.05
    paths = {Contrast.WATER: save(tmp_path / "w.nii", noise(rng), q_affine=nudged),
             Contrast.FAT: save(tmp_path / "f.nii", noise(rng), q_affine=hardly),
             Contrast.T2: save(tmp_path / "t.nii", noise(rng))}
    assert read_scan(paths, where="A 1").notes == (
        Finding(FindingCode.SFORM_AND_QFORM_DIFFER, {"contrast": "water", "distance_mm": 0.5}),)
    bare = save(tmp_path / "bare.nii", noise(rng), s_code=0, q_code=0)
    scan = read_scan({Contrast.T2: bare}, where="A 1")
    assert scan.notes == (Finding(FindingCode.AXES_ASSUMED, {"contrast": "t2"}),)
    assert nib.aff2axcodes(scan.grid.affine_ras_mm) == ("L", "A", "S")


def test_left_handed_and_flipped_affines_are_read_as_they_are(tmp_path, rng):
    left = np.array([[0, 0, -2, 5.0], [1.25, 0, 0, 1], [0, 1.25, 0, 2], [0, 0, 0, 1]])
    assert np.linalg.det(left[:3, :3]) < 0
    data = noise(rng)
    volume = read_volume(save(tmp_path / "i.nii", data, left), where="x")
    np.testing.assert_array_equal(volume.data, data)
    np.testing.assert_allclose(volume.grid.affine_ras_mm, left, atol=1e-5)
    assert volume.grid.voxel_volume_mm3 == pytest.approx(3.125)


def test_slope_and_intercept_are_applied(tmp_path, rng):
    data = noise(rng)
    path = save(tmp_path / "i.nii", data)
    patch_header(path, 112, struct.pack("<ff", 0.5, 10))
    np.testing.assert_allclose(read_volume(path, where="x").data, data * 0.5 + 10)


@pytest.mark.parametrize(("shift", "fits"), [(0.05, True), (3.0, False)])
def test_contrasts_must_share_one_grid(tmp_path, rng, shift, fits):
    moved = PLAIN.copy()
    moved[1, 3] = shift
    water, fat = save(tmp_path / "w.nii", noise(rng)), save(tmp_path / "f.nii", noise(rng), moved)
    paths = {Contrast.WATER: water, Contrast.FAT: fat}
    if fits:
        assert set(read_scan(paths, where="A 1").contrasts) == set(paths)
        return
    told = r"w\.nii and .*f\.nii on one grid, found corners up to 3\.0 mm apart"
    with pytest.raises(GeometryError, match=told) as caught:
        read_scan(paths, where="A 1")
    assert "A 1" in caught.value.where and caught.value.remedy


def test_contrasts_of_other_shape_and_no_contrast(tmp_path, rng):
    water, t2 = save(tmp_path / "w.nii", noise(rng)), save(tmp_path / "t.nii", noise(rng, (6, 7, 9)))
    paths = {Contrast.WATER: water, Contrast.T2: t2}
    with pytest.raises(GeometryError, match=r"shapes \(6, 7, 8\) and \(6, 7, 9\)"):
        read_scan(paths, where="A 1")
    with pytest.raises(ImageError, match="at least one contrast, found none"):
        read_scan({}, where="A 1")


def test_masks_hold_whole_numbers(tmp_path, rng):
    labels = rng.integers(0, 8, SHAPE)
    whole = read_label_map(save(tmp_path / "m.nii", labels.astype(np.float32)), where="A")
    np.testing.assert_array_equal(whole.data, labels)
    half = labels.astype(np.float32)
    half[0, 0, 0] = 1.5
    half[0, 0, 1] = -1
    with pytest.raises(ImageError, match=r"whole numbers from 0 up, found 2 voxels.*nearest neighbour"):
        read_label_map(save(tmp_path / "m.nii", half), where="A")


# A qform cannot hold shear, so a sheared scan has none.
@pytest.mark.parametrize(("affine", "codes"), [(PLAIN, (1, 1)), (PLAIN, (2, 0)), (PLAIN, (0, 1)), (PLAIN, (0, 0)),
                                               (OBLIQUE, (1, 0)), (OBLIQUE, (2, 0))])
@pytest.mark.parametrize("highest", [7, 300])
def test_masks_lie_where_their_scan_lies(tmp_path, rng, affine, codes, highest):
    bare = save(tmp_path / "bare.nii", noise(rng), affine, s_code=codes[0], q_code=codes[1])
    image, like = nib.load(bare), tmp_path / "scan.nii"
    image.header["descrip"] = b"Jane Doe 1980"
    image.header["aux_file"] = b"secret"
    image.header["db_name"] = b"Jane"
    nib.save(image, like)
    grid = read_volume(like, where="x").grid
    labels = rng.integers(0, 8, SHAPE).astype(np.int32)
    labels[0, 0, 0] = highest
    names = {**LEVEL_OF_LABEL, 101: "unnamed-1"}
    target = tmp_path / "out" / "m.nii.gz"
    write_label_map(LabelMap(labels, grid), target, names=names, like=like)
    back = read_label_map(target, where="x")
    np.testing.assert_array_equal(back.data, labels)
    assert back.grid.max_corner_distance_mm(grid) < 1e-3
    written = nib.load(target)
    assert written.get_data_dtype() == (np.uint8 if highest < 256 else np.uint16)
    assert int(written.header["sform_code"]) + int(written.header["qform_code"]) > 0
    if codes[0]:
        assert int(written.header["sform_code"]) == codes[0]
    assert b"Jane" not in gzip.decompress(target.read_bytes())
    for name in ("descrip", "aux_file", "db_name", "intent_name"):
        assert not written.header[name].item().strip(b"\0")
    lines = label_table_path(target).read_text().splitlines()
    assert label_table_path(target).name == "m.tsv"
    assert lines[:2] == ["index\tname\tcolor", "1\tL5-S1\t#D55E00"]
    assert lines[-1] == "101\tunnamed-1\t#6B7280"


def test_masks_have_nifti_names(tmp_path):
    mask = LabelMap(np.zeros(SHAPE, np.int32), Grid(SHAPE, PLAIN))
    with pytest.raises(ImageError, match=r"ending in \.nii"):
        write_label_map(mask, tmp_path / "mask.png", names={})


@pytest.mark.parametrize("name", ["lumbar-t2-ivd-fmrp", "lumbar-dixon-water-tum", "abdomen-mr-totalsegmentator"])
def test_real_images_are_readable(real_data, name):
    folder = real_data / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    paths = sorted(p for p in folder.glob("*.nii.gz") if p.stem.endswith(("t2.nii", "water.nii", "mr_sm.nii")))
    assert min(read_volume(paths[0], where=name).grid.shape) >= 2
