"""Reads images and refuses those whose measurements would be wrong, saying what, where and what to do."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from bedrest.errors import GeometryError, ImageError, brief
from bedrest.findings import Finding, FindingCode
from bedrest.io.images.limits import EXPORT_AGAIN, refuse_unreadable
from bedrest.io.images.other_formats import is_other_format, read_other
from bedrest.types import SAME_GRID_MM, Grid, Scan, Volume, require_same_grid
from bedrest.vocabulary import Contrast

MIN_SHARED_FOV = 0.5  # of a grid: an image that covers less of it was taken of another place
SAME_FORM_MM = 1.0  # sform and qform that differ by more contradict each other
PIXDIM_TOLERANCE = 0.005  # share by which pixdim and affine may differ: more would show in volumes
RESAMPLE_ON_REQUEST = (
    "Check both headers; if both were taken of one place without moving, write resample = true under [images] in "
    "study.toml (bedrest segment: --resample).")


def read_volume(path: Path, *, where: str) -> Volume:
    """Read an image, NIfTI or one of `other_formats`: axes as stored, world RAS+.

    `where`: subject, session and contrast, for messages. Raises ImageError, GeometryError: the file is missing,
    damaged, not one 3-D image, constant, or holds values that are not numbers.
    """
    at = f"{where} ({path})"
    data, grid = load_image(path, at, dtype=np.float32)
    if bad := int((~np.isfinite(data)).sum()):
        raise ImageError("finite intensities", f"{bad} voxels that are NaN or infinite", at,
                         "Export the image again, or set these voxels to a value you can defend.")
    if data.min() == data.max():
        raise ImageError("an image with contrast", f"one intensity everywhere ({float(data.flat[0]):g})", at,
                         "Check that the right file was exported.")
    return Volume(data, grid)


def read_scan(paths: Mapping[Contrast, Path], *, where: str) -> Scan:
    """Read all contrasts of a visit; they must share one grid.

    Raises ImageError: as `read_volume`, or no contrast is given; GeometryError: two contrasts lie on different grids.
    """
    volumes = read_contrasts(paths, where=where)
    first = next(iter(volumes))
    for contrast, volume in volumes.items():
        names = (str(paths[first]), str(paths[contrast]))
        require_same_grid(volumes[first].grid, volume.grid, where=where, names=names, remedy=RESAMPLE_ON_REQUEST)
    return Scan(volumes, notes=header_notes(paths, where=where))


def read_contrasts(paths: Mapping[Contrast, Path], *, where: str) -> dict[Contrast, Volume]:
    """Read all contrasts of a visit, each on its own grid; errors as `read_scan`, but for the last.

    Raises ImageError too where two contrasts hold the same voxels.
    """
    if not paths:
        raise ImageError("at least one contrast", "none", where, "Name the visit's image files in the scans table.")
    volumes = {c: read_volume(p, where=f"{where} {c}") for c, p in paths.items()}
    for one, other in combinations(volumes, 2):
        if np.array_equal(volumes[one].data, volumes[other].data):
            raise ImageError("a different image for each contrast", f"the same voxels as {one} ({paths[one]}) and as "
                             f"{other} ({paths[other]})", where, "Give each file as the contrast that it shows.")
    return volumes


def header_notes(paths: Mapping[Contrast, Path], *, where: str) -> tuple[Finding, ...]:
    """Remarks on headers that do not settle the position of an image, one for each such image.

    NIfTI holds the position of an image twice, as sform and as qform. As in nibabel, the sform is used where there is
    one, else the qform, else the axes as left, front, head. Two that contradict each other are refused on reading.
    """
    notes = []
    for contrast, path in paths.items():
        if is_other_format(path):
            continue
        image = _open(path, f"{where} {contrast} ({path})")
        apart = _header_distance_mm(image)
        if apart is None and not int(image.header["sform_code"]) and not int(image.header["qform_code"]):
            notes.append(Finding(FindingCode.AXES_ASSUMED, {"contrast": contrast}))
        elif apart is not None and apart > SAME_GRID_MM:
            notes.append(Finding(FindingCode.SFORM_AND_QFORM_DIFFER, {"contrast": contrast, "distance_mm": apart}))
    return tuple(notes)


def require_shared(grid: Grid, other: Grid, *, where: str, onto: str) -> NDArray[np.bool_]:
    """(I, J, K) mask of the voxels of a grid that lie outside the field of view of an image on another grid.

    `where`, `onto`: the image, and the owner of the grid, for messages. Raises GeometryError: more than half of the
    grid lies outside.
    """
    outside = grid.outside(other)
    shared = 1 - float(outside.mean())
    if shared < MIN_SHARED_FOV:
        raise GeometryError(f"an image that shows at least {100 * MIN_SHARED_FOV:.0f} % of the grid of {onto}",
                            f"{100 * shared:.0f} %", where,
                            "Check that both were taken of one place, and that both headers tell where.")
    return outside


def read_grid(path: Path, *, where: str) -> Grid:
    """Grid of an image or mask from its header alone, if the file has the length that the header promises.

    A compressed file ends with its uncompressed length; where that does not fit, the file is read whole.

    Raises ImageError, GeometryError: the file is missing, cut off, or not one 3-D image. Voxel values are not checked.
    """
    at = f"{where} ({path})"
    if is_other_format(path):
        return read_other(path, at).grid
    image, grid = _open_one(path, at)
    voxels = int(np.prod(image.shape, dtype=np.int64))
    stored: Any = image.dataobj  # the header in memory no longer holds the voxel offset
    promised = stored.offset + voxels * image.get_data_dtype().itemsize
    size = path.stat().st_size
    if path.name.endswith(".gz"):
        with path.open("rb") as file:
            file.seek(max(0, size - 4))
            fits = int.from_bytes(file.read(4), "little") == promised % 2**32
    else:
        fits = size >= promised
    if not fits:
        load_image(path, at, dtype=np.float32)
    return grid


def load_image(path: Path, at: str, *, dtype: type = np.float64) -> tuple[np.ndarray, Grid]:
    """Scaled values and grid of a file holding one 3-D image; values unchecked."""
    if is_other_format(path):
        other = read_other(path, at)
        return other.data.astype(dtype, copy=False), other.grid
    image, grid = _open_one(path, at)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is caught below as not finite
            return np.asarray(image.dataobj).astype(dtype, copy=False).reshape(grid.shape), grid
    except (OSError, EOFError, ValueError, OverflowError, MemoryError, zlib.error) as error:
        raise ImageError(f"{grid.shape} voxels", f"a file that ends early or is damaged ({brief(error)})", at,
                         "Copy or export the file again.") from error


def scale_of(path: Path, at: str) -> tuple[float, float]:
    """Scale factor and offset that the header of an image puts on its stored values; 1 and 0 where there are none."""
    if is_other_format(path):
        return 1.0, 0.0
    stored: Any = _open(path, at).dataobj
    return float(stored.slope), float(stored.inter)


def _open_one(path: Path, at: str) -> tuple[nib.Nifti1Image, Grid]:
    """A file that holds one 3-D image of numbers, its voxels not yet read."""
    image = _open(path, at)
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:  # one volume, as some programs save it
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 2:
        raise ImageError("one 3-D image", f"shape {image.shape}", at, "Give one volume, not a slice or a series.")
    if image.get_data_dtype().fields is not None or image.get_data_dtype().kind == "c":
        raise ImageError("one number per voxel", f"values of type {image.get_data_dtype()} (colour or complex)", at,
                         "Export a grey-scale image.")
    return image, Grid((int(shape[0]), int(shape[1]), int(shape[2])), _affine(image, path, at))


def _open(path: Path, at: str) -> nib.Nifti1Image:
    refuse_unreadable(path, at)
    # nibabel repairs doubtful headers and reports that on stderr; the raw header is checked here instead.
    with nib.imageglobals.LoggingOutputSuppressor():
        try:
            image = nib.load(path)
        except Exception as error:  # nibabel and its readers of header extensions share no type of error
            raise ImageError("a NIfTI image", brief(error), at, EXPORT_AGAIN) from error
    if not isinstance(image, nib.Nifti1Image | nib.Nifti2Image):
        raise ImageError("a NIfTI image", type(image).__name__, at, "Convert it to one .nii or .nii.gz file first.")
    return image


def _raw_zooms(image: nib.Nifti1Image, path: Path) -> np.ndarray:
    """Voxel sizes as stored: nibabel turns 0 mm into 1 mm."""
    with nib.openers.ImageOpener(str(path)) as file:
        raw = type(image.header).from_fileobj(file, check=False)
    return np.asarray(raw["pixdim"][1:4], dtype=float)


def _affine(image: nib.Nifti1Image, path: Path, at: str) -> np.ndarray:
    try:
        with np.errstate(all="ignore"):  # overflow is caught below as not finite
            return _checked_affine(image, path, at)
    except (ValueError, KeyError, HeaderDataError, np.linalg.LinAlgError) as error:
        raise GeometryError("a header that tells where the image lies", f"codes or numbers without a meaning "
                            f"({brief(error)})", at, "Export the image again.") from error


def _checked_affine(image: nib.Nifti1Image, path: Path, at: str) -> np.ndarray:
    header = image.header
    zooms = _raw_zooms(image, path)
    if not np.isfinite(zooms).all() or (zooms <= 0).any():
        raise GeometryError("positive voxel sizes", f"{zooms.tolist()} mm", at,
                            "Repair the header (pixdim) or export the image again.")
    unit = header.get_xyzt_units()[0]
    if unit not in ("mm", "unknown"):
        raise GeometryError("voxel sizes in mm", f"the unit {unit}", at, "Convert the header to mm (xyzt_units).")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise GeometryError("an affine that can be inverted", "a singular or non-finite one", at,
                            "Repair the header (sform, qform) or export the image again.")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if (np.abs(spacing / zooms - 1) > PIXDIM_TOLERANCE).any():
        raise GeometryError("an affine with the voxel sizes of pixdim",
                            f"{_mm(spacing)} in the affine, {_mm(zooms)} in pixdim", at,
                            "Find out which one is right and correct the other, or export again.")
    apart = _header_distance_mm(image)
    if apart is not None and apart > SAME_FORM_MM:
        raise GeometryError("sform and qform that agree", f"corners up to {apart:.1f} mm apart", at,
                            "Find out which one is right and copy it over the other.")
    return affine


def _header_distance_mm(image: nib.Nifti1Image) -> float | None:
    """Largest distance between the corners by sform and by qform; None unless the header has both."""
    sform, s_code = image.header.get_sform(coded=True)
    qform, q_code = image.header.get_qform(coded=True)
    if not s_code or not q_code or sform is None or qform is None:
        return None
    three = (image.shape[0], image.shape[1], image.shape[2])
    return Grid(three, np.asarray(sform)).max_corner_distance_mm(Grid(three, np.asarray(qform)))


def _mm(values: np.ndarray) -> str:
    return " x ".join(f"{v:.4g}" for v in values) + " mm"
