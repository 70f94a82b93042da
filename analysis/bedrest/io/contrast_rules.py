"""What header values say of the contrast of an image, whether DICOM or a BIDS sidecar holds them.

Water and fat are 3.4 ppm apart: at some echo times they are in phase, half-way between opposed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bedrest.vocabulary import Contrast

MHZ_PER_TESLA = 42.577  # of protons
WATER_FAT_HZ_PER_TESLA = 3.4 * MHZ_PER_TESLA  # ppm x MHz/T
MAX_FIELD_TESLA = 25.0  # stronger ones are in gauss
PHASE_TOLERANCE = 0.15  # of a full cycle between water and fat
# Shorter ones are not T2-weighted; of the T2 series of SPIDER, 3-D ones repeat after 1000 to 1430 ms.
T2_ECHO_MS, T2_REPETITION_MS = 60.0, 1000.0
# Longer ones are not T1-weighted: later echoes weight by T2, later repetitions by proton density.
T1_ECHO_MS, T1_REPETITION_MS = 30.0, 1200.0

DIXON_WORDS: dict[str, Contrast] = {  # upper case, with underscores for spaces
    "W": Contrast.WATER, "WATER": Contrast.WATER, "F": Contrast.FAT, "FAT": Contrast.FAT,
    **dict.fromkeys(("IP", "IN_PHASE", "INPHASE"), Contrast.IN_PHASE),
    **dict.fromkeys(("OP", "OPP_PHASE", "OPPPHASE", "OUT_PHASE", "OUTPHASE", "OUT_OF_PHASE", "OPPOSED_PHASE",
                     "OPPOSED"), Contrast.OPPOSED),
}
NO_USE: dict[str, str] = {
    **dict.fromkeys(("P", "PHASE", "PHASE MAP", "PHASE_MAP"), "a phase image"),
    **dict.fromkeys(("R", "REAL", "I", "IMAGINARY"), "a real or imaginary part"),
    **dict.fromkeys(("LOCALIZER", "SCOUT"), "a localizer"),
    **dict.fromkeys(("PROJECTION IMAGE", "MIP", "MPR", "MNIP", "CSA MPR", "REFORMATTED"),
                    "a projection or reformation"),
    **dict.fromkeys(("MOSAIC",), "a mosaic of slices"),
    **dict.fromkeys(("FAT_FRACTION", "FATFRAC", "FAT_FRAC", "FF", "WATER_FRACTION", "T2_STAR", "T2STAR", "T2*",
                     "R2_STAR", "R2STAR", "R2*", "T2 MAP", "T1 MAP", "B0", "B0 MAP", "B1", "ADC", "SUB",
                     "SUBTRACTION", "PDFF", "FAT_PERCENT", "T2_MAP", "T1_MAP", "T2_STAR_MAP", "DIFFUSION", "TRACEW",
                     "VELOCITY MAP"),
                    "a map or a computed image"),
}
FAT_SUPPRESSED = ("FS", "FATSAT", "SPIR", "SPAIR", "STIR", "SUPPRESSED", "EXCITED")  # words before an underscore
MAX_CYCLES = 4.2  # of fat against water: later, what is not known of 3.4 ppm makes more than the tolerance


@dataclass(frozen=True)
class ContrastGuess:
    """The contrast of an image, as far as its header shows."""

    contrast: Contrast | None  # None where it is undecided, or of no use here
    reason: str  # what decided it, or why it is undecided
    doubtful: bool = False  # the image may be a wanted one: the user should check


def field_in_tesla(given: float, imaging_mhz: float) -> float:
    """Field strength: as given, in tesla or gauss, else by the imaging frequency; NaN where neither says it."""
    given = given / 1e4 if given > 1e3 else given
    return given if 0 < given < MAX_FIELD_TESLA else imaging_mhz / MHZ_PER_TESLA if imaging_mhz > 0 else float("nan")


def fat_suppressed(words: Iterable[str]) -> bool:
    """Whether Scan Options or Image Type say that fat (or water) is suppressed, or one of them excited alone."""
    return any(word.split("_")[0] in FAT_SUPPRESSED for word in words)


def water_fat_cycles(echo_time_ms: float, field_tesla: float) -> float | None:
    """Cycles of fat against water until the echo; None where the values do not say."""
    cycles = echo_time_ms * 1e-3 * WATER_FAT_HZ_PER_TESLA * field_tesla
    return cycles if np.isfinite(cycles) and cycles > 0 else None


def phase_by_echo_time(echo_time_ms: float, field_tesla: float) -> ContrastGuess:
    """In- or opposed-phase echo of a gradient echo; undecided between them, or where a value is not finite."""
    cycles = water_fat_cycles(echo_time_ms, field_tesla)
    if cycles is None:
        return ContrastGuess(None, "a gradient echo that does not say its echo time and field strength", doubtful=True)
    words = f"TE {echo_time_ms:g} ms at {field_tesla:g} T"
    if cycles > MAX_CYCLES:
        return ContrastGuess(None, f"too late an echo to be in or opposed phase: {words}", doubtful=True)
    part = cycles % 1
    if min(part, 1 - part) <= PHASE_TOLERANCE and cycles > 0.5:
        return ContrastGuess(Contrast.IN_PHASE, words)
    if abs(part - 0.5) <= PHASE_TOLERANCE:
        return ContrastGuess(Contrast.OPPOSED, words)
    return ContrastGuess(None, f"neither in- nor opposed-phase: {words}", doubtful=True)
