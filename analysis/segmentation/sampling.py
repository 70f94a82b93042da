"""Draws training patches from painted anatomies: contrasts near the physical ones or at random, artefacts, dropout.

Synthetic throughout: no scan of a person goes in. Knows nothing of the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analysis.phantom.paint import FINE, Painting
from analysis.phantom.render import block_mean, rician, smooth_field
from analysis.phantom.tissues import FAT, STRUCTURE_OF_TISSUE, T2, WATER, Structure, Tissue
from analysis.segmentation.normalise import CEILING, normalise
from analysis.vocabulary import Contrast

Float = NDArray[np.float32]
CHANNEL = {c: i for i, c in enumerate(Contrast)}
DIXON = (Contrast.WATER, Contrast.FAT, Contrast.IN_PHASE, Contrast.OPPOSED)
_LIKE_THE_ANNULUS = (Tissue.NUCLEUS, Tissue.NUCLEUS_DEGENERATED)


@dataclass(frozen=True)
class Sampling:
    """How patches are drawn.

    Attributes
    ----------
    patch : (I, J, K) voxels
    dixon, t2 : float
        Shares of patches rendered as Dixon and as T2; the rest gets random tissue contrasts.
    sacrum : float
        Share of patches centred near the sacrum, which fills little of the field and decides every name.
    """

    patch: tuple[int, int, int] = (24, 64, 96)
    dixon: float = 0.5
    t2: float = 0.2
    sacrum: float = 0.4


def draw_patch(painting: Painting, rng: np.random.Generator, sampling: Sampling) -> tuple[Float, Float]:
    """One training pair.

    Returns
    -------
    image : float32, (5, I, J, K), normalised contrasts, zeros where a contrast is missing
    target : float32, (5, I, J, K), share of each voxel that each structure fills
    """
    tissue = _crop(painting, rng, sampling)
    target = _structure_shares(tissue)
    kind = rng.random()
    if kind < sampling.dixon:
        clean = _dixon(tissue, rng)
    elif kind < sampling.dixon + sampling.t2:
        clean = {Contrast.T2: _render(T2, tissue, rng, spread=0.25)}
    else:
        clean = _random_contrasts(tissue, rng)
    image = np.zeros((len(Contrast), *sampling.patch), dtype=np.float32)
    gain = 1 + rng.uniform(0, 0.4) * smooth_field(sampling.patch, rng)
    thick = rng.random() < 0.3
    for contrast, signal in clean.items():
        image[CHANNEL[contrast]] = _scanned(signal * gain, rng, thick_slices=thick)
    if rng.random() < 0.5:
        image, target = image[:, ::-1], target[:, ::-1]
    return np.ascontiguousarray(image), np.ascontiguousarray(target)


def _crop(painting: Painting, rng: np.random.Generator, sampling: Sampling) -> NDArray[np.uint8]:
    """Sub-voxels of a patch whose centre lies near the spine: near the sacrum, or near any of its structures."""
    structure = STRUCTURE_OF_TISSUE[painting.tissue[::8, ::8, ::8]]
    wanted = structure == Structure.SACRUM if rng.random() < sampling.sacrum else structure > 0
    spots = np.argwhere(wanted if wanted.any() else structure > 0) * 8 // FINE
    centre = spots[rng.integers(len(spots))] + rng.integers(-16, 17, 3)
    shape = painting.grid.shape
    start = [int(np.clip(c - p // 2, 0, n - p)) for c, p, n in zip(centre, sampling.patch, shape, strict=True)]
    return painting.tissue[tuple(slice(s * FINE, (s + p) * FINE) for s, p in zip(start, sampling.patch, strict=True))]


def _structure_shares(tissue: NDArray[np.uint8]) -> Float:
    structure = STRUCTURE_OF_TISSUE[tissue]
    return np.stack([block_mean(structure == s) for s in Structure])


def _render(table: Float, tissue: NDArray[np.uint8], rng: np.random.Generator, *, spread: float) -> Float:
    """A tissue's signals with each tissue's own random departure."""
    jitter = np.exp(rng.normal(0, spread, len(table))).astype(np.float32)
    return block_mean((table * jitter)[tissue])


def _dixon(tissue: NDArray[np.uint8], rng: np.random.Generator) -> dict[Contrast, Float]:
    water, fat = (_render(t, tissue, rng, spread=0.12) for t in (WATER, FAT))
    every = {
        Contrast.WATER: water,
        Contrast.FAT: fat,
        Contrast.IN_PHASE: water + fat,
        Contrast.OPPOSED: np.abs(water - fat),
    }
    return every if rng.random() < 0.5 else _subset(every, rng)


def _random_contrasts(tissue: NDArray[np.uint8], rng: np.random.Generator) -> dict[Contrast, Float]:
    """Tissues at random brightness; half of the time the nucleus looks like the annulus."""
    chosen = _subset({c: np.zeros(0, np.float32) for c in Contrast}, rng)
    out: dict[Contrast, Float] = {}
    for contrast in chosen:
        table = rng.uniform(5, 200, len(Tissue)).astype(np.float32)
        table[Tissue.AIR] = rng.uniform(0, 10)
        if rng.random() < 0.5:
            for t in _LIKE_THE_ANNULUS:
                table[t] = table[Tissue.ANNULUS] * rng.uniform(0.8, 1.25)
        out[contrast] = block_mean(table[tissue])
    return out


def _subset(every: dict[Contrast, Float], rng: np.random.Generator) -> dict[Contrast, Float]:
    """Any non-empty subset, with one contrast alone as likely as more."""
    n = int(rng.integers(1, len(every) + 1))
    names = list(every)
    return {names[i]: every[names[i]] for i in sorted(rng.permutation(len(names))[:n])}


def _scanned(signal: Float, rng: np.random.Generator, *, thick_slices: bool) -> Float:
    """Slice thickness, blur, texture, Rician noise, gamma, then the common normalisation and a random gain."""
    if thick_slices:
        signal = ndimage.uniform_filter1d(signal, 2, axis=0)[::2].repeat(2, axis=0)[: signal.shape[0]]
        signal = ndimage.uniform_filter1d(signal, 3, axis=0)
    if rng.random() < 0.3:
        signal = ndimage.gaussian_filter(signal, rng.uniform(0.3, 0.8))
    signal = signal * (1 + rng.uniform(0, 0.10) * rng.standard_normal(signal.shape, dtype=np.float32))
    signal = rician(np.maximum(signal, 0), float(signal.max()) * rng.uniform(0.01, 0.10), rng)
    image = normalise(signal) * rng.uniform(0.65, 1.5)
    if rng.random() < 0.3:
        image = image ** rng.uniform(0.75, 1.3)
    return np.minimum(image, CEILING)
