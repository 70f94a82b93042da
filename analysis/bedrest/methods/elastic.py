"""Deformations of an image with its labels: smooth random displacements, and affine ones in any order with them.

What is drawn stands apart from its application. Knows no method.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bedrest.methods.method import SPACING_MM, Float, Labels
from bedrest.segmentation.training.augment import Warp

_OPERATIONS = ("translation", "rotation", "flip", "scaling", "elastic")


@dataclass(frozen=True)
class Deformations:
    """How far a pair may differ from its scan (Wang et al. 2020, who give kinds of operations, but no sizes)."""

    share: float = 0.75  # of pairs that are deformed: 0.75, as 6 scans became 24
    shift_mm: float = 5.0  # largest translation along each axis
    turn_deg: float = 10.0  # largest rotation about the left-right axis; about the other axes half of it
    scale: float = 0.1  # largest ln(size), of each axis
    alpha_mm: float = 1.0  # standard deviation of the elastic displacement along each axis
    sigma_voxels: float = 6.0  # standard deviation of the Gaussian that smooths it


def elastic_field(shape: tuple[int, ...], rng: np.random.Generator, *, alpha: float, sigma: float) -> Float:
    """Random displacements smoothed by a Gaussian (Simard et al. 2003; Wang et al. 2020).

    The smoothed noise is brought to unit standard deviation before it is multiplied by `alpha`, so that `alpha` says
    the same for every `sigma` and number of axes: ours. The field goes on from one face at the opposite one, so that it
    is as large at the edges as inside.

    `shape`: (I, J, K) or (I, J); an axis of one voxel is a slice of a larger field; `alpha`: standard deviation of each
    component, in the unit wanted of the displacement; `sigma`: voxels.
    Returns float32, (len(shape), *shape).
    """
    noise = rng.standard_normal((len(shape), *shape), dtype=np.float32)
    if sigma <= 0:
        return np.float32(alpha) * noise
    smooth = ndimage.gaussian_filter(noise, sigma, mode="wrap", axes=tuple(range(1, len(shape) + 1)))
    result: Float = np.float32(alpha / np.prod([_left_of_noise(n, sigma) for n in shape])) * smooth
    return result


def _left_of_noise(n: int, sigma: float) -> float:
    """Standard deviation of smoothed unit noise on a ring of n voxels."""
    spike = np.zeros(n)
    spike[0] = 1
    return float(np.sqrt((ndimage.gaussian_filter1d(spike, sigma, mode="wrap") ** 2).sum()))


def sampled(image: Float, labels: Labels, at: NDArray[np.floating], *, edge: bool) -> tuple[Float, Labels]:
    """Image (linear) and labels (nearest) at the same places; outside the image there are no labels.

    `image`: float32, (C, *shape); `labels`: int16, (*shape); `at`: voxel coordinates, (len(shape), *outcome); `edge`:
    Outside the image: its edge repeated, or zeros.
    Returns `image`: float32, (C, *outcome); `labels`: int16, (*outcome).
    """
    mode, size = "nearest" if edge else "constant", np.array(labels.shape)
    axes = tuple(range(1, at.ndim))
    low = np.clip(np.floor(at.min(axis=axes)).astype(int), 0, size - 1)
    high = np.clip(np.ceil(at.max(axis=axes)).astype(int) + 1, low + 1, size)
    # One voxel more where there is one: a cut is no edge of the image.
    low, high = np.maximum(low - 1, 0), np.minimum(high + 1, size)
    part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    near = at - low.reshape(-1, *(1,) * (at.ndim - 1))
    sampled_image = np.stack([ndimage.map_coordinates(c, near, order=1, mode=mode, output=np.float32)
                              for c in image[(slice(None), *part)]])
    sampled_labels: Labels = ndimage.map_coordinates(labels[part], near, order=0, mode="constant")
    return sampled_image, sampled_labels


def draw_warp(rng: np.random.Generator, how: Deformations, *, middle: NDArray[np.generic],
              size: tuple[int, int, int]) -> Warp:
    """A random part of translation, rotation, flip, scaling and elastic deformation, in random order.

    `middle`: (3,) voxels; where the middle of what is cut out (voxel size // 2) lies in the image; rotation is about
    it; `size`: voxels of what is cut out; axes right, front, head.
    A pair that is not deformed takes voxels as they are.
    """
    matrix, shift = np.eye(3), np.zeros(3)
    field: Float = np.zeros((3, *size), dtype=np.float32)
    for name in _chosen(rng, how.share):
        if name == "elastic":
            field = field + elastic_field(size, rng, alpha=how.alpha_mm, sigma=how.sigma_voxels)
        elif name == "translation":
            shift = shift + rng.uniform(-how.shift_mm, how.shift_mm, 3)
        else:
            step = _matrix(name, rng, how)
            matrix, shift = step @ matrix, step @ shift
            field = np.tensordot(step.astype(np.float32), field, axes=1)
    return Warp(np.asarray(middle, dtype=np.float64) + shift / np.array(SPACING_MM), matrix, field)


def _chosen(rng: np.random.Generator, share: float) -> list[str]:
    """Any non-empty part of the operations, in any order; none for the share that stays as it is."""
    if rng.random() >= share:
        return []
    return [str(n) for n in rng.permutation(_OPERATIONS)[: rng.integers(1, len(_OPERATIONS) + 1)]]


def _matrix(name: str, rng: np.random.Generator, how: Deformations) -> NDArray[np.float64]:
    if name == "flip":  # of right and left alone: nobody is scanned with the head below
        return np.diag([-1.0, 1.0, 1.0])
    if name == "scaling":
        return np.diag(np.exp(rng.uniform(-how.scale, how.scale, 3)))
    most = how.turn_deg * np.array([1, 0.5, 0.5])
    return np.asarray(Rotation.from_euler("xyz", rng.uniform(-most, most), degrees=True).as_matrix())
