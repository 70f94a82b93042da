"""Broken images and masks, made and never stored. Each maker writes into a folder and returns what a user would do."""

import gzip
import os
import shutil
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from bedrest.errors import BedrestError
from bedrest.io.images.masks import read_label_map, write_label_map, write_volume
from bedrest.io.images.nifti import read_scan, read_volume
from bedrest.types import LabelMap, Volume
from bedrest.vocabulary import Contrast

Act = Callable[[], object]
Rng = np.random.Generator

HEADER = nib.Nifti1Header.template_dtype
EXTREMES = {"i": (0, -1, 1, 2, 3, 7, 8, 255, -128, 127, 4096, 32767, -32768, 2**31 - 1, -(2**31), 2**63 - 1),
            "f": (0.0, -0.0, -1.0, 1e-30, 1e30, 3.4e38, 351.5, 1e12, float("nan"), float("inf"), float("-inf"))}
# Limits of `bedrest.io.images.limits` in a worker: files beyond them can be small.
LOWERED = {"MAX_VOXELS": 20_000, "MAX_BYTES": 80_000, "MAX_VOXEL_OFFSET": 2_000}
DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "c8", "c16")


def nifti(rng: Rng, *, shape=None, dtype="i2", second=False, order="<") -> bytes:
    """Bytes of a small NIfTI file that is in order."""
    shape = tuple(int(n) for n in rng.integers(3, 9, 3)) if shape is None else shape
    kind = nib.Nifti2Image if second else nib.Nifti1Image
    values = rng.integers(0, 8, shape)
    affine = np.diag([*rng.uniform(0.5, 4, 3), 1.0])
    header = kind.header_class(endianness=order)
    image = kind(values.astype(np.dtype(order + dtype)), affine, header)
    image.set_data_dtype(np.dtype(dtype))
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    image.header.set_xyzt_units("mm")
    return image.to_bytes()


def _check_volume(volume: Volume) -> None:
    assert volume.data.dtype == np.float32 and volume.data.ndim == 3, (volume.data.dtype, volume.data.shape)
    assert np.isfinite(volume.data).all() and volume.data.min() < volume.data.max()
    _check_affine(volume.grid.affine_ras_mm)
    assert volume.grid.shape == volume.data.shape


def _check_affine(affine: np.ndarray) -> None:
    assert affine.dtype == np.float64 and np.isfinite(affine).all()
    assert abs(np.linalg.det(affine[:3, :3])) > 1e-7, affine


def use(path: Path, out: Path, rng: Rng) -> Act:
    """Read a file as image, mask or part of a scan; what is read is written again with its header codes and read."""
    how = rng.integers(4)

    def act() -> object:
        if how == 0:
            return read_volume(path, where="case")
        if how == 1:
            mask = read_label_map(path, where="case")
            assert mask.data.dtype == np.int32 and (mask.data >= 0).all()
            _check_affine(mask.grid.affine_ras_mm)
            write_label_map(mask, out / "mask.nii.gz", names={1: "L5-S1"}, like=path)
            again: Volume | LabelMap = read_label_map(out / "mask.nii.gz", where="again")
            assert (again.data == mask.data).all()
            first = mask.grid
        elif how == 2:
            volume = read_volume(path, where="case")
            _check_volume(volume)
            write_volume(volume, out / "p.nii.gz", like=path)
            again, first = read_volume(out / "p.nii.gz", where="again"), volume.grid
        else:
            scan = read_scan({Contrast.WATER: path, Contrast.FAT: path}, where="case")
            _check_volume(scan.contrasts[Contrast.FAT])
            return scan
        apart = again.grid.max_corner_distance_mm(first)
        size = np.abs(first.affine_ras_mm).max()
        assert apart <= max(0.1, 1e-4 * size), f"written {apart} mm off"
        return again
    return act


