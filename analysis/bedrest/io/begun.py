"""A folder of work that takes hours goes on only with the data and options that it was begun with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bedrest.errors import OutputError
from bedrest.io.files import write_text

MAX_CHANGES = 8


def refuse_other(begun: Path, content: Mapping[str, Any], *, what: str) -> None:
    """Raise OutputError, which names each difference, unless work goes on with what `note_beginning` wrote down.

    A folder without a note may have anything. `content`: values by name; a mapping among them holds checksums of files.
    """
    if not begun.is_file():
        return
    before, now = json.loads(begun.read_text()), json.loads(json.dumps(content))  # tuples become lists
    changes = []
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            changes += [f"{name}: {key} {'added' if key not in old else 'gone' if key not in new else 'another file'}"
                        for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
        elif old != new:
            changes.append(f"{name} {old} -> {new}")
    if changes:
        more = f" and {len(changes) - MAX_CHANGES} more" if len(changes) > MAX_CHANGES else ""
        raise OutputError(f"the data and options that this {what} was begun with",
                          "; ".join(changes[:MAX_CHANGES]) + more, str(begun.parent),
                          "Choose another folder with -o, or delete this one to begin anew.")


def note_beginning(begun: Path, content: Mapping[str, Any]) -> None:
    """Write down what work is begun with, unless it has been."""
    if not begun.is_file():
        write_text(begun, json.dumps(content, indent=1) + "\n")
