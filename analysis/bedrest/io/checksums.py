"""Do files match recorded checksums, and do two result folders hold the same? Reads and compares, changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import pandas as pd

from bedrest.io.files import sha256_of
from bedrest.schemas import REPORTS, SCAN_RECORDS

# What two runs of one study may differ in: (file name, column).
WALL_TIMES: Final = ((f"{SCAN_RECORDS.name}.csv", "seconds"),)
_LEFT_OUT: Final = f"{REPORTS.name}.csv"  # about pages, which a second run does not make again
_RESULTS: Final = ("tables/*.csv", "figures/*.csv", "work/*/*.csv", "methods_and_results.md")


class FileState(StrEnum):
    """A file against its record."""

    SAME = "same"
    CHANGED = "changed"
    MISSING = "missing"
    NOT_LISTED = "not listed"


@dataclass(frozen=True, order=True)
class FileCheck:
    """One file and its state; `path` as in the record."""

    path: str
    state: FileState


def check_files(listed: Mapping[str, str], base: Path, *, present: Iterable[str] = ()) -> list[FileCheck]:
    """Compare files with their recorded checksums.

    `listed`: path, absolute or relative to `base`, -> SHA-256, empty where the file could not be read when it was
    recorded. `present`: files that exist now; those not in `listed` are reported.
    """
    checks = [FileCheck(path, _state(base / path, checksum)) for path, checksum in listed.items()]
    return sorted(checks + [FileCheck(path, FileState.NOT_LISTED) for path in present if path not in listed])


def _state(path: Path, checksum: str) -> FileState:
    if not path.is_file():
        return FileState.MISSING
    try:
        return FileState.SAME if sha256_of(path) == checksum else FileState.CHANGED
    except OSError:
        return FileState.CHANGED if checksum else FileState.SAME


def compare_results(first: Path, second: Path) -> list[FileCheck]:
    """Compare tables, slices, data of figures and sentences of two output folders, byte by byte.

    `WALL_TIMES` are left out of the comparison, and so is the table of pages.

    `first`, `second`: output folders; files of the first alone are `missing`, files of the second alone `not listed`.
    """
    ours, theirs = _result_files(first), _result_files(second)
    checks = [FileCheck(name, FileState.SAME if _comparable(first / name) == _comparable(second / name)
                        else FileState.CHANGED) for name in ours & theirs]
    checks += [FileCheck(name, FileState.MISSING) for name in ours - theirs]
    return sorted(checks + [FileCheck(name, FileState.NOT_LISTED) for name in theirs - ours])


def _result_files(folder: Path) -> set[str]:
    files = (f for pattern in _RESULTS for f in folder.glob(pattern))
    return {f.relative_to(folder).as_posix() for f in files
            if f.name != _LEFT_OUT and "pages" not in f.parts[len(folder.parts):-1]}


def _comparable(path: Path) -> bytes:
    """The file's bytes; of a table with wall times, those of the table without them."""
    dropped = [column for name, column in WALL_TIMES if path.name == name]
    if not dropped:
        return path.read_bytes()
    table = pd.read_csv(path, dtype="str", keep_default_na=False)
    return str(table.drop(columns=dropped, errors="ignore").to_csv()).encode()
