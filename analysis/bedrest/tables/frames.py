"""Rows -> a DataFrame with exactly the columns and dtypes of one schema.

Knows nothing of what the rows mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from bedrest.schemas import Table

_DTYPE = {"str": "str", "int": "Int64", "float": "float64", "bool": "bool"}


def typed_frame(rows: Iterable[Mapping[str, Any]], table: Table) -> pd.DataFrame:
    """A DataFrame in the order and with the dtypes of a table; right for no rows at all too.

    Parameters
    ----------
    rows : iterable of mappings, column to value
        A column that a row leaves out is missing there: empty text, or NaN.
    table : Table

    Raises
    ------
    KeyError
        If a row has a column the table does not know: that is a fault of the caller, not of the data.
    """
    listed = list(rows)
    known = set(table.column_names)
    for row in listed:
        if unknown := set(row) - known:
            raise KeyError(f"{table.name} has no column {sorted(unknown)}")
    columns = {}
    for c in table.columns:
        absent = "" if c.dtype == "str" else None
        values = [row.get(c.name, absent) for row in listed]
        columns[c.name] = pd.Series(values, dtype=_DTYPE[c.dtype])
    return pd.DataFrame(columns)


def text(value: object) -> str:
    """A text cell as text: a missing one, which comes back from CSV as NaN, is empty."""
    return value if isinstance(value, str) else ""
