"""Reads and writes label maps, with the BIDS label table beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from bedrest.errors import GeometryError, ImageError
from bedrest.io.files import atomic_path, write_text
from bedrest.io.images.label_tables import bids_label_table
from bedrest.io.images.nifti import load_image, scale_of
from bedrest.io.images.other_formats import by_segment_names, is_other_format, read_other, whole_segmentation
from bedrest.types import SAME_GRID_MM, Grid, LabelMap, Volume, same_grid

WHOLE = 1e-3  # from a whole number
COARSEST_SCALE = 0.2  # a scale factor up to this one leaves no doubt which whole number was meant
MAX_FRACTION_OUTSIDE_FOV = 0.01  # of labelled voxels outside the scan; more: the mask is of another place


def read_label_map(path: Path, *, where: str, by_name: bool = False) -> LabelMap:
    """Read a mask of whole numbers, 0 = background. Values within `WHOLE` of a whole number, or within what the
    header's scale factor rounds off, are that number: nibabel saves floats under a header of integers that way.

    `by_name`: segments of 3D Slicer that are named as structures of the spine are numbered as ours. Raises
    ImageError: the file is missing or damaged, or holds values that are not whole numbers; GeometryError: the header
    cannot be used.
    """
    at = f"{where} ({path})"
    if path.name.lower().endswith(".nrrd"):
        image = whole_segmentation(read_other(path, at))
        data, grid = (by_segment_names(image, at) if by_name else image.data), image.grid
    else:
        data, grid = load_image(path, at)
    if data.dtype.kind not in "iu" or data.dtype.itemsize > 4:
        data = data.astype(np.float64, copy=False)
        nearest = np.round(data)
        if not (np.abs(data - nearest) <= _tolerance(path, at)).all():  # NaN is not
            raise _not_whole(data, path, at)
        data = nearest
    if data.min(initial=0) < 0 or data.max(initial=0) >= 2**31:
        raise ImageError("whole numbers from 0 up", f"values from {data.min():g} to {data.max():g}", at,
                         "Give every structure a number above 0, and 0 to the background.")
    return LabelMap(data.astype(np.int32), grid)


def _tolerance(path: Path, at: str) -> float:
    """How far from a whole number a label may lie: half a step of the stored values, and no less than `WHOLE`."""
    step = abs(scale_of(path, at)[0])
    return max(WHOLE, 0.51 * step) if step <= COARSEST_SCALE else WHOLE


def _not_whole(data: np.ndarray, path: Path, at: str) -> ImageError:
    expected, slope, offset = "whole numbers from 0 up", *scale_of(path, at)
    if n := int((~np.isfinite(data)).sum()):
        return ImageError(expected, f"{n} voxels that are NaN or infinite", at, "Write 0 where there is no structure.")
    apart = (np.abs(data - np.round(data)) > WHOLE) | (data < 0)
    wrong = f"{int(apart.sum())} voxels with other values, such as {float(data[apart].flat[0]):.6g}"
    if (slope, offset) != (1, 0):
        return ImageError(expected, f"{wrong}, by the scale factor {slope:.8g} and offset {offset:g} in the header "
                          "(scl_slope, scl_inter)", at, "Save it as whole numbers without scaling, for example by "
                          "nibabel: Nifti1Image(np.round(image.get_fdata()).astype(np.int16), image.affine).")
    if data.min() >= 0 and data.max() <= 1:
        return ImageError(expected, f"{wrong}: probabilities", at,
                          "Write 1 where they exceed one half, and 0 elsewhere.")
    return ImageError(expected, wrong, at, "A mask must not be interpolated: resample it with nearest neighbour.")


def placed_on(mask: LabelMap, grid: Grid) -> LabelMap:
    """A mask on a grid of the same voxels, of which it is a part or that is a part of it; else as it is.

    Programs crop masks to what is labelled, and store the axes in another order or direction. As it is, too, where
    labelled voxels would be lost.
    """
    if same_grid(mask.grid, grid):
        return LabelMap(mask.data, grid)
    near = voxels_of(mask.grid, grid)
    if near is None:
        return mask
    index = np.argwhere(mask.data)
    place = (index @ near[:, :3].T + near[:, 3]).astype(int)
    if not ((place >= 0) & (place < grid.shape)).all():
        return mask
    data = np.zeros(grid.shape, np.int32)
    data[tuple(place.T)] = mask.data[tuple(index.T)]
    return LabelMap(data, grid)


def voxels_of(part: Grid, grid: Grid) -> np.ndarray | None:
    """Which voxel of a grid each voxel of a part of it is, or the other way round: (3, 4) index to index.

    None: their voxels are not the same, or one is neither within the other nor around it, as where one was moved.
    """
    to_grid = (np.linalg.inv(grid.affine_ras_mm) @ part.affine_ras_mm)[:3]
    near, last = np.round(to_grid), np.append(np.array(part.shape) - 1, 1)
    axes = np.abs(near[:, :3])
    if (axes.sum(axis=0) != 1).any() or (axes.sum(axis=1) != 1).any():
        return None
    ends, highest = np.sort([near[:, 3], near @ last], axis=0), np.array(grid.shape) - 1
    within = ((ends[0] >= 0) & (ends[1] <= highest)) | ((ends[0] <= 0) & (ends[1] >= highest))
    exact = np.abs(to_grid - near) @ last * grid.spacing_mm <= SAME_GRID_MM
    return near if within.all() and exact.all() else None


def require_inside(mask: LabelMap, grid: Grid, *, where: str) -> None:
    """Raise GeometryError if more than `MAX_FRACTION_OUTSIDE_FOV` of the labelled voxels lie outside a grid."""
    labelled = mask.data != 0
    outside = float(mask.grid.outside(grid)[labelled].mean()) if labelled.any() else 0.0
    if outside > MAX_FRACTION_OUTSIDE_FOV:
        raise GeometryError("a mask whose discs lie in the scan",
                            f"{100 * outside:.0f} % of its labelled voxels outside it", where,
                            "Check that mask and scan belong together, and that both headers tell where.")


def label_table_path(mask: Path) -> Path:
    """The BIDS label table beside a mask: ``<mask stem>.tsv``."""
    return mask.with_name(mask.name.removesuffix(".gz").removesuffix(".nii") + ".tsv")


def write_label_map(label_map: LabelMap, path: Path, *, names: Mapping[int, str], like: Path | None = None) -> None:
    """Write a mask and its label table.

    `names`: label -> name, of the table. `like`: the scan the mask belongs to: its coordinate codes are kept, its
    free-text header fields are not. Raises ImageError: the ending is not one of NIfTI; OutputError: the file cannot be
    written.
    """
    highest = int(label_map.data.max(initial=0))
    dtype = np.uint8 if highest < 2**8 else np.uint16 if highest < 2**16 else np.int32
    _write(label_map.data.astype(dtype), label_map.grid, path, like, intent="label")
    write_text(label_table_path(path), bids_label_table(names))


def write_volume(volume: Volume, path: Path, *, like: Path | None = None, dtype: type = np.float32) -> None:
    """Write measured or computed values. Parameters and errors as in `write_label_map`.

    `dtype`: in the file; integers are scaled to span the values, which keeps files small.
    """
    _write(volume.data, volume.grid, path, like, dtype=dtype)


def _write(data: np.ndarray, grid: Grid, path: Path, like: Path | None, *, dtype: type | None = None,
           intent: str = "none") -> None:
    if not path.name.endswith((".nii", ".nii.gz")):
        raise ImageError("a file name ending in .nii or .nii.gz", path.name, str(path), "Choose another name.")
    image = nib.Nifti1Image(data, grid.affine_ras_mm)
    image.set_data_dtype(dtype or data.dtype)
    image.header.set_intent(intent)
    s_code, q_code, unit = _coordinate_codes(like)
    image.header.set_xyzt_units(unit)
    image.set_sform(grid.affine_ras_mm, code=s_code)
    image.set_qform(grid.affine_ras_mm, code=q_code, strip_shears=True)
    # A qform holds no shear: where it cannot represent the affine, only the sform is written.
    if not np.allclose(image.get_qform(), grid.affine_ras_mm, atol=1e-3):
        image.set_sform(grid.affine_ras_mm, code=s_code or 1)
        image.set_qform(None, code=0)
    with atomic_path(path) as temporary:
        nib.save(image, temporary)


def _coordinate_codes(like: Path | None) -> tuple[int, int, str]:
    """Sform code, qform code and spatial unit to write; at least one code is not 0."""
    if like is None or is_other_format(like):
        return 1, 1, "mm"
    try:
        header: Any = nib.load(like).header
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise ImageError("the scan that the mask belongs to", "none that can be read", str(like),
                         "It was there a moment ago: restore it, then run again.") from error
    s_code, q_code = int(header["sform_code"]), int(header["qform_code"])
    return (s_code if s_code or q_code else 1), q_code, header.get_xyzt_units()[0]
