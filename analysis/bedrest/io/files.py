"""Writes files whole or not at all, so that a killed run never leaves half of one; checksums of files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bedrest.errors import OutputError

_FREE = "Free some space; what was already computed is kept."
_NO_PERMISSION = ("a folder that may be written", "no permission", "Choose another output folder or ask for access.")
_NO_FOLDER = ("a folder", "a file of that name", "Move the file away or choose another output folder.")
_MESSAGES = {  # number of the error -> expected, actual, remedy
    errno.ENOSPC: ("free space on the disk", "a full disk", _FREE),
    errno.EDQUOT: ("room in the disk quota", "a used-up quota", _FREE),
    errno.EFBIG: ("room for the file", "a limit on the size of files", "Raise the limit (ulimit -f), then run again."),
    errno.ENOENT: ("a folder that stays there", "none: it was removed while the work went on", "Run again."),
    errno.EROFS: ("a folder that may be written", "a read-only disk", "Choose another output folder."),
    **dict.fromkeys((errno.EACCES, errno.EPERM), _NO_PERMISSION),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), _NO_FOLDER),
}
_TEMPORARY = re.compile(r"(\.in-)?\.tmp-\d+-.")
_recorders: list[set[Path]] = []


def output_error(error: OSError, path: Path) -> OutputError:
    """The error to report when `path` cannot be written."""
    expected, actual, remedy = _MESSAGES.get(
        error.errno or 0, ("a file that can be written", error.strerror or str(error), "Check the output folder."))
    return OutputError(expected, actual, str(path), remedy)


def no_plain_file(path: Path) -> str:
    """Why nothing can be read from a path, in words; empty where a plain file lies there.

    Called before a file is opened: a pipe would block for ever and a device never end.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "no such file" + " where the link leads (in a DataLad dataset: datalad get)" * path.is_symlink()
    except PermissionError:
        return "no permission"
    except OSError as error:  # a loop of links, a name that is too long
        return f"no such file ({error.strerror})"
    except ValueError as error:  # a NUL, or characters that the system has no bytes for
        return f"a name that no file can have ({error})"
    return "" if stat.S_ISREG(mode) else "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"


def require_plain_file(path: Path) -> None:
    """Raise OSError unless a plain file lies there."""
    if why := no_plain_file(path):
        raise FileNotFoundError(why) if why.startswith("no such file") else OSError(why)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary name in the folder of `path`, renamed to it when the block ends well, else removed.

    Raises OutputError: the file cannot be written: disk full, read-only, no permission.
    """
    # Readers tell formats by the ending, so the temporary name keeps it.
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
        _record(path)
    except OSError as error:
        raise output_error(error, path) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def files_written() -> Iterator[set[Path]]:
    """Every file that this process writes, in any thread, while the block lasts."""
    written: set[Path] = set()
    _recorders.append(written)
    try:
        yield written
    finally:
        _recorders[:] = [other for other in _recorders if other is not written]


def _record(path: Path) -> None:
    for written in _recorders:
        written.add(path)


def remove_leftovers(folder: Path, *, spare: Path) -> list[Path]:
    """Remove temporary files of killed processes anywhere below `folder`, but not below `spare`."""
    leftovers = [p for p in folder.rglob("*.*") if _TEMPORARY.match(p.name) and not p.is_relative_to(spare)]
    for path in leftovers:
        with suppress(OSError):
            path.unlink()
    return leftovers


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text whole or not at all; bytes that are no text (in a file name) are escaped."""
    write_bytes(path, _encoded(text))


def write_if_changed(path: Path, content: str | bytes) -> bool:
    """Write unless the file already holds this content, so that its dependants stay valid; True when written."""
    new = _encoded(content) if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == new:
        _record(path)
        return False
    write_bytes(path, new)
    return True


def _encoded(text: str) -> bytes:
    return text.encode(errors="backslashreplace")


def sha256_of(path: Path) -> str:
    """Checksum of a plain file's bytes, hexadecimal; OSError where there is none."""
    require_plain_file(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Checksums:
    """Checksums of files, or what else `of` makes of one, computed again only where a file may have changed.

    A file with the same inode, size and times has the same content: the time of the last change of status (ctime)
    cannot be set by a program, so neither an older file moved into place nor one with its old time restored goes
    unnoticed. A file changed within the last two seconds is not remembered: the next change might not show.
    """

    def __init__(self, memory: Path, of: Callable[[Path], str] | None = None) -> None:
        self._memory = memory  # the file that keeps checksums from one run to the next
        self._of = of
        try:
            self._known: dict[str, list[Any]] = dict(json.loads(memory.read_text()))
        except (OSError, ValueError, TypeError):
            self._known = {}

    def __call__(self, path: Path) -> str:
        """SHA-256 of a file's bytes, hexadecimal; empty where it cannot be read."""
        key = str(path.absolute())
        try:
            state = _state(path)
            entry = self._known.get(key)
            if not (isinstance(entry, list) and len(entry) == 2 and entry[0] == state):
                began = time.time_ns()
                entry = [state, (self._of or sha256_of)(path)]
                if began - state[-1] < 2_000_000_000 or _state(path) != state:
                    return str(entry[1])
            self._known[key] = entry
            return str(entry[1])
        except OSError:
            return ""

    def save(self) -> None:
        """Store the checksums of files that still exist."""
        kept = {key: entry for key, entry in sorted(self._known.items()) if Path(key).is_file()}
        write_if_changed(self._memory, json.dumps(kept, indent=0) + "\n")


def _state(path: Path) -> list[int]:
    stat_of = path.stat()
    return [stat_of.st_dev, stat_of.st_ino, stat_of.st_size, stat_of.st_mtime_ns, stat_of.st_ctime_ns]
