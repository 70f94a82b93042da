"""Augmented patches from labelled scans: rotated, scaled, bent, mirrored, with other brightness, noise and contrasts.

Drawing the random numbers is separate from applying them. Knows nothing of files and of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch import Tensor

from bedrest.phantom.paint import Painting
from bedrest.phantom.render import smooth_field
from bedrest.segmentation.normalise import CEILING
from bedrest.segmentation.training.fit import endless_batches
from bedrest.segmentation.training.labelled import LabelledScan
from bedrest.segmentation.training.sampling import Sampling
from bedrest.segmentation.training.sampling import draw_patch as draw_synthetic

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Augmentation:
    """How far a patch may differ from its scan. Angles and lengths are standard deviations or largest values."""

    patch: tuple[int, int, int] = (24, 64, 96)  # (I, J, K) voxels
    off_centre: tuple[int, int, int] = (6, 16, 24)  # voxels, largest distance of a centre from a labelled voxel
    warped: float = 0.6  # share of patches that are rotated, scaled and bent; the others keep their voxels
    turn_deg: float = 5.0  # SD of the rotation about the left-right axis; half of it about the other axes
    scale: float = 0.07  # standard deviation of ln(size)
    bend_mm: float = 3.0  # largest smooth displacement along each axis
    bias: float = 0.5  # largest ln(coil sensitivity)
    gain: float = 0.35  # largest ln(gain)
    noise: float = 0.12  # largest standard deviation, where bright tissue has 1
    gamma: float = 0.3  # largest ln(exponent)
    dropout: float = 0.5  # share of patches that keep a random part of the contrasts only


@dataclass(frozen=True, eq=False)
class Warp:
    """The coordinates that a patch is sampled at."""

    centre: NDArray[np.float64]  # (3,) voxels of the scan
    matrix: NDArray[np.float64]  # (3, 3); rotation, scale and mirroring, in mm
    bend_mm: Float  # float32, (3, I, J, K)

    def coordinates(self, spacing_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """(3, I, J, K) voxel coordinates in the scan."""
        shape = self.bend_mm.shape[1:]
        # whole voxels from a whole centre: a patch that is not warped is not interpolated either.
        steps = np.meshgrid(*((np.arange(n) - n // 2) * s for n, s in zip(shape, spacing_mm, strict=True)),
                            indexing="ij")
        offset_mm = np.tensordot(self.matrix, np.stack(steps), axes=1) + self.bend_mm
        return (offset_mm / spacing_mm[:, None, None, None]) + self.centre[:, None, None, None]


def draw_warp(scan: LabelledScan, rng: np.random.Generator, how: Augmentation) -> Warp:
    """Draw the centre, near a labelled voxel, and the rotation, scale, bending and mirroring of a patch."""
    spots = np.argwhere(scan.discs >= 0.5)
    reach = np.array(how.off_centre)
    near = spots[rng.integers(len(spots))] + rng.integers(-reach, reach + 1)
    patch, shape = np.array(how.patch), np.array(scan.discs.shape)
    # Inside the scan where the scan is large enough, else about its middle.
    low, high = np.minimum(patch // 2, shape // 2), np.maximum(shape - patch + patch // 2, shape // 2)
    centre, mirror = np.clip(near, low, high), np.diag([rng.choice([-1.0, 1.0]), 1, 1])
    if rng.random() >= how.warped:
        return Warp(centre, mirror, np.zeros((3, *how.patch), dtype=np.float32))
    degrees = rng.normal(0, how.turn_deg * np.array([1, 0.5, 0.5]))
    rotation = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    bend: Float = np.stack([np.float32(how.bend_mm) * smooth_field(how.patch, rng) for _ in range(3)])
    return Warp(centre, mirror @ rotation * np.exp(rng.normal(0, how.scale)), bend)


def draw_patch(scan: LabelledScan, rng: np.random.Generator, how: Augmentation) -> tuple[Float, Float]:
    """One training pair.

    Returns `image`: float32, (5, I, J, K), zeros where a contrast is missing or left out; `target`: float32, (5, I, J,
    K), shares that sum to 1.
    """
    at = draw_warp(scan, rng, how).coordinates(scan.spacing_mm)
    low = np.maximum(np.floor(at.min(axis=(1, 2, 3))).astype(int), 0)
    high = np.ceil(at.max(axis=(1, 2, 3))).astype(int) + 2
    low = np.minimum(low, np.array(scan.discs.shape) - 1)
    part = (slice(None), *(slice(int(a), max(int(b), 1)) for a, b in zip(low, high, strict=True)))
    at -= low[:, None, None, None]
    target = np.stack([_sampled(channel, at) for channel in scan.target[part]])
    image = np.zeros((len(scan.image), *how.patch), dtype=np.float32)
    bias = np.exp(rng.uniform(0, how.bias) * smooth_field(how.patch, rng))  # one coil for all contrasts
    for channel in _kept(scan.channels, rng, how):
        image[channel] = _rescanned(_sampled(scan.image[part][channel], at) * bias, rng, how)
    return image, target / target.sum(axis=0)


def _sampled(channel: NDArray[np.floating], at: NDArray[np.float64]) -> Float:
    result: Float = ndimage.map_coordinates(channel.astype(np.float32), at, order=1, mode="nearest", output=np.float32)
    return result


def _kept(channels: tuple[int, ...], rng: np.random.Generator, how: Augmentation) -> list[int]:
    """All contrasts, or any non-empty part of them, one alone as likely as more."""
    if len(channels) == 1 or rng.random() >= how.dropout:
        return list(channels)
    return sorted(rng.permutation(channels)[: rng.integers(1, len(channels) + 1)].tolist())


def _rescanned(image: Float, rng: np.random.Generator, how: Augmentation) -> Float:
    """Another gain, gamma and noise; between 0 and the ceiling of `normalise`."""
    image = np.maximum(image, 0) * np.exp(rng.uniform(-how.gain, how.gain))
    if rng.random() < 0.3:
        image = image ** np.exp(rng.uniform(-how.gamma, how.gamma))
    if rng.random() < 0.5:
        image = np.abs(image + rng.uniform(0, how.noise) * rng.standard_normal(image.shape, dtype=np.float32))
    return np.minimum(image, CEILING).astype(np.float32)


def plain_pairs(scans: Sequence[LabelledScan], how: Augmentation, *, each: int,
                seed: int) -> list[tuple[Float, Float]]:
    """Patches without augmentation but mirroring, `each` per scan."""
    plain = Augmentation(how.patch, how.off_centre, *(0.0,) * (len(fields(how)) - 2))
    rng = np.random.default_rng(seed)
    return [draw_patch(scan, rng, plain) for scan in scans for _ in range(each)]


@dataclass(frozen=True, eq=False)
class Pool:
    """The source of patches: labelled scans and, for a share of the patches, synthetic anatomies."""

    scans: Sequence[LabelledScan]
    synthetic: Sequence[Painting] = ()
    synthetic_share: float = 0.0

    def draw(self, rng: np.random.Generator, how: Augmentation) -> tuple[Float, Float]:
        if self.synthetic and rng.random() < self.synthetic_share:
            painting = self.synthetic[int(rng.integers(len(self.synthetic)))]
            return draw_synthetic(painting, rng, Sampling(patch=how.patch))
        return draw_patch(self.scans[int(rng.integers(len(self.scans)))], rng, how)


def batches_of(pool: Pool, how: Augmentation, *, seed: int, batch: int,
               workers: int) -> Callable[[int], Iterable[tuple[Tensor, Tensor]]]:
    """Endless batches from a given step on, for `fit`."""
    return lambda step: endless_batches(partial(pool.draw, how=how), seed=(seed, step), batch=batch, workers=workers)
