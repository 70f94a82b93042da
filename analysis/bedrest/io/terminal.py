"""Who reads what a command says: a person at a terminal, or a log."""

from __future__ import annotations

import os
import sys


def quiet() -> bool:
    """Does nobody watch: no terminal, or a machine that builds and tests."""
    return not sys.stderr.isatty() or os.environ.get("CI", "").lower() not in ("", "0", "false")
