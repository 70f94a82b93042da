"""Fixtures that every test may use: a seeded generator and the folder of real data."""

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data sets; the test is skipped where they are absent."""
    folder = Path(os.environ.get("BEDREST_REAL_DATA", Path(__file__).parents[2] / "shared" / "data" / "real"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set BEDREST_REAL_DATA to their folder")
    return folder
