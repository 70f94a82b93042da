"""Outlines on images: every visit of a subject at the same window and scale, discs named.

Draws stored masks. Orientation as usual for sagittal views: front to the left, head up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from bedrest.figures.style import empty_figure, new_figure, styled
from bedrest.imaging.orientation import reorient_to_ras
from bedrest.types import LabelMap, Volume
from bedrest.vocabulary import LEVEL_OF_LABEL

AUTOMATIC, REFERENCE, BEFORE = "#00c853", "#ff3b30", "#ffb300"
MARGIN_MM = 22.0


@dataclass(frozen=True, eq=False)
class VisitView:
    """The content of one panel: a title, one contrast, the measured mask, and other masks where there are any."""

    title: str
    image: Volume
    mask: LabelMap
    reference: LabelMap | None = None  # manual mask to judge by
    before: LabelMap | None = None  # the automatic mask, where it was corrected
    session: str = ""  # identifier of the visit


@dataclass(frozen=True, eq=False)
class _Plane:
    """A sagittal plane: arrays (front-back, foot-head) and the millimetres they span from the mask's centre."""

    image: NDArray[Any]
    mask: NDArray[Any]
    reference: NDArray[Any] | None
    before: NDArray[Any] | None
    extent_mm: tuple[float, float, float, float]


@styled
def sagittal_views(views: Sequence[VisitView]) -> Figure:
    """One panel per visit: the sagittal slice through the middle of the discs.

    Parameters
    ----------
    views : in the order of the visits; image and masks of one visit on one grid
    """
    if not views:
        return empty_figure("No visit could be segmented: nothing to show.")
    planes = [_plane(v) for v in views]
    window = np.percentile(np.concatenate([p.image[p.image > 0].ravel() for p in planes]), [1, 99.5])
    bounds = np.array([_bounds(p) for p in planes])
    y_low, y_high, z_low, z_high = bounds[:, 0].min(), bounds[:, 1].max(), bounds[:, 2].min(), bounds[:, 3].max()
    columns = min(len(views), 4)
    rows = -(-len(views) // columns)
    height = min(180 / columns * (z_high - z_low) / (y_high - y_low) + 8, 120)
    figure = new_figure(width_mm=180 if len(views) > 1 else 88, height_mm=rows * height + 8)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels[len(views):]:
        panel.set_axis_off()
    for panel, view, plane in zip(panels, views, planes, strict=False):
        _draw(panel, plane, (float(window[0]), float(window[1])))
        panel.set(title=view.title, xlim=(y_high, y_low), ylim=(z_low, z_high))
    handles = [Line2D([], [], color=AUTOMATIC, label="measured mask")]
    if any(v.reference is not None for v in views):
        handles.append(Line2D([], [], color=REFERENCE, linestyle=":", label="reference mask"))
    if any(v.before is not None for v in views):
        handles.append(Line2D([], [], color=BEFORE, linestyle="--", label="before manual correction"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _plane(view: VisitView) -> _Plane:
    reorientation = reorient_to_ras(view.image.grid)
    mask = reorientation.apply(view.mask.data)
    spots = np.argwhere((mask > 0) & (mask <= max(LEVEL_OF_LABEL))) if (mask > 0).any() else np.empty((0, 3))
    if not len(spots):
        spots = np.argwhere(mask > 0) if (mask > 0).any() else np.array([[n // 2 for n in mask.shape]])
    centre = spots.mean(axis=0)
    x = round(float(centre[0]))
    _, dy, dz = reorientation.ras.spacing_mm
    extent = ((-0.5 - centre[1]) * dy, (mask.shape[1] - 0.5 - centre[1]) * dy,
              (-0.5 - centre[2]) * dz, (mask.shape[2] - 0.5 - centre[2]) * dz)
    reference, before = (None if m is None else reorientation.apply(m.data)[x] for m in (view.reference, view.before))
    return _Plane(reorientation.apply(view.image.data)[x], mask[x], reference, before, extent)


def _bounds(plane: _Plane) -> tuple[float, float, float, float]:
    """Millimetres to show: the discs and a margin, or everything where there are none."""
    y0, y1, z0, z1 = plane.extent_mm
    spots = np.argwhere(plane.mask > 0)
    if not len(spots):
        return plane.extent_mm
    dy, dz = (y1 - y0) / plane.mask.shape[0], (z1 - z0) / plane.mask.shape[1]
    low, high = spots.min(axis=0), spots.max(axis=0)
    return (max(y0, y0 + low[0] * dy - 1.6 * MARGIN_MM), min(y1, y0 + high[0] * dy + 2.2 * MARGIN_MM),
            max(z0, z0 + low[1] * dz - MARGIN_MM), min(z1, z0 + high[1] * dz + MARGIN_MM))


def _draw(panel: Axes, plane: _Plane, window: tuple[float, float]) -> None:
    panel.imshow(plane.image.T, origin="lower", cmap="gray", vmin=window[0], vmax=window[1], extent=plane.extent_mm,
                 interpolation="bilinear")
    for labels, colour, style in ((plane.before, BEFORE, "--"), (plane.mask, AUTOMATIC, "-"),
                                  (plane.reference, REFERENCE, ":")):
        if labels is None:
            continue
        for label in np.unique(labels[labels > 0]):
            panel.contour((labels == label).T.astype(float), [0.5], colors=colour, linewidths=0.7, linestyles=style,
                          extent=plane.extent_mm, origin="lower")
    y0, y1, z0, z1 = plane.extent_mm
    for label in np.unique(plane.mask[plane.mask > 0]):
        spots = np.argwhere(plane.mask == label)
        y = y0 + (spots[:, 0].max() + 1) * (y1 - y0) / plane.mask.shape[0] + 3
        z = z0 + (spots[:, 1].mean() + 0.5) * (z1 - z0) / plane.mask.shape[1]
        name = LEVEL_OF_LABEL.get(int(label), f"unnamed-{int(label) - 100}")
        panel.text(y, z, name, color="white", fontsize=6.5, va="center", ha="right")
    panel.set(xticks=[], yticks=[])
