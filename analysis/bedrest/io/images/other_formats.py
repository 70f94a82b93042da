"""Reads images and masks that are no NIfTI: MetaImage (.mha), NRRD (.nrrd), segmentations of 3D Slicer (.seg.nrrd) and
FreeSurfer volumes (.mgz, .mgh), by SimpleITK and nibabel.

Their headers are read as text first: what they declare must be one 3-D image in this file that its bytes can hold, and
say where it lies. World frame RAS+, as everywhere; ITK's is LPS.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bedrest.anatomy.levels import structure_of_name
from bedrest.errors import GeometryError, ImageError, brief
from bedrest.io.images import limits
from bedrest.types import Grid
from bedrest.vocabulary import LEVEL_OF_LABEL

ENDINGS = (".mha", ".nrrd", ".mgz", ".mgh")
_MAX_HEADER = 4_000_000  # bytes; those of Slicer hold a line for each property of each segment
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_UNNAMED_SEGMENTS = 1000  # added to the number of a segment whose name says nothing, beside others that are named
_BYTES = {"MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_LONG": 4,
          "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8}
_ENCODINGS = ("raw", "gzip", "gz", "ascii", "text", "txt", "hex")
_SPACES = ("right-anterior-superior", "ras", "left-anterior-superior", "las", "left-posterior-superior", "lps")
_OF_SPACE = ("domain", "space", "time", "???")  # kinds of axes that do not hold several values of one voxel
_REFERENCE = re.compile(r"Reference image geometry\|([^|]*)\|")


@dataclass(frozen=True, eq=False)
class OtherImage:
    """An image of one of these formats: values as stored, its grid, and in a NRRD the keys that programs add."""

    data: np.ndarray
    grid: Grid
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Header:
    sizes: tuple[int, ...]
    compressed: bool
    keys: Mapping[str, str] = field(default_factory=dict)


def is_other_format(path: Path) -> bool:
    return path.name.lower().endswith(ENDINGS)


def read_other(path: Path, at: str) -> OtherImage:
    """Read a whole image. Raises ImageError, GeometryError: it is damaged, not one 3-D image, or does not say where."""
    limits.refuse_no_file(path, at)
    name = path.name.lower()
    try:
        if name.endswith((".mgz", ".mgh")):
            return _read_freesurfer(path, at)
        header = _metaimage(path, at) if name.endswith(".mha") else _nrrd(path, at)
        _refuse_sizes(header, path.stat().st_size, at)
        return _read_by_itk(path, header, at)
    except PermissionError as error:
        raise ImageError("an image file that may be read", "no permission", at, "Ask for access.") from error
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, zlib.error, MemoryError, struct.error) as error:
        raise ImageError(f"an image of the format {path.suffix}", f"a damaged file ({brief(error)})", at,
                         limits.EXPORT_AGAIN) from error


def _metaimage(path: Path, at: str) -> _Header:
    keys: dict[str, str] = {}
    with path.open("rb") as file:
        while "ElementDataFile" not in keys and file.tell() < _MAX_HEADER and (line := file.readline(65_536)):
            key, _, value = line.decode("latin-1").partition("=")
            keys[key.strip()] = value.strip()
        start = file.tell()
    _refuse_second_file(keys.get("ElementDataFile", "") == "LOCAL", at)
    if "ElementSpacing" not in keys or "DimSize" not in keys:
        raise GeometryError("a header with DimSize and ElementSpacing", "none", at,
                            "Write the image again; without them its volumes mean nothing.")
    if keys.get("BinaryData", "True").lower() != "true" or keys.get("ElementType") not in _BYTES:
        raise ImageError("binary numbers", f"{keys.get('ElementType')} as text or of another type", at,
                         "Write the image again as whole or decimal numbers.")
    _refuse_layers(int(keys.get("ElementNumberOfChannels") or 1), slicer=False, at=at)
    header = _Header(tuple(map(int, keys["DimSize"].split())), keys.get("CompressedData", "").lower() == "true")
    _refuse_sizes(header, path.stat().st_size, at)
    _refuse_lost_bytes(path, start, header.compressed, math.prod(header.sizes) * _BYTES[keys["ElementType"]], at)
    return header


def _refuse_lost_bytes(path: Path, start: int, compressed: bool, promised: int, at: str) -> None:
    """ITK goes on with what happens to lie in memory where a MetaImage is cut off or cannot be unpacked."""
    held, unpack = 0, zlib.decompressobj(zlib.MAX_WBITS | 32)
    with path.open("rb") as file:
        file.seek(start)
        while (piece := file.read(2**20)) and held < promised:
            held += len(unpack.decompress(piece)) if compressed else len(piece)
    if held < promised:
        raise ImageError(f"{promised:,} bytes of voxels", f"a file that ends early ({held:,} bytes)", at,
                         limits.EXPORT_AGAIN)


def _nrrd(path: Path, at: str) -> _Header:
    with path.open("rb") as file:
        head = file.read(_MAX_HEADER)
    text, blank, _ = head.replace(b"\r\n", b"\n").partition(b"\n\n")
    _refuse_second_file(not re.search(rb"\ndata ?file:", text), at)
    if not text.startswith(b"NRRD") or not blank:
        raise ImageError("a NRRD image", "a file of another format, or one that is cut off in the header", at,
                         limits.EXPORT_AGAIN)
    fields, keys = {}, {}
    for line in text.decode("utf-8", "replace").split("\n")[1:]:
        if ":=" in line:
            key, _, value = line.partition(":=")
            keys[key] = value
        elif ": " in line and not line.startswith("#"):
            key, _, value = line.partition(": ")
            fields[key.strip().lower()] = value.strip()
    if (encoding := fields.get("encoding", "raw").lower()) not in _ENCODINGS:
        raise ImageError("voxels as raw or gzip", f"the encoding {encoding}", at, "Save it with the encoding gzip.")
    sizes, kinds = tuple(map(int, fields["sizes"].split())), fields.get("kinds", "").split()
    across = [n for n, kind in zip(sizes, kinds, strict=False) if kind.lower() not in _OF_SPACE]
    slicer = "Segment0_ID" in keys or "Segment0_Name" in keys
    _refuse_layers(math.prod(across), slicer=slicer, at=at)
    space = fields.get("space", "none")
    if "space directions" not in fields or space.lower() not in _SPACES:  # ITK would take any other one for LPS
        raise GeometryError("a header that tells where the image lies in the body: space, such as "
                            "left-posterior-superior, and space directions", f"the space {space}" +
                            ("" if "space directions" in fields else " without directions"), at,
                            "Save it again with its geometry in 3D Slicer or ITK-SNAP, or convert it to NIfTI.")
    if units := set(re.findall(r'"([^"]*)"', fields.get("space units", ""))) - {"mm", "", "none"}:
        raise GeometryError("voxel sizes in mm", f"the unit {', '.join(units)}", at, "Convert the header to mm.")
    return _Header(sizes, encoding != "raw", keys)


def _refuse_second_file(here: bool, at: str) -> None:
    if not here:
        raise ImageError("an image in one file", "a header whose voxels lie in another file", at,
                         "Save it as one file: its voxels would not be checked with it.")


def _refuse_layers(n: int, *, slicer: bool, at: str) -> None:
    if n > 1 and slicer:
        raise ImageError("segments that do not overlap", f"{n} layers of segments that do", at,
                         "Remove the overlap in 3D Slicer (Segment Editor, Masking: overwrite all), or export the "
                         "segments that you need as one label map.")
    if n > 1:
        raise ImageError("one number per voxel", f"{n} numbers (colour or vectors)", at, "Export a grey-scale image.")


def _refuse_sizes(header: _Header, size: int, at: str) -> None:
    sizes = [n for n in header.sizes if n != 1]
    if len(sizes) != 3 or min(sizes) < 2:
        raise ImageError("one 3-D image", f"shape {header.sizes}", at, "Give one volume, not a slice or a series.")
    voxels = sizes[0] * sizes[1] * sizes[2]
    if voxels > limits.MAX_VOXELS:
        raise ImageError(f"at most {limits.MAX_VOXELS:,} voxels", f"{voxels:,}", at,
                         "Check the header or crop the image.")
    if voxels > size * (limits.MAX_PACKING if header.compressed else 1):
        raise ImageError(f"{voxels:,} voxels", f"a file that ends early ({size:,} bytes)", at,
                         "Copy or export the file again.")


def _read_by_itk(path: Path, header: _Header, at: str) -> OtherImage:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("MetaImageIO" if path.name.lower().endswith(".mha") else "NrrdImageIO")
    reader.SetFileName(str(path))
    image = reader.Execute()
    values = sitk.GetArrayFromImage(image)
    if values.dtype.kind == "c":
        raise ImageError("one number per voxel", "complex values", at, "Export a grey-scale image.")
    n = image.GetDimension()
    directions = np.array(image.GetDirection()).reshape(n, n)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = directions * np.array(image.GetSpacing())[:3]
    affine[:3, 3] = image.GetOrigin()[:3]
    shape = image.GetSize()[:3]
    grid = _grid(_LPS_TO_RAS @ affine, shape, at)
    return OtherImage(values.reshape(shape[::-1]).transpose(2, 1, 0), grid, header.keys)


def _grid(affine: np.ndarray, shape: tuple[int, ...], at: str) -> Grid:
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise GeometryError("an affine that can be inverted", "a singular or non-finite one", at,
                            "Repair the header or export the image again.")
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def _read_freesurfer(path: Path, at: str) -> OtherImage:
    import nibabel as nib

    with nib.openers.ImageOpener(str(path)) as file:
        start = file.read(30)
    version, *sizes, _, _, good = struct.unpack(">7ih", start)
    if version != 1:
        raise ImageError("a FreeSurfer volume", "a file of another format", at, limits.EXPORT_AGAIN)
    _refuse_sizes(_Header(tuple(sizes), path.name.lower().endswith(".mgz")), path.stat().st_size, at)
    if good != 1:
        raise GeometryError("a header that tells where the image lies", "goodRASFlag 0", at,
                            "Convert it again with mri_convert from an image that has its geometry.")
    image: Any = nib.load(path)
    grid = _grid(np.asarray(image.affine, dtype=np.float64), tuple(sizes[:3]), at)
    return OtherImage(np.asarray(image.dataobj).reshape(grid.shape), grid)


def whole_segmentation(image: OtherImage) -> OtherImage:
    """A segmentation of 3D Slicer on the grid of the image that it was drawn on: its file holds the box around it.

    As it is where the file does not tell that grid, or segments were drawn finer or beyond it.
    """
    geometry = _REFERENCE.search(image.keys.get("Segmentation_ConversionParameters", ""))
    offset = [int(n) for n in image.keys.get("Segmentation_ReferenceImageExtentOffset", "").split()]
    numbers = [float(n) for n in geometry[1].split(";") if n] if geometry else []
    if len(numbers) != 22 or len(offset) != 3:
        return image
    extent = np.array(numbers[16:], dtype=int)
    shape, start = extent[1::2] - extent[::2] + 1, np.array(offset) - extent[::2]
    spacing = np.linalg.norm(np.array(numbers[:16]).reshape(4, 4)[:3, :3], axis=0)
    fits = (start >= 0).all() and (start + image.grid.shape <= shape).all()
    if not fits or not np.allclose(spacing, image.grid.spacing_mm, rtol=0.01) or shape.prod() > limits.MAX_VOXELS:
        return image
    data = np.zeros(tuple(shape), image.data.dtype)
    data[tuple(slice(a, a + n) for a, n in zip(start, image.grid.shape, strict=True))] = image.data
    affine = image.grid.affine_ras_mm.copy()
    affine[:3, 3] -= affine[:3, :3] @ start
    return OtherImage(data, Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine), image.keys)


def by_segment_names(image: OtherImage, at: str) -> np.ndarray:
    """Values with segments that are named as structures of the spine numbered as in `vocabulary.TISSUE_OF_LABEL`.

    As they are where no segment is named as a disc. Raises ImageError: two segments have the name of one disc, or one
    number.
    """
    segments = [(int(image.keys.get(key.removesuffix("Name") + "LabelValue", 1)), name)
                for key, name in image.keys.items() if re.fullmatch(r"Segment\d+_Name", key)]
    names = dict(segments)
    number = {value: structure_of_name(name) for value, name in segments}
    if not any(n in LEVEL_OF_LABEL for n in number.values()):
        return image.data
    if len(names) < len(segments):
        raise ImageError("a number of its own for each segment", f"one number for several of {len(segments)} segments "
                         "(LabelValue)", at, "Save it with a newer 3D Slicer, or as a label map with numbers.")
    taken = [n for n in number.values() if n is not None]
    twice = {n for n in taken if taken.count(n) > 1}
    if twice & LEVEL_OF_LABEL.keys():
        raise ImageError("one segment for each structure",
                         f"several named {', '.join(repr(names[v]) for v, n in number.items() if n in twice)}", at,
                         "Merge them or rename one of them.")
    data = np.zeros(image.data.shape, np.int32)
    for value in np.unique(image.data):
        if value:
            other = _UNNAMED_SEGMENTS + int(value)
            known = number.get(int(value))
            data[image.data == value] = other if known is None or known in twice else known
    return data
