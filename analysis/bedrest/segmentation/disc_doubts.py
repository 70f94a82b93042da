"""Discs that an image cannot show rightly: cut by empty slices or voids, or in an image of another contrast than named.

Thresholds were set on synthetic and real scans; docs/image_checks.md has what they say of each. Knows no measures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bedrest.anatomy.structures import Structure
from bedrest.findings import Finding, FindingCode
from bedrest.imaging.crop import Box, box_around
from bedrest.imaging.voxel_checks import BadSlices
from bedrest.segmentation.predict import Probabilities
from bedrest.types import Scan, SegmentedDisc
from bedrest.vocabulary import MEASURED, Contrast

NEAR_SLICE_MM = 3.0  # a disc ends this near to an empty slice that cuts it
NEAR_VOID_MM = 2.5
VOID_SIGNAL = 0.02  # of the disc's: 0 in a filled block; noise in air has 0.06 and more
VOID_WIDTH_MM = 3.0  # in every direction; single voxels of 0 are usual in real scans
VOID_MM3 = 50.0
BESIDE_MM = 15.0  # marrow and canal this near to a disc are compared with it

# Marrow over disc: water 0.3 in phantoms, 0.40 to 0.70 in real scans; opposed-phase 0.1; a fat image 2.8 to 3.3.
BRIGHTEST_MARROW = {Contrast.WATER: 1.25, Contrast.OPPOSED: 1.25}
DARKEST_MARROW_IN_FAT = 1.0
# Fat adds to marrow, not to discs: marrow over disc rises from the first of each pair to the second.
RISING = ((Contrast.WATER, Contrast.FAT), (Contrast.IN_PHASE, Contrast.FAT), (Contrast.OPPOSED, Contrast.IN_PHASE),
          (Contrast.WATER, Contrast.IN_PHASE), (Contrast.OPPOSED, Contrast.WATER))
RISING_TOLERANCE = 1.25
# Canal over disc, median of a visit: 1.3 to 6.5 in T2, up to 0.9 in T1, 0.5 in synthetic and 1.0 to 1.1 in real water.
DARKEST_CANAL_IN_T2 = BRIGHTEST_CANAL_IN_T1 = 1.1


@dataclass(frozen=True)
class _Beside:
    """Median signal of marrow and canal over that of the disc between them; NaN where there is none."""

    marrow: dict[Contrast, float]
    canal: dict[Contrast, float]


def doubted(discs: Sequence[SegmentedDisc], labels: NDArray[np.int32], scan: Scan, slices: Sequence[BadSlices],
            of_scan: Sequence[Finding], probabilities: Probabilities, named: NDArray[np.int32]
            ) -> tuple[SegmentedDisc, ...]:
    """The same discs with every doubt about the images that show them.

    `labels`: int32, shape of the scan, as stored. `slices`: the scan's bad ones. `of_scan`: doubts about the whole
    scan. `named`: labels on the working grid.
    """
    beside = {d.label: _beside(probabilities, named == d.label) for d in discs if (named == d.label).any()}
    shared = [*of_scan, *_fluid_doubts(beside.values())]
    out = []
    for disc in discs:
        doubts: list[Finding] = []
        if disc.status in MEASURED and disc.label in beside:
            mask = labels == disc.label
            if mask.any():
                box = box_around(mask)
                doubts += [*_slice_doubts(box, slices, scan), *_void_doubts(mask, box, scan)]
            doubts += [*contrast_doubts(beside[disc.label].marrow), *shared]
        out.append(replace(disc, findings=(*disc.findings, *doubts)))
    return tuple(out)


def _slice_doubts(box: Box, slices: Iterable[BadSlices], scan: Scan) -> list[Finding]:
    doubts = []
    for bad in slices:
        empty = bad.code == FindingCode.EMPTY_SLICES
        margin = max(1, int(np.ceil(NEAR_SLICE_MM / scan.grid.spacing_mm[bad.axis]))) if empty else 0
        span = box[bad.axis]
        if ((bad.slices >= span.start - margin) & (bad.slices < span.stop + margin)).any():
            code = FindingCode.CUT_BY_EMPTY_SLICES if empty else FindingCode.IN_REPEATED_SLICES
            doubts.append(Finding(code, {"contrast": bad.contrast}))
    return doubts


def _void_doubts(mask: NDArray[np.bool_], box: Box, scan: Scan) -> list[Finding]:
    spacing = scan.grid.spacing_mm
    wide = _widened(box, NEAR_VOID_MM + VOID_WIDTH_MM, spacing)
    near = ndimage.distance_transform_edt(~mask[wide], sampling=spacing) <= NEAR_VOID_MM
    width = np.ones(np.maximum(1, np.ceil(VOID_WIDTH_MM / spacing)).astype(int), bool)
    doubts = []
    for contrast, volume in scan.contrasts.items():
        if contrast == Contrast.FAT:  # a disc has next to no fat
            continue
        signal = volume.data[wide]
        void = signal <= VOID_SIGNAL * np.median(signal[mask[wide]])
        if contrast in scan.outside_fov:
            void &= ~scan.outside_fov[contrast][wide]
        void_mm3 = float((ndimage.binary_opening(void, width) & near).sum() * scan.grid.voxel_volume_mm3)
        if void_mm3 >= VOID_MM3:
            doubts.append(Finding(FindingCode.SIGNAL_VOID, {"contrast": contrast, "void_mm3": void_mm3}))
    return doubts


def _widened(box: Box, by_mm: float, spacing_mm: NDArray[np.float64]) -> Box:
    by = np.ceil(by_mm / spacing_mm).astype(int)
    i, j, k = (slice(max(s.start - b, 0), s.stop + b) for s, b in zip(box, by, strict=True))
    return i, j, k


def _beside(probabilities: Probabilities, disc: NDArray[np.bool_]) -> _Beside:
    spacing = probabilities.grid.spacing_mm
    wide = _widened(box_around(disc), BESIDE_MM, spacing)
    inside = disc[wide]
    core = ndimage.binary_erosion(inside)
    core = core if core.any() else inside
    structure = probabilities.data[(slice(None), *wide)].argmax(axis=0)
    near = ndimage.distance_transform_edt(~inside, sampling=spacing) <= BESIDE_MM
    marrow = ndimage.binary_erosion(np.isin(structure, (Structure.VERTEBRA, Structure.SACRUM))) & near
    canal = (structure == Structure.CANAL) & near
    over: list[dict[Contrast, float]] = []
    for tissue in (marrow, canal):
        ratios = {}
        for contrast, image in probabilities.images.items():
            of_disc = float(np.median(image[wide][core]))
            ratios[contrast] = float(np.median(image[wide][tissue])) / max(of_disc, 1e-3) if tissue.any() else np.nan
        over.append(ratios)
    return _Beside(*over)


def contrast_doubts(marrow: dict[Contrast, float]) -> list[Finding]:
    """What contradicts the names of the images, from marrow over disc in each of them; at most one for each image."""
    doubts: list[Finding] = []
    suspected: set[Contrast] = set()
    for low, high in RISING:
        if {low, high} <= marrow.keys() - suspected and marrow[low] > RISING_TOLERANCE * marrow[high]:
            doubts.append(Finding(FindingCode.CONTRASTS_EXCHANGED, {
                "tissue": "marrow", "one": low, "other": high, "one_ratio": marrow[low], "other_ratio": marrow[high]}))
            suspected |= {low, high}
    for contrast, ratio in marrow.items():
        if contrast not in suspected and ratio > BRIGHTEST_MARROW.get(contrast, np.inf):
            doubts.append(Finding(FindingCode.MARROW_BRIGHTER_THAN_DISC, {
                "contrast": contrast, "ratio": ratio, "high": BRIGHTEST_MARROW[contrast]}))
        if contrast not in suspected and contrast == Contrast.FAT and ratio < DARKEST_MARROW_IN_FAT:
            doubts.append(Finding(FindingCode.MARROW_DARKER_THAN_DISC, {
                "contrast": contrast, "ratio": ratio, "low": DARKEST_MARROW_IN_FAT}))
    return doubts


def _fluid_doubts(beside: Iterable[_Beside]) -> list[Finding]:
    discs = list(beside)
    ratios = {c: [b.canal[c] for b in discs if np.isfinite(b.canal.get(c, np.nan))] for c in (Contrast.T2, Contrast.T1)}
    t2, t1 = (float(np.median(r)) if r else np.nan for r in ratios.values())
    dark, bright = t2 < DARKEST_CANAL_IN_T2, t1 > BRIGHTEST_CANAL_IN_T1
    if dark and bright:
        return [Finding(FindingCode.CONTRASTS_EXCHANGED, {
            "tissue": "spinal canal", "one": Contrast.T1, "other": Contrast.T2, "one_ratio": t1, "other_ratio": t2})]
    return [Finding(FindingCode.CANAL_DARK_IN_T2, {"ratio": t2, "low": DARKEST_CANAL_IN_T2})] * dark + [
        Finding(FindingCode.CANAL_BRIGHT_IN_T1, {"ratio": t1, "high": BRIGHTEST_CANAL_IN_T1})] * bright
