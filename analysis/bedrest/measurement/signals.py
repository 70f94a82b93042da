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
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bedrest.findings import Finding, FindingCode
from bedrest.measurement.definition import Measure, Needs, Scale, Undefined
from bedrest.measurement.reference_tissue import FEWEST_VOXELS
from bedrest.vocabulary import DIXON, Contrast

if TYPE_CHECKING:
    from bedrest.measurement.context import DiscInScan


def fat_fraction(disc: NDArray[np.bool_], *, water: NDArray[np.float32], fat: NDArray[np.float32]) -> float:
    """F / (W + F) of the mean signals inside a disc eroded by one voxel, 0 to 1.

    The outermost voxels share their signal with end plates and marrow, which is half fat. Means come first, then the
    ratio: a mean of ratios would be biased towards the voxels with the least signal.

    Raises Undefined: too few voxels are left, or they are dark.

    Parameters
    ----------
    disc : bool, (I, J, K)
    water, fat : (I, J, K) magnitudes of one reconstruction, arbitrary units
    """
    from scipy.ndimage import binary_erosion

    core = binary_erosion(disc)
    n = int(core.sum())
    if n < FEWEST_VOXELS:
        raise Undefined(Finding(FindingCode.DISC_CORE_SMALL, {"voxels": n, "fewest": FEWEST_VOXELS}))
    w, f = (float(a[core].mean(dtype=np.float64)) for a in (water, fat))
    if w + f <= 0:
        raise Undefined(Finding(FindingCode.DISC_DARK))
    return f / (w + f)


def _signal(contrast: Contrast) -> Callable[[DiscInScan], float]:
    return lambda disc: disc.signal(contrast)


def _normalised(contrast: Contrast) -> Callable[[DiscInScan], float]:
    def compute(disc: DiscInScan) -> float:
        if contrast not in disc.scan.images:
            return math.nan
        references, missing = disc.references
        reference = references.get(contrast, math.nan)
        if math.isnan(reference):
            raise Undefined(*missing)
        return disc.signal(contrast) / reference
    return compute


def _fat_fraction(disc: DiscInScan) -> float:
    # Asked for where water and fat were both given; one of them alone is no reason to complain.
    if not {Contrast.WATER, Contrast.FAT} <= set(disc.scan.images):
        return math.nan
    water, fat = (disc.scan.images[c].data[disc.box] for c in (Contrast.WATER, Contrast.FAT))
    return fat_fraction(disc.mask, water=water, fat=fat)


_REFERENCE = {**dict.fromkeys(DIXON, "the marrow of its two neighbours, water + fat"),
              Contrast.T2: "the spinal canal beside it", Contrast.T1: "the marrow of its two neighbours"}
_TITLE = {c: c.value.replace("_", " ").replace("t2", "T2").replace("t1", "T1") for c in Contrast}

SIGNALS: dict[Contrast, Measure[DiscInScan]] = {
    c: Measure(f"signal_{c.value}", "a.u.", Scale.RATIO, f"mean {c.value} intensity in the disc", _signal(c),
               needs=Needs.IMAGES, title=_TITLE[c]) for c in Contrast}
NORMALISED: dict[Contrast, Measure[DiscInScan]] = {
    c: Measure(f"signal_{c.value}_normalised", "1", Scale.RATIO,
               f"mean {c.value} intensity in the disc over that of {_REFERENCE[c]}", _normalised(c),
               "where the reference tissue is not found beside the disc", needs=Needs.IMAGES,
               title=f"{_TITLE[c]}, relative") for c in Contrast}
FAT_FRACTION: Measure[DiscInScan] = Measure(
    "fat_fraction", "1", Scale.DIFFERENCE,
    "fat over water + fat, of mean signals inside the disc eroded by one voxel; not a density", _fat_fraction,
    f"where fewer than {FEWEST_VOXELS} voxels are left of the disc", needs=Needs.IMAGES, title="fat fraction")
MEASURES = (*SIGNALS.values(), *NORMALISED.values(), FAT_FRACTION)
