"""Subjects left at each step, as boxes: enrolment at the top, one column per group, one box per visit.

Draws the flow table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from bedrest.figures import style

_STEPS = (("scanned", "scanned"), ("segmented", "segmented"), ("measured", "measured"),
          ("passed_qc", "a disc passed QC"), ("analysed", "analysed"))
_BROAD_MM = 62.0  # a box this wide holds three steps in a line, a narrower one holds one
_LINE_MM, _HEAD_MM, _GAP_MM = 3.7, 10.0, 5.0


@style.styled
def flow_diagram(flow: pd.DataFrame, *, groups: Sequence[str], sessions: Sequence[str]) -> Figure:
    """Enrolled subjects by group, then visit by visit those scanned, measured and analysed, after CONSORT.

    Every box counts subjects of its own visit, out of those enrolled: a missed visit does not exclude a subject from
    later ones. Steps where subjects were lost are red.

    Parameters
    ----------
    flow : as in `schemas.FLOW`; groups that are not the study's hold those who were left out before the analysis
    groups, sessions : in the order of the study
    """
    if flow.empty:
        return style.empty_figure("no subject was enrolled")
    enrolled = flow.groupby("group", sort=False)["enrolled"].max()
    left_out = [g for g in enrolled.index if g not in groups]
    groups = [g for g in groups if g in enrolled.index]
    sessions = [s for s in sessions if (flow["session"] == s).any()]
    width = style.SINGLE_MM if len(groups) < 2 and not left_out else style.DOUBLE_MM
    box_width = min(0.92 * width / max(len(groups), 1), 92.0)
    in_lines = (_STEPS[:3], _STEPS[3:]) if box_width >= _BROAD_MM else tuple((s,) for s in _STEPS)
    box_height = (len(in_lines) + 2.4) * _LINE_MM
    height = 2 * _HEAD_MM + _GAP_MM + len(sessions) * (box_height + _GAP_MM)
    figure = style.new_figure(width_mm=width, height_mm=height)
    panel = figure.subplots()
    panel.set(xlim=(0, width), ylim=(height, 0))
    panel.set_axis_off()
    at = [width * (i + 0.5) / len(groups) for i in range(len(groups))] if groups else []
    middle = width / 2 if not left_out else 0.3 * width
    _box(panel, middle, _HEAD_MM / 2 + 1, width=0.5 * width, height=_HEAD_MM - 2,
         lines=[(f"enrolled (n = {int(enrolled.sum())})", style.BLACK)])
    for group in left_out:
        words = f"{group.strip('()')} (n = {int(enrolled[group])})"
        _box(panel, 0.8 * width, _HEAD_MM / 2 + 1, width=0.36 * width, height=_HEAD_MM - 2,
             lines=[(words, style.VERMILION)])
        _arrow(panel, (middle + 0.25 * width, _HEAD_MM / 2 + 1), (0.62 * width, _HEAD_MM / 2 + 1))
    styles = style.group_styles(groups)
    for x, group in zip(at, groups, strict=True):
        y = _HEAD_MM + _GAP_MM
        panel.plot([middle, middle, x, x], [_HEAD_MM, y - _GAP_MM / 2, y - _GAP_MM / 2, y - 1], color=style.GREY,
                   linewidth=0.7)
        _box(panel, x, y + _HEAD_MM / 2 - 1, width=box_width, height=_HEAD_MM - 2, edge=styles[group][0],
             lines=[(f"{group} (n = {int(enrolled[group])})", style.BLACK)])
        y += _HEAD_MM - 1
        of_group = flow[flow["group"] == group].set_index("session", drop=False)
        for row in of_group.loc[[s for s in sessions if s in of_group.index]].to_dict("records"):
            _arrow(panel, (x, y - 1), (x, y + _GAP_MM - 1))
            y += _GAP_MM
            _box(panel, x, y + box_height / 2 - 1, width=box_width, height=box_height - 1, edge=styles[group][0],
                 lines=_words(row, in_lines))
            y += box_height
    return figure


def _words(row: dict[str, Any], in_lines: Sequence[Sequence[tuple[str, str]]]) -> list[tuple[str, str]]:
    """Lines with their colour: red where subjects were lost since the step before."""
    lines, before = [(str(row["session"]), "bold")], int(row["enrolled"])
    for steps in in_lines:
        counts, colour = [], style.BLACK
        for name, words in steps:
            count = int(row[name])
            counts.append(f"{words} {count}" + (f" ({before - count} lost)" if count < before else ""))
            colour = style.VERMILION if count < before else colour
            before = count
        lines.append((" · ".join(counts), colour))
    return [*lines, (f"discs analysed {row['discs_analysed']} of {row['discs_expected']}", style.BLACK)]


def _box(panel: Axes, x: float, y: float, *, width: float, height: float, lines: list[tuple[str, str]],
         edge: str = style.GREY) -> None:
    panel.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, facecolor="white", edgecolor=edge,
                                   boxstyle="round,pad=0,rounding_size=1.2", linewidth=0.9))
    step = height / (len(lines) + 0.4)
    for n, (words, kind) in enumerate(lines):
        bold = kind == "bold" or len(lines) == 1
        panel.text(x, y - height / 2 + (n + 0.7) * step, words, ha="center", va="center", fontsize=7,
                   color=style.BLACK if kind == "bold" else kind, fontweight="bold" if bold else "normal")


def _arrow(panel: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    panel.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": style.GREY, "linewidth": 0.7,
                                               "shrinkA": 0, "shrinkB": 0, "mutation_scale": 6})
