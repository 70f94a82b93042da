"""Real spines as smooth fields: SPIDER's masks, their split into training and held-out patients, their geometry.

The masks lie beside the checkout in ../shared/data/real/spider-disc-masks (CC BY 4.0). Each structure becomes a field
of signed distance, interpolated between slices 3-5 mm apart, whose level set holds the mask's volume. Knows nothing of
tissues.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import CubicSpline

Array = NDArray[np.float64]
Field = NDArray[np.float32]
Slices = tuple[slice, slice, slice]

MASKS = Path(__file__).resolve().parents[3] / "shared" / "data" / "real" / "spider-disc-masks"
CREDIT = ("van der Graaf et al., Lumbar spine segmentation in MR images: a dataset and a public benchmark (SPIDER), "
          "Sci Data 2024;11:264, doi:10.1038/s41597-024-03090-w, CC BY 4.0")
# For the record of weights: what they were trained on.
TRAINING_DATA = ("synthetic anatomies, and real discs, vertebrae and spinal canals out of the masks of 22 patients "
                 f"({CREDIT}), posed anew, with a made sacrum and made surroundings; all images rendered")
# Rule, made before any result was seen: a patient counts for the rarest kind of series that he has (SPACE; T2 with
# L5 numbered 24; T2 with L5 numbered 1; T1), patients of a kind stand in the order of their numbers, and of every
# three the second is held out.
HELD_OUT_PATIENTS = (28, 32, 81, 96, 100, 173, 181, 185, 241, 255)
TRAINING_PATIENTS = (18, 24, 29, 30, 36, 67, 82, 83, 104, 106, 108, 110, 127, 166, 191, 200, 226, 231, 242, 244, 250,
                     254)
CANAL, DISC_OFFSET, FALLING_L5 = 100, 200, 24  # SPIDER's numbers
FINEST_MM = 0.5  # of two finer voxels one is enough
STEP_MM = 0.8  # of the fields' grids
NEAR_MM, FAR_MM = 9.0, 12.0  # distances are cut off here


def series_of(*, held_out: bool) -> list[str]:
    """Names of the series of one side of the split, in the order of patients."""
    patients = HELD_OUT_PATIENTS if held_out else TRAINING_PATIENTS
    return [p.stem for n in patients for p in sorted(MASKS.glob(f"{n}_*.mha"))]


@dataclass(frozen=True, eq=False)
class Part:
    """One structure: its signed distance in mm, positive inside, and where it lies."""

    field: Field  # (I, J, K)
    affine: Array  # (4, 4) index to RAS+ millimetres

    def points(self, level: float = 0.0) -> Array:
        """(N, 3) world points inside."""
        index = np.argwhere(self.field > level)
        return np.asarray(index @ self.affine[:3, :3].T + self.affine[:3, 3])

    def moved(self, transform: Array) -> Part:
        return Part(self.field, transform @ self.affine)


@dataclass(frozen=True, eq=False)
class RealSpine:
    """A real spine: discs and vertebrae from the bottom up, vertebra i on disc i, the uppermost one cut off."""

    series: str
    discs: tuple[Part, ...]
    vertebrae: tuple[Part, ...]
    canal: Part
    cut: frozenset[int]  # indices of the discs that the stack does not cover to the side; made whole
    top_mm: float  # height at which the field of view ends


@lru_cache(maxsize=2)
def read_real_spine(series: str) -> RealSpine:
    """Read one series of the data set by its name, such as ``18_t2``."""
    labels, affine = _read(MASKS / f"{series}.mha")
    present = set(np.unique(labels).tolist())
    falling = FALLING_L5 in present
    order = [n for n in (range(FALLING_L5, 0, -1) if falling else range(1, FALLING_L5)) if DISC_OFFSET + n in present]
    boxes = ndimage.find_objects(labels)
    parts = {n: _part(labels, n, boxes[n - 1], affine) for n in present - {0}}
    discs, cut = zip(*(parts[DISC_OFFSET + n] for n in order), strict=True)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in labels.shape], indexing="ij")).reshape(3, -1).T
    heights = np.sort((corners @ affine[:3, :3].T + affine[:3, 3])[:, 2])
    return RealSpine(series, discs, tuple(parts[n][0] for n in order if n in parts), parts[CANAL][0],
                     frozenset(i for i, at_side in enumerate(cut) if at_side), float(heights[4]))


def _read(path: Path) -> tuple[NDArray[np.int16], Array]:
    """Labels with the slices along the first axis, and the affine to RAS+ millimetres."""
    image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "RAS")
    labels = np.transpose(sitk.GetArrayFromImage(image).astype(np.int16), (2, 1, 0))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return labels, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _part(labels: NDArray[np.int16], number: int, box: Slices, affine: Array) -> tuple[Part, bool]:
    """Field of a structure, and whether the stack cuts it off at a side; there it is rounded off.

    `box`: its bounding box.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    margin = np.ceil(NEAR_MM / spacing).astype(int)
    low = np.array([max(b.start - m, 0) for b, m in zip(box, margin, strict=True)])
    crop = labels[tuple(slice(a, b.stop + m) for a, b, m in zip(low, box, margin, strict=True))] == number
    volume = float(crop.sum() * np.prod(spacing))
    areas = crop.sum(axis=(1, 2))
    ends = (float(areas[0] / areas.max()), float(areas[-1] / areas.max()))
    every = np.where(spacing < FINEST_MM, 2, 1)
    spacing, affine = spacing * every, affine @ np.diag([*every, 1.0])
    distance = _signed_distance(crop[tuple(slice(None, None, n) for n in every)], spacing)
    rounded, before = _rounded_off(distance, float(spacing[0]), ends)
    field, steps = _resampled(rounded, spacing)
    field += _offset_of_volume(field, volume / float(np.prod(steps)),
                               (np.array([before, before + len(distance)]) - 0.5) * spacing[0] / steps[0])
    matrix = affine.copy()
    matrix[:3, 3] += affine[:3, :3] @ (low / every - np.array([before, 0, 0]))
    matrix[:3, :3] = affine[:3, :3] * (steps / spacing)
    return Part(np.clip(field, -FAR_MM, FAR_MM).astype(np.float32), matrix), max(ends) > 0


