"""How time and memory grow with the size of a study, stage by stage. Draws what was measured."""

from __future__ import annotations

import pandas as pd
from bedrest.figures.style import (
    BLACK,
    BLUE,
    DOUBLE_MM,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    new_figure,
    styled,
)
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pipelines.benchmarks.scale.growth import LARGEST_BYTES

_STYLES = [(c, m) for m in ("o", "s") for c in (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK, YELLOW)]


@styled
def scale_figure(measured: pd.DataFrame) -> Figure:
    """Processor time and peak memory of every stage over the number of subjects, both axes logarithmic.

    Parameters
    ----------
    measured : DataFrame, as in `result_tables.SCALE`
    """
    figure = new_figure(width_mm=DOUBLE_MM, height_mm=95)
    left, right = figure.subplots(1, 2)
    sizes = sorted(set(measured["subjects"]))
    for (stage, costs), (colour, marker) in zip(measured.groupby("stage", sort=False), _STYLES, strict=False):
        costs = costs.sort_values("subjects")
        left.plot(costs["subjects"], costs["cpu_seconds"], color=colour, marker=marker, label=stage)
        right.plot(costs["subjects"], costs["peak_bytes"] / 1e6, color=colour, marker=marker)
    top = measured.loc[measured["subjects"] == sizes[-1], "cpu_seconds"].max()
    left.plot([sizes[0], sizes[-1]], [top * sizes[0] / sizes[-1], top], color=GREY, linestyle=":",
              label="ten times the subjects, ten times the time")
    right.axhline(LARGEST_BYTES / 1e6, color=GREY, linestyle="--", linewidth=0.8)
    right.annotate("2 GB", (sizes[0], LARGEST_BYTES / 1e6), xytext=(0, 2), textcoords="offset points", color=GREY)
    for panel in (left, right):
        panel.set(xscale="log", yscale="log", xlabel="subjects, four visits each")
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        panel.set_xticks(sizes, [f"{n:,}" for n in sizes])
        panel.minorticks_off()
    left.set(ylabel="processor time (s)", title="Time of each stage")
    right.set(ylabel="peak memory of the stage and its children (MB)", title="Memory of each stage")
    figure.legend(loc="outside lower center", ncols=4)
    return figure
