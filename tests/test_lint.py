"""Style and types hold for every file: ruff, and mypy as pyproject.toml sets it; each keeps a cache."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("words", [["mypy"], ["ruff", "check", "."]], ids=lambda words: words[0])
def test_nothing_is_found(words):
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
