"""Reading and writing tables by their schema. All problems of a table are reported at once, each with its row."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bedrest.errors import ManifestError, ManyProblems, Problem
from bedrest.io.files import require_plain_file, write_if_changed, write_text
from bedrest.io.tables.cells import as_meant, without_formulas
from bedrest.io.tables.frames import RowProblem, bad_cell, check_rows, column_problems, concat_tables, typed, validated
from bedrest.schemas import Col, Table
from bedrest.vocabulary import LEVELS, MISSING_WORDS

_LEVEL_RANK = {level: i for i, level in enumerate(LEVELS)}


@dataclass(frozen=True)
class TextTable:
    """A table as its file spells it."""

    frame: pd.DataFrame  # every cell text; a missing one is empty
    lines: tuple[int, ...]  # line of the file that each row ends on; the header is line 1
    path: Path


def read_text(path: Path, name: str) -> TextTable:
    """Read a CSV (or TSV by its ending) without believing anything about its cells.

    Raises ManifestError: the file is missing, not UTF-8 text or has no header; ManyProblems: a row is longer than the
    header, or a column stands twice.
    """
    return _text_table(*_rows_of(path, name), path)


def _rows_of(path: Path, name: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header of a table file, and each row's line and cells; a missing cell is empty."""
    remedy = "Save it as CSV, UTF-8, comma-separated, with a header row."
    try:
        require_plain_file(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
            rows = [(reader.line_num, [as_meant(cell.strip()) for cell in row]) for row in reader if any(row)]
    except FileNotFoundError as error:
        raise ManifestError(f"the table {name}", "no such file", str(path), "Check the path.") from error
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise ManifestError("a UTF-8 table with a header row", str(error).strip(), str(path), remedy) from error
    if not rows:
        raise ManifestError("a table with a header row", "an empty file", str(path), remedy)
    header, body = rows[0][1], rows[1:]
    problems = [Problem(f"{path}, row {line}", f"{len(header)} cells as in the header", f"{len(row)}",
                        "Put cells that hold a comma in double quotes.")
                for line, row in body if len(row) > len(header)]
    problems += [Problem(str(path), "every column once", f"{column!r} more than once", "Remove one of them.")
                 for column in dict.fromkeys(header) if header.count(column) > 1]
    if problems:
        raise ManyProblems(problems)
    return header, [(line, ["" if c in MISSING_WORDS else c for c in row] + [""] * (len(header) - len(row)))
                    for line, row in body]


def _text_table(header: list[str], body: list[tuple[int, list[str]]], path: Path) -> TextTable:
    return TextTable(pd.DataFrame([row for _, row in body], columns=header, dtype="str"),
                     tuple(line for line, _ in body), path)


def convert(text: TextTable, table: Table) -> tuple[pd.DataFrame, list[RowProblem]]:
    """Give a text table the dtypes of its schema and check every cell of it: all rows, and their problems.

    A number that could not be understood is missing. Raises ManyProblems where columns are missing or unknown: then no
    row means anything.
    """
    where = str(text.path)
    if wrong_columns := column_problems(text.frame, table, where=where):
        raise ManyProblems(wrong_columns)
    frame, problems = text.frame.copy(), []
    for c in table.columns:
        if c.name in frame.columns and c.dtype != "str":
            frame[c.name], bad = _converted(text.frame[c.name], c)
            problems += [RowProblem(i, bad_cell(text.frame[c.name].iloc[i], c, where=f"{where}, row {text.lines[i]}"))
                         for i in bad]
    frame = typed(frame, table, where=where)
    cells = {p.problem.where for p in problems}
    problems += [p for p in check_rows(frame, table, where=where, lines=text.lines) if p.problem.where not in cells]
    return frame, problems


def _converted(cells: pd.Series, column: Col) -> tuple[pd.Series, list[int]]:
    """Numbers of text cells, and the positions of cells that hold something else."""
    if column.dtype == "bool":
        values = cells.str.lower().map({"true": True, "1": True, "false": False, "0": False})
        return values.fillna(False).astype("bool"), [i for i, v in enumerate(values) if pd.isna(v)]
    values = pd.to_numeric(cells.where(cells != "", None), errors="coerce")
    wrong = (cells != "") & (values.isna() | values.abs().eq(float("inf")))
    if column.dtype == "int":
        wrong |= values.notna() & (values % 1 != 0)
    return values.mask(wrong).astype(column.pandas_dtype), [i for i, w in enumerate(wrong) if w]


def read_table(path: Path, table: Table, *, subject: str = "") -> pd.DataFrame:
    """Read a CSV (or TSV by its ending) by its schema; identifiers stay text. `subject`: this one's rows alone.

    Raises ManifestError: the file is missing or not a table; ManyProblems: rows or columns depart from the schema.
    """
    header, body = _rows_of(path, table.name)
    if subject and "subject" in header:
        at = header.index("subject")
        body = [(line, row) for line, row in body if row[at] == subject]
    frame, problems = convert(_text_table(header, body, path), table)
    if problems:
        raise ManyProblems([p.problem for p in problems])
    return frame


def read_tables(paths: Sequence[Path], table: Table) -> pd.DataFrame:
    """Rows of many files of one table; validated all at once, since a check costs more than a small file's rows.

    Raises as `read_table`, for the first file at fault.
    """
    read = [_rows_of(path, table.name) for path in paths]
    headers = {tuple(header) for header, _ in read}
    if len(headers) == 1:
        rows = [row for _, body in read for row in body]
        frame, problems = convert(_text_table(list(headers.pop()), rows, paths[0]), table)
        if not problems:
            return frame
    return concat_tables([read_table(path, table) for path in paths], table)  # files that differ, or a fault to place


def write_table(frame: pd.DataFrame, path: Path, table: Table, *, only_if_changed: bool = False) -> None:
    """Write a table as CSV in the order of its key (levels top to bottom), whole or not at all.

    Raises ManyProblems: the frame departs from its schema; OutputError: the file cannot be written.
    """
    text = _csv_of(_ordered(frame, table, path))
    (write_if_changed if only_if_changed else write_text)(path, text)


def write_parts(frame: pd.DataFrame, paths: Mapping[str, Path], table: Table) -> None:
    """Write each subject's rows as a table of its own, only where it changed; validated once, as a whole.

    `frame`: DataFrame with a column subject. `paths`: subject -> file; one without rows gets a table without rows.
    Raises ManyProblems, OutputError: as `write_table`.
    """
    if not paths:
        return
    frame = _ordered(frame, table, next(iter(paths.values())).parent)
    rows = frame.groupby("subject", sort=False).indices
    for subject, path in paths.items():
        write_if_changed(path, _csv_of(frame.iloc[rows[subject]] if subject in rows else frame.iloc[:0]))


def _ordered(frame: pd.DataFrame, table: Table, path: Path) -> pd.DataFrame:
    """The frame as it is written: validated, in the order of its key."""
    frame = validated(frame, table, where=f"table {table.name}, to be written to {path}")
    if table.key:
        frame = frame.sort_values(list(table.key), kind="stable",
                                  key=lambda c: c.map(lambda v: _LEVEL_RANK.get(v, 99)) if c.name == "level" else c)
    return frame


def _csv_of(frame: pd.DataFrame) -> str:
    # Fifteen digits carry a double through text and back for every purpose here, and hide its last-bit noise.
    return str(without_formulas(frame).to_csv(index=False, float_format="%.15g", lineterminator="\n"))