def header_field(folder: Path, rng: Rng) -> Path:
    """One to three header fields set to extreme or random values."""
    raw = bytearray(nifti(rng, second=False, order=rng.choice(["<", ">"])))
    for _ in range(rng.integers(1, 4)):
        name = str(rng.choice(HEADER.names))
        dtype, offset = HEADER.fields[name][:2]
        item = dtype.base
        at = offset + item.itemsize * int(rng.integers(max(1, dtype.itemsize // item.itemsize)))
        if item.kind in "if" and rng.random() < 0.8:
            value = rng.choice(np.array(EXTREMES[item.kind], dtype=object))
            with np.errstate(over="ignore"):
                content = np.array(value, "f8" if item.kind == "f" else "i8").astype(item.newbyteorder("<")).tobytes()
        else:
            content = rng.bytes(item.itemsize)
        raw[at : at + len(content)] = content
    return _put(folder, bytes(raw), rng)


def dimensions(folder: Path, rng: Rng) -> Path:
    """Negative, zero and huge dimensions, also when they do not overflow one by one."""
    raw = bytearray(nifti(rng))
    n = int(rng.choice([0, 1, 2, 3, 4, 5, 7, 8, -3, 32767]))
    struct.pack_into("<8h", raw, 40, n, *(int(v) for v in rng.choice([1, 2, 6, 0, -1, -7, 1024, 30000, 32767], 7)))
    return _put(folder, bytes(raw), rng)


def huge_nifti2(folder: Path, rng: Rng) -> Path:
    """NIfTI-2 has 64-bit dimensions: their product overflows."""
    raw = bytearray(nifti(rng, second=True))
    three = (int(v) for v in rng.choice([2**16, 2**31, 2**32, 2**62, 5, -4], 3))
    struct.pack_into("<8q", raw, 16, 3, *three, 1, 1, 1, 1)
    return _put(folder, bytes(raw), rng)


def nifti2_field(folder: Path, rng: Rng) -> Path:
    raw = bytearray(nifti(rng, second=True))
    at = int(rng.integers(0, 540))
    raw[at : at + 8] = rng.bytes(8) if rng.random() < 0.5 else struct.pack("<d", rng.choice(EXTREMES["f"]))
    return _put(folder, bytes(raw[:max(len(raw), 540)]), rng)


def spacing(folder: Path, rng: Rng) -> Path:
    """Voxel sizes and affines of 0, NaN, infinity or absurd size."""
    raw = bytearray(nifti(rng))
    for at in rng.choice([80, 84, 88, 256, 268, 280, 292, 312, 324], rng.integers(1, 4)):
        struct.pack_into("<f", raw, int(at), float(rng.choice(EXTREMES["f"][:6] + EXTREMES["f"][8:])))
    struct.pack_into("<2h", raw, 252, int(rng.choice([0, 1, 2, -5])), int(rng.choice([0, 1, 4, 99])))
    return _put(folder, bytes(raw), rng)


def flipped(folder: Path, rng: Rng) -> Path:
    raw = bytearray(nifti(rng))
    for at in rng.integers(0, len(raw), rng.integers(1, 12)):
        raw[at] = int(rng.integers(256))
    return _put(folder, bytes(raw), rng)


def truncated(folder: Path, rng: Rng) -> Path:
    raw = nifti(rng)
    return _put(folder, raw[: int(rng.integers(0, len(raw)))], rng, packed=False)


def truncated_gzip(folder: Path, rng: Rng) -> Path:
    raw = gzip.compress(nifti(rng))
    path = folder / "i.nii.gz"
    path.write_bytes(raw[: int(rng.integers(0, len(raw)))])
    return path


def broken_gzip(folder: Path, rng: Rng) -> Path:
    raw = bytearray(gzip.compress(nifti(rng)))
    how = rng.integers(4)
    if how == 0:
        for at in rng.integers(0, len(raw), 3):
            raw[at] ^= int(rng.integers(1, 256))
    elif how == 1:
        raw += rng.bytes(50)
    elif how == 2:
        raw = bytearray(gzip.compress(bytes(raw)))  # packed twice
    else:
        raw = bytearray(rng.bytes(3)) + raw[3:]
    path = folder / str(rng.choice(["i.nii.gz", "i.nii"]))
    path.write_bytes(raw)
    return path


def over_limits(folder: Path, rng: Rng) -> Path:
    """More than may be read, all of it there: voxels, bytes, or what lies before the voxels. 130 kB at most."""
    how, before = int(rng.integers(4)), 352
    raw = bytearray(nifti(rng)[:352])
    shape = (40, 40, 20) if how == 0 else (25, 25, 20)
    struct.pack_into("<8h", raw, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<2h", raw, 70, *((64, 64) if how == 1 else (4, 16)))  # double, or int16
    if how >= 2:
        before = LOWERED["MAX_VOXEL_OFFSET"] + 16 * int(rng.integers(1, 40))
        struct.pack_into("<f", raw, 108, before)
    if how == 3:
        raw[348] = 1
        raw += struct.pack("<2i", before - 352, 6)
    raw += bytes(before - len(raw) + 8 * int(np.prod(shape)))
    path = folder / "i.nii.gz"
    path.write_bytes(gzip.compress(bytes(raw[:500])) + gzip.compress(bytes(raw[500:])))  # members make one stream
    return path


def extensions(folder: Path, rng: Rng) -> Path:
    """Header extensions of impossible sizes."""
    raw = bytearray(nifti(rng))
    raw[348:352] = bytes([1, 0, 0, 0])
    ext = struct.pack("<2i", int(rng.choice([16, 0, -16, 8, 17, 2**31 - 1, -(2**31)])), int(rng.choice([0, 2, 6, -1])))
    ext += rng.bytes(8)
    struct.pack_into("<f", raw, 108, float(rng.choice([352, 368, 384, 400, 1e9, 360])))
    return _put(folder, bytes(raw[:352]) + ext + bytes(raw[352:]), rng)


def values(folder: Path, rng: Rng) -> Path:
    """Every type of value, with scale factors that overflow or are no numbers."""
    dtype = str(rng.choice(DTYPES))
    raw = bytearray(nifti(rng, dtype=dtype, order=str(rng.choice(["<", ">"]))))
    if rng.random() < 0.6:
        struct.pack_into("<2f", raw, 112, *(float(v) for v in rng.choice(EXTREMES["f"], 2)))
    if dtype.startswith("f") and rng.random() < 0.6:
        special = np.array(rng.choice(EXTREMES["f"]), dtype)
        raw[352 : 352 + special.nbytes] = special.tobytes()
    return _put(folder, bytes(raw), rng)


def colours(folder: Path, rng: Rng) -> Path:
    names = "RGBA"[: int(rng.integers(3, 5))]
    data = np.zeros((4, 5, 6), [(n, "u1") for n in names])
    nib.save(nib.Nifti1Image(data, np.eye(4)), folder / "i.nii.gz")
    return folder / "i.nii.gz"


def shapes(folder: Path, rng: Rng) -> Path:
    """From one to seven dimensions."""
    shape = tuple(int(n) for n in rng.choice([1, 2, 3, 4], int(rng.integers(1, 8))))
    return _put(folder, nifti(rng, shape=shape), rng)


def constant(folder: Path, rng: Rng) -> Path:
    raw = bytearray(nifti(rng))
    raw[352:] = bytes(len(raw) - 352)
    return _put(folder, bytes(raw), rng)


def magic(folder: Path, rng: Rng) -> Path:
    """Another format's magic or header size."""
    raw = bytearray(nifti(rng))
    if rng.random() < 0.5:
        raw[344:348] = bytes(rng.choice([b"ni1\0", b"n+2\0", b"\0\0\0\0", b"n+1 ", b"DICM"]).ljust(4, b"\0"))
    else:
        struct.pack_into(rng.choice(["<i", ">i"]), raw, 0, int(rng.choice([0, 348, 540, -1, 2**31 - 1])))
    return _put(folder, bytes(raw), rng)


def other_formats(folder: Path, rng: Rng) -> Path:
    """Pairs, Analyze, MGH, MINC-like, DICOM-like, text; some under a NIfTI name."""
    data, how = rng.integers(0, 9, (4, 5, 6)).astype(np.int16), int(rng.integers(8))
    if how < 3:
        kind = (nib.Nifti1Pair, nib.AnalyzeImage, nib.Nifti2Pair)[how]
        nib.save(kind(data, np.eye(4)), folder / "i.img")
        if rng.random() < 0.4:
            (folder / str(rng.choice(["i.img", "i.hdr"]))).unlink()
        return folder / str(rng.choice(["i.img", "i.hdr"]))
    name = folder / str(rng.choice(["i.nii", "i.nii.gz", "i.mgz", "i.mnc", "i.dcm", "i", "i.NII", "i.nii.bz2",
                                    "i.nii.zst"]))
    if how == 3:
        nib.save(nib.MGHImage(data, np.eye(4)), folder / "x.mgz")
        shutil.move(folder / "x.mgz", name)
    elif how == 4:
        name.write_bytes(bytes(128) + b"DICM" + rng.bytes(400))
    elif how == 5:
        name.write_bytes(b"\x89HDF\r\n\x1a\n" + rng.bytes(300))
    elif how == 6:
        name.write_text("<html>404 not found</html>\n" * 40)
    else:
        name.write_bytes(rng.bytes(int(rng.integers(0, 3000))))
    return name


def no_plain_file(folder: Path, rng: Rng) -> Path:
    """Folders, pipes, devices, sockets, loops of links, links to nothing, names too long or with a NUL."""
    path, how = folder / str(rng.choice(["i.nii", "i.nii.gz"])), int(rng.integers(11))
    if how == 0:
        path.mkdir()
    elif how == 1:
        os.mkfifo(path)
    elif how in (2, 3, 4):
        path.symlink_to(("/dev/zero", "/dev/null", "/dev/tty")[how - 2])
    elif how == 5:
        path.symlink_to(path.name)
    elif how == 6:
        path.symlink_to(folder / "nothing")
    elif how == 7:
        return folder / ("n" * 300 + ".nii")
    elif how == 8:
        return folder / "a\0b.nii"
    elif how == 9:
        return Path(str(folder) + "/x" * 2500 + ".nii")
    else:
        here = Path.cwd()
        os.chdir(folder)  # a socket's address must be short
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
        os.chdir(here)
    return path


def names(folder: Path, rng: Rng) -> Path:
    """Good images under odd names: spaces, both normal forms of unicode, dots, line ends, quotes."""
    odd = ["a b.nii", "caf\u00e9.nii", "cafe\u0301.nii", "..nii.nii", "x\ny.nii", "'\"<b>.nii", "=1+1.nii", "-rf.nii",
           "\udce9.nii", "\u202enii.nii", "a;b|c&d.nii", "n" * 251 + ".nii"]
    sub = folder / str(rng.choice(["d", "with space", "\u00fc", ".."]))
    sub.mkdir(exist_ok=True)
    path = sub / str(rng.choice(odd)) if sub.name != ".." else folder / "d" / ".." / "i.nii"
    (folder / "d").mkdir(exist_ok=True)
    path.write_bytes(nifti(rng))
    return path


def _put(folder: Path, raw: bytes, rng: Rng, *, packed: bool | None = None) -> Path:
    if packed or (packed is None and rng.random() < 0.5):
        (folder / "i.nii.gz").write_bytes(gzip.compress(raw, 1))
        return folder / "i.nii.gz"
    (folder / "i.nii").write_bytes(raw)
    return folder / "i.nii"


MAKERS = {f.__name__: f for f in (
    header_field, dimensions, huge_nifti2, nifti2_field, spacing, flipped, truncated, truncated_gzip, broken_gzip,
    over_limits, extensions, values, colours, shapes, constant, magic, other_formats, no_plain_file, names)}


def make(name: str, folder: Path, out: Path, rng: Rng) -> Act:
    """Write one broken image; what then is done with it."""
    return use(MAKERS[name](folder, rng), out, rng)


__all__ = ["MAKERS", "BedrestError", "make"]
