"""Refuses to let a test write where the repository lies; folders that tools keep beside it are theirs."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = ("build", ".venv", ".git", ".hypothesis", ".pytest_cache", ".mypy_cache", ".ruff_cache")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_BY_FOLDER = {"os.remove", "os.rename", "os.rmdir", "os.mkdir"}
_CHANGES = {*_BY_FOLDER, "os.truncate", "shutil.rmtree"}


def _is_ours(path: object) -> bool:
    """Does a path lie in the repository, and in no folder of a tool?"""
    if not isinstance(path, str | bytes | os.PathLike):
        return False  # a file that is open already
    whole = Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100, links are not followed
    parts = whole.relative_to(ROOT).parts if whole.is_relative_to(ROOT) else TOOLS[:1]
    # pytest makes its cache under a name of its own and renames it.
    tool = bool(parts) and (parts[0] in TOOLS or parts[0].startswith("pytest-cache-files-"))
    return bool(parts) and not tool and "__pycache__" not in parts


def _watch(event: str, args: tuple[object, ...]) -> None:
    if event == "open":
        paths = args[:1] if isinstance(args[2], int) and args[2] & _WRITES else ()
    elif event in _BY_FOLDER and args[-1] != -1:
        paths = ()  # relative to an open folder, as in shutil.rmtree, which is itself an event
    else:
        paths = args[:2] if event in _CHANGES else ()
    if any(map(_is_ours, paths)):
        raise PermissionError(f"a test writes into the repository: {event} {paths}; tests write into tmp_path")


def watch() -> None:
    """From now on, for the life of this process; processes it starts are not seen."""
    sys.addaudithook(_watch)
