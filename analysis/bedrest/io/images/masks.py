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
from bedrest.io.images.nifti import load_nifti
from bedrest.types import Grid, LabelMap, Volume

MAX_FRACTION_OUTSIDE_FOV = 0.01  # of labelled voxels outside the scan; more: the mask is of another place


def read_label_map(path: Path, *, where: str) -> LabelMap:
    """Read a mask of whole numbers, 0 = background.

    Raises ImageError: the file is missing or damaged, or holds values that are not whole numbers; GeometryError: the
    header cannot be used.
    """
    at = f"{where} ({path})"
    data, grid = load_nifti(path, at)
    whole = np.isfinite(data) & (data == np.round(data)) & (data >= 0) & (data < 2**31)
    if not whole.all():
        raise ImageError("whole numbers from 0 up", f"{int((~whole).sum())} voxels with other values", at,
                         "A mask must not be interpolated: resample it with nearest neighbour.")
    return LabelMap(data.astype(np.int32), grid)


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
    if like is None:
        return 1, 1, "mm"
    try:
        header: Any = nib.load(like).header
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise ImageError("the scan that the mask belongs to", "none that can be read", str(like),
                         "It was there a moment ago: restore it, then run again.") from error
    s_code, q_code = int(header["sform_code"]), int(header["qform_code"])
    return (s_code if s_code or q_code else 1), q_code, header.get_xyzt_units()[0]
