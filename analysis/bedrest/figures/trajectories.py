"""What happened to discs over the study: one subject's discs, a whole cohort, group means.

Draws stored rows; means come with the tables. Knows nothing of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bedrest.figures import style
from bedrest.measurement.definition import Measure
from bedrest.measurement.registry import DISC_MEASURES, VOLUME
from bedrest.vocabulary import MaskOrigin, Status

DAY_LABEL = "study day"
_COLUMNS = 4
_ROW_MM = 40.0
MAX_SUBJECTS_WITH_POINTS = 100  # in a group; beyond this, lines hide each other


def _level_panels(levels: Sequence[str], quantity: str, *, head_mm: float = 16) -> tuple[Figure, list[Axes]]:
    """One titled panel per level, study day across, and the figure that holds them."""
    figure = style.new_figure(width_mm=style.DOUBLE_MM, height_mm=head_mm + _ROW_MM * -(-len(levels) // _COLUMNS))
    panels = style.panel_grid(figure, len(levels), columns=_COLUMNS)
    for panel, level in zip(panels, levels, strict=True):
        panel.set_title(level)
    figure.supylabel(quantity, fontsize=7)
    figure.supxlabel(DAY_LABEL, fontsize=7)
    return figure, panels


@style.styled
def subject_trajectories(measures: pd.DataFrame, change: pd.DataFrame, *, bands: pd.DataFrame | None = None,
                         limits: pd.DataFrame | None = None) -> Figure:
    """Change of each disc of one subject (%), 0 at the reference visit, one panel per level, one line per mask source.

    Flagged discs are hollow; a visit where the disc could not be measured is a cross on the axis. Bars are the
    intervals of `change`.

    Parameters
    ----------
    measures, change : one subject's rows as in `schemas.MEASURES` and `schemas.CHANGE`
    bands : as in `schemas.CHANGE_BANDS`, of the subject's group and one source
    limits : one subject's rows as in `schemas.DETECTIONS`, of one source
    """
    rows = _with_reference_visit(measures, change)
    if rows["y"].notna().sum() == 0:
        return style.empty_figure("no measured disc to draw")
    levels = style.ordered_levels(rows["level"])
    sources = [s for s in style.SOURCE_COLOURS if s in set(rows["source"])]
    start = float(measures.loc[measures["session"].isin(change["reference_session"]), "study_day"].min())
    figure, panels = _level_panels(levels, "volume change since reference visit (%)", head_mm=20)
    for panel, level in zip(panels, levels, strict=True):
        panel.axhline(0, color=style.GREY, linewidth=0.6, zorder=0)
        _draw_limits(panel, limits, level, start=start)
        _draw_band(panel, bands, level, start=start)
        for source in sources:
            _draw_line(panel, rows[(rows["level"] == level) & (rows["source"] == source)], source)
        style.day_ticks(panel, list(rows["study_day"]))
    handles: list[Artist] = [
        Line2D([], [], color=style.SOURCE_COLOURS[s], linestyle=style.SOURCE_LINES[s], marker=style.SOURCE_MARKERS[s],  # type: ignore[arg-type]
               label=f"{_origins(measures, s)} mask") for s in sources]
    handles += _status_handles(rows)
    if rows["low"].notna().any():
        bar = f"{100 * change['confidence_level'].iloc[0]:g} % interval (error model, synthetic)"
        handles.append(Line2D([], [], color=style.GREY, marker="|", markersize=7, linestyle="", label=bar))
    handles += _shade_handles(bands, limits)
    figure.legend(handles=handles, loc="outside upper right", ncols=min(len(handles), 3))
    return figure


def _draw_band(panel: Axes, bands: pd.DataFrame | None, level: str, *, start: float) -> None:
    """The group's mean and one SD either way, from 0 at the reference visit."""
    if bands is None or not (bands["level"] == level).any():
        return
    selected = bands[bands["level"] == level].sort_values("study_day")
    columns = ["study_day", "mean_percent", "low_percent", "high_percent"]
    days, mean, low, high = np.array(sorted([(start, 0.0, 0.0, 0.0), *selected[columns].itertuples(index=False)])).T
    panel.plot(days, mean, color=style.BLUE, linewidth=0.8, zorder=1)
    panel.fill_between(days, low, high, color=style.BLUE, alpha=0.16, linewidth=0, zorder=0.5)


