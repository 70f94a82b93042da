"""What a table is: its columns in order, their types, units and limits, and the key that makes a row unique.

A missing number is an empty CSV cell (NaN); identifiers are always text, so ``01`` never becomes 1.
Knows no table, and nothing of where tables lie or how they are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Dtype = Literal["str", "int", "float", "bool"]

# "Int64", because a count may be missing.
_PANDAS_DTYPES: Mapping[Dtype, str] = MappingProxyType(
    {"str": "str", "int": "Int64", "float": "float64", "bool": "bool"})


@dataclass(frozen=True)
class Col:
    """One column. `values` lists the only ones allowed; `unit` is for readers, the name carries it too."""

    name: str
    dtype: Dtype
    meaning: str
    unit: str = ""
    required: bool = True  # may a value be missing?
    optional: bool = False  # may the whole column be absent?
    values: tuple[str, ...] = ()
    minimum: float | None = None

    @property
    def pandas_dtype(self) -> str:
        return _PANDAS_DTYPES[self.dtype]


@dataclass(frozen=True)
class Table:
    """One table: its columns in order and the columns that make a row unique."""

    name: str
    meaning: str
    columns: tuple[Col, ...]
    key: tuple[str, ...]
    free_columns: bool = False

    @property
    def column_names(self) -> list[str]:
        return [c.name for c in self.columns]
