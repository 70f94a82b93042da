"""What a stage's results depend on besides its input files: its own code, libraries, settings and files of the program.

A stage's code is every module of bedrest that its module imports, and they import in turn, inside functions as well;
its libraries are the others that those modules import. Both are read from the sources: nothing is imported.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import textwrap
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bedrest.io.files import sha256_of, write_if_changed
from bedrest.io.results import StudyResults
from bedrest.pages.reports import study_pages
from bedrest.settings import Study
from bedrest.stages.all_stages import NAMES, fingerprint_of, stage
from bedrest.stages.stage import Scope, Stage

PACKAGE = Path(__file__).parents[1]
_DIGITS = 12  # of a module's checksum: enough to see a change, short in thousands of records
# Import statements, without parsing the rest of a module, which would take a second for all of them.
_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+[\w.]+[ \t]+import[ \t]+(?:\([^)]*\)|[^\n(]+)|import[ \t]+[\w., \t]+)", re.M)
_FOR_TYPES = re.compile(r"^([ \t]*)if (?:typing\.)?TYPE_CHECKING:\n(?:\1[ \t]+.*\n|[ \t]*\n)+", re.M)
# Distributions whose name is not that of the module: asking the system for all of them takes a second.
_DISTRIBUTIONS = {"skimage": "scikit-image", "PIL": "pillow", "surface_distance": "Surface-Distance-Based-Measures"}


@dataclass(frozen=True)
class Closure:
    """Everything that sources import: modules of bedrest as files, and names of other libraries' modules."""

    modules: frozenset[Path]
    libraries: frozenset[str]


def closure(sources: Iterable[Path]) -> Closure:
    """Follow the imports of some files, which are themselves part of the answer where they belong to bedrest."""
    modules: set[Path] = set()
    libraries: set[str] = set()
    waiting = list(sources)
    while waiting:
        path = waiting.pop()
        if path in modules:
            continue
        if path.is_relative_to(PACKAGE):
            modules.add(path)
        names = imported_names(path)
        waiting += [p for name in names for p in _files_of(name)]
        libraries |= {name.split(".")[0] for name in names}
    return Closure(frozenset(modules), frozenset(libraries - sys.stdlib_module_names - {"bedrest"}))


@cache
def imported_names(path: Path) -> frozenset[str]:
    """Dotted names that a file imports when it runs: not those for type checkers alone.

    Of a package's `__init__.py` only what is imported with it counts: what it loads on demand is no dependency of all
    that lies in the package.
    """
    source = _FOR_TYPES.sub("", _source(path))
    names: set[str] = set()
    for text in _IMPORT.findall(source):
        if path.name == "__init__.py" and text[0].isspace():
            continue
        try:
            statement = ast.parse(textwrap.dedent(text)).body[0]
        except SyntaxError:  # a sentence of a docstring
            continue
        if isinstance(statement, ast.ImportFrom) and statement.module:
            names |= {f"{statement.module}.{a.name}" for a in statement.names}
        elif isinstance(statement, ast.Import):
            names |= {a.name for a in statement.names}
    return frozenset(names)


def _source(path: Path) -> str:
    """A module's text; of a notebook in JSON, its cells of code."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if path.suffix != ".ipynb":
        return text
    try:
        cells = [c["source"] for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
        return "\n".join("".join(c) if isinstance(c, list) else c for c in cells)
    except (ValueError, KeyError, TypeError):
        return ""  # damaged: the page says so


@cache
def _files_of(name: str) -> tuple[Path, ...]:
    """Files of bedrest that run when a dotted name is imported: its module, and the packages around it."""
    first, *parts = name.split(".")
    if first != PACKAGE.name:
        return ()
    files, folder = [PACKAGE / "__init__.py"], PACKAGE
    for part in parts:
        if (folder / f"{part}.py").is_file():
            files.append(folder / f"{part}.py")
            break
        folder /= part
        if not (folder / "__init__.py").is_file():
            break  # a name inside the module before it
        files.append(folder / "__init__.py")
    return tuple(files)


@cache
def library_version(module: str) -> str:
    """Version of the distribution that holds a top-level module."""
    with suppress(PackageNotFoundError):
        return version(_DISTRIBUTIONS.get(module, module))
    return next((version(name) for name in packages_distributions().get(module, ())), "not installed")


@cache
def _checksum(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()[:_DIGITS]


def setting(study: Study, key: str) -> dict[str, Any]:
    """Values of a key of study.toml, or of all keys of a section, by the last part of their names."""
    value: Any = study
    for part in key.split("."):
        value = getattr(value, part)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return {key.split(".")[-1]: study.model_dump(mode="json", include={key})[key] if "." not in key else value}


def fingerprint(declared: Stage, study: Study, page: str = "") -> dict[str, dict[str, Any]]:
    """Settings, files, modules and libraries of a stage, each by its name."""
    files = declared.files(study, page)
    code = closure([Path(str(sys.modules[declared.run.__module__].__file__)),
                    *(p for p in files.values() if p.suffix in (".py", ".ipynb"))])
    return {
        "settings": {k: v for key in declared.settings for k, v in setting(study, key).items()},
        "files": {name: sha256_of(path) if path.is_file() else "" for name, path in files.items()},
        "program": {p.relative_to(PACKAGE).as_posix(): _checksum(p) for p in sorted(code.modules)},
        "libraries": {name: library_version(name) for name in sorted(code.libraries)},
    }


def write_fingerprints(study: Study, results: StudyResults) -> None:
    """Write the fingerprint of every stage as a small file that changes only when it does."""
    for declared in map(stage, NAMES):
        for page in study_pages(study) if declared.scope is Scope.PAGE else ("",):
            text = json.dumps(fingerprint(declared, study, page), indent=1, sort_keys=True) + "\n"
            write_if_changed(results.output_dir / fingerprint_of(declared, page), text)
