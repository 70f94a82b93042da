"""Scanner artefacts on synthetic signals: slice thickness, coil, motion, texture, blur, noise, gamma.

Knows nothing of tissues.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bedrest.phantom.render import rician, smooth_field
from bedrest.segmentation.normalise import CEILING, normalise

Float = NDArray[np.float32]


def shared_gain(shape: tuple[int, ...], rng: np.random.Generator) -> Float:
    """Bias field common to all contrasts of a scan: smooth, and falling away from a coil at the back."""
    gain = 1 + rng.uniform(0, 0.4) * smooth_field(shape, rng)
    if rng.random() < 0.5:
        gain = gain * np.exp(-rng.uniform(0, 1.2) * np.linspace(0, 1, shape[1], dtype=np.float32))[:, None]
    return gain


def scanned(signal: Float, gain: Float, rng: np.random.Generator, *, slice_mm: float, voxel_mm: float,
            acquired_mm: float) -> Float:
    """Clean signals as a scanner would show them, on the working grid and normalised.

    `signal`: float32, (n, J, K); slices `slice_mm` thick, side by side along the first axis; `gain`: float32, (I, J,
    K); bias field on the working grid, whose slices lie `voxel_mm` apart; `acquired_mm`: thickness of the slices that
    are acquired and then interpolated onto the working grid.
    """
    if rng.random() < 0.5:
        signal = ndimage.gaussian_filter(signal, (0, *[rng.uniform(0.2, 1.1)] * 2))
    if rng.random() < 0.2:
        signal = _truncated(signal, int(rng.integers(1, 3)), rng.uniform(0.5, 0.95))
    slices, back = _acquisition(signal.shape[0], gain.shape[0], slice_mm, voxel_mm, acquired_mm, rng)
    signal = np.tensordot(slices, signal, axes=1)
    signal = _ghost(signal * _texture(signal.shape, rng), rng)
    signal = rician(np.maximum(signal, 0), float(signal.max()) * rng.uniform(0.005, 0.10), rng)
    signal = np.tensordot(back, signal, axes=1) * gain
    image = normalise(signal) * rng.uniform(0.65, 1.5)
    if rng.random() < 0.3:
        image = image ** rng.uniform(0.75, 1.3)
    result: Float = np.minimum(image, CEILING).astype(np.float32)
    return result


def _acquisition(n: int, wanted: int, slice_mm: float, voxel_mm: float, acquired_mm: float,
                 rng: np.random.Generator) -> tuple[Float, Float]:
    """Weights that turn fine slices into acquired ones, (m, n), and those into the working grid, (wanted, m)."""
    if acquired_mm == voxel_mm:
        centres = (np.arange(wanted) + 0.5) * voxel_mm
        return _boxes(centres, voxel_mm, n, slice_mm), np.eye(wanted, dtype=np.float32)
    step = acquired_mm * (rng.uniform(1.0, 1.15) if acquired_mm > 2 else 1.0)  # a gap between thick slices
    centres = np.arange(rng.uniform(0, step), n * slice_mm, step)
    at = (np.arange(wanted) + 0.5) * voxel_mm
    # Linear interpolation; where the working grid is coarser, over a Gaussian as in `imaging.resample`.
    back = np.stack([np.interp(at, centres, row) for row in np.eye(len(centres))], axis=1)
    if step < voxel_mm:
        sigma = max(0.5 * np.sqrt((voxel_mm / step) ** 2 - 1) * step, 0.2 * voxel_mm)  # else a row can be all zeros
        back = np.exp(-0.5 * ((at[:, None] - centres) / sigma) ** 2)
        back /= back.sum(axis=1, keepdims=True)
    return _boxes(centres, acquired_mm, n, slice_mm), back.astype(np.float32)


def _boxes(centres_mm: NDArray[Any], width_mm: float, n: int, slice_mm: float) -> Float:
    """Share of each fine slice in boxes around `centres_mm`, rows summing to 1."""
    edges = np.arange(n + 1) * slice_mm
    low = np.maximum(edges[:-1], centres_mm[:, None] - width_mm / 2)
    high = np.minimum(edges[1:], centres_mm[:, None] + width_mm / 2)
    weights = np.maximum(high - low, 0)
    result: Float = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return result


def _texture(shape: tuple[int, ...], rng: np.random.Generator) -> Float:
    """Unevenness of tissue itself, fine or coarse-grained."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    if rng.random() < 0.5:
        noise = ndimage.gaussian_filter(noise, rng.uniform(0.6, 2.0))
        noise /= max(float(noise.std()), 1e-6)
    return 1 + rng.uniform(0, 0.12) * noise


def _truncated(signal: Float, axis: int, kept: float) -> Float:
    """The signal without its highest frequencies along one axis: ringing at edges, as of a small matrix."""
    spectrum = np.fft.rfft(signal, axis=axis)
    cut = [slice(None)] * signal.ndim
    cut[axis] = slice(int(kept * spectrum.shape[axis]), None)
    spectrum[tuple(cut)] = 0
    return np.fft.irfft(spectrum, signal.shape[axis], axis=axis).astype(np.float32)


def displaced(signal: Float, voxels: float, axis: int) -> Float:
    """The signal moved along one axis, by linear interpolation: chemical shift."""
    whole = int(np.floor(voxels))
    moved = np.roll(signal, whole, axis)
    result: Float = moved + np.float32(voxels - whole) * (np.roll(signal, whole + 1, axis) - moved)
    return result


def smooth_noise(shape: tuple[int, ...], rng: np.random.Generator) -> Float:
    """Noise of unit SD whose grains are a few voxels wide or a few centimetres."""
    coarse = rng.standard_normal([max(2, int(n / w)) for n, w in zip(shape, rng.uniform(3, 24, 3), strict=True)])
    result: Float = ndimage.zoom(coarse.astype(np.float32), [n / m for n, m in zip(shape, coarse.shape, strict=True)],
                                 order=1, mode="nearest", grid_mode=True)[tuple(slice(n) for n in shape)]
    return result


def _ghost(signal: Float, rng: np.random.Generator) -> Float:
    """A faint shifted copy along one in-plane axis, as breathing leaves it."""
    if rng.random() > 0.15:
        return signal
    axis = int(rng.integers(1, 3))
    n = signal.shape[axis]
    return signal + rng.uniform(0.02, 0.12) * np.roll(signal, int(rng.integers(n // 8, n // 2)), axis)
