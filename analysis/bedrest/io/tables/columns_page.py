"""Prints the generated pages of data_manifest/: the column dictionary, or study.toml as JSON schema or page.

    python -m bedrest.io.tables.columns_page > data_manifest/columns.md
    python -m bedrest.io.tables.columns_page --study-schema > data_manifest/study.schema.json
    python -m bedrest.io.tables.columns_page --study-keys > data_manifest/study_keys.md

Everything on them comes from `schemas` and `settings`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from bedrest.schemas import LEVEL_NAMES, SCANS, SESSIONS, SUBJECTS, TABLES, Col, Table
from bedrest.settings import Study

_HEAD = """# Columns of every table

Generated from `analysis/bedrest/schemas/__init__.py` by `python -m bedrest.io.tables.columns_page`; edit there.

CSV, UTF-8, comma-separated, point in decimal numbers. An empty cell is a missing value. Identifiers are text: `01`
stays `01`. *May be empty*: values of the column may be missing. *May be absent*: the whole column may be left out.
"""

_KEYS_HEAD = """# Every key of study.toml

Generated from `analysis/bedrest/settings.py` by `python -m bedrest.io.tables.columns_page --study-keys`; edit there.
The same as JSON schema, for editors that complete and check TOML: `data_manifest/study.schema.json`. Examples are in
[Describing a study](README.md).
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
    schema["properties"].pop("path")  # the path of the file is not a key of it
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=1) + "\n"


def study_keys() -> str:
    """Every key of study.toml with what it may hold, as Markdown."""
    schema = json.loads(study_schema())
    parts = {"top level": schema, **{title: schema["$defs"][name] for title, name in (
        ("[images]", "Images"), ("[statistics]", "Statistics"), ("[[sessions]]", "Session"))}}
    return _KEYS_HEAD + "".join(_keys(title, part) for title, part in parts.items())


def _keys(title: str, part: dict[str, Any]) -> str:
    needed = part.get("required", [])
    rows = "".join(f"| `{key}` | {_kind(what)} | {_default(what, key in needed)} | {_meaning(what)} |\n"
                   for key, what in part["properties"].items())
    return f"\n## {title}\n\n| key | holds | when left out | meaning |\n| --- | --- | --- | --- |\n{rows}"


def _meaning(what: dict[str, Any]) -> str:
    return str(what.get("description", "-")).replace("|", "\\|").replace("<", "&lt;")


def _kind(what: dict[str, Any]) -> str:
    if "enum" in what:
        return "one of " + ", ".join(f"`{v}`" for v in what["enum"])
    if "anyOf" in what:
        return " or ".join(_kind(w) for w in what["anyOf"] if w.get("type") != "null")
    if "$ref" in what:
        name = what["$ref"].rsplit("/", 1)[-1]
        return "a section of its own, see below" if name in ("Images", "Statistics", "Session") else f"a {name.lower()}"
    if what.get("type") == "array":
        return "a list: " + _kind(what.get("items", {}))
    if what.get("format") == "path":
        return "a path"
    return {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false",
            "object": "a table"}.get(what.get("type", ""), "anything")


def _default(what: dict[str, Any], needed: bool) -> str:
    if needed:
        return "must be given"
    value = what.get("default")
    return "-" if value is None or value == [] or value == {} or isinstance(value, dict) else f"`{json.dumps(value)}`"


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
    PAGES = {"--study-schema": study_schema, "--study-keys": study_keys}
    sys.stdout.write(next((PAGES[word] for word in sys.argv[1:] if word in PAGES), columns_page)())
