"""Reading and writing tables by their schema. All problems of a table are told at once, each with its row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bedrest.errors import ManifestError, ManyProblems, Problem
from bedrest.io.files import require_plain_file, write_if_changed, write_text
from bedrest.io.tables.cells import as_meant, without_formulas
from bedrest.schemas import Col, Table
from bedrest.vocabulary import LEVELS, MISSING_WORDS

if TYPE_CHECKING:
    import pandera.errors

_PANDAS = {"str": "str", "int": "Int64", "float": "float64", "bool": "bool"}
_LEVEL_RANK = {level: i for i, level in enumerate(LEVELS)}


@dataclass(frozen=True)
class TextTable:
    """A table as its file spells it.

    Attributes
    ----------
    frame : DataFrame
        Every cell text; a missing one is empty.
    lines : tuple of int
        Line of the file that each row ends on; the header is line 1.
    path : Path
    """

    frame: pd.DataFrame
    lines: tuple[int, ...]
    path: Path


@dataclass(frozen=True)
class RowProblem:
    """A problem and the position of its row in the frame; -1 when it is not about one row."""

    row: int
    problem: Problem


def empty_table(table: Table) -> pd.DataFrame:
    """A table without rows, every column with its dtype."""
    return pd.DataFrame({c.name: pd.Series(dtype=_PANDAS[c.dtype]) for c in table.columns})


def read_text(path: Path, name: str) -> TextTable:
    """Read a CSV (or TSV by its ending) without believing anything about its cells.

    Raises
    ------
    ManifestError
        The file is missing, not UTF-8 text or has no header.
    ManyProblems
        A row is longer than the header, or a column stands twice.
    """
    header, body = _rows_of(path, name)
    return _text_table(header, body, path)


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
    problems = [
        Problem(f"{path}, row {line}", f"{len(header)} cells as in the header", f"{len(row)}",
                "Put cells that hold a comma in double quotes.")
        for line, row in body if len(row) > len(header)
    ]
    problems += [Problem(str(path), "every column once", f"{column!r} more than once", "Remove one of them.")
                 for column in dict.fromkeys(header) if header.count(column) > 1]
    if problems:
        raise ManyProblems(problems)
    return header, [(line, ["" if c in MISSING_WORDS else c for c in row] + [""] * (len(header) - len(row)))
                    for line, row in body]


def _text_table(header: list[str], body: list[tuple[int, list[str]]], path: Path) -> TextTable:
    frame = pd.DataFrame([row for _, row in body], columns=header, dtype="str")
    return TextTable(frame, tuple(line for line, _ in body), path)


def convert(text: TextTable, table: Table) -> tuple[pd.DataFrame, list[RowProblem]]:
    """Give a text table the dtypes of its schema and check every cell of it.

    Returns
    -------
    DataFrame
        All rows; a number that could not be understood is missing.
    list of RowProblem

    Raises
    ------
    ManyProblems
        Columns are missing or unknown: then no row means anything.
    """
    where = str(text.path)
    if problems := column_problems(text.frame, table, where=where):
        raise ManyProblems(problems)
    frame, found = text.frame.copy(), []
    for c in table.columns:
        if c.name in frame.columns and c.dtype != "str":
            frame[c.name], bad = _converted(text.frame[c.name], c)
            found += [
                RowProblem(i, Problem(f"{where}, row {text.lines[i]}, column {c.name}", f"{_kind(c)}: {c.meaning}",
                                      repr(text.frame[c.name].iloc[i]),
                                      "Correct the cell; leave it empty where the value is not known."))
                for i in bad
            ]
    frame = typed(frame, table, where=where)
    told = {p.problem.where for p in found}
    found += [p for p in check_rows(frame, table, where=where, lines=text.lines) if p.problem.where not in told]
    return frame, found


def _converted(cells: pd.Series, column: Col) -> tuple[pd.Series, list[int]]:
    """Numbers of text cells, and the positions of cells that hold something else."""
    if column.dtype == "bool":
        values = cells.str.lower().map({"true": True, "1": True, "false": False, "0": False})
        return values.fillna(False).astype("bool"), [i for i, v in enumerate(values) if pd.isna(v)]
    values = pd.to_numeric(cells.where(cells != "", None), errors="coerce")
    wrong = (cells != "") & (values.isna() | values.abs().eq(float("inf")))
    if column.dtype == "int":
        wrong |= values.notna() & (values % 1 != 0)
    return values.mask(wrong).astype(_PANDAS[column.dtype]), [i for i, w in enumerate(wrong) if w]


def _kind(column: Col) -> str:
    unit = f" in {column.unit}" if column.unit not in ("", "1") else ""
    return {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "text"}[column.dtype] + unit


def typed(frame: pd.DataFrame, table: Table, *, where: str = "") -> pd.DataFrame:
    """Columns of the schema in order and with their dtypes; missing text becomes empty; free columns kept last.

    Raises
    ------
    ManyProblems
        A column is missing, unknown or holds what its dtype cannot.
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
                out[c.name] = numbers.astype(_PANDAS[c.dtype])
        except (ValueError, TypeError) as error:
            problems.append(Problem(f"{where}, column {c.name}", _kind(c), str(error),
                                    "Correct the cell; leave it empty where the value is not known."))
    if problems:
        raise ManyProblems(problems)
    free = {n: frame[n] for n in frame.columns if table.free_columns and n not in table.column_names}
    return pd.DataFrame({**out, **free}).reset_index(drop=True)


