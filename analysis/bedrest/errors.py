"""Typed errors that compose their own message: expected, found, where, remedy.

Knows nothing of what raised them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

MAX_CHARACTERS = 3000  # characters of each part of a message
MAX_PROBLEMS = 200
MAX_CHARACTERS_TOGETHER = 60_000  # characters of many problems together


def shown(words: str) -> str:
    """Text that may quote a file, made safe to print and store: on one line, of bounded length.

    Control characters, line ends, marks of writing direction and bytes that are no text are escaped, so that the name
    of a file can neither control a terminal nor begin a new line.

    Examples
    --------
    >>> print(shown("a\\x1b[31m\\nb"))
    a\\x1b[31m\\nb
    """
    cut = words if len(words) <= MAX_CHARACTERS else f"{words[:MAX_CHARACTERS]}... ({len(words)} characters)"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


def did_you_mean(word: object, known: Iterable[str], otherwise: str, *, cutoff: float = 0.6) -> str:
    """The remedy for a word out of a list: the nearest known one, or what to do where none is near."""
    near = get_close_matches(str(word), list(known), n=1, cutoff=cutoff)
    return f"Did you mean {str(near[0])!r}?" if near else otherwise


def brief(error: BaseException) -> str:
    """The first line of another library's error, or its type where it says nothing."""
    return (str(error).splitlines() or [""])[0][:160] or type(error).__name__


class BedrestError(Exception):
    """Base of every error a user can cause or meet. The command line prints it without a traceback.

    Parameters
    ----------
    expected, actual : what should have been there, and what was
    where : file, subject, session or table row
    remedy : what the user can do about it
    """

    def __init__(self, expected: str, actual: str, where: str, remedy: str) -> None:
        self.expected, self.actual, self.where, self.remedy = expected, actual, where, remedy
        super().__init__(_sentence(where, expected, actual, remedy))

    def as_problem(self) -> Problem:
        """The same four parts, to be collected with others."""
        return Problem(self.where, self.expected, self.actual, self.remedy)


class StudyError(BedrestError):
    """study.toml cannot be used."""


class ManifestError(BedrestError):
    """A manifest table or a dataset layout cannot be used."""


class ImageError(BedrestError):
    """A file is not an image this toolkit can read."""


class GeometryError(BedrestError):
    """Grids, affines or fields of view do not fit each other."""


class WeightsError(BedrestError):
    """A weights file is missing, damaged or made for another architecture."""


class ModelError(BedrestError):
    """A statistical model cannot be fitted, or must not be trusted."""


class OutputError(BedrestError):
    """An output cannot be written."""


@dataclass(frozen=True)
class Problem:
    """One problem that a check found, in the parts of a `BedrestError`; many are collected before one is raised."""

    where: str
    expected: str
    actual: str
    remedy: str

    def __str__(self) -> str:
        return _sentence(self.where, self.expected, self.actual, self.remedy)


def _sentence(where: str, expected: str, actual: str, remedy: str) -> str:
    return f"{shown(where)}: expected {shown(expected)}, found {shown(actual)}. {shown(remedy)}"


class ManyProblems(BedrestError):
    """All problems of one check at once, at least one."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        first = problems[0]
        super().__init__(first.expected, first.actual, first.where, first.remedy)

    def __str__(self) -> str:
        lines: list[str] = []
        for problem in self.problems[:MAX_PROBLEMS]:
            lines.append(f"- {problem}")
            if sum(map(len, lines)) > MAX_CHARACTERS_TOGETHER:
                break
        more = len(self.problems) - len(lines)
        return "\n".join([*lines, f"- and {more} more"] if more > 0 else lines)


class NotebookError(BedrestError):
    """A notebook's parameters do not fit, or one of its cells failed."""
