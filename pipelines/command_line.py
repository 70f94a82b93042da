"""Command lines of what is run from the repository: options are the fields of a dataclass. Knows no command."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from bedrest.errors import BedrestError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Options = TypeVar("Options", bound="DataclassInstance")


def read_options(options_type: type[Options], module: str, words: list[str] | None = None) -> Options:
    """Options from the words of a command line, by default those of this process."""
    import tyro

    return tyro.cli(options_type, prog=f"python -m {module}", args=words)


def run_command(options_type: type[Options], run: Callable[[Options], int], *, module: str) -> int:
    """Exit status of a command; an expected error is one line, without a traceback."""
    options = read_options(options_type, module)
    try:
        return run(options)
    except BedrestError as error:
        print(f"{module}: {error}", file=sys.stderr)
        return 1


def command_text(options: DataclassInstance, *, module: str) -> str:
    """The command that gives these options, every one that is set, ready for a shell."""
    words = ["python", "-m", module]
    for field in fields(options):
        value: Any = getattr(options, field.name)
        if value is None or value is False or value == ():
            continue
        values = () if value is True else value if isinstance(value, tuple) else (value,)
        words += [f"--{field.name.replace('_', '-')}", *map(str, values)]
    return shlex.join(words)
