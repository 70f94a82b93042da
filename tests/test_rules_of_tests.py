"""The tests' own rules: no test file needs another one, and what the repository holds is the same after them."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
FILES = sorted(TESTS.glob("*.py"))


def _imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    return {alias.name.split(".")[0] for n in nodes if isinstance(n, ast.Import) for alias in n.names} | {
        n.module.split(".")[0] for n in nodes if isinstance(n, ast.ImportFrom) and n.module}


def test_shared_code_lies_in_modules_of_its_own():
    wrong = {p.name: bad for p in FILES if (bad := {m for m in _imported(p) if m.startswith("test_")})}
    assert wrong == {}


def test_every_module_that_holds_no_tests_is_shared():
    """A file whose name hides its tests from pytest would never run."""
    helpers = {p.stem for p in FILES if not p.name.startswith("test_")} - {"conftest"}
    assert helpers <= set().union(*(_imported(p) for p in FILES))
    functions = {p.stem: [f.name for f in ast.parse(p.read_text()).body if isinstance(f, ast.FunctionDef)
                          and f.name.startswith("test_")] for p in FILES if p.stem in helpers}
    assert {name: hidden for name, hidden in functions.items() if hidden} == {}


HARM = """
import os
import shutil
import pytest
from pathlib import Path

TRACKED = Path(__file__).parents[1] / "tracked.md"


def test_what_is_allowed(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text(TRACKED.read_text())
    shutil.rmtree(folder)  # names its files relative to open folders


@pytest.mark.parametrize("harm", [
    lambda _: TRACKED.write_text("x"), lambda _: TRACKED.open("a"), lambda _: TRACKED.unlink(),
    lambda tmp: TRACKED.rename(tmp / "a"), lambda tmp: os.replace(tmp / "b", TRACKED),
    lambda _: os.open(TRACKED, os.O_RDWR), lambda _: (TRACKED.parent / "new").mkdir()])
def test_harm(tmp_path, harm):
    (tmp_path / "b").write_text("x")
    harm(tmp_path)
"""


def test_a_test_that_writes_into_the_repository_fails(tmp_path):
    """In a session of its own, whose repository is a folder."""
    tests = tmp_path / "repository" / "tests"
    tests.mkdir(parents=True)
    tracked = tests.parent / "tracked.md"
    tracked.write_text("as it was")
    shutil.copy(TESTS / "untouched.py", tests)
    (tests / "conftest.py").write_text("from untouched import watch\n\nwatch()\n")
    (tests / "test_harm.py").write_text(HARM)
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)], cwd=tests,
                          capture_output=True, text=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert "7 failed, 1 passed" in done.stdout, done.stdout
    assert len(re.findall("^E +PermissionError: a test writes into the repository", done.stdout, re.MULTILINE)) == 7
    assert tracked.read_text() == "as it was" and not (tests.parent / "new").exists()
