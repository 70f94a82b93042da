"""Augmentation of Georgiev and Asenov 2018, for slices: geometry of image and labels, then intensities of the image.

Every kind is drawn or not for itself, so that they come in all combinations. The paper gives no amounts; these are
ours. Knows nothing of networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bedrest.methods.elastic import sampled
from bedrest.methods.method import Float, Labels

Coordinates = NDArray[np.float64]  # (2, H, W) pixels of the slice that is sampled


@dataclass(frozen=True)
class Amounts:
    """How far a slice may differ from what was scanned; largest values."""

    share: float = 0.5  # of each kind of augmentation, drawn for itself
    grid: int = 5  # points along each side, for elastic deformation of the whole slice
    bend: float = 5.0  # pixels, displacement at a point of that grid
    dent: float = 3.0  # pixels, displacement at a point on or in a tissue
    dents: int = 4  # points on or in a tissue
    reach: float = 6.0  # pixels, distance at which a dent has half its size
    crop: float = 0.2  # part of each side that is cut off before it is resized
    tilt: float = 0.1  # shear
    turn_deg: float = 10.0
    brightness: float = 0.5  # of an intensity's standard deviation
    noise: float = 0.2  # the same
    gain: float = 0.3  # of the dynamic range: ln(factor)
    gamma: float = 0.3  # of the dynamic range: ln(exponent)


def pushed(shape: tuple[int, int], points: NDArray[np.float64], ways: NDArray[np.float64], reach: float) -> Coordinates:
    """Displacement of each pixel by points that each push their way, less with the square of the distance.

    `points, ways`: (n, 2) pixels; `reach`: distance at which a push has half its size, pixels.
    Returns (2, H, W) pixels; zeros without points.
    """
    at = np.stack(np.meshgrid(*(np.arange(n, dtype=float) for n in shape), indexing="ij"))
    result = np.zeros((2, *shape))
    for point, way in zip(points, ways, strict=True):
        squared = np.square(at - point[:, None, None]).sum(axis=0)
        result += way[:, None, None] / (1 + squared / reach**2)
    return result


def elastic(shape: tuple[int, int], rng: np.random.Generator, how: Amounts) -> Coordinates:
    """Displacement by a uniform grid of points, each with a random way."""
    sides = [np.linspace(0, n - 1, how.grid) for n in shape]
    points = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)
    ways = rng.uniform(-how.bend, how.bend, points.shape)
    return pushed(shape, points, ways, max(shape) / how.grid / 2)


def tissue_deformation(labels: Labels, rng: np.random.Generator, how: Amounts) -> Coordinates:
    """Displacement by random points on the contour and inside of the tissue; zeros where there is none."""
    tissue = labels > 0
    inside = ndimage.binary_erosion(tissue)
    chosen = [s[rng.integers(len(s), size=how.dents)] for s in (np.argwhere(tissue & ~inside), np.argwhere(inside))
              if len(s)]
    points = np.concatenate(chosen).astype(float) if chosen else np.empty((0, 2))
    return pushed((labels.shape[0], labels.shape[1]), points, rng.uniform(-how.dent, how.dent, points.shape), how.reach)


def whole_turn(shape: tuple[int, int], rng: np.random.Generator, how: Amounts) -> NDArray[np.float64]:
    """Matrix, (2, 3), from pixels about the middle to pixels: crop and resize, tilt, rotation, each or none."""
    angle = np.deg2rad(how.turn_deg) * rng.uniform(-1, 1) * (rng.random() < how.share)
    tilt = np.array([[1, rng.uniform(-how.tilt, how.tilt)], [rng.uniform(-how.tilt, how.tilt), 1]])
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = matrix @ (tilt if rng.random() < how.share else np.eye(2))
    kept = 1 - rng.uniform(0, how.crop, 2) * (rng.random() < how.share)
    cut = (1 - kept) * shape * rng.uniform(-0.5, 0.5, 2)
    return np.column_stack([matrix * kept, cut])


def augmented(image: Float, labels: Labels, size: tuple[int, int], rng: np.random.Generator,
              how: Amounts | None = None) -> tuple[Float, Labels]:
    """A slice, changed, or a part of it where it is larger than wanted.

    `image`: float32, (C, H, W); standardised: a standard deviation is 1; `labels`: int16, (H, W); `size`: of what comes
    out; where the slice is larger a window of it, where smaller its edge is repeated, unlabelled.
    Returns float32, (C, *size), and int16, size, of no labels that `labels` has not.
    """
    how = how or Amounts()
    shape = (labels.shape[0], labels.shape[1])
    spare = np.array(shape) - size
    middle = (np.array(size) - 1) / 2 + np.round(rng.uniform(0, 1, 2) * spare)
    matrix = whole_turn(size, rng, how)
    about = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in size), indexing="ij"))
    at = np.tensordot(matrix[:, :2], about, axes=1) + (middle + matrix[:, 2])[:, None, None]
    if rng.random() < how.share:
        at += elastic(size, rng, how)
    if rng.random() < how.share:
        # moves the tissue where it lies in the slice, whatever the slice went through besides.
        dents = tissue_deformation(labels, rng, how)
        at += np.stack([ndimage.map_coordinates(d, at, order=1, mode="nearest") for d in dents])
    deformed, discs = sampled(image, labels, at, edge=True)
    return with_intensities(deformed, discs, rng, how), discs


def with_intensities(image: Float, labels: Labels, rng: np.random.Generator, how: Amounts) -> Float:
    """Tissue brightness, dynamic range and white noise, each or none; the labels stay as they are.

    `image`: float32, (C, H, W), standardised; `labels`: int16, (H, W).
    """
    result = image.copy()
    if rng.random() < how.share:
        way = rng.normal(size=len(image))
        result += (rng.uniform(0, how.brightness) * way / np.linalg.norm(way))[:, None, None] * (labels > 0)
    if rng.random() < how.share:
        low, high = result.min(), result.max()
        span = max(float(high - low), 1e-6)
        result = low + span * ((result - low) / span) ** np.exp(rng.uniform(-how.gamma, how.gamma))
        result *= np.exp(rng.uniform(-how.gain, how.gain))
    if rng.random() < how.share:
        result += rng.uniform(0, how.noise) * rng.standard_normal(result.shape)
    bounded: Float = result.astype(np.float32)
    return bounded