def _draw_limits(panel: Axes, limits: pd.DataFrame | None, level: str, *, start: float) -> None:
    """Changes inside are within measurement error; from the reference visit on, the next visit's limits."""
    if limits is None:
        return
    selected = limits[(limits["level"] == level) & limits["limit_high_percent"].notna()].sort_values("study_day")
    if selected.empty:
        return
    days, low, high = selected[["study_day", "limit_low_percent", "limit_high_percent"]].to_numpy(dtype=float).T
    if days[0] > start:
        days, low, high = np.r_[start, days], np.r_[low[0], low], np.r_[high[0], high]
    panel.fill_between(days, low, high, color="#E5E7EB", linewidth=0, zorder=0)


def _shade_handles(bands: pd.DataFrame | None, limits: pd.DataFrame | None) -> list[Patch]:
    handles = []
    if bands is not None and len(bands):
        n = int(bands["n"].max())
        handles.append(Patch(color=style.BLUE, alpha=0.3, linewidth=0,
                             label=f"{bands['group'].iloc[0]}, mean and ± 1 SD (n ≤ {n})"))
    known = [w for w in limits["limit_from"] if isinstance(w, str) and w] if limits is not None else []
    if known:
        handles.append(Patch(color="#E5E7EB", linewidth=0, label=f"within error ({known[0]})"))
    return handles


def _origins(measures: pd.DataFrame, source: str) -> str:
    """Origins of the masks of one source, joined by "or"."""
    origins = set(measures.loc[measures["source"] == source, "mask_origin"])
    return " or ".join(o.value for o in MaskOrigin if o in origins) or source


def _with_reference_visit(measures: pd.DataFrame, change: pd.DataFrame) -> pd.DataFrame:
    """Rows of change with the visit they are counted from put in front of them at 0 %."""
    columns = ["level", "source", "session", "study_day", "status", "y", "low", "high"]
    rows = change.rename(columns={"change_percent": "y", "ci_low_percent": "low", "ci_high_percent": "high"})[columns]
    references = set(change["reference_session"])
    start = measures[measures["session"].isin(references)]
    start = start.assign(y=np.where(start[VOLUME.name].notna(), 0.0, np.nan), low=np.nan, high=np.nan)[columns]
    return pd.concat([start, rows], ignore_index=True) if len(rows) else start


def _draw_line(panel: Axes, rows: pd.DataFrame, source: str) -> None:
    rows = rows.sort_values("study_day")
    colour, marker = style.SOURCE_COLOURS[source], style.SOURCE_MARKERS[source]
    panel.plot(rows["study_day"], rows["y"], color=colour, linestyle=style.SOURCE_LINES[source], zorder=2)
    with_interval = rows[rows["low"].notna()]
    if len(with_interval):
        panel.errorbar(with_interval["study_day"], with_interval["y"], fmt="none",
                       yerr=[with_interval["y"] - with_interval["low"], with_interval["high"] - with_interval["y"]],
                       ecolor=colour, elinewidth=0.6, capsize=1.5, capthick=0.6, zorder=2)
    for status, face in ((Status.OK, colour), (Status.FLAGGED, "white")):
        selected = rows[rows["status"] == status]
        panel.plot(selected["study_day"], selected["y"], marker, color=colour, markerfacecolor=face, zorder=3)
    for status, colour in ((Status.FAILED, style.BLACK), (Status.NOT_IN_VIEW, style.GREY)):
        lost = rows.loc[rows["status"] == status, "study_day"]
        if len(lost):  # an unclipped line without points has no finite box, and the layout gives up
            at = panel.get_xaxis_transform()
            panel.plot(lost, np.full(len(lost), 0.03), "x", color=colour, transform=at, clip_on=False)


