"""The program as a user runs it, and the tables it leaves."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd


def bedrest(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run one command in a folder; numbers are summed by one thread, as tests beside it need the other cores."""
    return subprocess.run([sys.executable, "-m", "bedrest", *map(str, words)], cwd=cwd, capture_output=True,
                          text=True, timeout=1800, env={**os.environ, "OMP_NUM_THREADS": "1"})


def table(out: Path, name: str) -> pd.DataFrame:
    """A table of a run as a reader without our schemas meets it."""
    return pd.read_csv(out / "tables" / f"{name}.csv", keep_default_na=True, dtype={"subject": str, "session": str})
