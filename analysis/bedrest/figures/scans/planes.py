"""Cuts through a visit's image and masks along any plane, so that every visit is shown at the same place.

A plane is laid in the world frame (RAS+, mm) and sampled; knows nothing of drawing. Visits are aligned by
the centres of their discs, without rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, map_coordinates
from skimage.measure import find_contours

from bedrest.measurement.geometry import bounding_box, disc_geometry
from bedrest.types import LabelMap, Volume
from bedrest.vocabulary import LABEL_OF_LEVEL, LEVEL_OF_LABEL

# Head to the top. A sagittal view has the front on the left, an axial one the patient's right (radiological).
BACK, RIGHT_OF_PATIENT, HEAD = np.array([0.0, -1.0, 0.0]), np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
MARGIN_MM = 22.0
_AXIAL_HALF_MM = (38.0, 32.0)

Outlines = dict[int, list[NDArray[np.float64]]]


@dataclass(frozen=True, eq=False)
class VisitView:
    """One visit to show: a title, one contrast, the measured mask, and other masks where there are any, on one grid."""

    title: str
    image: Volume
    mask: LabelMap
    reference: LabelMap | None = None  # manual mask to judge by
    before: LabelMap | None = None  # the automatic mask, where it was corrected
    session: str = ""  # identifier of the visit


@dataclass(frozen=True, eq=False)
class Plane:
    """A window into the world.

    Attributes
    ----------
    right, up : (3,) unit vectors, world: to the right and to the top of the picture
    """

    centre_mm: NDArray[np.float64]  # (3,), world
    right: NDArray[np.float64]
    up: NDArray[np.float64]
    bounds_mm: tuple[float, float, float, float]  # left, right, bottom and top end of the window, from the centre
    pixel_mm: float = 0.8  # side of a pixel

    @property
    def shape(self) -> tuple[int, int]:
        """Pixel rows and columns."""
        left, right, bottom, top = self.bounds_mm
        return round((top - bottom) / self.pixel_mm), round((right - left) / self.pixel_mm)

    def moved(self, shift_mm: NDArray[np.float64]) -> Plane:
        return replace(self, centre_mm=self.centre_mm + shift_mm)

    def points_mm(self) -> NDArray[np.float64]:
        """(3, rows, columns) world positions of pixel centres, first row at the top."""
        rows, columns = self.shape
        across = self.bounds_mm[0] + (np.arange(columns) + 0.5) * self.pixel_mm
        along = self.bounds_mm[3] - (np.arange(rows) + 0.5) * self.pixel_mm
        return (self.centre_mm[:, None, None] + self.right[:, None, None] * across[None, None, :]
                + self.up[:, None, None] * along[None, :, None])


def cut_image(volume: Volume, plane: Plane) -> NDArray[np.float32]:
    """(rows, columns) intensities, linear between voxels, 0 outside the image."""
    result: NDArray[np.float32] = map_coordinates(volume.data, _indices(volume.grid.affine_ras_mm, plane), order=1,
                                                  output=np.float32)
    return result


@dataclass(frozen=True, eq=False)
class Regions:
    """The labels of a mask, each cropped once, so that many planes can be cut quickly.

    Attributes
    ----------
    parts : label -> where it begins in the whole mask, and its indicator with a rim of zeros
    """

    affine_ras_mm: NDArray[np.float64]  # (4, 4) of the whole mask
    parts: dict[int, tuple[tuple[int, int, int], NDArray[np.float32]]]


def regions_of(mask: LabelMap) -> Regions:
    """Every label of a mask, cropped."""
    parts = {}
    for number, box in enumerate(find_objects(mask.data), start=1):
        if box is not None:
            inside = (mask.data[box] == number).astype(np.float32)
            parts[number] = ((box[0].start - 1, box[1].start - 1, box[2].start - 1), np.pad(inside, 1))
    return Regions(mask.grid.affine_ras_mm, parts)


def cut_outlines(regions: Regions, plane: Plane) -> Outlines:
    """Outlines of every label that the plane meets, in pixels of the picture: (n, 2) column and row, from its corner.

    Each label's indicator is sampled linearly and cut at one half: labels themselves are never interpolated.
    """
    index = _indices(regions.affine_ras_mm, plane)
    outlines: Outlines = {}
    for label, (start, part) in regions.parts.items():
        at = index - np.array(start)[:, None, None]
        near = np.all((at > 0) & (at < np.array(part.shape)[:, None, None] - 1), axis=0)
        if not near.any():
            continue
        field = np.zeros(plane.shape, dtype=np.float32)
        field[near] = map_coordinates(part, at[:, near], order=1)
        lines = [np.vstack([line[:-1:2], line[-1:]]) for line in find_contours(field, 0.5)]  # half the points do
        if lines:
            outlines[label] = [line[:, ::-1] + 0.5 for line in lines]
    return outlines


def sagittal_planes(views: Sequence[VisitView]) -> list[Plane]:
    """The mid-sagittal plane of every visit: through the middle of the discs that all visits have, one window size."""
    centres = [_disc_centres(v.mask) for v in views]
    shared = set.intersection(*(set(c) for c in centres)) if centres else set()
    middles = [np.mean([c[label] for label in (shared or c)], axis=0) if c else _middle(v.image)
               for c, v in zip(centres, views, strict=True)]
    reach = np.array([_reach(v.mask, m) for v, m in zip(views, middles, strict=True)]).reshape(-1, 4)
    bounds = (reach[:, 0].min() - 1.6 * MARGIN_MM, reach[:, 1].max() + 2.2 * MARGIN_MM,
              reach[:, 2].min() - MARGIN_MM, reach[:, 3].max() + MARGIN_MM) if len(reach) else (0.0, 1.0, 0.0, 1.0)
    return [Plane(m, BACK, HEAD, bounds) for m in middles]


def disc_plane(view: VisitView, level: str) -> Plane | None:
    """The plane of one disc of a visit, through its centre and across its normal; None where it is not there."""
    inside = view.mask.data == LABEL_OF_LEVEL[level]
    box = bounding_box(inside)
    if box is None or inside.sum() < 8:  # a few voxels have no plane
        return None
    shape = disc_geometry(inside[box], box, view.mask.grid.affine_ras_mm)
    across, along = _AXIAL_HALF_MM
    return Plane(np.array(shape.centre_mm), -shape.axes[:, 0], shape.axes[:, 1], (-across, across, -along, along))


def window_of(images: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """Darkest and brightest intensity to show, the same for every visit."""
    shown = np.concatenate([i[i > 0].ravel() for i in images]) if images else np.empty(0)
    low, high = np.percentile(shown, [1, 99.5]) if shown.size else (0.0, 1.0)
    return float(low), float(max(high, low + 1e-6))


def _indices(affine_ras_mm: NDArray[np.float64], plane: Plane) -> NDArray[np.float64]:
    inverse = np.linalg.inv(affine_ras_mm)
    points = plane.points_mm()
    result: NDArray[np.float64] = np.einsum("ij,jrc->irc", inverse[:3, :3], points) + inverse[:3, 3, None, None]
    return result


def _disc_centres(mask: LabelMap) -> dict[int, NDArray[np.float64]]:
    """World centre of every disc; of the named ones only, where there are any."""
    labels = [int(n) for n in np.unique(mask.data[mask.data > 0])]
    labels = [n for n in labels if n in LEVEL_OF_LABEL] or labels
    affine = mask.grid.affine_ras_mm
    return {n: affine[:3, :3] @ np.argwhere(mask.data == n).mean(axis=0) + affine[:3, 3] for n in labels}


def _middle(image: Volume) -> NDArray[np.float64]:
    affine = image.grid.affine_ras_mm
    return affine[:3, :3] @ ((np.array(image.grid.shape) - 1) / 2) + affine[:3, 3]


def _reach(mask: LabelMap, middle: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """How far discs stand from the middle to the front, back, foot and head; a guess where there are none."""
    spots = np.argwhere(mask.data > 0)
    if not len(spots):
        return -40.0, 40.0, -90.0, 90.0
    affine = mask.grid.affine_ras_mm
    offset = spots @ affine[:3, :3].T + affine[:3, 3] - middle
    across, along = offset @ BACK, offset @ HEAD
    return float(across.min()), float(across.max()), float(along.min()), float(along.max())