def _status_handles(rows: pd.DataFrame) -> list[Line2D]:
    present = set(rows["status"])
    hollow = Line2D([], [], color=style.GREY, marker="o", markerfacecolor="white", linestyle="", label="flagged")
    cross = Line2D([], [], color=style.BLACK, marker="x", linestyle="", label="not measured")
    outside = Line2D([], [], color=style.GREY, marker="x", linestyle="", label="not in view")
    handles = ((hollow, Status.FLAGGED), (cross, Status.FAILED), (outside, Status.NOT_IN_VIEW))
    return [h for h, s in handles if s in present]


def shown_measures(measures: pd.DataFrame) -> list[Measure[Any]]:
    """Measures that `subject_measures` draws: all that have a title and a value, volumes apart."""
    return [m for m in DISC_MEASURES if m.title and measures[m.name].notna().any()]


@style.styled
def subject_measures(measures: pd.DataFrame) -> Figure:
    """Every measure of one subject's discs but volume over the study, one panel per measure, one line per level.

    Parameters
    ----------
    measures : one subject's rows of one mask source, as in `schemas.MEASURES`. Measures without any value get no panel.
    """
    shown = shown_measures(measures)
    if not shown:
        return style.empty_figure("no measured disc to draw")
    levels = style.ordered_levels(measures.loc[measures[VOLUME.name].notna(), "level"])
    rows = -(-len(shown) // _COLUMNS)
    figure = style.new_figure(width_mm=style.DOUBLE_MM, height_mm=16 + 42 * rows)
    axes = figure.subplots(rows, min(_COLUMNS, len(shown)), squeeze=False).ravel().tolist()
    for panel, measure in zip(axes, shown, strict=False):
        panel.set_title(measure.title)
        panel.set_ylabel({"1": "ratio", "a.u.": "signal (a.u.)"}.get(measure.unit, measure.unit))
        panel.set_xlabel(DAY_LABEL)
        for level in levels:
            selected = measures[measures["level"] == level].sort_values("study_day")
            colour, marker = style.level_style(level)
            panel.plot(selected["study_day"], selected[measure.name], color=colour, marker=marker, linewidth=0.9)
        style.day_ticks(panel, list(measures["study_day"]))
    for unused in axes[len(shown):]:
        unused.set_axis_off()
    handles = [Line2D([], [], color=c, marker=m, label=lv) for lv in levels for c, m in [style.level_style(lv)]]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), columnspacing=1.0, handlelength=1.6)
    return figure


@style.styled
def cohort_trajectories(change: pd.DataFrame, contrasts: pd.DataFrame, *, source: str, start: float) -> Figure:
    """Every subject's discs in per cent of change, one panel per level, with the group means of the contrasts table.

    Parameters
    ----------
    change : as in `schemas.CHANGE`
    contrasts : as in `schemas.CONTRASTS`; means and intervals are taken from the tests within groups, never computed
    source : of the masks
    start : study day of the reference visit, where every change is 0
    """
    rows = change[(change["source"] == source) & change["change_percent"].notna()]
    if rows.empty:
        return style.empty_figure("no change to draw")
    levels, styles = style.ordered_levels(rows["level"]), style.group_styles(change["group"])
    figure, panels = _level_panels(levels, "volume change since reference visit (%)")
    days = rows.groupby("session")["study_day"].median()
    offsets = _offsets(len(styles), float(days.max() - min(start, days.min())))
    for panel, level in zip(panels, levels, strict=True):
        panel.axhline(0, color=style.GREY, linewidth=0.6, zorder=0)
        for (group, (colour, marker)), offset in zip(styles.items(), offsets, strict=True):
            of_group = rows[(rows["level"] == level) & (rows["group"] == group)]
            _draw_subjects(panel, of_group, colour=colour, start=start, offset=offset)
            means = contrasts[(contrasts["source"] == source) & (contrasts["level"] == level)
                              & (contrasts["group"] == group) & contrasts["estimate_percent"].notna()]
            means = means.assign(study_day=means["session"].map(days)).sort_values("study_day")
            _draw_means(panel, means["study_day"] + offset, means, colour=colour, marker=marker)
            if len(means):
                first = (means["study_day"].iloc[0] + offset, means["estimate_percent"].iloc[0])
                panel.plot([start, first[0]], [0, first[1]], color=colour, linewidth=1.4, zorder=3)
        style.day_ticks(panel, [start, *days])
        panel.margins(x=0.12)
    n = rows.groupby("group")["subject"].nunique()
    handles = [Line2D([], [], color=c, marker=m, label=f"{g} (n = {n.get(g, 0)})") for g, (c, m) in styles.items()]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    return figure


