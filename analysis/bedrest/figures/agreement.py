"""Automatic against reference masks: volumes, and change, as in Bland and Altman. Draws stored rows, fits nothing."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bedrest.figures.style import (
    BLACK,
    DOUBLE_MM,
    GREY,
    empty_figure,
    level_style,
    new_figure,
    ordered_levels,
    points_style,
    styled,
)
from bedrest.vocabulary import ALL_LEVELS


@styled
def volume_agreement(accuracy: pd.DataFrame, agreement: pd.DataFrame) -> Figure:
    """Automatic over reference volume with the line of identity; beside it the difference over their mean.

    Parameters
    ----------
    accuracy : as in `schemas.ACCURACY`
    agreement : as in `schemas.AGREEMENT`: bias and limits of all discs, with their intervals, which respect that
        several discs come from one subject
    """
    rows = accuracy[accuracy["volume_predicted_mm3"].notna() & accuracy["volume_reference_mm3"].notna()]
    if rows.empty:
        return empty_figure("no disc was measured by both")
    figure = new_figure(width_mm=DOUBLE_MM, height_mm=80)
    left, right = figure.subplots(1, 2)
    reference, automatic = rows["volume_reference_mm3"], rows["volume_predicted_mm3"]
    _points(left, reference, automatic, rows["level"])
    left.axline((float(reference.mean()), float(reference.mean())), slope=1, color=BLACK, linewidth=0.8, zorder=0)
    left.set(xlabel="reference volume (mm³)", ylabel="automatic volume (mm³)",
             title=f"Volume, {len(rows)} discs of {rows['subject'].nunique()} subject(s)")
    _points(right, (reference + automatic) / 2, automatic - reference, rows["level"])
    right.axhline(0, color=BLACK, linewidth=0.8, zorder=0)
    _limits(right, agreement[agreement["quantity"] == "volume"])
    right.set(xlabel="mean of both volumes (mm³)", ylabel="automatic − reference (mm³)", title="Difference of volume")
    _legend(figure, rows["level"])
    return figure


@styled
def change_agreement(arvd: pd.DataFrame, agreement: pd.DataFrame) -> Figure:
    """Change since the reference visit: automatic over reference, and the difference over their mean.

    `arvd`: as in `schemas.ARVD`. `agreement`: as in `schemas.AGREEMENT`.
    """
    rows = arvd[arvd["signed_change_error"].notna()]
    if rows.empty:
        return empty_figure("no disc has both masks at two visits")
    reference, automatic = rows["vg2_mm3"] - rows["vg1_mm3"], rows["vt2_mm3"] - rows["vt1_mm3"]
    figure = new_figure(width_mm=DOUBLE_MM, height_mm=80)
    left, right = figure.subplots(1, 2)
    _points(left, reference, automatic, rows["level"])
    left.axline((0, 0), slope=1, color=BLACK, linewidth=0.8, zorder=0)
    left.set(xlabel="change, reference masks (mm³)", ylabel="change, automatic masks (mm³)",
             title=f"Change, {len(rows)} changes in {rows['subject'].nunique()} subject(s)")
    _points(right, (reference + automatic) / 2, automatic - reference, rows["level"])
    right.axhline(0, color=BLACK, linewidth=0.8, zorder=0)
    _limits(right, agreement[agreement["quantity"] == "change"])
    right.set(xlabel="mean of both changes (mm³)", ylabel="automatic − reference (mm³)", title="Difference of change")
    _legend(figure, rows["level"])
    return figure


def _limits(panel: Axes, agreement: pd.DataFrame) -> None:
    """Bias and limits of agreement of all discs, their intervals as bands."""
    for row in agreement[(agreement["level"] == ALL_LEVELS) & agreement["bias_mm3"].notna()].to_dict("records"):
        for name, words in (("bias", "bias"), ("lower_limit", "limit"), ("upper_limit", "limit")):
            value = row[f"{name}_mm3"]
            if pd.isna(value):
                continue
            low, high = row[f"{name}_low_mm3"], row[f"{name}_high_mm3"]
            if not pd.isna(low):
                panel.axhspan(low, high, color=GREY, alpha=0.15, linewidth=0, zorder=-1)
            panel.axhline(value, color=GREY, linewidth=0.9, linestyle="-" if name == "bias" else "--", zorder=0)
            panel.annotate(f"{words} {value:+.0f}", (1.0, value), xycoords=("axes fraction", "data"),
                           xytext=(2, 0), textcoords="offset points", va="center", annotation_clip=False)


def _points(panel: Axes, x: pd.Series, y: pd.Series, levels: pd.Series) -> None:
    for level in ordered_levels(levels):
        colour, marker = level_style(level)
        of_level = levels == level
        panel.plot(x[of_level], y[of_level], marker, color=colour, markerfacecolor="none", markeredgewidth=0.8,
                   **points_style(len(x)))
    panel.grid(color=GREY, alpha=0.15, linewidth=0.5)
    panel.margins(0.08)
    panel.xaxis.set_major_locator(MaxNLocator(5))


def _legend(figure: Figure, levels: pd.Series) -> None:
    handles = [Line2D([], [], color=c, marker=m, linestyle="", markerfacecolor="none", label=lv)
               for lv in ordered_levels(levels) for c, m in [level_style(lv)]]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), columnspacing=1.2, handletextpad=0.3)
