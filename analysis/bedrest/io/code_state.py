"""Which state of this program is running: commit, and whether files differ from it."""

from __future__ import annotations

import subprocess
from pathlib import Path


def code_state() -> dict[str, object]:
    """Commit and whether the tree differs from it; empty where the package is not a checkout."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():  # installed: a repository around it is not ours
        return {}
    try:
        commit = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True)
        status = subprocess.run(["git", "--no-optional-locks", "-C", str(root), "status", "--porcelain"],
                                capture_output=True, text=True)  # reading must leave nothing in the repository
    except OSError:
        return {}
    if commit.returncode != 0:
        return {}
    return {"commit": commit.stdout.strip(), "dirty": bool(status.stdout.strip())}
