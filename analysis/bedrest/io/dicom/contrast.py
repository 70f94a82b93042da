"""Which contrast a DICOM image is, from header values defined by the standard or the vendor. Never from free text.

Dixon: the words of Image Type that Siemens (WATER, FAT, IN_PHASE, OPP_PHASE), Philips (W, F, IP, OP) and GE (WATER,
FAT, IN_PHASE, OUT_PHASE) write. Two echoes of a gradient echo without such words: by echo time, with water and fat
3.4 ppm apart. T2: a spin echo with long echo and repetition time. Everything else stays undecided, with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bedrest.io.dicom.reader import DicomImage, ImageHeader
from bedrest.vocabulary import Contrast

WATER_FAT_HZ_PER_TESLA = 3.4 * 42.577  # ppm x MHz/T
PHASE_TOLERANCE = 0.15  # of a full cycle between water and fat
T2_ECHO_MS, T2_REPETITION_MS = 60.0, 1500.0  # shorter ones are not T2-weighted

DIXON_WORDS: dict[str, Contrast] = {  # upper case, with underscores for spaces
    "W": Contrast.WATER, "WATER": Contrast.WATER, "F": Contrast.FAT, "FAT": Contrast.FAT,
    **dict.fromkeys(("IP", "IN_PHASE", "INPHASE"), Contrast.IN_PHASE),
    **dict.fromkeys(("OP", "OPP_PHASE", "OPPPHASE", "OUT_PHASE", "OUTPHASE", "OPPOSED_PHASE"), Contrast.OPPOSED),
}
_NO_USE: dict[str, str] = {
    **dict.fromkeys(("P", "PHASE", "PHASE MAP", "PHASE_MAP"), "a phase image"),
    **dict.fromkeys(("R", "REAL", "I", "IMAGINARY"), "a real or imaginary part"),
    **dict.fromkeys(("LOCALIZER", "SCOUT"), "a localizer"),
    **dict.fromkeys(("PROJECTION IMAGE", "MIP", "MPR", "MNIP"), "a projection or reformation"),
    **dict.fromkeys(("FAT_FRACTION", "FATFRAC", "FAT_FRAC", "FF", "WATER_FRACTION", "T2_STAR", "T2STAR", "T2*",
                     "R2_STAR", "R2STAR", "R2*", "T2 MAP", "T1 MAP", "B0", "B0 MAP", "B1", "ADC", "SUB"),
                    "a map or a computed image"),
}
_FAT_SUPPRESSED = ("FS", "FATSAT", "SPIR", "SPAIR")


@dataclass(frozen=True)
class ContrastGuess:
    """The contrast of an image, as far as its header shows."""

    contrast: Contrast | None  # None where it is undecided, or of no use here
    reason: str  # what decided it, or why it is undecided
    doubtful: bool = False  # the image may be a wanted one: the user should check


def classify_contrasts(images: Sequence[DicomImage], chosen: Mapping[str, Contrast]) -> dict[str, ContrastGuess]:
    """The contrast of each image, by its name. `chosen`: name -> contrast by the user, which overrides the header."""
    echoes: dict[str, set[float]] = {}
    for image in images:
        echoes.setdefault(image.header.series_uid, set()).add(round(image.header.echo_time_ms, 2))
    guesses = {i.name: classify_contrast(i.header, echoes=len(echoes[i.header.series_uid])) for i in images}
    given = set(chosen.values())
    for name, guess in guesses.items():
        if name in chosen:
            guesses[name] = ContrastGuess(chosen[name], "chosen with --set")
        elif guess.contrast in given:
            guesses[name] = ContrastGuess(None, f"{guess.contrast} by its header, but you chose another image")
    for contrast in Contrast:
        rivals = [n for n, g in guesses.items() if g.contrast == contrast]
        if len(rivals) > 1:
            reason = f"{', '.join(rivals)} could all be {contrast}: choose one, as --set {rivals[0]}={contrast}"
            guesses |= {n: ContrastGuess(None, reason, doubtful=True) for n in rivals}
    return guesses


def classify_contrast(header: ImageHeader, *, echoes: int = 1) -> ContrastGuess:
    """The contrast of one image, in whose series there are so many different echo times."""
    for word in header.image_type:
        if word in _NO_USE:
            return ContrastGuess(None, _NO_USE[word])
    dixon = {DIXON_WORDS[w] for word in header.image_type if (w := word.replace(" ", "_")) in DIXON_WORDS}
    t2_weighted = "SE" in header.sequence and header.echo_time_ms >= T2_ECHO_MS
    if len(dixon) > 1:
        return ContrastGuess(None, f"Image Type says {' and '.join(sorted(dixon))}", doubtful=True)
    if dixon:
        if t2_weighted:
            return ContrastGuess(None, f"{dixon.pop()} of a T2-weighted Dixon sequence", doubtful=True)
        return ContrastGuess(dixon.pop(), "by Image Type")
    if "GR" in header.sequence and "SE" not in header.sequence and echoes > 1:
        return _by_echo_time(header)
    if t2_weighted and header.repetition_time_ms >= T2_REPETITION_MS and "GR" not in header.sequence:
        if "IR" in header.sequence or set(header.options) & set(_FAT_SUPPRESSED):
            return ContrastGuess(None, "T2-weighted, but fat or fluid is suppressed", doubtful=True)
        times = f"TE {header.echo_time_ms:g} ms, TR {header.repetition_time_ms:g} ms"
        return ContrastGuess(Contrast.T2, f"a spin echo, {times}")
    return ContrastGuess(None, "neither Image Type nor echo times show a contrast", doubtful=True)


def _by_echo_time(header: ImageHeader) -> ContrastGuess:
    """In- or opposed-phase echo of a gradient echo."""
    cycles = header.echo_time_ms * 1e-3 * WATER_FAT_HZ_PER_TESLA * header.field_tesla  # of fat against water
    if not np.isfinite(cycles) or cycles <= 0:
        return ContrastGuess(None, "a gradient echo that does not say its echo time and field strength", doubtful=True)
    words = f"TE {header.echo_time_ms:g} ms at {header.field_tesla:g} T"
    part = cycles % 1
    if min(part, 1 - part) <= PHASE_TOLERANCE and cycles > 0.5:
        return ContrastGuess(Contrast.IN_PHASE, words)
    if abs(part - 0.5) <= PHASE_TOLERANCE:
        return ContrastGuess(Contrast.OPPOSED, words)
    return ContrastGuess(None, f"neither in- nor opposed-phase: {words}", doubtful=True)
