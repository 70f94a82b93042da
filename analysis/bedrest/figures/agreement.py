"""Automatic against reference masks: volumes, and change, as in Bland and Altman. Draws stored rows, fits nothing."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bedrest.figures import style
from bedrest.vocabulary import ALL_LEVELS


@style.styled
def volume_agreement(accuracy: pd.DataFrame, agreement: pd.DataFrame) -> Figure:
    """Automatic over reference volume with the line of identity; beside it the difference over their mean.

    `accuracy`, `agreement`: as in `schemas`. Bias and limits are those of all discs; their intervals account for discs
    of the same subject.
    """
    rows = accuracy[accuracy["volume_predicted_mm3"].notna() & accuracy["volume_reference_mm3"].notna()]
    if rows.empty:
        return style.empty_figure("no disc was measured by both")
    reference, automatic = rows["volume_reference_mm3"], rows["volume_predicted_mm3"]
    figure, (left, right) = _panels(rows, reference, automatic, agreement[agreement["quantity"] == "volume"])
    left.axline((float(reference.mean()), float(reference.mean())), slope=1, color=style.BLACK, linewidth=0.8, zorder=0)
    left.set(xlabel="reference volume (mm³)", ylabel="automatic volume (mm³)",
             title=f"Volume, {len(rows)} discs of {rows['subject'].nunique()} subject(s)")
    right.set(xlabel="mean of both volumes (mm³)", ylabel="automatic − reference (mm³)", title="Difference of volume")
    return figure


@style.styled
def change_agreement(arvd: pd.DataFrame, agreement: pd.DataFrame) -> Figure:
    """Change since the reference visit: automatic over reference, and the difference over their mean.

    `arvd`, `agreement`: as in `schemas`.
    """
    rows = arvd[arvd["signed_change_error"].notna()]
    if rows.empty:
        return style.empty_figure("no disc has both masks at two visits")
    reference, automatic = rows["vg2_mm3"] - rows["vg1_mm3"], rows["vt2_mm3"] - rows["vt1_mm3"]
    figure, (left, right) = _panels(rows, reference, automatic, agreement[agreement["quantity"] == "change"])
    left.axline((0, 0), slope=1, color=style.BLACK, linewidth=0.8, zorder=0)
    left.set(xlabel="change, reference masks (mm³)", ylabel="change, automatic masks (mm³)",
             title=f"Change, {len(rows)} changes in {rows['subject'].nunique()} subject(s)")
    right.set(xlabel="mean of both changes (mm³)", ylabel="automatic − reference (mm³)", title="Difference of change")
    return figure


def _panels(rows: pd.DataFrame, reference: pd.Series, automatic: pd.Series, agreement: pd.DataFrame
            ) -> tuple[Figure, tuple[Axes, Axes]]:
    figure = style.new_figure(width_mm=style.DOUBLE_MM, height_mm=80)
    left, right = figure.subplots(1, 2)
    _points(left, reference, automatic, rows["level"])
    _points(right, (reference + automatic) / 2, automatic - reference, rows["level"])
    right.axhline(0, color=style.BLACK, linewidth=0.8, zorder=0)
    _limits(right, agreement)
    handles = [Line2D([], [], color=c, marker=m, linestyle="", markerfacecolor="none", label=lv)
               for lv in style.ordered_levels(rows["level"]) for c, m in [style.level_style(lv)]]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), columnspacing=1.2, handletextpad=0.3)
    return figure, (left, right)


@style.styled
def recovered_change(made: pd.DataFrame) -> Figure:
    """Measured over true change of the discs of made visits, with the line of identity.

    `made`: as in `schemas.MADE_VISITS`, rows of the volume.
    """
    rows = made[made["change_percent"].notna()]
    if rows.empty:
        return style.empty_figure("no disc of a made visit was measured")
    figure = style.new_figure(width_mm=style.SINGLE_MM, height_mm=80)
    panel = figure.subplots()
    _points(panel, rows["true_percent"], rows["change_percent"], rows["level"])
    panel.axline((0, 0), slope=1, color=style.BLACK, linewidth=0.8, zorder=0)
    panel.set(xlabel="true change (%)", ylabel="measured change (%)",
              title=f"{len(rows)} changes of {rows['subject'].nunique()} subject(s)")
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
                panel.axhspan(low, high, color=style.GREY, alpha=0.15, linewidth=0, zorder=-1)
            panel.axhline(value, color=style.GREY, linewidth=0.9, linestyle="-" if name == "bias" else "--", zorder=0)
            panel.annotate(f"{words} {value:+.0f}", (1.0, value), xycoords=("axes fraction", "data"),
                           xytext=(2, 0), textcoords="offset points", va="center", annotation_clip=False)


def _points(panel: Axes, x: pd.Series, y: pd.Series, levels: pd.Series) -> None:
    for level in style.ordered_levels(levels):
        colour, marker = style.level_style(level)
        of_level = levels == level
        panel.plot(x[of_level], y[of_level], marker, color=colour, markerfacecolor="none", markeredgewidth=0.8,
                   **style.points_style(len(x)))
    panel.grid(color=style.GREY, alpha=0.15, linewidth=0.5)
    panel.margins(0.08)
    panel.xaxis.set_major_locator(MaxNLocator(5))
