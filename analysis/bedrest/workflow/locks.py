"""Keeps commands from writing into one output folder at a time.

The system lifts a lock when its process ends, however it ends: one left by a killed run never blocks.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bedrest.errors import OutputError
from bedrest.io.files import output_error

_AT_WORK = "work/.stages"


@contextmanager
def locked(folder: Path, *, to_read: bool = False) -> Iterator[int]:
    """Hold an output folder, which is made if need be; several may read it at a time, one alone may write.

    To read is only to keep others from writing: where nobody ever wrote, nothing is changed and no lock is taken.
    Yields the lock's file descriptor, -1 where none is needed: a child that is given it keeps the lock while it lives.

    Raises
    ------
    OutputError
        Another command is at work there, or the folder cannot be written.
    """
    lock = folder / ".lock"
    if to_read and not lock.is_file():
        yield -1
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = lock.open("r" if to_read else "a")
    except OSError as error:
        raise output_error(error, folder) from error
    with handle:
        _take(handle.fileno(), fcntl.LOCK_SH if to_read else fcntl.LOCK_EX, folder, "another command at work")
        if not to_read and (stages := folder / _AT_WORK).exists():
            with stages.open("a") as marks:
                _take(marks.fileno(), fcntl.LOCK_EX, folder, "a step of a killed run still at work")
        yield handle.fileno()


@contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """Held by every step of a run, which may outlive the run that started it."""
    with (folder / _AT_WORK).open("a") as marks:
        fcntl.flock(marks.fileno(), fcntl.LOCK_SH)
        yield


def _take(descriptor: int, kind: int, folder: Path, user: str) -> None:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError("an output folder that no other command is using", user, str(folder),
                          "Wait for it to end, or choose another output folder.") from error
