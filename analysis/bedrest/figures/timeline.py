"""Dates of a subject's scans: planned and actual visits over the study days, phases shaded. Draws stored rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bedrest.figures.style import BLACK, BLUE, DOUBLE_MM, VERMILION, empty_figure, new_figure, styled
from bedrest.settings import Session
from bedrest.vocabulary import Phase

PHASE_COLOURS = {Phase.BASELINE: "#EEF1F4", Phase.BED_REST: "#F6DFC4", Phase.RECOVERY: "#DCEFE6"}
FIRST_DAY_IN_BED = 1.0  # by definition of the study day
_LABEL_SHARE = 0.185  # of the days shown, that a label is wide


@styled
def visit_timeline(planned: Sequence[Session], sessions: pd.DataFrame) -> Figure:
    """One subject's visits; a planned one that did not take place is an open red cross at its planned day.

    Bed rest begins at day 1. When it ended is not stored: between the last visit in bed and the first one after, the
    shade is striped.

    `planned`: sessions of the study. `sessions`: DataFrame, the subject's rows as in `schemas.SESSIONS`.
    """
    if not planned:
        return empty_figure("no visit is planned")
    attended = {row["session"]: row for row in sessions.to_dict("records")}
    days = {s.id: float(attended[s.id]["study_day"]) if s.id in attended else s.study_day for s in planned}
    low, high = min(*days.values(), FIRST_DAY_IN_BED), max(*days.values(), FIRST_DAY_IN_BED)
    span = max(high - low, 1.0)
    lanes = _lanes(days, width=_LABEL_SHARE * span)
    top = max(lanes.values()) + 1
    figure = new_figure(width_mm=DOUBLE_MM, height_mm=26 + 8 * top)
    panel = figure.subplots()
    panel.set(xlim=(low - 0.03 * span, high + _LABEL_SHARE * span), ylim=(-0.35, top + 0.45), yticks=[],
              xlabel="study day")
    _shade(panel, planned, days)
    panel.axhline(0, color=BLACK, linewidth=0.8, zorder=1)
    for session, lane in lanes.items():
        _draw_visit(panel, session, days[session], attended.get(session), lane=lane)
    panel.spines["left"].set_visible(False)
    phases = dict.fromkeys(s.phase for s in planned)
    handles = [Line2D([], [], marker="o", color=BLUE, linestyle="", label="scanned"),
               *([Line2D([], [], marker="X", color=VERMILION, markerfacecolor="white", linestyle="", label="missing")]
                 if len(attended) < len(planned) else []),
               *(Patch(facecolor=PHASE_COLOURS[p], edgecolor="#9CA3AF", linewidth=0.4, label=p.replace("_", " "))
                 for p in phases)]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure


def _draw_visit(panel: Axes, session: str, day: float, row: Mapping[str, object] | None, *, lane: int) -> None:
    lines = [f"{session}, day {day:g}", _words(row)]
    colour = VERMILION if row is None else BLUE
    panel.plot([day, day], [0, lane + 1.2], color="#9CA3AF", linewidth=0.6, zorder=1)
    panel.plot([day], [0], "X" if row is None else "o", color=colour, markersize=6, zorder=3,
               markerfacecolor="white" if row is None else colour)
    panel.annotate("\n".join(line for line in lines if line), (day, lane + 1.25), xytext=(2, 0),
                   textcoords="offset points", ha="left", va="top", fontsize=6.5, linespacing=1.15,
                   color=colour if row is None else BLACK)


def _words(row: Mapping[str, object] | None) -> str:
    if row is None:
        return "not scanned"
    time, minutes = row.get("scan_time"), row.get("minutes_supine")
    parts = [time] if isinstance(time, str) and time else []
    parts += [f"{float(str(minutes)):g} min supine"] if minutes is not None and not pd.isna(minutes) else []
    return ", ".join(map(str, parts))


def _shade(panel: Axes, planned: Sequence[Session], days: Mapping[str, float]) -> None:
    low, high = panel.get_xlim()
    of_phase = {p: [days[s.id] for s in planned if s.phase == p] for p in Phase}
    in_bed, after = of_phase[Phase.BED_REST], of_phase[Phase.RECOVERY]
    panel.axvspan(low, FIRST_DAY_IN_BED, color=PHASE_COLOURS[Phase.BASELINE], linewidth=0, zorder=0)
    end = max(in_bed, default=FIRST_DAY_IN_BED)
    begin = min(after, default=high)
    if in_bed:
        panel.axvspan(FIRST_DAY_IN_BED, end, color=PHASE_COLOURS[Phase.BED_REST], linewidth=0, zorder=0)
    if after:
        panel.axvspan(end, begin, facecolor=PHASE_COLOURS[Phase.BED_REST], edgecolor=PHASE_COLOURS[Phase.RECOVERY],
                      hatch="////", linewidth=0, zorder=0)
        panel.axvspan(begin, high, color=PHASE_COLOURS[Phase.RECOVERY], linewidth=0, zorder=0)


def _lanes(days: Mapping[str, float], *, width: float) -> dict[str, int]:
    """A height for each label; it stands right of its line and above those of the visits soon after."""
    lanes: dict[str, int] = {}
    for session, day in sorted(days.items(), key=lambda item: -item[1]):
        lanes[session] = max((lane + 1 for s, lane in lanes.items() if days[s] - day < width), default=0)
    return lanes
