"""Frames by their schema: made from rows, given their dtypes, validated. All faults of a table are named at once.

Knows nothing of files, and nothing of what the rows mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from bedrest.errors import ManyProblems, Problem, did_you_mean
from bedrest.io.tables.finding_cells import rendered
from bedrest.schemas import Col, Table


@dataclass(frozen=True)
class RowProblem:
    """A problem and the position of its row in the frame."""

    row: int
    problem: Problem


def typed_frame(rows: Iterable[Mapping[str, Any]], table: Table) -> pd.DataFrame:
    """A DataFrame in the order and with the dtypes of a table; right for no rows at all too.

    `rows`: iterable of mappings, column to value; a column that a row leaves out is missing there: empty text, or NaN.
    Where `findings` is a sequence of Finding, it is stored as text and the sentences are made from it. Raises KeyError:
    if a row has a column the table does not know: that is a fault of the caller, not of the data.
    """
    listed = [rendered(row, table) for row in rows]
    if unknown := set().union(*listed) - set(table.column_names):
        raise KeyError(f"{table.name} has no column {sorted(unknown)}")
    absent = {c.name: "" if c.dtype == "str" else None for c in table.columns}
    return pd.DataFrame({c.name: pd.Series([row.get(c.name, absent[c.name]) for row in listed], dtype=c.pandas_dtype)
                         for c in table.columns})


def empty_table(table: Table) -> pd.DataFrame:
    """A table without rows, every column with its dtype."""
    return typed_frame([], table)


def text(value: object) -> str:
    """A text cell as text: a missing one, which comes back from CSV as NaN, is empty."""
    return value if isinstance(value, str) else ""


def typed(frame: pd.DataFrame, table: Table, *, where: str = "") -> pd.DataFrame:
    """Columns of the schema in order and with their dtypes; missing text becomes empty; free columns kept last.

    Raises ManyProblems: a column is missing, unknown or holds what its dtype cannot.
    """
    where = where or f"table {table.name}"
    problems, out = column_problems(frame, table, where=where), {}
    for c in table.columns:
        if c.name not in frame.columns:
            continue
        values = frame[c.name]
        try:
            if c.dtype == "str":
                out[c.name] = values.astype("object").where(values.notna(), "").map(str).astype("str")
            else:
                numbers = pd.to_numeric(values) if c.dtype != "bool" else values
                out[c.name] = numbers.astype(c.pandas_dtype)
        except (ValueError, TypeError) as error:
            problems.append(bad_cell(error, c, where=where))
    if problems:
        raise ManyProblems(problems)
    free = {n: frame[n] for n in frame.columns if table.free_columns and n not in table.column_names}
    return pd.DataFrame({**out, **free}).reset_index(drop=True)


def bad_cell(cell: object, column: Col, *, where: str) -> Problem:
    """The problem of a cell (or an error that quotes it) that is not of the column's kind."""
    kind = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "text"}[column.dtype]
    unit = f" in {column.unit}" if column.unit not in ("", "1") else ""
    return Problem(f"{where}, column {column.name}", f"{kind}{unit}: {column.meaning}",
                   repr(cell) if isinstance(cell, str) else str(cell),
                   "Correct the cell; leave it empty where the value is not known.")


def column_problems(frame: pd.DataFrame, table: Table, *, where: str) -> list[Problem]:
    """Columns that are missing, or unknown where the table takes no free ones; each with the nearest name."""
    known, present, problems = table.column_names, [str(n) for n in frame.columns], []
    if len(present) == 1 and ";" in present[0]:
        return [Problem(where, "columns parted by commas", f"the header {present[0]!r}",
                        "Save the table comma-separated, with a point in decimal numbers.")]
    for name in present:
        if name not in known and not table.free_columns:
            remedy = did_you_mean(name, [k for k in known if k not in present], "Remove the column.")
            problems.append(Problem(where, f"columns out of {', '.join(known)}", f"the column {name!r}", remedy))
    for c in table.columns:
        if c.name not in present and not c.optional:
            near = get_close_matches(c.name, [n for n in present if n not in known], n=1)
            problems.append(Problem(where, f"a column {c.name!r} ({c.meaning})", "none",
                                    f"Rename {near[0]!r}?" if near else "Add it."))
    return problems


def misspelt_columns(names: Iterable[str], table: Table, *, where: str) -> list[Problem]:
    """Free columns that look like a known column which is absent: kept, but worth a word."""
    listed = list(names)
    absent = [c.name for c in table.columns if c.name not in listed]
    nearest = {n: get_close_matches(n, absent, n=1, cutoff=0.8) for n in listed if n not in table.column_names}
    return [Problem(where, f"columns out of {', '.join(table.column_names)}", f"the column {name!r}",
                    f"Did you mean {near[0]!r}? As it stands it is a further column.")
            for name, near in nearest.items() if near]


def check_rows(frame: pd.DataFrame, table: Table, *, where: str,
               lines: Sequence[int] | None = None) -> list[RowProblem]:
    """Every departure of a typed frame from its schema, with the row; `lines` gives the row numbers of its file."""
    lines = lines or range(2, len(frame) + 2)
    problems = []
    for c in (c for c in table.columns if c.name in frame.columns):
        cells = frame[c.name]
        missing = cells == "" if c.dtype == "str" else cells.isna()
        wrong = missing & c.required
        if c.values:
            wrong |= ~missing & ~cells.isin(c.values)
        if c.minimum is not None:
            wrong |= ~missing & (cells < c.minimum).fillna(False).astype("bool")
        problems += [RowProblem(row, _cell_problem(cells.iloc[row], c, where=f"{where}, row {lines[row]}"))
                     for row in np.flatnonzero(wrong).tolist()]
    if key := [k for k in table.key if k in frame.columns]:
        problems += [RowProblem(row, Problem(f"{where}, row {lines[row]}", f"each {' + '.join(table.key)} once",
                                             f"{', '.join(map(str, frame[key].iloc[row]))} more than once",
                                             "Keep one of these rows and remove the others."))
                     for row in np.flatnonzero(frame.duplicated(key, keep=False)).tolist()]
    return problems


def _cell_problem(cell: object, column: Col, *, where: str) -> Problem:
    """What is wrong with a cell that is empty, or not one of those allowed."""
    place = f"{where}, column {column.name}"
    if pd.isna(cell) or cell == "":
        return Problem(place, column.meaning, "an empty cell", "Fill in the cell.")
    allowed = f"one of {', '.join(column.values)}" if column.values else f"a value of at least {column.minimum}"
    return Problem(place, allowed, repr(cell), did_you_mean(cell, column.values, "Correct the cell."))


def validated(frame: pd.DataFrame, table: Table, *, where: str = "") -> pd.DataFrame:
    """The frame, typed and without a fault. Raises ManyProblems: a column or a row departs from the schema."""
    frame = typed(frame, table)
    if problems := check_rows(frame, table, where=where or f"table {table.name}"):
        raise ManyProblems([p.problem for p in problems])
    return frame


def concat_tables(frames: Iterable[pd.DataFrame], table: Table) -> pd.DataFrame:
    """Rows of all frames under one schema; an empty table when there are none."""
    filled = [typed(f, table) for f in frames if len(f)]
    return pd.concat(filled, ignore_index=True) if filled else empty_table(table)
