"""The table of every disc a benchmark looked at, and what one part of the benchmark hands over."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bedrest.schemas import Col, Table
from bedrest.vocabulary import LEVELS
from pipelines.benchmarks.targets import ENGINE, Check


def number(name: str, meaning: str, unit: str) -> Col:
    """A column of numbers that may be missing."""
    return Col(name, "float", meaning, unit, required=False)


DISCS = Table("engine_benchmark", "one row a disc that a benchmark of the engine looked at", (
    Col("row", "str", "which row of the target table", values=tuple(row.name for row in ENGINE)),
    Col("data", "str", "synthetic, or the folder of the real data"),
    Col("contrasts", "str", "what the engine was given, joined by +"),
    Col("subject", "str", "subject or exam"),
    Col("session", "str", "visit; empty where there is one only", required=False),
    Col("level", "str", "disc", values=LEVELS),
    number("dice", "against the true or drawn mask", "1"),
    number("centre_distance_mm", "of the centres of mass", "mm"),
    number("volume_predicted_mm3", "voxel count times voxel volume", "mm3"),
    number("volume_reference_mm3", "the same of the true or drawn mask", "mm3"),
    number("volume_analytic_mm3", "of the synthetic disc itself", "mm3"),
    number("volume_error_percent", "predicted minus reference over reference", "%"),
    number("volume_ratio", "predicted over reference", "1"),
    number("inside_vertebra_percent", "share of the disc inside vertebral bodies", "%"),
    Col("right", "bool", "the level is the right one"),
    Col("reason", "str", "what is wrong; empty when nothing is", required=False),
), ("row", "data", "contrasts", "subject", "session", "level"))


@dataclass(frozen=True, eq=False)
class Part:
    """What one part of the benchmark found.

    Attributes
    ----------
    checks : list of Check
    rows : sequence of mappings
        Rows of `DISCS`.
    detail : str
        Markdown for the page, below the table of targets; may be empty.
    """

    checks: list[Check]
    rows: Sequence[Mapping[str, Any]]
    detail: str = ""


def shown(value: float, form: str) -> str:
    """A number as the page writes it; a dash where there is none."""
    return "-" if math.isnan(value) else form.format(value)


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)
