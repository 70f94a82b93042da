"""Reading and writing tables by their schema. All problems of a table are told at once."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from analysis.errors import ManifestError, ManyProblems, Problem
from analysis.io.files import write_if_changed, write_text
from analysis.schemas import Table
from analysis.vocabulary import LEVELS

if TYPE_CHECKING:
    import pandera.errors

_PANDAS = {"str": "str", "int": "Int64", "float": "float64", "bool": "bool"}
_LEVEL_RANK = {level: i for i, level in enumerate(LEVELS)}


def empty_table(table: Table) -> pd.DataFrame:
    """A table without rows, every column with its dtype."""
    return pd.DataFrame({c.name: pd.Series(dtype=_PANDAS[c.dtype]) for c in table.columns})


def typed(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Columns of the schema in order and with their dtypes; missing text becomes empty; free columns kept last.

    Raises
    ------
    ManyProblems
        A column is missing, unknown or holds what its dtype cannot.
    """
    problems, out = _column_problems(frame, table), {}
    for c in table.columns:
        if c.name not in frame.columns:
            continue
        values = frame[c.name]
        try:
            if c.dtype == "str":
                out[c.name] = values.astype("object").where(values.notna(), "").map(str).astype("str")
            else:
                numbers = pd.to_numeric(values) if c.dtype != "bool" else values
                out[c.name] = numbers.astype(_PANDAS[c.dtype])
        except (ValueError, TypeError) as error:
            problems.append(Problem(f"{table.name}, column {c.name}", f"values of type {c.dtype}", str(error),
                                    "Correct the cell; leave it empty where the value is not known."))
    if problems:
        raise ManyProblems(problems)
    free = {n: frame[n] for n in frame.columns if table.free_columns and n not in table.column_names}
    return pd.DataFrame({**out, **free}).reset_index(drop=True)


def _column_problems(frame: pd.DataFrame, table: Table) -> list[Problem]:
    problems = []
    known = table.column_names
    for name in frame.columns:
        if name not in known and not table.free_columns:
            near = get_close_matches(str(name), known, n=1)
            problems.append(Problem(f"table {table.name}", f"columns out of {', '.join(known)}", repr(name),
                                    f"Did you mean {near[0]!r}?" if near else "Remove the column."))
    for c in table.columns:
        if c.name not in frame.columns and not c.optional:
            near = get_close_matches(c.name, [str(n) for n in frame.columns], n=1)
            problems.append(Problem(f"table {table.name}", f"a column {c.name!r} ({c.meaning})", "none",
                                    f"Rename {near[0]!r}?" if near else "Add it."))
    return problems


def check_table(frame: pd.DataFrame, table: Table, *, where: str) -> list[Problem]:
    """Every departure of a typed frame from its schema, with the row (the header is row 1)."""
    import pandera.errors

    # To pandera an empty text is not a missing one.
    text = [c.name for c in table.columns if c.dtype == "str" and c.name in frame.columns]
    asked = frame.assign(**{n: frame[n].astype("object").where(frame[n] != "", None) for n in text})
    try:
        table.pandera.validate(asked, lazy=True)
    except pandera.errors.SchemaErrors as error:
        return _problems_of(error, frame, table, where)
    return []


def _problems_of(error: pandera.errors.SchemaErrors, frame: pd.DataFrame, table: Table, where: str) -> list[Problem]:
    columns = {c.name: c for c in table.columns}
    problems: dict[str, Problem] = {}
    for case in error.failure_cases.to_dict("records"):
        row = case.get("index")
        place = f"{where}, row {int(row) + 2}" if row is not None and row == row else where
        column = columns.get(str(case.get("column")))
        if column is None:  # the key: one case a column and row
            key = ", ".join(str(frame.at[row, k]) for k in table.key) if row is not None and row == row else "?"
            found = Problem(place, f"each {' + '.join(table.key)} once", f"{key} more than once", "Remove one of them.")
        elif "not_nullable" in str(case["check"]):
            found = Problem(f"{place}, column {column.name}", column.meaning, "nothing", "Fill in the cell.")
        else:
            allowed = f"one of {', '.join(column.values)}" if column.values else f"a value of at least {column.minimum}"
            near = get_close_matches(str(case["failure_case"]), column.values, n=1)
            found = Problem(f"{place}, column {column.name}", allowed, repr(case["failure_case"]),
                            f"Did you mean {near[0]!r}?" if near else "Correct the cell.")
        problems.setdefault(str(found), found)
    return list(problems.values())


def read_table(path: Path, table: Table) -> pd.DataFrame:
    """Read a CSV (or TSV by its ending) by its schema; identifiers stay text.

    Raises
    ------
    ManifestError
        The file is missing or not a table.
    ManyProblems
        Rows or columns depart from the schema.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, sep="\t" if path.suffix == ".tsv" else ",",
                            encoding="utf-8-sig", skipinitialspace=True)
    except FileNotFoundError as error:
        raise ManifestError(f"the table {table.name}", "no such file", str(path), "Check the path.") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise ManifestError("a UTF-8 table with a header row", str(error).strip(), str(path),
                            "Save it as CSV, UTF-8, comma-separated.") from error
    frame = typed(frame.replace({"n/a": ""}).replace({"": None}), table)
    if problems := check_table(frame, table, where=str(path)):
        raise ManyProblems(problems)
    return frame


def write_table(frame: pd.DataFrame, path: Path, table: Table, *, only_if_changed: bool = False) -> None:
    """Write a table as CSV in the order of its key (levels top to bottom), whole or not at all.

    Raises
    ------
    ManyProblems
        The frame departs from its schema.
    OutputError
        The file cannot be written.
    """
    frame = typed(frame, table)
    if problems := check_table(frame, table, where=f"table {table.name}"):
        raise ManyProblems(problems)
    if table.key:
        frame = frame.sort_values(list(table.key), kind="stable",
                                  key=lambda c: c.map(lambda v: _LEVEL_RANK.get(v, 99)) if c.name == "level" else c)
    # Fifteen digits carry a double through text and back for every purpose here, and hide its last-bit noise.
    text = frame.to_csv(index=False, float_format="%.15g", lineterminator="\n")
    (write_if_changed if only_if_changed else write_text)(path, text)


def concat_tables(frames: Iterable[pd.DataFrame], table: Table) -> pd.DataFrame:
    """Rows of all frames under one schema; an empty table when there are none."""
    filled = [typed(f, table) for f in frames if len(f)]
    return pd.concat(filled, ignore_index=True) if filled else empty_table(table)
