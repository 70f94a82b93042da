"""Change by level and group with its intervals, and the error of an automatic method, subject by disc.

Draws the contrasts and arvd tables as they are stored; knows nothing of how they were computed.
"""

from __future__ import annotations

from typing import Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bedrest.figures import style
from bedrest.statistics.study.summary import with_marginal_means
from bedrest.vocabulary import ALL_LEVELS, Family

MAX_ROWS_WITH_NUMBERS = 40  # beyond this, figures in the cells print over each other
MAX_NAMED_BARS = 24  # beyond this, names below the bars do
MAX_BARS = 120  # beyond this, bars are thinner than the lines of a journal
MIN_BARS = 7  # a panel has room for as many, so that a study of two has no walls


@style.styled
def forest(contrasts: pd.DataFrame, *, source: str, between: bool = False) -> Figure:
    """Per-cent change with its interval by level, one panel per visit, one colour per group.

    n stands at the right of each interval; a test that could not be done keeps its line and says so.

    `contrasts`: as in `schemas.CONTRASTS`. `source`: of the masks. `between`: draw the differences between groups
    instead of the change within them.
    """
    rows = contrasts[(contrasts["source"] == source) & ((contrasts["comparison"] == Family.BETWEEN) == between)]
    if rows.empty:
        return style.empty_figure("no difference between groups to draw" if between else "no change to draw")
    present = set(rows["level"])
    levels = [*style.ordered_levels(present - {ALL_LEVELS}), *sorted(present & {ALL_LEVELS})]
    sessions, styles = list(dict.fromkeys(rows["session"])), style.group_styles(rows["group"])
    height = 24 + len(levels) * (3.2 + 2.6 * len(styles))
    figure = style.new_figure(width_mm=style.DOUBLE_MM if len(sessions) > 1 else style.SINGLE_MM, height_mm=height)
    panels = figure.subplots(1, len(sessions), sharex=True, sharey=True, squeeze=False)[0]
    for panel, session in zip(panels, sessions, strict=True):
        selected = rows[rows["session"] == session]
        panel.set_title(f"{session} against {selected['reference_session'].iloc[0]}")
        panel.axvline(0, color=style.GREY, linewidth=0.6, zorder=0)
        for at, level in enumerate(levels):
            if at % 2:
                panel.axhspan(at - 0.5, at + 0.5, color="#F3F4F6", zorder=-1, linewidth=0)
            for i, (group, colour_and_marker) in enumerate(styles.items()):
                y = at + (i - (len(styles) - 1) / 2) * 0.8 / len(styles)
                here = (selected["level"] == level) & (selected["group"] == group)
                _draw_interval(panel, selected[here], y, colour_and_marker=colour_and_marker)
        panel.set_xlabel("difference of change (%)" if between else "volume change (%)")
        panel.spines["left"].set_visible(False)
        panel.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(levels)), ["all discs" if lv == ALL_LEVELS else lv for lv in levels])
    panels[0].set_ylim(len(levels) - 0.5, -0.5)
    handles = [mpl.lines.Line2D([], [], color=c, marker=m, label=g) for g, (c, m) in styles.items()]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    return figure


def _draw_interval(panel: Axes, rows: pd.DataFrame, y: float, *, colour_and_marker: tuple[str, str]) -> None:
    colour, marker = colour_and_marker
    for row in rows.to_dict("records"):
        if pd.isna(row["estimate_percent"]):
            label = f"n = {row['n']}, not tested"
        else:
            panel.plot([row["ci_low_percent"], row["ci_high_percent"]], [y, y], color=colour, solid_capstyle="butt")
            panel.plot([row["estimate_percent"]], [y], marker, color=colour)
            label = f"n = {row['n']}"
        panel.annotate(label, (1.0, y), xycoords=("axes fraction", "data"), xytext=(2, 0), annotation_clip=False,
                       textcoords="offset points", va="center", ha="left", color=colour)


@style.styled
def arvd_heat_map(arvd: pd.DataFrame, *, column: Literal["arvd", "signed_change_error"], session: str) -> Figure:
    """Subjects by discs at one visit, as in Table 6 of Li et al. 2018, or its signed twin.

    Values are shown in per cent of the reference volume at the reference visit. A cell without value is hatched. Last
    column and row are means over discs and over subjects; the corner is the mean of all cells.

    `arvd`: as in `schemas.ARVD`. `column`: which of the two. `session`: the visit.
    """
    rows = arvd[arvd["session"] == session]
    if rows.empty or rows[column].notna().sum() == 0:
        return style.empty_figure("no subject has reference masks at both visits")
    levels = style.ordered_levels(rows["level"])
    cells = 100 * rows.pivot(index="subject", columns="level", values=column)[levels].sort_index()
    grid = with_marginal_means(cells)
    numbers = len(cells) <= MAX_ROWS_WITH_NUMBERS
    height = 32 + len(grid) * 6.0 if numbers else min(36 + len(grid) * 0.9, 220)
    figure = style.new_figure(width_mm=style.DOUBLE_MM, height_mm=height)
    panel = figure.subplots()
    signed = column == "signed_change_error"
    top = float(np.nanmax(np.abs(cells.to_numpy()))) or 1.0
    colours = mpl.colormaps["PuOr" if signed else "Blues"].copy()
    low = -top if signed else 0
    image = panel.imshow(grid.to_numpy(), cmap=colours, vmin=low, vmax=top, aspect="auto", zorder=1)
    panel.add_patch(mpl.patches.Rectangle((-0.5, -0.5), len(levels), len(cells), fill=False, hatch="////", linewidth=0,
                                          edgecolor="#C0C4CC", zorder=0))
    panel.axvline(len(levels) - 0.5, color="white", linewidth=4, zorder=2)  # means stand apart
    panel.axhline(len(cells) - 0.5, color="white", linewidth=4, zorder=2)
    if numbers:
        _write_numbers(panel, grid, image, signed=signed)
    panel.set_xticks(range(len(levels) + 1), [*levels, "mean"])
    panel.set_yticks(range(len(grid)) if numbers else [len(cells)], list(grid.index) if numbers else ["mean"])
    panel.set_ylabel("" if numbers else f"subject (n = {len(cells)})")
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    name = "signed change error" if signed else "arvd"
    panel.set_title(f"{name}, {session} against {rows['reference_session'].iloc[0]} (n = {len(cells)})")
    figure.colorbar(image, ax=panel, label=f"{name} (% of Vg1)", shrink=0.9, pad=0.02).outline.set_visible(False)
    return figure


