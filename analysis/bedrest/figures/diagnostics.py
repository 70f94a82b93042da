"""Model fit: scaled residuals against the normal distribution and against fitted volumes."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from bedrest.figures import style
from bedrest.vocabulary import ALL_LEVELS

_COLUMNS = 4


@style.styled
def residual_panels(residuals: pd.DataFrame, *, source: str, kind: Literal["quantiles", "fitted"]) -> Figure:
    """Scaled residuals of every model, one panel per model.

    Parameters
    ----------
    residuals : as in `schemas.RESIDUALS`
    source : of the masks
    kind : quantiles: against standard normal quantiles, (i - 1/2) / n; on the line if the model is right. fitted:
        against the volume by the fixed effects; no pattern if it is.
    """
    of_source = residuals[residuals["source"] == source]
    if of_source.empty:
        return style.empty_figure("no model could be fitted")
    fitted = set(of_source["model_level"])
    models = [*style.ordered_levels(fitted - {ALL_LEVELS}), *({ALL_LEVELS} & fitted)]
    rows = -(-len(models) // _COLUMNS)
    figure = style.new_figure(width_mm=style.DOUBLE_MM, height_mm=10 + 42 * rows)
    panels = figure.subplots(rows, _COLUMNS, squeeze=False, sharey=True, sharex=kind == "quantiles").ravel().tolist()
    for unused in panels[len(models):]:
        unused.set_axis_off()
    for panel, level in zip(panels, models, strict=False):
        _draw(panel, of_source[of_source["model_level"] == level], kind=kind)
        panel.set_title("all discs" if level == ALL_LEVELS else level)
        panel.tick_params(labelbottom=True)
    figure.supylabel("scaled residual (1)", fontsize=7)
    figure.supxlabel("standard normal quantile" if kind == "quantiles" else "fitted volume (mm³)", fontsize=7)
    return figure


def _draw(panel: Axes, rows: pd.DataFrame, *, kind: str) -> None:
    values = rows["residual_scaled"].to_numpy()
    if kind == "quantiles":
        x = norm.ppf((np.arange(values.size) + 0.5) / values.size)
        values = np.sort(values)
        panel.axline((0, 0), slope=1, color=style.GREY, linewidth=0.7, zorder=1)
    else:
        x = rows["fitted_mm3"].to_numpy()
        for height, line in ((0, "-"), (-1.96, ":"), (1.96, ":")):
            panel.axhline(height, color=style.GREY, linewidth=0.7, linestyle=line, zorder=1)
        panel.locator_params(axis="x", nbins=3)
    points = style.points_style(values.size)
    panel.plot(x, values, "o", color=style.BLUE, markersize=2, markeredgewidth=0, zorder=2,
               **(points | {"alpha": min(0.6, points["alpha"])}))
