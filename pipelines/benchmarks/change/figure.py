"""What each way of measuring gets wrong, maker by maker: bias, scan-rescan difference, error of change.

Draws the rows of the change benchmark; fits nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from bedrest.figures.style import (
    BLACK,
    BLUE,
    DOUBLE_MM,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    empty_figure,
    new_figure,
    ordered_levels,
    styled,
)
from bedrest.vocabulary import VolumeMethod
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipelines.benchmarks.change.makers import BY_NAME, SETS, makers_in
from pipelines.benchmarks.change.scores import METHODS, STANDARD_NAME, column_of, pairs_of
from pipelines.benchmarks.pages import subjects_text
from pipelines.benchmarks.result_tables import REPEAT
from pipelines.benchmarks.volumes import volume_errors

SHORT: Mapping[VolumeMethod, str] = {VolumeMethod.VOXELS: "voxels\ncounted", VolumeMethod.SINGLE: "visits\nalone",
                                     VolumeMethod.JOINT: "visits\ntogether",
                                     VolumeMethod.DEFORMATION: "images\ncompared"}
STYLES: Mapping[VolumeMethod, tuple[str, str]] = {VolumeMethod.VOXELS: (ORANGE, "s"), VolumeMethod.SINGLE: (BLUE, "D"),
                                                  VolumeMethod.JOINT: (GREEN, "o"),
                                                  VolumeMethod.DEFORMATION: (PURPLE, "^")}
GOLDEN = 0.6180339887  # steps of this share spread points without a random draw


@styled
def change_ablation(discs: pd.DataFrame) -> Figure:
    """Three panels, a colour and marker a method: mean bias by level, scan-rescan difference, error of change.

    Parameters
    ----------
    discs : DataFrame
        As in `CHANGE_DISCS`; the standard condition of our own phantom is drawn.

    Notes
    -----
    Every point of the two right panels is one disc of one subject from baseline to another visit. The bar is the mean
    with one SD to either side.
    """
    rows = discs[(discs["condition"] == STANDARD_NAME) & (discs["maker"] == "own")]
    if rows.empty or rows[[column_of(m) for m in METHODS]].isna().all(axis=None):
        return empty_figure("no disc of our own phantom was measured")
    figure = new_figure(width_mm=DOUBLE_MM, height_mm=82)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.15, 1, 1))
    right.sharey(middle)
    _biases(left, rows)
    pairs = {method: pairs_of(rows, method) for method in METHODS}
    _spread(middle, {m: p.loc[p["session"] == REPEAT, "change_percent"] for m, p in pairs.items()})
    middle.set(title="Scanned twice, unchanged", ylabel="second − first scan (% of the first)")
    _spread(right, {m: p["error_percent"] for m, p in pairs.items()})
    right.set(title="Error of change", ylabel="measured − true change (% of baseline)")
    n = rows["subject"].nunique()
    figure.suptitle(f"Synthetic scans of {subjects_text(n)} of our own phantom, true volumes known", x=0.01, ha="left")
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    handles = [Line2D([], [], color=c, marker=m, label=METHODS[v]) for v, (c, m) in STYLES.items()]
    handles.append(Line2D([], [], color=BLACK, marker="o", label="mean and SD"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)


@styled
def makers_ablation(discs: pd.DataFrame) -> Figure:
    """A panel for each maker and set of contrasts: error of change by every way of measuring.

    Parameters
    ----------
    discs : DataFrame, as in `CHANGE_DISCS`

    Notes
    -----
    Every point is one disc of one subject from baseline to another visit; the axis is linear up to 2 % and logarithmic
    beyond.
    """
    parts = [(SETS[set_name], BY_NAME[maker].title, discs[(discs["maker"] == maker) & (discs["condition"] == set_name)])
             for set_name in SETS for maker in makers_in(discs, set_name)]
    parts = [part for part in parts if not part[2][[column_of(m) for m in METHODS]].isna().all(axis=None)]
    if not parts:
        return empty_figure("no disc was measured")
    columns = min(len(parts), 4)
    lines = -(-len(parts) // columns)
    figure = new_figure(width_mm=DOUBLE_MM, height_mm=30 + 52 * lines)
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for panel, (words, title, rows) in zip(panels.ravel(), parts, strict=False):
        _spread(panel, {m: pairs["error_percent"] for m in METHODS
                        if not (pairs := pairs_of(rows, m)).error_percent.isna().all()})
        panel.set_yscale("symlog", linthresh=2)
        panel.set_ylim(-60, 60)
        panel.set_yticks([-30, -10, -2, -1, 0, 1, 2, 10, 30], ["-30", "-10", "-2", "-1", "0", "1", "2", "10", "30"])
        panel.set_title(f"{title}\n{words}", fontsize=7)
    for panel in panels.ravel()[len(parts):]:
        panel.set_axis_off()
    for line in panels:
        line[0].set_ylabel("measured − true change (%)")
    _legend(figure)
    return figure


def _biases(panel: Axes, rows: pd.DataFrame) -> None:
    levels = ordered_levels(rows["level"])
    panel.axhline(0, color=GREY, linewidth=0.6, zorder=0)
    for method, (colour, marker) in STYLES.items():
        by_level = volume_errors(rows[column_of(method)], rows["true_mm3"], rows["level"]).by_level
        panel.plot(range(len(levels)), [by_level[level][0] for level in levels], color=colour, marker=marker)
    panel.set_xticks(range(len(levels)), levels, rotation=45, ha="right", rotation_mode="anchor")
    panel.set(title="Mean bias by level", ylabel="measured − true volume (%)")


def _spread(panel: Axes, values: Mapping[VolumeMethod, pd.Series]) -> None:
    """Points of each method beside each other, in one order of size, with mean and SD."""
    panel.axhline(0, color=GREY, linewidth=0.6, zorder=0)
    for at, (method, percent) in enumerate(values.items()):
        colour, marker = STYLES[method]
        sizes = np.sort(percent.dropna().to_numpy())
        if not sizes.size:
            panel.annotate("none", (at, 0), ha="center", va="bottom", color=GREY)
            continue
        place = at + 0.6 * ((np.arange(sizes.size) * GOLDEN) % 1 - 0.5)
        panel.plot(place, sizes, marker, color=colour, markersize=2, alpha=0.5, markeredgewidth=0, zorder=1)
        mean, sd = float(sizes.mean()), float(sizes.std(ddof=1)) if sizes.size > 1 else 0.0
        panel.errorbar(at, mean, sd, fmt=marker, color=BLACK, capsize=3, markersize=3, linewidth=1.0, zorder=2)
        panel.annotate(f"SD {sd:.2f}\nn = {sizes.size}", (at, 1.0), xycoords=("data", "axes fraction"), fontsize=5,
                       ha="center", va="top")
    panel.margins(y=0.18)
    panel.set_xticks(range(len(values)), [SHORT[m] for m in values], fontsize=5)
    panel.set_xlim(-0.6, len(values) - 0.4)
