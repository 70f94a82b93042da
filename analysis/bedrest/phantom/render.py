"""Turns a painted anatomy into MR contrasts: partial volume, Dixon physics, bias field, noise.

Knows nothing of subjects and files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bedrest.phantom.paint import FINE, Painting
from bedrest.phantom.tissues import FAT, T1, T2, WATER
from bedrest.types import Grid, Scan, Volume
from bedrest.vocabulary import Contrast

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Artefacts:
    """Imperfections that the scanner adds."""

    snr: float = 14.0  # disc water signal over the noise's standard deviation
    bias: float = 0.20  # largest relative departure of the bias field from 1
    texture: float = 0.04  # relative standard deviation of the unevenness of tissue


def block_mean(fine: NDArray[Any]) -> Float:
    """Mean over the FINE**3 sub-voxels of each voxel: shape (2I, 2J, 2K) -> (I, J, K)."""
    i, j, k = (n // FINE for n in fine.shape)
    return np.asarray(fine.reshape(i, FINE, j, FINE, k, FINE).mean(axis=(1, 3, 5), dtype=np.float32))


def smooth_field(shape: tuple[int, ...], rng: np.random.Generator, *, knots: int = 4) -> Float:
    """A smooth random field of zero mean and unit largest size."""
    coarse = rng.normal(size=(knots,) * 3)
    field = ndimage.zoom(coarse, [n / knots for n in shape], order=2, mode="nearest", grid_mode=True)
    field = field[tuple(slice(0, n) for n in shape)].astype(np.float32)
    field -= field.mean()
    return np.asarray(field / max(float(np.abs(field).max()), 1e-6))


def rician(signal: Float, sigma: float, rng: np.random.Generator) -> Float:
    """Magnitude of the signal with complex Gaussian noise of standard deviation `sigma` in each part."""
    real = signal + sigma * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = sigma * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.asarray(np.hypot(real, imaginary))


def dixon_signals(water: Float, fat: Float) -> dict[Contrast, Float]:
    """The four noise-free Dixon contrasts of water and fat."""
    return {Contrast.WATER: water, Contrast.FAT: fat, Contrast.IN_PHASE: water + fat,
            Contrast.OPPOSED: np.abs(water - fat)}


def render_dixon(painting: Painting, rng: np.random.Generator, artefacts: Artefacts) -> Scan:
    """The four Dixon contrasts: in-phase W+F, opposed-phase |W-F|, water, fat, each with its own noise."""
    water, fat = block_mean(WATER[painting.tissue]), block_mean(FAT[painting.tissue])
    gain = 1 + artefacts.bias * smooth_field(painting.grid.shape, rng)
    water = water * gain * _texture(painting.grid, rng, artefacts)
    fat = fat * gain * _texture(painting.grid, rng, artefacts)
    sigma = 163.0 / artefacts.snr
    clean = dixon_signals(water, fat)
    # Water and fat come from two measured echoes, which halves their noise variance.
    scale = {Contrast.WATER: 0.5**0.5, Contrast.FAT: 0.5**0.5, Contrast.IN_PHASE: 1.0, Contrast.OPPOSED: 1.0}
    return Scan({c: Volume(rician(s, sigma * scale[c], rng), painting.grid) for c, s in clean.items()})


def render_t2(painting: Painting, rng: np.random.Generator, artefacts: Artefacts) -> Scan:
    """A T2-weighted scan of the same anatomy."""
    return _render(Contrast.T2, T2, painting, rng, artefacts)


def render_t1(painting: Painting, rng: np.random.Generator, artefacts: Artefacts) -> Scan:
    """A T1-weighted spin-echo scan of the same anatomy."""
    return _render(Contrast.T1, T1, painting, rng, artefacts)


def _render(contrast: Contrast, table: Float, painting: Painting, rng: np.random.Generator,
            artefacts: Artefacts) -> Scan:
    gain = 1 + artefacts.bias * smooth_field(painting.grid.shape, rng)
    signal = block_mean(table[painting.tissue]) * gain * _texture(painting.grid, rng, artefacts)
    return Scan({contrast: Volume(rician(signal, 163.0 / artefacts.snr, rng), painting.grid)})


def _texture(grid: Grid, rng: np.random.Generator, artefacts: Artefacts) -> Float:
    noise = ndimage.gaussian_filter(rng.standard_normal(grid.shape, dtype=np.float32), 1.0)
    return np.asarray(1 + artefacts.texture * noise / float(noise.std()))


def demo_grid() -> Grid:
    """The grid of the bed-rest Dixon scans: 36 x 256 x 256 at 2 x 1.25 x 1.25 mm, RAS+, centred."""
    spacing, shape = np.array([2.0, 1.25, 1.25]), (36, 256, 256)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array(shape) - 1) / 2
    return Grid(shape, affine)
