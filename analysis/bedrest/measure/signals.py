"""Signals of one disc that may be compared between visits: over a reference tissue beside it, and its fat fraction.

The fat fraction F / (W + F) needs no reference: both come out of one reconstruction and share field and scaling, which
cancel. It is a ratio of magnitudes as they are, not a proton density fat fraction: noise makes a small magnitude larger
(Rician floor), and a short T1 makes fat brighter than it is dense (Liu et al., Magn Reson Med 2007;58:354; Reeder et
al., J Magn Reson Imaging 2012;36:1011); T2* and the spectrum of fat are left out too. It compares visits of one
protocol, not protocols. On the phantoms of `reference_tissue` the field alone moves it by 0.0004 at most; noise lifts
0.079 to 0.106, and its change between visits errs by 0.018 RMS, since the floor stays where the field falls. The
surface of the disc, left in, adds 0.007: end plates, and more annulus.

Knows nothing of how masks were made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from bedrest.findings import Finding, FindingCode
from bedrest.measure.geometry import Box
from bedrest.measure.reference_tissue import FEWEST_VOXELS, reference_signals
from bedrest.types import LabelMap, Volume
from bedrest.vocabulary import Contrast


@dataclass(frozen=True)
class DiscSignals:
    """Signals of one disc; NaN where missing.

    Attributes
    ----------
    normalised : mean signal of the disc over that of its reference tissue, 1, for every contrast that was given
    fat_fraction : F / (W + F) inside the disc eroded by one voxel, 0 to 1
    findings : why a value is missing; empty when none is that the contrasts allow
    """

    normalised: Mapping[Contrast, float] = field(default_factory=dict)
    fat_fraction: float = math.nan
    findings: tuple[Finding, ...] = ()


def disc_signals(disc: NDArray[np.bool_], box: Box, *, level: str, centre_mm: tuple[float, float, float],
                 images: Mapping[Contrast, Volume], tissues: LabelMap | None) -> DiscSignals:
    """Normalised signals and fat fraction of one disc.

    Parameters
    ----------
    disc : bool, the disc cropped to `box`, at least one voxel
    box : where the crop lies in the whole array
    level : disc level; its neighbours are found by it
    centre_mm : centre of the disc, world frame RAS+; NaN where the header cannot be trusted
    images : contrasts on one grid, arbitrary units; without any nothing is missing
    tissues : LabelMap on the images' grid, numbered as in `vocabulary.TISSUE_OF_LABEL`, or None

    Notes
    -----
    A fat fraction is asked for where water and fat were both given; one of them alone is no reason to complain.
    """
    if not images:
        return DiscSignals()
    references, findings = reference_signals(level, centre_mm, images, tissues)
    normalised = {c: float(image.data[box][disc].mean(dtype=np.float64)) / references.get(c, math.nan)
                  for c, image in images.items()}
    fraction = math.nan
    if Contrast.WATER in images and Contrast.FAT in images:
        water, fat = (images[c].data[box] for c in (Contrast.WATER, Contrast.FAT))
        fraction, missing = fat_fraction(disc, water=water, fat=fat)
        findings += [missing] if missing else []
    return DiscSignals(normalised, fraction, tuple(dict.fromkeys(findings)))


def fat_fraction(disc: NDArray[np.bool_], *, water: NDArray[np.float32], fat: NDArray[np.float32]
                 ) -> tuple[float, Finding | None]:
    """F / (W + F) of the mean signals inside a disc eroded by one voxel, 0 to 1, or NaN and why.

    The outermost voxels share their signal with end plates and marrow, which is half fat. Means come first, then the
    ratio: a mean of ratios would be drawn to the voxels with the least signal.

    Parameters
    ----------
    disc : bool, (I, J, K)
    water, fat : (I, J, K) magnitudes of one reconstruction, arbitrary units
    """
    core = binary_erosion(disc)
    n = int(core.sum())
    if n < FEWEST_VOXELS:
        return math.nan, Finding(FindingCode.DISC_CORE_SMALL, {"voxels": n, "fewest": FEWEST_VOXELS})
    w, f = (float(a[core].mean(dtype=np.float64)) for a in (water, fat))
    return (f / (w + f), None) if w + f > 0 else (math.nan, Finding(FindingCode.DISC_DARK))
