"""Makes the tissues of any painting less like its maker's: what a network must not rely on is drawn anew.

End plates and cortex of any thickness or none, ligaments, nuclei, veins, arches and remnant discs left out, a sacrum
without wings, spots in the marrow, other soft tissue. No structure but the sacrum's wings changes, no disc's volume.
Knows nothing of who painted it.
"""

from __future__ import annotations

import numpy as np
from bedrest.phantom.paint import Painting
from bedrest.phantom.tissues import Tissue
from numpy.typing import NDArray
from scipy import ndimage

Labels = NDArray[np.uint8]
Slices = tuple[slice, ...]
BONE = (Tissue.MARROW, Tissue.END_PLATE, Tissue.SACRUM_MARROW, Tissue.SACRUM_CORTEX, Tissue.SACRUM_DISC)
SOFT = (Tissue.MUSCLE, Tissue.SUBCUTANEOUS_FAT, Tissue.VISCERAL_FAT, Tissue.ORGAN, Tissue.VESSEL, Tissue.FLUID)
KNOT = 14  # sub-voxels between the knots of spots
# What becomes of a tissue, and how often. A schematic sacrum has no parts.
_LEFT_OUT: tuple[tuple[float, dict[Tissue, Tissue]], ...] = (
    (0.10, {Tissue.END_PLATE: Tissue.MARROW}),
    (0.15, {Tissue.SACRUM_CORTEX: Tissue.SACRUM_MARROW}),
    (0.20, {Tissue.SACRUM_CORTEX: Tissue.SACRUM_MARROW, Tissue.SACRUM_DISC: Tissue.SACRUM_MARROW}),
    (0.10, {Tissue.SACRUM_DISC: Tissue.SACRUM_CORTEX}),
    (0.35, {Tissue.LIGAMENT: Tissue.VISCERAL_FAT}),
    (0.15, {Tissue.LIGAMENT: Tissue.MUSCLE}),
    (0.25, {Tissue.NUCLEUS: Tissue.ANNULUS, Tissue.NUCLEUS_DEGENERATED: Tissue.ANNULUS}),
    (0.40, {Tissue.BASIVERTEBRAL: Tissue.MARROW}),
    (0.10, {Tissue.POSTERIOR_MARROW: Tissue.MUSCLE, Tissue.POSTERIOR_CORTEX: Tissue.MUSCLE}),
    (0.20, {Tissue.POSTERIOR_CORTEX: Tissue.POSTERIOR_MARROW}),
    (0.15, {Tissue.CORD: Tissue.CSF}),
    (0.20, {Tissue.ROOT: Tissue.VISCERAL_FAT}),
)


def vary_tissues(painting: Painting, rng: np.random.Generator) -> Painting:
    """The painting with its tissues drawn anew; the one given is left as it is."""
    tissue = painting.tissue.copy()
    if rng.random() < 0.5:
        _thicken(tissue, rng)
    if rng.random() < 0.4:
        _spot(tissue, rng)
    if rng.random() < 0.2:
        _cut_wings(tissue, rng)
    table = np.arange(len(Tissue), dtype=np.uint8)
    for chance, becomes in _LEFT_OUT:
        if rng.random() < chance:
            for old, new in becomes.items():
                table[table == old] = new
    if rng.random() < 0.2:
        others = rng.permutation(SOFT)
        table[list(SOFT)] = others
    return Painting(table[tissue], painting.grid)


def _box_of(tissue: Labels, wanted: tuple[Tissue, ...]) -> Slices | None:
    box: Slices | None = ndimage.find_objects(np.isin(tissue, wanted).view(np.uint8))[0] if np.isin(
        tissue[::4, ::4, ::4], wanted).any() else None
    return box


def _thicken(tissue: Labels, rng: np.random.Generator) -> None:
    """End plates and cortex grow into the marrow, evenly or in patches, by one to three sub-voxels."""
    box = _box_of(tissue, BONE)
    if box is None:
        return
    part = tissue[box]
    patches = smooth_noise(part.shape, rng) > rng.uniform(-1, 1) if rng.random() < 0.5 else np.ones(part.shape, bool)
    for _ in range(int(rng.integers(1, 4))):
        for dark, marrow in ((Tissue.END_PLATE, Tissue.MARROW), (Tissue.SACRUM_CORTEX, Tissue.SACRUM_MARROW)):
            grown = ndimage.binary_dilation(part == dark)
            part[grown & (part == marrow) & patches] = dark


def _spot(tissue: Labels, rng: np.random.Generator) -> None:
    """Spots in the marrow: anywhere, or, as in Modic changes, near the discs alone."""
    box = _box_of(tissue, BONE)
    if box is None:
        return
    part = tissue[box]
    high = smooth_noise(part.shape, rng) > rng.uniform(0.8, 1.8)
    if rng.random() < 0.4:
        disc = (part >= Tissue.NUCLEUS) & (part <= Tissue.ANNULUS)
        near = np.zeros_like(disc)
        reach = int(rng.integers(6, 20))
        for shift in range(2, reach, 2):  # upwards and downwards alone
            near[:, :, shift:] |= disc[:, :, :-shift]
            near[:, :, :-shift] |= disc[:, :, shift:]
        high &= near
    part[high & (part == Tissue.MARROW)] = rng.choice([Tissue.BASIVERTEBRAL, Tissue.BASIVERTEBRAL, Tissue.END_PLATE])
    part[high & (part == Tissue.SACRUM_MARROW)] = rng.choice([Tissue.SACRUM_DISC, Tissue.SACRUM_CORTEX])


def _cut_wings(tissue: Labels, rng: np.random.Generator) -> None:
    """The sacrum ends at the sides where its remnant discs end."""
    box = _box_of(tissue, (Tissue.SACRUM_DISC,))
    if box is None:
        return
    bone = (Tissue.SACRUM_MARROW, Tissue.SACRUM_CORTEX)
    soft = rng.choice([Tissue.MUSCLE, Tissue.VISCERAL_FAT])
    for side in (tissue[: max(box[0].start - 2, 0)], tissue[box[0].stop + 2 :]):
        side[np.isin(side, bone)] = soft


def smooth_noise(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """A smooth random field of unit standard deviation at its knots."""
    knots = [max(2, n // KNOT) for n in shape]
    coarse = rng.standard_normal(knots, dtype=np.float32)
    return np.asarray(ndimage.zoom(coarse, np.array(shape) / knots, order=1, mode="nearest", grid_mode=True,
                                   output=np.float32))
