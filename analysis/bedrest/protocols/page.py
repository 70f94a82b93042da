"""The Markdown page of one protocol: with what it was made, its tables, how each training ended. Computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bedrest.io.tables.markdown import markdown_table
from bedrest.protocols.cells import PaperTable

SYNTHETIC = "All scans are synthetic: no person was scanned."


def origin_lines(record: Mapping[str, Any]) -> list[str]:
    """With what the numbers were made, one fact a line.

    `record`: as in benchmark.json.
    """
    machine = record["machine"]
    cards = "".join(f", {c['name']}" for c in machine["cards"])
    limit = f", at most {record['steps_at_most']} steps a network" if record["steps_at_most"] else ""
    width = f", feature maps divided by {record['width']}" if record["width"] != 1 else ", width as published"
    encoder, code = record["encoder_sha256"], record["code"]  # no commit where the program was installed
    commit = f", commit `{code['commit'][:12]}`{' with changes' if code['dirty'] else ''}" if code else ""
    return [
        f"made by `{record['command']}`",
        f"data: study {record['study']}, {record['scans']} scans of {record['subjects']} subjects; {record['split']}",
        f"budget of a training: {record['budget_minutes']:g} min{limit}{width}; seed {record['seed']}",
        *([f"encoder weights, sha256 `{encoder}`"] if encoder else []),
        f"device {record['device']}; machine: {machine['cpu']}, {machine['cores']} cores{cards}",
        f"bedrest {record['bedrest']}{commit}, torch {record['torch']}",
    ]


def page_text(record: Mapping[str, Any], tables: Sequence[PaperTable], trainings: pd.DataFrame) -> str:
    """The page.

    `record`: as in benchmark.json; `trainings`: DataFrame, as in `records.METHOD_TRAININGS`.
    """
    synthetic = f"**{SYNTHETIC}** " if record["synthetic"] else ""
    paper = "" if record["source"] == "no paper" else f" ({record['source']})"
    head = [f"# {record['title']}{paper}{', synthetic scans' if record['synthetic'] else ''}", "",
            f"{synthetic}Every number called ours was measured by the command below.", "",
            *(f"- {line}" for line in origin_lines(record)), ""]
    notes = ["Notes:", "", *(f"- {n}" for n in record["notes"]), ""] if record["notes"] else []
    rows = [[t["title"], t["fold"], t["contrasts"].replace("+", ", ") or "-", _cell(t["parameters"], "{:,}"),
             t["steps"] or "-", _cell(t["minutes"], "{:.2f}"), t["ended"] or "-",
             _cell(t["seconds_per_scan"], "{:.2f}"), t["status"], t["reason"] or "-"]
            for t in trainings.to_dict("records")]
    header = ["row", "fold", "contrasts", "parameters", "steps", "minutes", "ended", "seconds a scan", "status",
              "reason"]
    shown = [*(t.markdown() for t in tables), "## Trainings", "", markdown_table(header, rows)]
    return "\n".join([*head, *notes, *shown])


def _cell(value: float, form: str) -> str:
    return "-" if pd.isna(value) else form.format(value)
