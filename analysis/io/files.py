"""Writing files so that a killed run never leaves half of one."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from analysis.errors import OutputError

_IN_WORDS = {
    errno.ENOSPC: ("free space on the disk", "a full disk", "Free some space; what was already computed is kept."),
    errno.EDQUOT: ("room in the disk quota", "a used-up quota", "Free some space; what was already computed is kept."),
    errno.EACCES: ("a folder that may be written", "no permission", "Choose another output folder or ask for access."),
    errno.EPERM: ("a folder that may be written", "no permission", "Choose another output folder or ask for access."),
    errno.EROFS: ("a folder that may be written", "a read-only disk", "Choose another output folder."),
    errno.ENOTDIR: ("a folder", "a file of that name", "Move the file away or choose another output folder."),
    errno.EEXIST: ("a folder", "a file of that name", "Move the file away or choose another output folder."),
}


def output_error(error: OSError, path: Path) -> OutputError:
    """The error a person reads when `path` cannot be written."""
    expected, found, remedy = _IN_WORDS.get(
        error.errno or 0, ("a file that can be written", error.strerror or str(error), "Check the output folder.")
    )
    return OutputError(expected, found, str(path), remedy)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary name in the folder of `path`, renamed to it when the block ends well, else removed.

    Raises
    ------
    OutputError
        The file cannot be written: disk full, read-only, no permission.
    """
    # Readers tell formats by the ending, so the temporary name keeps it.
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise output_error(error, path) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text whole or not at all."""
    write_bytes(path, text.encode())


def write_if_changed(path: Path, content: str | bytes) -> bool:
    """Write only what is new, so that nothing that depends on the file looks stale; True when written."""
    new = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == new:
        return False
    write_bytes(path, new)
    return True


def sha256_of(path: Path) -> str:
    """Checksum of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
