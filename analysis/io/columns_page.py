"""Prints the generated pages of data_manifest/: the column dictionary, or the JSON schema of study.toml.

    python -m analysis.io.columns_page > data_manifest/columns.md
    python -m analysis.io.columns_page --study-schema > data_manifest/study.schema.json

Each says nothing that `schemas.py` and `settings.py` do not say.
"""

from __future__ import annotations

import json
import sys

from analysis.schemas import LEVEL_NAMES, SCANS, SESSIONS, SUBJECTS, TABLES, Col, Table
from analysis.settings import Study

_HEAD = """# Columns of every table

Generated from `analysis/schemas.py` by `python -m analysis.io.columns_page`; edit there.

CSV, UTF-8, comma-separated, point in decimal numbers. An empty cell is a missing value. Identifiers are text: `01`
stays `01`. *May be empty*: the column stands there, a value may be missing. *May be absent*: the whole column may be
left out.
"""


def columns_page() -> str:
    """The column dictionary as Markdown."""
    written_by_hand = (SUBJECTS, SESSIONS, SCANS, LEVEL_NAMES)
    parts = [_HEAD, "\n## Tables that describe a study\n", *map(_section, written_by_hand),
             "\n## Tables that the toolkit writes\n", *(_section(t) for t in TABLES if t not in written_by_hand)]
    return "".join(parts)


def study_schema() -> str:
    """JSON schema of study.toml, for editors that complete and check TOML."""
    schema = Study.model_json_schema()
    schema["properties"].pop("path")  # where the file lies is not written in it
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=1) + "\n"


def _section(table: Table) -> str:
    key = f" Key: {' + '.join(f'`{k}`' for k in table.key)}." if table.key else ""
    rows = "".join(_row(c) for c in table.columns)
    return (f"\n### {table.name}\n\n{table.meaning[0].upper()}{table.meaning[1:]}.{key}\n\n"
            f"| column | type | unit | meaning |\n| --- | --- | --- | --- |\n{rows}")


def _row(column: Col) -> str:
    kind = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}[column.dtype]
    limits = f"; one of {', '.join(f'`{v}`' for v in column.values)}" if column.values else ""
    limits += f"; at least {column.minimum:g}" if column.minimum is not None else ""
    gaps = "; may be absent or empty" if column.optional else "; may be empty" if not column.required else ""
    meaning = column.meaning.replace("|", "\\|")
    return f"| `{column.name}` | {kind} | {column.unit or '-'} | {meaning}{limits}{gaps} |\n"


if __name__ == "__main__":
    sys.stdout.write(study_schema() if "--study-schema" in sys.argv[1:] else columns_page())
