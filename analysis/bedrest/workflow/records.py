"""What each stage of a study read and wrote, by content: decides what has to be done again, and says why.

A stage writes its record last, so one without a record did not end. Times of files never count: Snakemake sees only
which records are missing, and orders the stages that make them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from bedrest import schemas
from bedrest.io.files import files_written, sha256_of, write_text
from bedrest.io.results import StudyResults
from bedrest.stages.all_stages import FINGERPRINTS, RECORDS

_IN_WORDS = {f"{schemas.SESSIONS.name}.csv": "visits", f"{schemas.SUBJECTS.name}.csv": "what is known of the subjects",
             f"{schemas.LEVEL_NAMES.name}.csv": "names set manually",
             f"{schemas.INPUT_PROBLEMS.name}.csv": "problems of the input"}
_WHILE = "changed while it was read"
PROGRAM, LIBRARY = "program ", "library "  # in front of the name of a module, of a library
Read = Callable[[Path], str]


def name_of(record: Path) -> str:
    """Stage and subject or page, for messages: ``segment sub-01``."""
    name, *of = record.relative_to(RECORDS).with_suffix("").parts
    return f"{name} {'/'.join(of)}".strip()


def checksum(path: Path) -> str:
    """SHA-256 of a file; empty where it cannot be read."""
    try:
        return sha256_of(path)
    except OSError:
        return ""


def content(folder: Path, name: str, read: Read = checksum) -> dict[str, str]:
    """The parts of a file that a stage reads, each with a value or checksum, so that messages can say what changed.

    Of a record, what the stage wrote; of a fingerprint, each setting, file, module and library; of a list of scans or
    edited masks, the bytes of each file, wherever it lies; of anything else, its bytes. `read` gives the checksum of a
    path, empty where it cannot be read.
    """
    path = folder / name
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # missing or damaged: reported as changed
        if Path(name).is_relative_to(RECORDS):
            made = json.loads(path.read_text())["writes"]
            return {name_of(Path(name)): sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()}
        if Path(name).is_relative_to(FINGERPRINTS):
            return _parts_of_fingerprint(json.loads(path.read_text()))
        if name.startswith("work/") and path.name in (f"{t.name}.csv" for t in (schemas.SCANS, schemas.EDITED_MASKS)):
            with path.open(newline="") as file:
                return {f"{row['subject']} {row['session']}: {_kind(row)}": read(Path(row["path"]))
                        for row in csv.DictReader(file)}
    return {_IN_WORDS.get(path.name, name): read(path)}


def _parts_of_fingerprint(made: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {**{key: json.dumps(value) for key, value in made["settings"].items()}, **made["files"],
            **{PROGRAM + module: value for module, value in made["program"].items()},
            **{LIBRARY + library: value for library, value in made["libraries"].items()}}


def _kind(row: dict[str, str]) -> str:
    kind = row.get("contrast", "edited mask").replace("_", " ")
    return kind if kind.endswith("mask") else f"{kind} image"


@contextmanager
def recorded(results: StudyResults, record: Path, reads: Iterable[str]) -> Iterator[None]:
    """Write down what a stage read and, when it ended well, every file that this process wrote.

    `record` and `reads` are relative to the output folder.
    """
    folder, reads = results.output_dir, list(reads)
    # The list of scans has checksums of when the run began; what differs at the end may not be what was read.
    before = {name: content(folder, name, _as_listed(folder, name)) for name in reads}
    with files_written() as wrote:
        yield
    after = {name: content(folder, name) for name in reads}
    read = {name: {part: value if before[name].get(part) == value else _WHILE for part, value in parts.items()}
            for name, parts in after.items()}
    made = {path.relative_to(folder).as_posix(): checksum(path) for path in sorted(wrote)
            if path.is_relative_to(folder) and path != results.provenance_json}
    _write(folder / record, read, made)


def _as_listed(folder: Path, name: str) -> Read:
    """Checksums as a list of files has them, or of the file itself."""
    listed: dict[str, str] = {}
    if name.endswith(".csv"):
        with suppress(OSError, ValueError, KeyError, TypeError), (folder / name).open(newline="") as file:
            listed = {row["path"]: row["sha256"] for row in csv.DictReader(file)}
    return lambda path: listed[str(path)] if str(path) in listed else checksum(path)


def _write(path: Path, reads: dict[str, dict[str, str]], writes: dict[str, str]) -> None:
    write_text(path, json.dumps({"reads": reads, "writes": writes}, indent=0, sort_keys=True) + "\n")


def outdated(results: StudyResults, read: Read = checksum) -> dict[str, str]:
    """Remove the records of stages that must be done again, as Snakemake makes what is missing; record -> reason."""
    folder = results.output_dir
    records = {p.relative_to(folder).as_posix(): _load(p) for p in sorted((folder / RECORDS).rglob("*.json"))}
    now = cache(partial(content, folder, read=read))  # many records name the same file
    reasons = {name: why for name, record in records.items() if (why := _why(folder, record, read, now))}
    more = True
    while more:
        more = False
        for name, record in records.items():
            gone = [r for r in (record or {}).get("reads", {})
                    if Path(r).is_relative_to(RECORDS) and (r in reasons or r not in records)]
            if gone and name not in reasons:
                reasons[name], more = f"after {name_of(Path(gone[0]))}", True
    for name in reasons:
        (folder / name).unlink(missing_ok=True)
    return reasons


def _load(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text())
        return record if isinstance(record["reads"], dict) and isinstance(record["writes"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _why(folder: Path, record: dict[str, Any] | None, read: Read, now: Callable[[str], dict[str, str]]) -> str:
    """Why a stage must be done again; empty where nothing changed."""
    if record is None:
        return "its record is damaged"
    reasons = []
    for name, before in record["reads"].items():
        after = now(name)
        differing = [part for part in dict.fromkeys((*before, *after)) if before.get(part) != after.get(part)]
        reasons += [_in_words(part, before.get(part), after.get(part)) for part in differing
                    if not part.startswith(PROGRAM)]
        if modules := [part.removeprefix(PROGRAM) for part in differing if part.startswith(PROGRAM)]:
            reasons.append(f"the program changed ({_first(modules)})")
    reasons += [f"{name} {'changed since it was written' if now_is else 'is missing'}"
                for name, made in record["writes"].items() if (now_is := read(folder / name)) != made]
    return _first(reasons)


def _in_words(part: str, before: str | None, after: str | None) -> str:
    """What became of a part of what a stage reads."""
    if part.startswith(LIBRARY):
        return f"{part.removeprefix(LIBRARY)} {before or 'unused'} -> {after or 'unused'}"
    return f"{part} {'is new' if before is None else 'changed' if after else 'is gone'}"


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def renew(results: StudyResults, *stages: str) -> None:
    """Make the records of these stages fit the files, which a command made again from the same tables.

    Each stage comes after those it builds on.
    """
    folder = results.output_dir
    for name in stages:
        whole = folder / RECORDS / f"{name}.json"
        for path in [p for p in (whole, *sorted(whole.with_suffix("").rglob("*.json"))) if p.is_file()]:
            if record := _load(path):
                reads = {name: content(folder, name) if Path(name).is_relative_to(RECORDS) else parts
                         for name, parts in record["reads"].items()}
                made = {name: value for name in record["writes"] if (value := checksum(folder / name))}
                _write(path, reads, made)
