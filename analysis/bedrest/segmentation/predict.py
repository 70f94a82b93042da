"""One scan in, calibrated probabilities of the structures out: find the spine coarsely, then segment that part.

Knows nothing of levels and files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from bedrest.anatomy.structures import Structure
from bedrest.findings import Finding, FindingCode
from bedrest.imaging.crop import box_around, box_of, crop_grid
from bedrest.imaging.orientation import Reorientation, reorient_to_ras
from bedrest.imaging.resample import grid_with_spacing, resample
from bedrest.segmentation.forward import forward
from bedrest.segmentation.network import LOCATOR_SPACING_MM, WORKING_SPACING_MM
from bedrest.segmentation.normalise import normalise
from bedrest.segmentation.weights import Calibration, TrainedNetwork
from bedrest.types import Grid, Scan
from bedrest.vocabulary import LEVEL_OF_LABEL, Contrast

BAND = 3  # voxels around discs, where their volume is decided: errors elsewhere must not be balanced there
MARGIN_MM = 18.0  # in front of and behind the spine
MIN_HEIGHT = 0.6  # share of the scan's height that the coarse spine must reach; else the scan is not cropped


@dataclass(frozen=True, eq=False)
class Probabilities:
    """Structure probabilities of one scan."""

    data: NDArray[np.float32]  # float32, (5, I, J, K), sums to 1 over the first axis; axes right, front, head
    grid: Grid  # the part of the working grid that holds the spine
    reorientation: Reorientation  # from the scan's stored axes to right, front, head
    # from the calibration used; not yet applied to `data`, from which levels are determined
    by_level: Mapping[str, float]
    notes: tuple[Finding, ...] = ()  # what was done differently from usual
    # the contrasts given, normalised, on `grid`
    images: Mapping[Contrast, NDArray[np.float32]] = field(default_factory=dict)


def predict(trained: TrainedNetwork, scan: Scan, device: str) -> Probabilities:
    """Probabilities of the structures from all contrasts of a scan that the weights know.

    Raises WeightsError: they know none of them.
    """
    reorientation = reorient_to_ras(scan.grid)
    known = trained.known(scan.contrasts)
    left = [Finding(FindingCode.CONTRAST_NOT_LEARNT, {"contrast": c}) for c in scan.contrasts if c not in known]
    reordered = {c: reorientation.apply(v.data) for c, v in scan.contrasts.items() if c in known}
    working = grid_with_spacing(reorientation.ras, WORKING_SPACING_MM)
    front_back, notes = find_spine(trained, reordered, reorientation.ras, working, device)
    grid = crop_grid(working, (slice(0, working.shape[0]), front_back, slice(0, working.shape[2])))
    image = network_input(reordered, reorientation.ras, grid)
    logits = forward(trained.network, image, device)
    calibration = trained.calibration.given(reordered)
    given = {c: channel for c, channel in zip(Contrast, image, strict=True) if c in reordered}
    return Probabilities(calibrated(logits.data, calibration), grid, reorientation, calibration.by_level,
                         (*left, *notes, *logits.notes), given)


def network_input(reordered: dict[Contrast, NDArray[np.float32]], source: Grid, grid: Grid) -> NDArray[np.float32]:
    """Normalised contrasts on `grid`, (contrasts, I, J, K); zeros where a contrast is missing.

    `reordered`: contrast to float32, shape of `source`, axes right, front, head.
    """
    image = np.zeros((len(Contrast), *grid.shape), dtype=np.float32)
    for channel, contrast in enumerate(Contrast):
        if contrast in reordered:
            image[channel] = normalise(resample(reordered[contrast], source, grid, order=1))
    return image


def find_spine(trained: TrainedNetwork, reordered: dict[Contrast, NDArray[np.float32]], source: Grid, working: Grid,
               device: str) -> tuple[slice, tuple[Finding, ...]]:
    """Extent of the spine from back to front on the working grid, with notes.

    Only this direction is cropped: a spine runs through a scan from bottom to top, and its sides are narrow. Where no
    spine is found, the whole scan is kept.
    """
    coarse = grid_with_spacing(source, LOCATOR_SPACING_MM)
    logits = forward(trained.locator, network_input(reordered, source, coarse), device)
    spine = torch.softmax(logits.data, dim=0)[Structure.BACKGROUND].numpy() < 0.5
    # Dilated first, so that one vertebra missed by the locator does not cut the spine in two.
    masses, _ = ndimage.label(ndimage.binary_dilation(spine, iterations=2))
    sizes = np.bincount(masses[spine], minlength=2)
    largest = spine & (masses == sizes.argmax())
    if not largest.any() or np.ptp(np.flatnonzero(largest.any(axis=(0, 1)))) + 1 < MIN_HEIGHT * coarse.shape[2]:
        whole = slice(0, working.shape[1])
        return whole, (Finding(FindingCode.SPINE_NOT_LOCATED), *logits.notes)
    part = crop_grid(coarse, box_around(largest))
    return box_of(part, working, margin_mm=MARGIN_MM)[1], logits.notes


def calibrated(logits: torch.Tensor, calibration: Calibration) -> NDArray[np.float32]:
    """Calibrated probabilities, float32 (S, I, J, K), from logits."""
    offsets = torch.tensor(calibration.offsets)[:, None, None, None]
    return torch.softmax(logits / calibration.temperature + offsets, dim=0).numpy()


def shifted(probability: NDArray[np.floating], shift: NDArray[np.floating] | float) -> NDArray[np.floating]:
    """Probabilities with their log odds moved by `shift`."""
    odds = np.exp(shift)
    return probability * odds / (1 - probability + probability * odds)


def disc_probability(probabilities: Probabilities, near: NDArray[np.int32]) -> NDArray[np.float32]:
    """Probability of disc, float32 (I, J, K) on the working grid, each named disc calibrated for its level.

    `near`: int32, (I, J, K); labels of the discs, grown by `BAND` voxels.
    """
    shifts = np.zeros(int(near.max(initial=0)) + 1, np.float32)
    for label, level in LEVEL_OF_LABEL.items():
        if label < shifts.size:
            shifts[label] = probabilities.by_level.get(level, 0.0)
    return shifted(probabilities.data[Structure.DISC], shifts[near])
