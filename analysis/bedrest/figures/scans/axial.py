"""Some discs, each in its plane, at every visit, at one window and scale. Draws stored masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bedrest.figures.scans.overlays import AUTOMATIC, REFERENCE, VisitView
from bedrest.figures.scans.planes import cut_image, cut_outlines, disc_plane, regions_of, window_of
from bedrest.figures.style import DOUBLE_MM, GREY, empty_figure, new_figure, styled


@styled
def axial_views(views: Sequence[VisitView], levels: Mapping[str, str]) -> Figure:
    """One row per disc, one column per visit; each picture lies in the plane of the disc, not of the scanner.

    Parameters
    ----------
    views : in the order of the visits
    levels : level to the reason why it is shown, may be empty
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
    for column, view in enumerate(views):
        grid[0][column].set_title(view.title)
        masks = ((regions_of(view.mask), AUTOMATIC, "-"),
                 *(((regions_of(view.reference), REFERENCE, ":"),) if view.reference is not None else ()))
        for row, level in zip(grid, levels, strict=True):
            panel, plane, image = row[column], planes[level][column], images[level][column]
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set_visible(False)
            if plane is None or image is None:
                panel.text(0.5, 0.5, "not measured", ha="center", va="center", color=GREY, transform=panel.transAxes)
                continue
            rows, columns = plane.shape
            panel.imshow(image, cmap="gray", vmin=window[0], vmax=window[1], extent=(0, columns, rows, 0),
                         interpolation="bilinear")
            for regions, colour, style in masks:
                for lines in cut_outlines(regions, plane).values():
                    for line in lines:
                        panel.plot(line[:, 0], line[:, 1], color=colour, linestyle=style, linewidth=0.8)
            panel.set(xlim=(0, columns), ylim=(rows, 0))
            _write_sides(panel)
    for row, (level, why) in zip(grid, levels.items(), strict=True):
        row[0].set_ylabel(f"{level}\n{why}" if why else level)
    handles = [Line2D([], [], color=AUTOMATIC, label="measured mask")]
    if any(v.reference is not None for v in views):
        handles.append(Line2D([], [], color=REFERENCE, linestyle=":", label="reference mask"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _write_sides(panel: Axes) -> None:
    for x, side in ((0.02, "R"), (0.98, "L")):
        panel.text(x, 0.5, side, color="white", fontsize=6, ha="left" if side == "R" else "right", va="center",
                   transform=panel.transAxes)
