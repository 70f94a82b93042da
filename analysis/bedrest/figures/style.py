"""One style for every figure: sizes, fonts, colours, and how a figure is saved.

Knows no figure. Figures are made by matplotlib's object interface, so no state outlives a call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bedrest.io.files import atomic_path, write_text
from bedrest.io.tables.cells import without_formulas
from bedrest.vocabulary import LEVEL_COLOURS, LEVELS

SINGLE_MM: Final = 88.0  # one journal column
DOUBLE_MM: Final = 180.0  # two journal columns
PRINT_DPI: Final = 600
MM_PER_INCH: Final = 25.4

# Okabe & Ito 2008: distinct with every common colour vision deficiency.
BLACK, GREY = "#000000", "#6B7280"
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, YELLOW = "#E69F00", "#56B4E9", "#F0E442"
GROUP_COLOURS: Final = (BLUE, VERMILION, PURPLE, ORANGE, GREEN, SKY)
GROUP_MARKERS: Final = ("o", "s", "D", "^", "v", "P")
SOURCE_COLOURS: Final = {"automatic": GREEN, "reference": VERMILION}
SOURCE_LINES: Final = {"automatic": "-", "reference": "--"}
SOURCE_MARKERS: Final = {"automatic": "o", "reference": "s"}
MANY_POINTS: Final = 3000  # a panel with more is drawn as pixels in PDF and SVG too, else a file takes minutes to open
LEVEL_MARKERS: Final = dict(zip(LEVELS, ("o", "s", "D", "^", "v", "P", "X"), strict=True))

# DejaVu Sans comes with matplotlib, so a figure looks the same on every machine.
RC: Final[dict[str, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#374151",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "figure.titlesize": 9,
    "figure.titleweight": "bold",
    "figure.dpi": 150,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "pdf.fonttype": 42,  # embedded as text, not outlines
    "svg.fonttype": "none",
    "text.parse_math": False,  # a group called "$5" is no formula
    "svg.hashsalt": "bedrest",  # else element ids differ between runs
}

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function under the one style, leaving matplotlib's settings as they were."""

    @wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(RC):  # type: ignore[arg-type]
            return draw(*args, **kwargs)

    return wrapped


def new_figure(*, width_mm: float, height_mm: float) -> Figure:
    """An empty figure whose layout makes room for labels."""
    return Figure(figsize=(width_mm / MM_PER_INCH, height_mm / MM_PER_INCH), layout="constrained")


@styled
def empty_figure(message: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = new_figure(width_mm=SINGLE_MM, height_mm=22)
    figure.text(0.5, 0.5, message, ha="center", va="center", color=GREY, wrap=True)
    return figure


def group_styles(groups: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each group, in the order given; with more groups than colours, colours repeat."""
    return {
        g: (GROUP_COLOURS[i % len(GROUP_COLOURS)], GROUP_MARKERS[i % len(GROUP_MARKERS)])
        for i, g in enumerate(dict.fromkeys(groups))
    }


def ordered_levels(levels: Iterable[str]) -> list[str]:
    """Levels from top to bottom, unnamed ones after them."""
    present = set(levels)
    return [lv for lv in LEVELS if lv in present] + sorted(present - set(LEVELS))


def level_style(level: str) -> tuple[str, str]:
    """Colour and marker of a level; grey for unnamed ones."""
    return LEVEL_COLOURS.get(level, GREY), LEVEL_MARKERS.get(level, "o")


def panel_grid(figure: Figure, n: int, *, columns: int) -> list[Axes]:
    """`n` panels that share both axes, row by row; only the outer ones carry tick labels."""
    rows = -(-n // columns)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel().tolist()
    for unused in axes[n:]:
        unused.set_axis_off()
    for i in range(max(n - columns, 0), n):
        axes[i].tick_params(labelbottom=True)
    return axes[:n]


def points_style(n: int) -> dict[str, Any]:
    """How to draw `n` points of one panel so that a crowd of them shows where it is dense."""
    return {"rasterized": n > MANY_POINTS, "alpha": float(np.clip(200 / max(n, 1), 0.1, 1.0))}


def day_ticks(axes: Axes, days: Sequence[float]) -> None:
    """Ticks at the visits' days, left out where two would print over each other."""
    low, high = min(days), max(days)
    kept: list[float] = []
    for day in sorted(set(days)):
        if not kept or day - kept[-1] >= 0.13 * (high - low):
            kept.append(day)
    axes.set_xticks(kept, [f"{d:g}" for d in kept])


@styled
def save_figure(figure: Figure, stem: Path, *, data: pd.DataFrame | None = None,
                endings: Sequence[str] = ("png", "pdf", "svg"), dpi: int = 300) -> list[Path]:
    """Write a figure as PNG, PDF and SVG, and the table it shows as CSV.

    The same figure gives the same bytes: files carry no date and no random identifiers.

    Raises OutputError: a file cannot be written.

    Parameters
    ----------
    stem : path without ending
    data : rows that the figure shows, written with the columns they have
    endings : some of png, pdf, svg
    dpi : of the PNG; publications want `PRINT_DPI`
    """
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": "bedrest"},
        "pdf": {"Creator": "bedrest", "Producer": "matplotlib", "CreationDate": None},
        "svg": {"Creator": "bedrest", "Date": None},
    }
    written = []
    for ending in endings:
        path = stem.with_name(f"{stem.name}.{ending}")
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=ending, dpi=dpi, metadata=metadata[ending], facecolor="white")
        written.append(path)
    if data is not None:
        path = stem.with_name(f"{stem.name}.csv")
        write_text(path, without_formulas(data).to_csv(index=False, float_format="%.15g", lineterminator="\n"))
        written.append(path)
    return written
