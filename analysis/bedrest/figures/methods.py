"""Published methods side by side: Dice and signed volume error of every disc, error of change, learning curves.

Draws rows of the method benchmark; fits nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FormatStrFormatter

from bedrest.figures.style import (
    BLACK,
    DOUBLE_MM,
    GREY,
    empty_figure,
    group_styles,
    level_style,
    new_figure,
    ordered_levels,
    panel_grid,
    styled,
)

_WIDE_PERCENT = 20


@styled
def discs_by_method(discs: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Dice on the left, signed volume error on the right; one line per method, one point per disc, coloured by level.

    `discs`: DataFrame, as in `records.METHOD_DISCS`; `titles`: name of a row to its title, in the order of the
    page.
    The black mark is the mean. A disc that was not found is drawn at a Dice of 0 and has no volume error.
    """
    rows = [r for r in titles if (discs["row"] == r).any()]
    if not rows:
        return empty_figure("no row was tested")
    names = {r: titles[r] for r in rows}
    shown = discs[discs["row"].isin(rows)].assign(dice=discs["dice"].fillna(0.0), method=discs["row"].map(names))
    figure = new_figure(width_mm=DOUBLE_MM, height_mm=34 + 11 * len(rows))
    left, right = figure.subplots(1, 2, sharey=True)
    _strip(left, shown, "dice", list(names.values()))
    left.set(title="Dice, disc by disc", xlabel="Dice", ylabel="", xlim=(-0.02, 1.0))
    _strip(right, shown, "volume_error_percent", list(names.values()))
    right.axvline(0, color=GREY, linewidth=0.6, zorder=0)
    right.set(title="Signed volume error", xlabel="automatic − reference (% of reference)", ylabel="")
    if shown["volume_error_percent"].isna().all():
        right.text(0.5, 0.5, "no disc was found", ha="center", va="center", transform=right.transAxes, color=GREY)
    _legend(figure, shown["level"], mean=True)
    return figure


def _strip(panel: Axes, shown: pd.DataFrame, value: str, order: list[str]) -> None:
    levels = ordered_levels(shown["level"])
    rows = shown[shown[value].notna()]
    sns.stripplot(rows, x=value, y="method", order=order, hue="level", hue_order=levels, dodge=True, jitter=False,
                  palette=[level_style(lv)[0] for lv in levels], size=2.6, alpha=0.7, legend=False, ax=panel)
    for at, name in enumerate(order):
        of_row = rows.loc[rows["method"] == name, value]
        if len(of_row):
            panel.plot(float(of_row.mean()), at, "D", color=BLACK, markersize=4, zorder=5)


def _legend(figure: Figure, levels: pd.Series, *, mean: bool = False) -> None:
    marks = [Line2D([], [], color=level_style(lv)[0], marker="o", linestyle="", label=lv)
             for lv in ordered_levels(levels)]
    if mean:
        marks.append(Line2D([], [], color=BLACK, marker="D", linestyle="", label="mean"))
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), columnspacing=1.0, handletextpad=0.2)


@styled
def change_errors(changes: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Error of change over the mean of reference and automatic change, as in Bland and Altman; one panel per method.

    `changes`: DataFrame, as in `records.METHOD_CHANGES`; `titles`: name of a row to its title.
    Per cent of the reference volume at the reference visit. Lines are the mean and 1.96 SD to either side, of all discs
    as if they were independent, which discs of one subject are not. Where an error is beyond 20 %, axes are logarithmic
    beyond 10 %: a wrongly named disc would press all others onto the line of 0.
    """
    known = changes[changes["change_error_percent"].notna()]
    rows = [r for r in titles if (known["row"] == r).any()]
    if not rows:
        return empty_figure("no disc was found at two visits")
    columns = min(len(rows), 3)
    figure = new_figure(width_mm=DOUBLE_MM, height_mm=16 + 62 * -(-len(rows) // columns))
    panels = panel_grid(figure, len(rows), columns=columns)
    wide = known["change_error_percent"].abs().max() > _WIDE_PERCENT
    for panel, row in zip(panels, rows, strict=True):
        of_row = known[known["row"] == row]
        reference = 100 * (of_row["vg2_mm3"] - of_row["vg1_mm3"]) / of_row["vg1_mm3"]
        middle = reference + of_row["change_error_percent"] / 2
        colours = [level_style(lv)[0] for lv in of_row["level"]]
        panel.scatter(middle, of_row["change_error_percent"], c=colours, s=9, linewidths=0, alpha=0.8)
        mean, sd = float(of_row["change_error_percent"].mean()), float(of_row["change_error_percent"].std())
        panel.axhline(0, color=GREY, linewidth=0.6, zorder=0)
        panel.axhline(mean, color=BLACK, linewidth=1.0)
        for at in [] if np.isnan(sd) else (mean - 1.96 * sd, mean + 1.96 * sd):
            panel.axhline(at, color=BLACK, linewidth=0.8, linestyle="--")
        panel.set_title(titles[row])
        panel.annotate(f"mean {mean:.1f}, SD {sd:.1f}, n = {len(of_row)}", (0.02, 0.98), xycoords="axes fraction",
                       va="top", fontsize=6)
        panel.margins(y=0.2)
        if wide:
            panel.set_xscale("symlog", linthresh=_WIDE_PERCENT / 2)
            panel.set_yscale("symlog", linthresh=_WIDE_PERCENT / 2)
            for axis in (panel.xaxis, panel.yaxis):
                axis.set_major_locator(FixedLocator([-1000, -100, -10, 0, 10, 100, 1000]))
                axis.set_major_formatter(FormatStrFormatter("%g"))
    _outer_labels(panels, columns, x="mean of reference and\nautomatic change (%)",
                  y="automatic − reference change (%)")
    _legend(figure, known["level"])
    return figure


def _outer_labels(panels: list[Axes], columns: int, *, x: str, y: str) -> None:
    """Labels at the lowest panel of each column and at the first of each line."""
    for i, panel in enumerate(panels):
        if i + columns >= len(panels):
            panel.set_xlabel(x)
        if i % columns == 0:
            panel.set_ylabel(y)


@styled
def method_curves(curves: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Training loss over time, one panel per row, one line per network and fold; losses differ between methods.

    `curves`: DataFrame, as in `records.METHOD_CURVES`; `titles`: name of a row to its title.
    """
    rows = [r for r in titles if (curves["row"] == r).any()]
    if not rows:
        return empty_figure("every training ended before its first recorded step (10)")
    columns = min(len(rows), 3)
    lines = -(-len(rows) // columns)
    figure = new_figure(width_mm=DOUBLE_MM, height_mm=12 + 48 * lines)
    styles = group_styles(curves["stage"])
    panels = figure.subplots(lines, columns, squeeze=False).ravel().tolist()
    for panel, row in zip(panels, rows, strict=False):
        for (stage, _), of_row in curves[curves["row"] == row].groupby(["stage", "fold"], sort=False):
            of_row = of_row.sort_values("step")
            panel.plot(of_row["minutes"], of_row["loss"], color=styles[stage][0], linewidth=1.0,
                       marker="o" if len(of_row) == 1 else "")
        panel.set(xlim=(0, None))
        panel.set_title(titles[row])
    for unused in panels[len(rows):]:
        unused.set_axis_off()
    _outer_labels(panels[: len(rows)], columns, x="time (min)", y="mean training loss")
    figure.legend(handles=[Line2D([], [], color=c, label=stage) for stage, (c, _) in styles.items()],
                  loc="outside lower center", ncols=min(len(styles), 8))
    return figure
