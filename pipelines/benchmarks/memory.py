"""How much memory a process has held at most, and how long it took. Imports nothing heavy: asking costs nothing."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SAMPLING_SECONDS = 0.02


def peak_memory_bytes() -> int:
    """Most memory this process has held.

    Linux counts the parent's memory at the start of a child as the child's own in ru_maxrss; VmHWM is of this program
    alone.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        kb = next((line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")), None)
        if kb is not None:
            return 1024 * int(kb)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


@dataclass(frozen=True)
class Measured:
    """What a command took.

    Attributes
    ----------
    seconds : wall time
    cpu_seconds : processor time of the command and of its children: the same however busy the machine is
    peak_bytes : most memory that it and its children held together; what they share counts for each of them
    status : exit status
    output : what it printed, both streams
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    status: int
    output: str


def measure_command(command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
                    ) -> Measured:
    """Run a command to its end; its memory is sampled every 20 ms, from /proc: 0 where there is none."""
    begun, before, peak = time.monotonic(), children_cpu_seconds(), 0
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT, env=env, cwd=cwd)
        while process.poll() is None:
            peak = max(peak, sum(map(_resident_bytes, _family(process.pid))))
            time.sleep(_SAMPLING_SECONDS)
        seconds = time.monotonic() - begun
        printed.seek(0)
        return Measured(seconds, children_cpu_seconds() - before, peak, process.returncode, printed.read())


def children_cpu_seconds() -> float:
    """Processor time of children of this process that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: list[int] = []
    with suppress(OSError):  # ended meanwhile
        for file in Path(f"/proc/{pid}/task").glob("*/children"):
            children += map(int, file.read_text().split())
    return [pid, *(one for child in children for one in _family(child))]


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0
