"""Are files what a record of checksums says, and are two result folders alike. Reads, compares, changes nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from bedrest.io.files import sha256_of
from bedrest.schemas import REPORTS, SCAN_RECORDS

# What two runs of one study may differ in: (file name, column).
WALL_TIMES: Final = ((f"{SCAN_RECORDS.name}.csv", "seconds"),)
_LEFT_OUT: Final = f"{REPORTS.name}.csv"  # about pages, which a second run does not make
_RESULTS: Final = ("tables/*.csv", "figures/*.csv", "work/*/*.csv", "methods_and_results.md")


class FileState(StrEnum):
    """What became of one file."""

    SAME = "same"
    CHANGED = "changed"
    MISSING = "missing"
    NOT_LISTED = "not listed"


@dataclass(frozen=True)
class FileCheck:
    """One file and what became of it; `path` as the record has it."""

    path: str
    verdict: FileState


def check_files(listed: Mapping[str, str], base: Path, *, present: Iterable[str] = ()) -> list[FileCheck]:
    """Hold files against their recorded checksums.

    Parameters
    ----------
    listed : mapping of path to SHA-256, hexadecimal
        Paths absolute or relative to `base`. An empty checksum: the file could not be read then.
    base : Path
    present : iterable of str
        Files that are there now, spelt as in `listed`; those that are not in it are told.

    Returns
    -------
    list of FileCheck, by path
    """
    found = [FileCheck(path, _verdict(base / path, checksum)) for path, checksum in listed.items()]
    found += [FileCheck(path, FileState.NOT_LISTED) for path in present if path not in listed]
    return sorted(found, key=lambda c: c.path)


def _verdict(path: Path, checksum: str) -> FileState:
    if not path.is_file():
        return FileState.MISSING
    try:
        return FileState.SAME if sha256_of(path) == checksum else FileState.CHANGED
    except OSError:
        return FileState.CHANGED if checksum else FileState.SAME


def compare_results(first: Path, second: Path) -> list[FileCheck]:
    """Hold the tables, slices, figures' data and sentences of two output folders against each other, byte by byte.

    `WALL_TIMES` are left out of the comparison, and so is the table of pages.

    Parameters
    ----------
    first, second : output folders; the first one's files are `missing` where the second lacks them, and the second's
        `not listed` where the first does

    Returns
    -------
    list of FileCheck, by path
    """
    ours, theirs = _result_files(first), _result_files(second)
    found = [FileCheck(name, FileState.MISSING if name not in theirs else
                       FileState.SAME if _comparable(first / name) == _comparable(second / name) else FileState.CHANGED)
             for name in ours]
    found += [FileCheck(name, FileState.NOT_LISTED) for name in theirs if name not in ours]
    return sorted(found, key=lambda c: c.path)


def _result_files(folder: Path) -> set[str]:
    files = (f for pattern in _RESULTS for f in folder.glob(pattern))
    return {f.relative_to(folder).as_posix() for f in files
            if f.name != _LEFT_OUT and "pages" not in f.parts[len(folder.parts):-1]}


def _comparable(path: Path) -> bytes:
    """The file's bytes; of a table with wall times, those of the table without them."""
    content = path.read_bytes()
    dropped = {column for name, column in WALL_TIMES if path.name == name}
    if not dropped:
        return content
    rows = list(csv.reader(io.StringIO(content.decode())))
    kept = [i for i, name in enumerate(rows[0]) if name not in dropped] if rows else []
    return "\n".join(repr([row[i] for i in kept]) for row in rows).encode()