def column_problems(frame: pd.DataFrame, table: Table, *, where: str) -> list[Problem]:
    """Columns that are missing, or unknown where the table takes no free ones; each with the nearest name."""
    known, present = table.column_names, [str(n) for n in frame.columns]
    problems = []
    if len(present) == 1 and ";" in present[0]:
        return [Problem(where, "columns parted by commas", f"the header {present[0]!r}",
                        "Save the table comma-separated, with a point in decimal numbers.")]
    for name in present:
        if name not in known and not table.free_columns:
            near = get_close_matches(name, [k for k in known if k not in present], n=1)
            problems.append(Problem(where, f"columns out of {', '.join(known)}", f"the column {name!r}",
                                    f"Did you mean {near[0]!r}?" if near else "Remove the column."))
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
    found = {n: get_close_matches(n, absent, n=1, cutoff=0.8) for n in listed if n not in table.column_names}
    return [Problem(where, f"columns out of {', '.join(table.column_names)}", f"the column {name!r}",
                    f"Did you mean {near[0]!r}? As it stands it is not used.") for name, near in found.items() if near]


def check_rows(frame: pd.DataFrame, table: Table, *, where: str,
               lines: Sequence[int] | None = None) -> list[RowProblem]:
    """Every departure of a typed frame from its schema, with the row; `lines` gives the row numbers of its file."""
    import pandera.errors

    # To pandera an empty text is not a missing one.
    text = [c.name for c in table.columns if c.dtype == "str" and c.name in frame.columns]
    asked = frame.assign(**{n: frame[n].astype("object").where(frame[n] != "", None) for n in text})
    try:
        table.pandera.validate(asked, lazy=True)
    except pandera.errors.SchemaErrors as error:
        return _problems_of(error, frame, table, where=where, lines=lines or range(2, len(frame) + 2))
    return []


def _problems_of(error: pandera.errors.SchemaErrors, frame: pd.DataFrame, table: Table, *, where: str,
                 lines: Sequence[int]) -> list[RowProblem]:
    columns = {c.name: c for c in table.columns}
    problems: dict[str, RowProblem] = {}
    for case in error.failure_cases.to_dict("records"):
        row = int(case["index"]) if pd.notna(case.get("index")) else -1
        place = f"{where}, row {lines[row]}" if row >= 0 else where
        column = columns.get(str(case.get("column")))
        if "unique" in str(case["check"]) or column is None:  # the key: one case a column and row
            key = ", ".join(str(frame.at[row, k]) for k in table.key) if row >= 0 else "a key"
            found = Problem(place, f"each {' + '.join(table.key)} once", f"{key} more than once",
                            "Keep one of these rows and remove the others.")
        elif "not_nullable" in str(case["check"]):
            found = Problem(f"{place}, column {column.name}", column.meaning, "an empty cell", "Fill in the cell.")
        else:
            allowed = f"one of {', '.join(column.values)}" if column.values else f"a value of at least {column.minimum}"
            near = get_close_matches(str(case["failure_case"]), column.values, n=1)
            found = Problem(f"{place}, column {column.name}", allowed, repr(case["failure_case"]),
                            f"Did you mean {str(near[0])!r}?" if near else "Correct the cell.")
        problems.setdefault(str(found), RowProblem(row, found))
    return list(problems.values())


def read_table(path: Path, table: Table, *, subject: str = "") -> pd.DataFrame:
    """Read a CSV (or TSV by its ending) by its schema; identifiers stay text. `subject`: this one's rows alone.

    Raises
    ------
    ManifestError
        The file is missing or not a table.
    ManyProblems
        Rows or columns depart from the schema.
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
    """Rows of many files of one table; checked all at once, since a check costs more than a small file's rows.

    Raises
    ------
    ManifestError
        A file is missing or not a table.
    ManyProblems
        Rows or columns depart from the schema; told of the first file that does.
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

    Raises
    ------
    ManyProblems
        The frame departs from its schema.
    OutputError
        The file cannot be written.
    """
    text = _csv_of(_checked(frame, table, path))
    (write_if_changed if only_if_changed else write_text)(path, text)


def write_parts(frame: pd.DataFrame, paths: Mapping[str, Path], table: Table) -> None:
    """Write each subject's rows as a table of its own, only where it changed; checked once, as a whole.

    Parameters
    ----------
    frame : DataFrame with a column subject
    paths : subject -> file; one without rows gets a table without rows

    Raises
    ------
    ManyProblems, OutputError
        As `write_table`.
    """
    if not paths:
        return
    frame = _checked(frame, table, next(iter(paths.values())).parent)
    rows = frame.groupby("subject", sort=False).indices
    for subject, path in paths.items():
        write_if_changed(path, _csv_of(frame.iloc[rows[subject]] if subject in rows else frame.iloc[:0]))


def _checked(frame: pd.DataFrame, table: Table, path: Path) -> pd.DataFrame:
    """The frame as it is written: typed, without a fault, in the order of its key."""
    frame = typed(frame, table)
    if problems := check_rows(frame, table, where=f"table {table.name}, to be written to {path}"):
        raise ManyProblems([p.problem for p in problems])
    if table.key:
        frame = frame.sort_values(list(table.key), kind="stable",
                                  key=lambda c: c.map(lambda v: _LEVEL_RANK.get(v, 99)) if c.name == "level" else c)
    return frame


def _csv_of(frame: pd.DataFrame) -> str:
    # Fifteen digits carry a double through text and back for every purpose here, and hide its last-bit noise.
    return str(without_formulas(frame).to_csv(index=False, float_format="%.15g", lineterminator="\n"))


def concat_tables(frames: Iterable[pd.DataFrame], table: Table) -> pd.DataFrame:
    """Rows of all frames under one schema; an empty table when there are none."""
    filled = [typed(f, table) for f in frames if len(f)]
    return pd.concat(filled, ignore_index=True) if filled else empty_table(table)