def _signed_distance(mask: NDArray[np.bool_], spacing: Array) -> Field:
    """Distance to the mask's surface in mm, positive inside, zero half way between voxel centres."""
    inner = ndimage.distance_transform_edt(mask, sampling=spacing)
    outer = ndimage.distance_transform_edt(~mask, sampling=spacing)
    half = float(spacing[1:].mean()) / 2
    return np.asarray(np.where(mask, np.minimum(inner - half, FAR_MM), np.maximum(half - outer, -FAR_MM)), np.float32)


def _rounded_off(distance: Field, slice_mm: float, ends: tuple[float, float]) -> tuple[Field, int]:
    """Add slices beyond the stack, in which what the stack cuts closes like an ellipse; and how many come before."""
    added = [max(2, int(np.ceil(8 / slice_mm))) if share > 0 else 0 for share in ends]
    out = []
    for side, (share, n) in enumerate(zip(ends, added, strict=True)):
        last = distance[0 if side == 0 else -1]
        reach = max(24 * (1 - np.sqrt(max(1 - share**2, 0.0))), 2.0)  # of a half width of 24 mm
        beyond = [last - max(float(last.max()), 0.5) * (k * slice_mm / min(reach, 8.0))**2 for k in range(1, n + 1)]
        out.append(np.array(beyond[::-1] if side == 0 else beyond).reshape(n, *last.shape))
    whole = np.concatenate([out[0], distance, out[1]]).astype(np.float32)
    return np.maximum(whole, -FAR_MM), added[0]


def _resampled(distance: Field, spacing: Array) -> tuple[Field, Array]:
    """On a finer grid along the slices' axis and a coarser one in their plane; a true distance near the surface."""
    smooth = ndimage.gaussian_filter(distance, (0.0, *(0.5 / spacing[1:])))
    shape = [max(2, int(np.ceil((n - 1) * s / STEP_MM)) + 1) for n, s in zip(distance.shape, spacing, strict=True)]
    steps = np.array([(n - 1) * s / (m - 1) for n, s, m in zip(distance.shape, spacing, shape, strict=True)])
    field = _interpolated(smooth, shape, smooth_first=True)
    field = ndimage.gaussian_filter(field, (0.25 * spacing[0] / steps[0], 0.4, 0.4))
    slope = np.sqrt(sum(g**2 for g in np.gradient(field, *steps)))
    return np.asarray(field / np.maximum(slope, 0.6), np.float32), steps


def _interpolated(field: Field, shape: list[int], *, smooth_first: bool = False) -> Field:
    """On another number of points from the first to the last along each axis: linear, along the first one cubic."""
    for axis, m in enumerate(shape):
        n = field.shape[axis]
        place, unit = np.linspace(0, n - 1, m), np.eye(n)
        weights = CubicSpline(np.arange(n), unit)(place) if smooth_first and axis == 0 and n > 3 else np.stack(
            [np.interp(place, np.arange(n), row) for row in unit], axis=1)
        field = np.moveaxis(np.tensordot(weights.astype(np.float32), field, axes=(1, axis)), 0, axis)
    return field


def _offset_of_volume(field: Field, volume: float, window: Array) -> float:
    """What to add to the field so that it holds the volume, in voxels; at most 0.8 mm.

    `window`: first and last index along the first axis between which the volume lies.
    """
    shape = [3 * n - 2 for n in field.shape]
    fine = _interpolated(field, shape)[max(0, round(3 * window[0])):round(3 * window[1]) + 1].reshape(-1)
    rank = min(max(fine.size - round(volume * 27), 0), fine.size - 1)
    return float(np.clip(-np.partition(fine, rank)[rank], -0.8, 0.8))


@dataclass(frozen=True, eq=False)
class DiscFrame:
    """Place and size of a disc: columns of `axes` point to the right, the front and the head."""

    centre_mm: Array
    axes: Array  # (3, 3)
    half_width_mm: float
    half_depth_mm: float

    def local(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """(N, 3) world points in this frame."""
        return np.asarray((points - self.centre_mm) @ self.axes)

    def matrix(self) -> Array:
        out = np.eye(4)
        out[:3, :3], out[:3, 3] = self.axes, self.centre_mm
        return out


def frame_of(disc: Part) -> DiscFrame:
    points = disc.points()
    centre = points.mean(0)
    _, vectors = np.linalg.eigh(np.cov((points - centre).T))
    up = vectors[:, 0] * np.sign(vectors[2, 0])
    right = np.array([1.0, 0, 0]) - up[0] * up
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(up, right), up], axis=1)
    half = 2 * ((points - centre) @ axes).std(0)
    return DiscFrame(centre, axes, float(half[0]), float(half[1]))