def _draw_subjects(panel: Axes, rows: pd.DataFrame, *, colour: str, start: float, offset: float) -> None:
    """One line per subject from 0 at the reference visit; a crowd of them paler, without points, and as pixels."""
    selected = rows.sort_values("study_day", kind="stable")
    lines = [np.column_stack([[start, *(line["study_day"] + offset)], [0, *line["change_percent"]]])
             for _, line in selected.groupby("subject", sort=False)]
    crowd = len(lines) > MAX_SUBJECTS_WITH_POINTS
    panel.add_collection(LineCollection(lines, colors=colour, linewidths=0.4 if crowd else 0.7, rasterized=crowd,
                                        alpha=max(0.03, 0.3 * MAX_SUBJECTS_WITH_POINTS / len(lines)) if crowd else 0.3))
    panel.autoscale_view()
    if not crowd:
        points = np.concatenate(lines) if lines else np.empty((0, 2))
        panel.plot(*points.T, ".", color=colour, alpha=0.3, markersize=2.5)


def _draw_means(panel: Axes, x: pd.Series, means: pd.DataFrame, *, colour: str, marker: str) -> None:
    y = means["estimate_percent"]
    bars = np.vstack([y - means["ci_low_percent"], means["ci_high_percent"] - y])
    panel.errorbar(x, y, yerr=bars, color=colour, marker=marker, capsize=2, linewidth=1.4, elinewidth=1, zorder=3)


def _offsets(n: int, span: float) -> list[float]:
    """Small shifts that keep the intervals of groups from overlapping."""
    return [(i - (n - 1) / 2) * 0.035 * (span or 1.0) for i in range(n)]


@style.styled
def group_volumes(means: pd.DataFrame, *, source: str) -> Figure:
    """Mean disc volume of each group over the study with its interval, one panel per level.

    `means`: DataFrame, from `statistics.study.summary.group_means`. `source`: of the masks.
    """
    rows = means[(means["source"] == source) & means["mean_mm3"].notna()]
    if rows.empty:
        return style.empty_figure("no measured disc to draw")
    levels, styles = style.ordered_levels(rows["level"]), style.group_styles(means["group"])
    figure, panels = _level_panels(levels, "mean disc volume (mm³)")
    offsets = _offsets(len(styles), float(rows["study_day"].max() - rows["study_day"].min()))
    for panel, level in zip(panels, levels, strict=True):
        for (group, (colour, marker)), offset in zip(styles.items(), offsets, strict=True):
            of_group = rows[(rows["level"] == level) & (rows["group"] == group)].sort_values("study_day")
            mean = of_group["mean_mm3"]
            bars = np.vstack([mean - of_group["ci_low_mm3"], of_group["ci_high_mm3"] - mean])
            panel.errorbar(of_group["study_day"] + offset, mean, yerr=np.nan_to_num(bars), color=colour,
                           marker=marker, capsize=2, elinewidth=1)
        style.day_ticks(panel, list(rows["study_day"]))
        panel.margins(x=0.12)
    most = rows.groupby("group")["n"].agg(["min", "max"])
    handles = [Line2D([], [], color=c, marker=m, label=f"{g} (n = {_range(most, g)})")
               for g, (c, m) in styles.items() if g in most.index]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    return figure


def _range(counts: pd.DataFrame, group: str) -> str:
    low, high = counts.loc[group, "min"], counts.loc[group, "max"]
    return f"{low}" if low == high else f"{low} to {high}"
