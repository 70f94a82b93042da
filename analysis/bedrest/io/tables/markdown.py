"""Tables as Markdown, and numbers as their cells show them. Knows no table and no file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def formatted(value: float, form: str) -> str:
    """A number by a format such as ``{:.2f} mm``; a dash where it is not a number."""
    return "-" if math.isnan(value) else form.format(value)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of text cells; a bar inside a cell, as in the words of an error, does not end the cell."""
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return "".join("| " + " | ".join(cells) + " |\n" for cells in (header, ["---"] * len(header), *escaped))