def _write_numbers(panel: Axes, grid: pd.DataFrame, image: mpl.image.AxesImage, *, signed: bool) -> None:
    values = grid.to_numpy()
    for (i, j), value in np.ndenumerate(values):
        if np.isnan(value):
            panel.text(j, i, "–", ha="center", va="center", color=style.GREY)
            continue
        r, g, b, _ = image.cmap(image.norm(value))
        dark = 0.299 * r + 0.587 * g + 0.114 * b < 0.5
        text = f"{value:+.1f}" if signed else f"{value:.1f}"
        panel.text(j, i, text, ha="center", va="center", color="white" if dark else style.BLACK)


@style.styled
def absolute_change(means: pd.DataFrame) -> Figure:
    """Mean absolute volume change by level and by subject, one row of panels per visit, one colour per mask source.

    After Fig. 10 of Li et al. 2018, which has one pair of visits.

    Thin bars reach one SD over the discs of the mean to either side, 0 at least. A level or subject without any known
    change keeps its place and is marked with a dash. More than `MAX_BARS` subjects are points in the order of their
    means, one SD a pale band; those without a mean are dashes at the end.

    `means`: DataFrame, from `statistics.study.summary.absolute_change_means`.
    """
    known = means[means["n"] > 0]
    if known.empty:
        return style.empty_figure("no change to draw")
    sessions, sources = list(dict.fromkeys(means["session"])), list(dict.fromkeys(means["source"]))
    names = {by: list(dict.fromkeys(means.loc[means["by"] == by, "name"])) for by in ("level", "subject")}
    vertical_names = len(names["subject"]) > 6
    figure = style.new_figure(width_mm=style.DOUBLE_MM, height_mm=14 + len(sessions) * (52 if vertical_names else 44))
    axes = figure.subplots(len(sessions), 2, squeeze=False, sharey=True)
    for row, session in zip(axes, sessions, strict=True):
        for panel, (by, listed) in zip(row, names.items(), strict=True):
            selected = means[(means["by"] == by) & (means["session"] == session)]
            many = len(listed) > MAX_BARS
            (_draw_crowd if many else _draw_bars)(panel, selected.set_index(["source", "name"]), listed, sources)
            panel.set_title(f"{session}, by {by}{', in order of size' if many else ''}")
            panel.set_xlim(-0.6, max(len(listed), MIN_BARS) - 0.4)
            shown = listed if len(listed) <= MAX_NAMED_BARS else []
            panel.set_xticks(range(len(shown)), shown, rotation=90 if vertical_names and by == "subject" else 0)
            panel.set_xlabel("" if shown else f"{by}s (n = {len(listed)})")
        row[0].set_ylabel("mean absolute\nvolume change (%)")
        row[1].tick_params(labelleft=True)
    handles = [mpl.patches.Patch(color=style.SOURCE_COLOURS[s], label=f"{s} masks") for s in sources]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    return figure


def _draw_crowd(panel: Axes, rows: pd.DataFrame, names: list[str], sources: list[str]) -> None:
    """Means as points in the order of the first source's, one SD as a pale band; subjects without a mean at the end."""
    order = rows.loc[sources[0], "mean_absolute_percent"].reindex(names).sort_values().index
    for source in sources:
        selected = rows.loc[source].reindex(order)
        mean, sd = selected["mean_absolute_percent"].to_numpy(dtype=float), selected["sd_percent"].to_numpy(dtype=float)
        x, colour = np.arange(len(order)), style.SOURCE_COLOURS[source]
        panel.fill_between(x, np.maximum(mean - sd, 0), mean + sd, color=colour, alpha=0.15, linewidth=0, zorder=1)
        panel.plot(x, mean, ".", color=colour, markersize=1.5, zorder=2)
        lost = x[np.isnan(mean)]
        panel.plot(lost, np.zeros(len(lost)), "|", color=style.GREY, markersize=3)


def _draw_bars(panel: Axes, rows: pd.DataFrame, names: list[str], sources: list[str]) -> None:
    width, cap = 0.8 / len(sources), 1.2 if len(names) <= MAX_NAMED_BARS else 0.0
    for i, source in enumerate(sources):
        for at, name in enumerate(names):
            x = at + (i - (len(sources) - 1) / 2) * width
            row = rows.loc[(source, name)] if (source, name) in rows.index else None
            if row is None or pd.isna(row["mean_absolute_percent"]):
                panel.annotate("–", (x, 0), xytext=(0, 2), textcoords="offset points", ha="center", color=style.GREY)
                continue
            height = float(row["mean_absolute_percent"])
            panel.bar(x, height, width=0.9 * width, color=style.SOURCE_COLOURS[source], zorder=2)
            if not pd.isna(row["sd_percent"]):
                sd = float(row["sd_percent"])
                panel.errorbar(x, height, yerr=[[min(sd, height)], [sd]], fmt="none", ecolor=style.BLACK,
                               elinewidth=0.6, capsize=cap, capthick=0.6, zorder=3)
