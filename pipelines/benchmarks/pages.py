"""What the pages of all our benchmarks share: checks of their options, their head, the table of targets, the files.

Computes nothing. What was not measured has its reason on the page, never a made-up number.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from bedrest import __version__
from bedrest.errors import StudyError
from bedrest.io.files import write_text
from bedrest.io.machine import cpu_model
from bedrest.io.tables.markdown import markdown_table
from bedrest.io.tables.typed_csv import write_table
from bedrest.schemas import Table
from tyro.conf import arg

from pipelines.benchmarks.targets import Check, TargetResult, TargetRow

if TYPE_CHECKING:
    import pandas as pd
    from bedrest.segmentation.weights import TrainedNetwork

Device = Literal["auto", "cpu", "cuda", "mps"]
PageFile = Annotated[Path, arg(aliases=["-o"], metavar="MD")]
WeightsFile = Annotated[Path | None, arg(metavar="FILE")]


@dataclass(frozen=True, eq=False)
class Part:
    """What one part of a benchmark measured.

    Attributes
    ----------
    checks : list of Check
    rows : sequence of mappings
        Rows of the benchmark's table of discs.
    detail : str
        Markdown for the page, below the table of targets; may be empty.
    """

    checks: list[Check]
    rows: Sequence[Mapping[str, Any]]
    detail: str = ""


def check_subjects(subjects: int) -> None:
    """Raises StudyError for a number of subjects below 1."""
    if subjects < 1:
        raise StudyError("at least one subject", str(subjects), "--subjects", "Give a positive number.")


def check_page(page: Path) -> None:
    """Raises StudyError for a page that is no Markdown file."""
    if page.suffix != ".md":
        raise StudyError("a file name ending in .md", page.name, "--output", "Choose another name with -o.")


def subjects_text(n: int) -> str:
    """A number of subjects in words."""
    return f"{n} subject" + ("" if n == 1 else "s")


def origin(command: str, *facts: str) -> str:
    """With what the numbers of a page were made, one fact a line: no date, so that the same run gives the same page."""
    lines = (f"made by `{command}`", f"bedrest {__version__}; machine: {cpu_model()}, {os.cpu_count()} cores", *facts)
    return "".join(f"- {line}\n" for line in lines)


def network_facts(trained: TrainedNetwork, weights: Path, device: str) -> tuple[str, ...]:
    """What `origin` needs to know of a network."""
    from bedrest.io.files import sha256_of

    record = ", ".join(f"{k} {v}" for k, v in trained.record.items() if isinstance(v, str | int | float))
    return (f"torch {version('torch')}, device {device}", f"weights `{weights.name}`, sha256 `{sha256_of(weights)}`",
            f"training record: {record or 'none'}")


def target_table(checks: Sequence[Check], rows: Sequence[TargetRow]) -> str:
    """Measured beside target, one line a number."""
    numbers = {row.name: i for i, row in enumerate(rows, start=1)}
    lines = [[f"{numbers[c.row]} {c.row}" if i == 0 or checks[i - 1].row != c.row else "", c.what, c.measured or "-",
              c.target, c.verdict.value, c.note] for i, c in enumerate(checks)]
    return markdown_table(["row", "number", "measured", "target", "met", "note"], lines)


def legend(rows: Sequence[TargetRow]) -> str:
    """What each row is measured on, and why its targets are what they are."""
    return "".join(f"{i}. **{row.name}**: {row.subject}. Why these targets: {row.why}.\n"
                   for i, row in enumerate(rows, start=1))


def verdict_counts(checks: Sequence[Check]) -> str:
    """How many targets were met, in words."""
    met, missed, not_measured = (sum(c.verdict == v for c in checks)
                                 for v in (TargetResult.MET, TargetResult.MISSED, TargetResult.NOT_MEASURED))
    return f"{met} targets met, {missed} missed, {not_measured} numbers not measured"


def level_table(title: str, about: str, columns: Mapping[str, Mapping[str, tuple[float, float]]]) -> str:
    """Markdown: mean, and SD in brackets, of each level, one column a measurement.

    Parameters
    ----------
    columns : heading to level to mean and SD, per cent; all of the same levels
    """
    from bedrest.io.tables.markdown import formatted

    levels = next(iter(columns.values()))
    rows = [[level, *(f"{formatted(by_level[level][0], '{:+.2f}')} ({formatted(by_level[level][1], '{:.2f}')})"
                      for by_level in columns.values())] for level in levels]
    return f"## {title}\n\n{about}\n\n" + markdown_table(["level", *columns], rows)


def write_page(page: Path, sections: Sequence[str], rows: pd.DataFrame, table: Table) -> None:
    """The page, and beside it every row that it was made from.

    Parameters
    ----------
    rows : DataFrame, as in `table`
    """
    write_table(rows, page.with_suffix(".csv"), table)
    write_text(page, "\n".join(sections))
    print(f"{page}, {page.with_suffix('.csv')}")
