"""Fingerprints of what an image shows: copies have one, whatever their files are called and how they were saved.

Both take the order of the values alone, so that compression, the type of the numbers, scaling and the text of a header
do not matter. Knows nothing of studies.
"""

from __future__ import annotations

import hashlib
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bedrest.io.files import sha256_of
from bedrest.types import Grid

_SIDE = 64  # most voxels along an axis that a digest takes, evenly spaced
_SKETCHED = 2**15  # voxels of a sketch


def voxel_digest(data: np.ndarray, grid: Grid) -> str:
    """Fingerprint of an image that was read; the same where axes are stored in another order or direction."""
    ras = nib.orientations.apply_orientation(data, nib.orientations.io_orientation(grid.affine_ras_mm))
    return _digest(ras[tuple(slice(None, None, math.ceil(n / _SIDE)) for n in ras.shape)], ras.shape)


def voxel_sketch(path: Path) -> str:
    """Fingerprint of the first voxels of a readable file that are not all alike, as they are stored.

    It costs little, and says that two files may be copies: `voxel_digest` says whether they are. Axes stored otherwise
    change it. Where a format has no plain voxels it is the checksum of the file. Empty where nothing can be read.
    """
    with suppress(Exception):  # readers share no type of error; `read_grid` and `read_volume` report what is damaged
        with nib.imageglobals.LoggingOutputSuppressor():
            image: Any = nib.load(path)
        stored = image.dataobj
        with nib.openers.ImageOpener(str(path)) as file:
            file.seek(stored.offset)
            while chunk := file.read(_SKETCHED * stored.dtype.itemsize):
                values = np.frombuffer(chunk, stored.dtype)
                if values.min() < values.max():
                    return _digest(values, image.shape)
    with suppress(OSError):
        return sha256_of(path)
    return ""


def _digest(values: np.ndarray, shape: tuple[int, ...]) -> str:
    ranks = np.unique(values, return_inverse=True)[1].ravel()
    return hashlib.sha256(repr(tuple(shape)).encode() + ranks.astype("<i4").tobytes()).hexdigest()
