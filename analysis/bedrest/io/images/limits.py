"""Refuses image files by their first bytes, before anything is unpacked or memory is taken.

A few kilobytes of gzip can hold gigabytes of zeros: before the voxels, in a header extension, or as voxels. Knows
nothing of what the header means otherwise.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from bedrest.errors import ImageError, brief
from bedrest.io.files import no_plain_file

MAX_VOXELS = 400_000_000
MAX_BYTES = 8 * MAX_VOXELS
MAX_VOXEL_OFFSET = 16_000_000  # bytes of header and extensions before the voxels
_ENDINGS = (".nii", ".nii.gz")
MAX_PACKING = 1032  # largest compression ratio of deflate
EXPORT_AGAIN = "Export the file again; it may be cut off or of another format."


def refuse_unreadable(path: Path, at: str) -> None:
    """Raise ImageError unless a plain NIfTI file lies there whose declared size its bytes can hold.

    `at`: subject, session, contrast and file, for messages.
    """
    refuse_no_file(path, at)
    if not path.name.lower().endswith(_ENDINGS):
        raise ImageError("a NIfTI image, named .nii or .nii.gz, or one named .mha, .nrrd or .mgz",
                         f"a file named {path.name!r}", at, "Convert it to one .nii or .nii.gz file first.")
    try:
        with nib.openers.ImageOpener(str(path)) as file:
            _refuse(file, path, at)
    except PermissionError as error:
        raise ImageError("an image file that may be read", "no permission", at, "Ask for access.") from error
    except (OSError, EOFError, ValueError, LookupError, zlib.error, HeaderDataError) as error:
        raise ImageError("a NIfTI image", f"a damaged file ({brief(error)})", at, EXPORT_AGAIN) from error


def refuse_no_file(path: Path, at: str) -> None:
    """Raise ImageError unless a plain file lies there."""
    if why := no_plain_file(path):
        raise ImageError("an image file", why, at, "Ask for access." if why == "no permission" else
                         "Check the path in the manifest.")


def _refuse(file: Any, path: Path, at: str) -> None:
    start = file.read(540)
    if not start:
        raise ImageError("a NIfTI image", "Empty file", at, EXPORT_AGAIN)
    header = _header(start)
    if header is None:
        raise ImageError("a NIfTI image", "a file of another format, or one that is cut off in the header", at,
                         EXPORT_AGAIN)
    before = float(header["vox_offset"])
    if not 0 <= before <= MAX_VOXEL_OFFSET:  # NaN is neither
        raise ImageError(f"voxels that begin within the first {MAX_VOXEL_OFFSET:,} bytes", f"vox_offset {before:g}", at,
                         "Export the file again.")
    length = header.template_dtype.itemsize
    _refuse_extensions(file, start[length:], length, int(before), header.endianness, at)
    item = header.get_data_dtype().itemsize
    n = math.prod(max(0, int(d)) for d in header["dim"][1 : 1 + min(7, max(0, int(header["dim"][0])))])
    if n > MAX_VOXELS or n * item > MAX_BYTES:
        raise ImageError(f"at most {MAX_VOXELS:,} voxels", f"{n:,} of {item} bytes", at,
                         "Check the header or crop the image.")
    size = path.stat().st_size
    if before + n * item > size * (MAX_PACKING if path.name.lower().endswith(".gz") else 1):
        raise ImageError(f"{n:,} voxels of {item} bytes", f"a file that ends early ({size:,} bytes)", at,
                         "Copy or export the file again.")


def _header(start: bytes) -> nib.Nifti1Header | None:
    """The header by its size field, in either byte order, unchecked; None where it is no NIfTI in one file."""
    for kind, magic in ((nib.Nifti1Header, b"n+1"), (nib.Nifti2Header, b"n+2")):
        size = kind.template_dtype.itemsize
        if len(start) >= size and size in struct.unpack("<i", start[:4]) + struct.unpack(">i", start[:4]):
            header = kind(start[:size], check=False)  # type: ignore[no-untyped-call]
            return header if bytes(np.asarray(header["magic"]).tobytes())[:3] == magic else None
    return None


def _refuse_extensions(file: Any, read: bytes, at_byte: int, before: int, endianness: str, at: str) -> None:
    """Compare the declared sizes of header extensions with the space there is for them."""
    if not read or not read[0]:
        return
    room, place = before - at_byte, 4
    held = read + file.read(max(0, room - len(read)))
    while room - place >= 16 or room < place:  # where there is no room at all, all of the file would be taken for one
        size = struct.unpack(f"{endianness}i", held[place : place + 4])[0] if len(held) >= place + 4 else 0
        if size < 8 or place + size > room:
            raise ImageError("header extensions that fit before the voxels", f"one of {size} bytes", at,
                             "Export the file again, without extensions.")
        place += size
