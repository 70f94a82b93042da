"""Learning curves: loss and validation Dice of every run over time."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bedrest.figures.style import BLACK, DOUBLE_MM, empty_figure, group_styles, new_figure, styled


@styled
def training_curves(curves: pd.DataFrame) -> Figure:
    """Loss on the left, mean disc Dice of the validation scans on the right, one line per run.

    `curves`: rows of `schemas.TRAINING_CURVES`.
    """
    if curves.empty:
        return empty_figure("The run ended before its first recorded step: nothing to show.")
    folds = sorted(dict.fromkeys(curves["fold"]), key=lambda name: (name == "final", len(name), name))
    styles = {**group_styles(f for f in folds if f != "final"), "final": (BLACK, "o")}
    figure = new_figure(width_mm=DOUBLE_MM, height_mm=62)
    for panel, column, title in zip(figure.subplots(1, 2), ("loss", "validation_dice"),
                                    ("Loss", "Disc Dice of validation scans"), strict=True):
        for fold in folds:
            rows = curves[(curves["fold"] == fold) & curves[column].notna()].sort_values("step")
            colour, marker = styles[fold]
            if len(rows):
                panel.plot(rows["minutes"], rows[column], color=colour, label=fold, clip_on=False,
                           marker=marker if column != "loss" or len(rows) == 1 else "")
        panel.set(title=title, xlabel="time (min)", xlim=(0, None))
        if not curves[column].notna().any():
            panel.text(0.5, 0.5, "no validation scans" if column != "loss" else "fewer than 10 steps", ha="center",
                       va="center", transform=panel.transAxes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if not handles:
        handles, labels = figure.axes[1].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 8))
    return figure
