"""Typed errors that compose their own message: expected, found, where, remedy.

Knows nothing of what raised them.
"""

from __future__ import annotations

from dataclasses import dataclass

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


class BedrestError(Exception):
    """Base of every error a user can cause or meet. The command line prints it without a traceback.

    Parameters
    ----------
    expected, found : what should have been there, and what was
    where : file, subject, session or table row
    remedy : what the user can do about it
    """

    def __init__(self, expected: str, found: str, where: str, remedy: str) -> None:
        self.expected, self.found, self.where, self.remedy = expected, found, where, remedy
        super().__init__(_sentence(where, expected, found, remedy))

    def as_problem(self) -> Problem:
        """The same four parts, to be collected with others."""
        return Problem(self.where, self.expected, self.found, self.remedy)


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
    """One problem that a check found; many are collected before anything is raised."""

    where: str  # as in :class:`BedrestError`
    expected: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return _sentence(self.where, self.expected, self.found, self.remedy)


def _sentence(where: str, expected: str, found: str, remedy: str) -> str:
    return f"{shown(where)}: expected {shown(expected)}, found {shown(found)}. {shown(remedy)}"


class ManyProblems(BedrestError):
    """All problems of one check at once.

    `problems`: at least one.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        first = problems[0]
        super().__init__(first.expected, first.found, first.where, first.remedy)

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
