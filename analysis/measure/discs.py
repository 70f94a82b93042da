"""One mask -> the measures of every disc in it.

Knows nothing of the network that may have made the mask, nor of files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from analysis.errors import GeometryError
from analysis.measure.geometry import DiscGeometry, bounding_box, disc_geometry
from analysis.measure.quality import PERMUTED_SPACING, check_disc, spacing_looks_permuted
from analysis.measure.signals import disc_signals
from analysis.types import Grid, LabelMap, Volume
from analysis.vocabulary import Contrast, Status

GRID_TOLERANCE_MM = 0.1

_NAN3 = (math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class DiscMeasure:
    """Measures of one disc at one visit; NaN (None for the count) where not measured, never 0.

    Attributes
    ----------
    level : disc level
    label : its number in the mask
    volume_mm3 : voxel count times voxel volume
    n_voxels : voxel count, None when the disc is absent
    height_mean_mm, diameter_ap_mm, diameter_transverse_mm : see `geometry.DiscGeometry`
    centre_mm : centre of mass (x, y, z), world frame RAS+
    signals : mean intensity inside the disc of every contrast that was given, arbitrary units
    normalised, fat_fraction, signals_reason : see `signals.DiscSignals`
    status, reason : see `vocabulary.Status`; reason is empty when ok, several joined by "; "
    """

    level: str
    label: int
    volume_mm3: float = math.nan
    n_voxels: int | None = None
    height_mean_mm: float = math.nan
    diameter_ap_mm: float = math.nan
    diameter_transverse_mm: float = math.nan
    centre_mm: tuple[float, float, float] = _NAN3
    signals: Mapping[Contrast, float] = field(default_factory=dict)
    normalised: Mapping[Contrast, float] = field(default_factory=dict)
    fat_fraction: float = math.nan
    signals_reason: str = ""
    status: str = Status.OK
    reason: str = ""


def measure_discs(
    discs: LabelMap, levels: Mapping[int, str], images: Mapping[Contrast, Volume], tissues: LabelMap | None = None
) -> list[DiscMeasure]:
    """Measure every disc of a mask.

    Parameters
    ----------
    discs : LabelMap
        One mask, shape (I, J, K), world frame RAS+, spacing in mm; any axis order and direction.
    levels : mapping
        Label to level. One result for each entry, in its order; a label that is not in the mask gives a failed one.
    images : mapping
        Contrasts to take the mean signal from, on the grid of `discs`; may be empty.
    tissues : LabelMap, optional
        The discs with their neighbours, numbered as in `vocabulary.TISSUE_OF_LABEL`, on the grid of `discs`; without
        it signals have no reference and normalised ones are missing.

    Returns
    -------
    list of DiscMeasure

    Raises
    ------
    GeometryError
        If an image or the tissue mask lies on another grid than the mask.

    Notes
    -----
    Where the header's spacings look permuted, heights, diameters and positions are NaN and the disc is flagged: the
    volume alone does not depend on the order of the axes.
    """
    for contrast, image in images.items():
        require_same_grid(image.grid, discs.grid, what=f"{contrast.value} image", other="mask")
    if tissues is not None:
        require_same_grid(tissues.grid, discs.grid, what="tissue mask", other="mask")
    permuted = spacing_looks_permuted(discs.grid)
    return [_measure(discs, label, level, images, tissues, permuted=permuted) for label, level in levels.items()]


def require_same_grid(grid: Grid, reference: Grid, *, what: str, other: str) -> None:
    """Raise GeometryError unless two grids have one shape and corners within 0.1 mm.

    Parameters
    ----------
    grid, reference : Grid
    what, other : str
        What lies on them, for the message.
    """
    distance_mm = grid.max_corner_distance_mm(reference)
    if distance_mm <= GRID_TOLERANCE_MM:
        return
    if grid.shape != reference.shape:
        found = f"shape {grid.shape} against {reference.shape}"
    else:
        found = f"corners {distance_mm:.2f} mm apart"
    raise GeometryError(
        f"{what} and {other} on one grid (corners within {GRID_TOLERANCE_MM} mm)", found, what,
        f"Resample one onto the other's grid, or check that they belong to one scan; header of the {other}: shape "
        f"{reference.shape}, spacing {np.round(reference.spacing_mm, 3).tolist()} mm.",
    )


def _measure(
    discs: LabelMap, label: int, level: str, images: Mapping[Contrast, Volume], tissues: LabelMap | None, *,
    permuted: bool,
) -> DiscMeasure:
    mask = discs.data == label
    box = bounding_box(mask)
    if box is None:
        return DiscMeasure(level, label, status=Status.FAILED, reason=f"label {label} ({level}) is not in the mask")
    disc = mask[box]
    shape: DiscGeometry | None = None if permuted else disc_geometry(disc, box, discs.grid.affine_ras_mm)
    doubts = check_disc(disc, box, discs.grid, shape)
    if permuted:
        doubts.append(PERMUTED_SPACING)
    n_voxels = int(np.count_nonzero(disc))
    centre_mm = shape.centre_mm if shape else _NAN3
    signals = disc_signals(disc, box, level=level, centre_mm=centre_mm, images=images, tissues=tissues)
    return DiscMeasure(
        level=level,
        label=label,
        volume_mm3=n_voxels * discs.grid.voxel_volume_mm3,
        n_voxels=n_voxels,
        height_mean_mm=shape.height_mean_mm if shape else math.nan,
        diameter_ap_mm=shape.diameter_ap_mm if shape else math.nan,
        diameter_transverse_mm=shape.diameter_transverse_mm if shape else math.nan,
        centre_mm=centre_mm,
        signals={c: float(image.data[box][disc].mean(dtype=np.float64)) for c, image in images.items()},
        normalised=signals.normalised,
        fat_fraction=signals.fat_fraction,
        signals_reason=signals.reason,
        status=Status.FLAGGED if doubts else Status.OK,
        reason="; ".join(doubts),
    )
