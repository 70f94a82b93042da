"""Reads and writes label maps, with the BIDS label table beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

from analysis.errors import ImageError
from analysis.io.files import atomic_path, write_text
from analysis.io.images import load_nifti
from analysis.types import LabelMap


def read_label_map(path: Path, *, where: str) -> LabelMap:
    """Read a mask of whole numbers, 0 = background.

    Raises
    ------
    ImageError
        The file is missing or damaged, or holds values that are not whole numbers.
    GeometryError
        The header cannot be used.
    """
    at = f"{where} ({path})"
    data, grid = load_nifti(path, at)
    whole = np.isfinite(data) & (data == np.round(data)) & (data >= 0) & (data < 2**31)
    if not whole.all():
        raise ImageError("whole numbers from 0 up", f"{int((~whole).sum())} voxels with other values", at,
                         "A mask must not be interpolated: resample it with nearest neighbour.")
    return LabelMap(data.astype(np.int32), grid)


def label_table_path(mask: Path) -> Path:
    """The BIDS label table beside a mask: ``<mask stem>.tsv``."""
    return mask.with_name(mask.name.removesuffix(".gz").removesuffix(".nii") + ".tsv")


def write_label_map(label_map: LabelMap, path: Path, *, names: Mapping[int, str], like: Path | None = None) -> None:
    """Write a mask and its label table.

    Parameters
    ----------
    label_map : LabelMap
    path : Path
        Ending .nii or .nii.gz.
    names : mapping of label number to name
        Written as columns ``index`` and ``name``.
    like : Path, optional
        The scan the mask belongs to: its coordinate codes are kept, its free-text header fields are not.

    Raises
    ------
    ImageError
        The ending is not one of NIfTI.
    OutputError
        The file cannot be written.
    """
    if not path.name.endswith((".nii", ".nii.gz")):
        raise ImageError("a file name ending in .nii or .nii.gz", path.name, str(path), "Choose another name.")
    dtype = np.uint8 if label_map.data.max(initial=0) < 256 else np.uint16
    image = nib.Nifti1Image(label_map.data.astype(dtype), label_map.grid.affine_ras_mm)
    image.header.set_xyzt_units("mm")
    s_code, q_code = 1, 1
    if like is not None:
        header = nib.load(like).header
        s_code, q_code = int(header["sform_code"]) or 1, int(header["qform_code"])
    image.set_sform(label_map.grid.affine_ras_mm, code=s_code)
    # A qform holds no shear: where it cannot carry the affine it is left out.
    image.set_qform(label_map.grid.affine_ras_mm, code=q_code, strip_shears=True)
    with atomic_path(path) as temporary:
        nib.save(image, temporary)
    rows = "".join(f"{index}\t{name}\n" for index, name in sorted(names.items()))
    write_text(label_table_path(path), "index\tname\n" + rows)
