"""A folder of work that takes hours goes on only with the data and options that it was begun with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bedrest.errors import OutputError
from bedrest.io.files import write_text

_MOST_NAMED = 8


def refuse_other(begun: Path, content: Mapping[str, Any], *, what: str) -> None:
    """Hold what is asked for now against what was noted at the beginning; a folder without a note may have anything.

    Raises OutputError: data or options are others; the message names each.

    Parameters
    ----------
    begun : the note, as `note_beginning` wrote it
    content : values by name; a mapping among them holds checksums of files
    what : what was begun, for the message
    """
    if not begun.is_file():
        return
    before, now = json.loads(begun.read_text()), _as_read_back(content)
    changes = []
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            changes += [f"{name}: {key} {'added' if key not in old else 'gone' if key not in new else 'another file'}"
                        for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
        elif old != new:
            changes.append(f"{name} {old} -> {new}")
    if changes:
        more = f" and {len(changes) - _MOST_NAMED} more" if len(changes) > _MOST_NAMED else ""
        raise OutputError(f"the data and options that this {what} was begun with",
                          "; ".join(changes[:_MOST_NAMED]) + more, str(begun.parent),
                          "Choose another folder with -o, or delete this one to begin anew.")


def note_beginning(begun: Path, content: Mapping[str, Any]) -> None:
    """Write down what work is begun with, unless it has been."""
    if not begun.is_file():
        write_text(begun, json.dumps(content, indent=1) + "\n")


def _as_read_back(content: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(json.dumps(content))  # tuples become lists
    return result
