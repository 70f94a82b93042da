"""Fixtures that every test may use: a seeded generator and the folder of real data."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from untouched import watch

watch()

# Two workers share the files out as they come: what takes longest comes first, so that neither waits for the other.
LONGEST_FIRST = ("test_end_to_end.py", "test_edited_masks.py", "test_kill.py", "test_faults.py", "test_fuzz.py",
                 "test_lint.py", "test_privacy.py", "test_method_benchmark.py", "test_training.py", "test_docs.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: n for n, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))  # keeps the order of those of one rank


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


@pytest.fixture(scope="session")
def stored_once(tmp_path_factory):
    """A synthetic study with stored results; read it, or copy it by `stored`."""
    from stored_study import store_study

    return store_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def given(tmp_path_factory):
    """A synthetic study with hostile words and planted headers, run but for the pages; read it, or copy it.

    One for all workers, whose folders lie side by side.
    """
    from bedrest.io.results import StudyResults
    from bedrest.settings import load_study
    from filelock import FileLock
    from hostile_study import run_stages, write_hostile_study

    workers = "PYTEST_XDIST_WORKER" in os.environ
    folder = (tmp_path_factory.getbasetemp().parent if workers else tmp_path_factory.getbasetemp()) / "given"
    with FileLock(f"{folder}.lock"):
        if not (folder / "finished").exists():
            run_stages(write_hostile_study(folder / "study of jane"))
            (folder / "finished").touch()
    study = load_study(folder / "study of jane" / "study.toml")
    return study, StudyResults(study.output_dir)


@pytest.fixture
def stored(stored_once, tmp_path):
    """A copy of it that a test may damage: the study and its results."""
    from bedrest.io.results import StudyResults
    from bedrest.settings import load_study

    study, _ = stored_once
    shutil.copytree(study.path.parent, tmp_path / "study")
    study = load_study(tmp_path / "study" / "study.toml")
    return study, StudyResults(study.output_dir)
