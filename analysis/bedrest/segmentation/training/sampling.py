"""Training patches from painted anatomies: contrasts near the physical ones or at random, then scanner artefacts.

The idea of SynthSeg (Billot et al., Med Image Anal 2023;86:102789): what the network must not rely on is random.
Synthetic throughout: no scan of a subject is used. Knows nothing of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedrest.anatomy.structures import Structure
from bedrest.phantom.paint import FINE, Painting
from bedrest.phantom.render import dixon_signals
from bedrest.phantom.tissues import FAT, STRUCTURE_OF_TISSUE, T1, T2, WATER, Tissue
from bedrest.segmentation.training.artefacts import displaced, scanned, shared_gain, smooth_noise
from bedrest.vocabulary import Contrast

Float = NDArray[np.float32]
FAT_SHARE: Float = (FAT / np.maximum(WATER + FAT, 1)).astype(np.float32)  # of a tissue's signal, in any contrast
CHANNEL = {c: i for i, c in enumerate(Contrast)}
_LIKE_THE_ANNULUS = (Tissue.NUCLEUS, Tissue.NUCLEUS_DEGENERATED)
_FLOWING = (Tissue.CSF, Tissue.FLUID, Tissue.VESSEL)  # their brightness depends on flow and saturation most
_LIKE_MARROW = (Tissue.SACRUM_MARROW, Tissue.BASIVERTEBRAL, Tissue.POSTERIOR_MARROW)


@dataclass(frozen=True)
class Sampling:
    """How patches are drawn."""

    patch: tuple[int, int, int] = (24, 64, 96)  # (I, J, K) voxels of the working grid
    locator_patch: tuple[int, int, int] = (16, 96, 96)  # of the locator's grid
    # Shares of patches rendered as Dixon, as T2 and as T1; the rest gets random tissue contrasts.
    dixon: float = 0.45
    t2: float = 0.22
    t1: float = 0.13
    sacrum: float = 0.4  # of patches, centred near the sacrum, which fills little of the field and decides every name
    scale: float = 0.15  # largest relative stretch or squeeze along each axis


def draw_patch(painting: Painting, rng: np.random.Generator, sampling: Sampling) -> tuple[Float, Float]:
    """One training pair of the segmenter.

    Returns `image`: float32, (contrasts, I, J, K), normalised contrasts, zeros where a contrast is missing; `target`:
    float32, (5, I, J, K), share of each voxel that each structure fills.
    """
    tissue = _crop(painting, rng, sampling)
    target = structure_shares(tissue)
    fine = _signals(tissue, draw_tissue_signals(rng, sampling), rng)
    return scanned_pair(with_opposed(fine), target, rng, slice_mm=1.0, voxel_mm=2.0)


def _signals(tissue: NDArray[np.uint8], tables: dict[Contrast, Float],
             rng: np.random.Generator) -> dict[Contrast, Float]:
    """Signals by contrast, averaged in the plane only: slices of any thickness are cut from what is left.

    Fat is displaced against water along one axis, and marrow and discs are uneven, by amounts of their own a contrast.
    """
    fine = {c: _means(table[tissue], fine_slices=True) for c, table in tables.items()}
    if rng.random() < 0.4:
        axis, voxels = int(rng.integers(1, 3)), rng.uniform(-2, 2)
        for c, table in tables.items():
            whole = c in (Contrast.WATER, Contrast.FAT) and len(tables) == 2
            if c == Contrast.FAT and whole:
                fine[c] = displaced(fine[c], voxels / 2, axis)
            elif not whole:
                fat = _means((table * FAT_SHARE)[tissue], fine_slices=True)
                fine[c] = fine[c] - fat + displaced(fat, voxels, axis)
    for structures in ((Structure.DISC,), (Structure.VERTEBRA, Structure.SACRUM)):
        if rng.random() < 0.5:
            share = _means(np.isin(STRUCTURE_OF_TISSUE, structures)[tissue], fine_slices=True)
            share *= smooth_noise(share.shape, rng)
            for signal in fine.values():
                signal *= 1 + rng.uniform(-0.35, 0.35) * share
    return fine


def scanned_pair(signals: dict[Contrast, Float], target: Float, rng: np.random.Generator, *, slice_mm: float,
                 voxel_mm: float) -> tuple[Float, Float]:
    """A scanner's faults on rendered contrasts, some contrasts left out, half of the pairs mirrored.

    `signals`: float32 by contrast, (I, J, K), along I as fine as `slice_mm`; `target`: float32, (5, I, J, K), share of
    each voxel that each structure fills; `voxel_mm`: size of a voxel of the pair along I.
    """
    image = np.zeros((len(Contrast), *target.shape[1:]), dtype=np.float32)
    gain = shared_gain(target.shape[1:], rng)
    acquired_mm = _slice_thickness(rng, voxel_mm)
    for contrast in draw_subset(list(signals), rng):
        image[CHANNEL[contrast]] = scanned(signals[contrast], gain, rng, slice_mm=slice_mm, voxel_mm=voxel_mm,
                                           acquired_mm=acquired_mm)
    _drop_voxels(image, rng)
    if rng.random() < 0.5:
        image, target = image[:, ::-1], target[:, ::-1]
    return np.ascontiguousarray(image), np.ascontiguousarray(target)


def _slice_thickness(rng: np.random.Generator, voxel_mm: float) -> float:
    """Half of the scans on the working grid itself, the others with slices of 1 to 5 mm."""
    return voxel_mm if rng.random() < 0.5 else float(max(rng.uniform(1, 5), voxel_mm / 2))


def _crop(painting: Painting, rng: np.random.Generator, sampling: Sampling) -> NDArray[np.uint8]:
    """Sub-voxels of a patch centred near the sacrum or near any structure, stretched or squeezed along each axis."""
    structure = STRUCTURE_OF_TISSUE[painting.tissue[::8, ::8, ::8]]
    wanted = structure == Structure.SACRUM if rng.random() < sampling.sacrum else structure > 0
    spots = np.argwhere(wanted if wanted.any() else structure > 0) * 8
    centre = spots[rng.integers(len(spots))] + rng.integers(-32, 33, 3)
    where = []
    for c, p, n in zip(centre, sampling.patch, painting.tissue.shape, strict=True):
        span = min(n, round(p * FINE * (1 + rng.uniform(-sampling.scale, sampling.scale))))
        start = int(np.clip(c - span // 2, 0, n - span))
        where.append(start + (np.arange(p * FINE) + 0.5) * span / (p * FINE))
    return _bent(painting.tissue, where, rng)


def _bent(tissue: NDArray[np.uint8], where: list[NDArray[Any]], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Sub-voxels at `where` along each axis, by turns sheared and bowed along the spine, to the front and aside."""
    i, j, k = (w.astype(np.float32) for w in where)
    along = np.linspace(-1, 1, len(k), dtype=np.float32)
    bows = rng.normal(0, (3, 5), (2, 2)) * (rng.random(2) < 0.5)[:, None]  # sub-voxels: bow and shear of each axis
    side, front = (b * along**2 + s * along for b, s in bows)
    up = rng.normal(0, 3) * np.linspace(-1, 1, len(j), dtype=np.float32)[:, None]
    places = (i[:, None, None] + side, j[:, None] + front, k + up)
    near = [np.clip(x, 0, n - 1).astype(np.int32) for x, n in zip(places, tissue.shape, strict=True)]
    return np.asarray(tissue[near[0], near[1], near[2]])


