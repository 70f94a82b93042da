"""Findings in a table: stored as JSON in the column `findings`, and rendered once into the columns for readers.

The only place where sentences get into a table. Later stages read `findings` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from bedrest.findings import Finding, TextColumn, decode, encode, render_all
from bedrest.schemas import Table

COLUMN = "findings"


def rendered(row: Mapping[str, Any], table: Table) -> Mapping[str, Any]:
    """A row whose findings are stored as text, with their sentences; unchanged where it has none or they are text.

    `row`: mapping of column to value; `findings` is a sequence of Finding. `table`: whose columns decide where a
    sentence goes: into the column of its code, else into `reason`.
    """
    findings = row.get(COLUMN)
    if findings is None or isinstance(findings, str):
        return row
    return {**row, **cells(findings, table)}


def cells(findings: Iterable[Finding], table: Table) -> dict[str, str]:
    """The cells of one row: `findings`, and every column that sentences go into."""
    listed = tuple(dict.fromkeys(findings))
    columns = [c for c in TextColumn if c in table.column_names]
    texts = {c.value: render_all(f for f in listed if _column(f, columns) == c) for c in columns}
    return {**texts, COLUMN: encode(listed)}


def _column(finding: Finding, columns: Sequence[TextColumn]) -> TextColumn:
    return finding.code.column if finding.code.column in columns else TextColumn.REASON


def findings_of(frame: pd.DataFrame) -> list[tuple[Finding, ...]]:
    """The findings of each row; none where a frame has no such column.

    Raises ManifestError: a cell holds something else.
    """
    return [decode(cell) for cell in frame[COLUMN]] if COLUMN in frame else [()] * len(frame)


def with_row_findings(frame: pd.DataFrame, findings: Sequence[Iterable[Finding]], table: Table) -> pd.DataFrame:
    """The frame with other findings, one sequence for each row."""
    new = pd.DataFrame([cells(f, table) for f in findings], index=frame.index, dtype="str")
    return frame.assign(**{str(name): new[name] for name in new.columns})
