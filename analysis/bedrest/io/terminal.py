"""Whether a command writes to a terminal or to a log."""

from __future__ import annotations

import os
import sys


def quiet() -> bool:
    """Whether nobody watches: no terminal, or a machine that builds and tests."""
    return not sys.stderr.isatty() or os.environ.get("CI", "").lower() not in ("", "0", "false")