def structure_shares(tissue: NDArray[np.uint8]) -> Float:
    """Share of each voxel that each structure fills, (5, I, J, K), from tissue numbers of its sub-voxels."""
    structure = STRUCTURE_OF_TISSUE[tissue]
    return np.stack([_means(structure == s) for s in Structure])


def _means(fine: NDArray[Any], *, fine_slices: bool = False) -> Float:
    """Mean over sub-voxels: of the whole voxel, or in the plane alone, which keeps FINE sub-slices a voxel."""
    # Sums of strided views: a mean over short axes takes eight times as long.
    total = np.zeros((fine.shape[0], fine.shape[1] // FINE, fine.shape[2] // FINE), np.float32)
    for j in range(FINE):
        for k in range(FINE):
            total += fine[:, j::FINE, k::FINE]
    if not fine_slices:
        total = total.reshape(-1, FINE, *total.shape[1:]).mean(axis=1)
    return np.divide(total, FINE**2, dtype=np.float32)


def draw_tissue_signals(rng: np.random.Generator, sampling: Sampling) -> dict[Contrast, Float]:
    """Signal of each tissue in each contrast rendered; water and fat alone stand for all of Dixon."""
    kind = rng.random()
    if kind < sampling.dixon:
        return {Contrast.WATER: _jittered(WATER, 0.15, rng), Contrast.FAT: _jittered(FAT, 0.20, rng)}
    if kind < sampling.dixon + sampling.t2:
        return {Contrast.T2: _jittered(T2, 0.35, rng)}
    if kind < sampling.dixon + sampling.t2 + sampling.t1:
        return {Contrast.T1: _jittered(T1, 0.3, rng)}
    return {c: _random_table(rng) for c in draw_subset(list(Contrast), rng)}


def _jittered(table: Float, log_sd: float, rng: np.random.Generator) -> Float:
    """Half of the tables stay near life; the others go up to two and a half times as far from it."""
    wide = np.full(len(table), log_sd * (1 if rng.random() < 0.5 else rng.uniform(1, 2.5)))
    wide[list(_FLOWING)] = np.maximum(wide[list(_FLOWING)], 0.5)
    return (table * np.exp(rng.normal(0, wide))).astype(np.float32)


def _random_table(rng: np.random.Generator) -> Float:
    """Tissues at random brightness; half of the time the nucleus looks like the annulus, and bones are alike."""
    table = rng.uniform(5, 200, len(Tissue)).astype(np.float32)
    table[Tissue.AIR] = rng.uniform(0, 10)
    for model, others in ((Tissue.ANNULUS, _LIKE_THE_ANNULUS), (Tissue.MARROW, _LIKE_MARROW)):
        if rng.random() < 0.5:
            for t in others:
                table[t] = table[model] * rng.uniform(0.8, 1.25)
    return table


def with_opposed(signals: dict[Contrast, Float]) -> dict[Contrast, Float]:
    """Water and fat alone become all four Dixon contrasts; anything else stays as it is."""
    if set(signals) != {Contrast.WATER, Contrast.FAT}:
        return signals
    return dixon_signals(signals[Contrast.WATER], signals[Contrast.FAT])


def draw_subset(names: list[Contrast], rng: np.random.Generator) -> list[Contrast]:
    """All of them, one alone, or any number of them: a third of the time each."""
    n = (len(names), 1, int(rng.integers(1, len(names) + 1)))[int(rng.integers(3))]
    return [names[i] for i in sorted(rng.permutation(len(names))[:n])]


def _drop_voxels(image: Float, rng: np.random.Generator) -> None:
    """Random modality voxel dropout of Li et al. 2018: voxels of one randomly chosen contrast are lost, in place."""
    present = np.flatnonzero(image.any(axis=(1, 2, 3)))
    if rng.random() < 0.5 and present.size > 1:
        image[rng.choice(present)][rng.random(image.shape[1:]) < rng.choice([0.001, 0.01, 0.1])] = 0
