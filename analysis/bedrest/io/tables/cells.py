"""Escapes cells that a spreadsheet would run as a formula. Knows nothing of columns and their meaning.
"""

from __future__ import annotations

import re

import pandas as pd

from bedrest.vocabulary import FORMULA_STARTS

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|nan)")


def without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with an apostrophe before each text or column name that would be run; the reverse of `as_meant`."""
    safe = frame.copy(deep=False)
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            safe[name] = frame[name].map(_escaped, na_action="ignore")
    return safe.rename(columns=_escaped)


def as_meant(cell: str) -> str:
    """The content of a cell before `without_formulas`.

    Examples
    --------
    >>> as_meant("'=1+1"), as_meant("it's"), as_meant("-3.5")
    ('=1+1', "it's", '-3.5')
    """
    return cell[1:] if cell.startswith("'") and _runs(cell.lstrip("'")) else cell


def _escaped(cell: object) -> object:
    # One that begins with apostrophes and would run without them gets one more, so that reading takes one away.
    return f"'{cell}" if isinstance(cell, str) and _runs(cell.lstrip("'")) else cell


def _runs(text: str) -> bool:
    return text.startswith(FORMULA_STARTS) and not _NUMBER.fullmatch(text)
