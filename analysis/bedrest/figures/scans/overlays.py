"""Outlines of stored masks on images: every visit of a subject, or some discs, at one window and one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from bedrest.figures.scans.planes import (
    Plane,
    VisitView,
    cut_image,
    cut_outlines,
    disc_plane,
    regions_of,
    sagittal_planes,
    window_of,
)
from bedrest.figures.style import DOUBLE_MM, GREY, SINGLE_MM, empty_figure, new_figure, styled
from bedrest.vocabulary import level_name

AUTOMATIC, REFERENCE, BEFORE = "#00c853", "#ff3b30", "#ffb300"
_MASKS = (("before", BEFORE, "--", "before manual correction"), ("mask", AUTOMATIC, "-", "measured mask"),
          ("reference", REFERENCE, ":", "reference mask"))


@styled
def sagittal_views(views: Sequence[VisitView]) -> Figure:
    """The sagittal slice through the middle of the discs, one panel per visit in the order given, discs named."""
    if not views:
        return empty_figure("No visit could be segmented: nothing to show.")
    planes = sagittal_planes(views)
    images = [cut_image(v.image, p) for v, p in zip(views, planes, strict=True)]
    columns = min(len(views), 4)
    rows = -(-len(views) // columns)
    height = min(DOUBLE_MM / columns * planes[0].shape[0] / planes[0].shape[1] + 8, 120)
    figure = new_figure(width_mm=DOUBLE_MM if len(views) > 1 else SINGLE_MM, height_mm=rows * height + 8)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in panels[len(views):]:
        unused.set_axis_off()
    for panel, view, plane, image in zip(panels, views, planes, images, strict=False):
        panel.set_title(view.title)
        _draw(panel, view, plane, image, window_of(images))
        for label, lines in cut_outlines(regions_of(view.mask), plane).items():
            points = np.concatenate(lines)
            panel.text(points[:, 0].min() - 4, points[:, 1].mean(), level_name(label), color="white", fontsize=6.5,
                       va="center", ha="right")
    _legend(figure, views)
    return figure


@styled
def axial_views(views: Sequence[VisitView], levels: Mapping[str, str]) -> Figure:
    """One row per disc, one column per visit; each picture lies in the plane of the disc, not of the scanner.

    `levels`: level to the reason why it is shown, may be empty.
    """
    if not views or not levels:
        return empty_figure("No disc to show.")
    figure = new_figure(width_mm=min(DOUBLE_MM, 8 + 58 * len(views)), height_mm=12 + len(levels) * min(
        52.0, 0.9 * DOUBLE_MM / len(views)))
    grid = figure.subplots(len(levels), len(views), squeeze=False)
    planes = {level: [disc_plane(v, level) for v in views] for level in levels}
    images = {level: [None if p is None else cut_image(v.image, p) for v, p in zip(views, of_level, strict=True)]
              for level, of_level in planes.items()}
    window = window_of([i for of_level in images.values() for i in of_level if i is not None])
    for row, (level, why) in zip(grid, levels.items(), strict=True):
        row[0].set_ylabel(f"{level}\n{why}" if why else level)
        for panel, view, plane, image in zip(row, views, planes[level], images[level], strict=True):
            if plane is None or image is None:
                panel.set(xticks=[], yticks=[])
                panel.spines[:].set_visible(False)
                panel.text(0.5, 0.5, "not measured", ha="center", va="center", color=GREY, transform=panel.transAxes)
                continue
            _draw(panel, view, plane, image, window)
            for x, side, align in ((0.02, "R", "left"), (0.98, "L", "right")):
                panel.text(x, 0.5, side, color="white", fontsize=6, ha=align, va="center", transform=panel.transAxes)
    for panel, view in zip(grid[0], views, strict=True):
        panel.set_title(view.title)
    _legend(figure, views)
    return figure


def _draw(panel: Axes, view: VisitView, plane: Plane, image: NDArray[Any], window: tuple[float, float]) -> None:
    rows, columns = plane.shape
    panel.imshow(image, cmap="gray", vmin=window[0], vmax=window[1], extent=(0, columns, rows, 0),
                 interpolation="bilinear")
    for name, colour, line, _ in _MASKS:
        if (mask := getattr(view, name)) is not None:
            for outlines in cut_outlines(regions_of(mask), plane).values():
                for outline in outlines:
                    panel.plot(*outline.T, color=colour, linestyle=line, linewidth=0.8)
    panel.set(xlim=(0, columns), ylim=(rows, 0), xticks=[], yticks=[])
    panel.spines[:].set_visible(False)


def _legend(figure: Figure, views: Sequence[VisitView]) -> None:
    handles = [Line2D([], [], color=colour, linestyle=line, label=words)  # type: ignore[arg-type]
               for name, colour, line, words in _MASKS if any(getattr(v, name) is not None for v in views)]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
