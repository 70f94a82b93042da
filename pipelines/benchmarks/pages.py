"""What the pages of all benchmarks share: their head, the table of targets, what each row means.

Computes nothing. What cannot be measured here is said, never made up.
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bedrest import __version__
from bedrest.errors import StudyError

if TYPE_CHECKING:
    from bedrest.segmentation.weights import TrainedNetwork

    from pipelines.benchmarks.targets import Check, Row

_ORIGIN = """- made by `{command}`
- bedrest {version}, torch {torch}, {drawn}
- weights `{weights}`, sha256 `{sha256}`
- training record: {record}
- machine: {cpu}, {cores} cores; device {device}
"""


def check_subjects(subjects: int) -> None:
    """Raises StudyError for a number of subjects below 1."""
    if subjects < 1:
        raise StudyError("at least one subject", str(subjects), "--subjects", "Give a positive number.")


def check_page(args: argparse.Namespace) -> None:
    """Raises StudyError for a page that is none, or a number of subjects below 1."""
    check_subjects(args.subjects)
    if args.output.suffix != ".md":
        raise StudyError("a file name ending in .md", args.output.name, "--output", "Choose another name with -o.")


def origin(words: Sequence[str], trained: TrainedNetwork, *, weights: Path, drawn: str, device: str) -> str:
    """With what the numbers were made: no date, so that the same run gives the same page.

    Parameters
    ----------
    words : the command, word by word
    drawn : seed and number of synthetic people
    """
    from importlib.metadata import version

    from bedrest.io.files import sha256_of
    from bedrest.io.machine import cpu_model

    record = ", ".join(f"{k} {v}" for k, v in trained.record.items() if isinstance(v, str | int | float))
    return _ORIGIN.format(
        command=shlex.join(words), version=__version__, torch=version("torch"), drawn=drawn, weights=weights.name,
        sha256=sha256_of(weights), record=record or "none", cpu=cpu_model(), cores=os.cpu_count(), device=device)


def target_table(checks: Sequence[Check], rows: Sequence[Row]) -> str:
    """Measured beside target, one line a number."""
    from bedrest.protocols.disc_records import markdown_table

    numbers = {row.name: i for i, row in enumerate(rows, start=1)}
    lines = [[f"{numbers[c.row]} {c.row}" if i == 0 or checks[i - 1].row != c.row else "", c.what, c.measured or "-",
              c.target, c.verdict.value, c.note] for i, c in enumerate(checks)]
    return markdown_table(["row", "number", "measured", "target", "met", "note"], lines)


def legend(rows: Sequence[Row]) -> str:
    """What each row is measured on, and why its targets are what they are."""
    return "".join(f"{i}. **{row.name}**: {row.subject}. Why these targets: {row.why}.\n"
                   for i, row in enumerate(rows, start=1))


def told_counts(checks: Sequence[Check]) -> str:
    """How many targets were met, in words."""
    from pipelines.benchmarks.targets import TargetResult

    met, missed, not_measured = (sum(c.verdict == v for c in checks)
                                 for v in (TargetResult.MET, TargetResult.MISSED, TargetResult.NOT_MEASURED))
    return f"{met} targets met, {missed} missed, {not_measured} numbers not measured"
