"""How much memory this process has held at most. Imports nothing heavy, so that asking costs nothing."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


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
