"""The machine this runs on: processor, cores, graphics cards with their drivers. Knows nothing of studies."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

_LIST_CARDS = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")


def cpu_model() -> str:
    """Model name of the processor."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines()
             if line.startswith("model name")] if info.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()


def machine_state() -> dict[str, object]:
    """Platform, Python, processor, cores, and each card with its driver as nvidia-smi reports them."""
    return {"platform": platform.platform(), "python": platform.python_version(), "cpu": cpu_model(),
            "cores": os.cpu_count(), "cards": _cards()}


def _cards() -> list[dict[str, str]]:
    try:
        listing = subprocess.run(_LIST_CARDS, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = [line.rsplit(", ", 1) for line in listing.stdout.splitlines() if ", " in line]
    return [{"name": name, "driver": driver} for name, driver in rows] if listing.returncode == 0 else []
