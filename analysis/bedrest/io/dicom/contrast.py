"""Which contrast a DICOM image is, from what its header says by the standard or its maker. Never by free text.

Dixon: the words of Image Type that Siemens (WATER, FAT, IN_PHASE, OPP_PHASE), Philips (W, F, IP, OP) and GE (WATER,
FAT, IN_PHASE, OUT_PHASE) write. Two echoes of a gradient echo without such words: by echo time, water and fat lying
3.4 ppm apart. T2: a spin echo with long echo and repetition time. Everything else is not told, and says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bedrest.io.dicom.reader import DicomImage, Look
from bedrest.vocabulary import Contrast

WATER_FAT_HZ_PER_TESLA = 3.4 * 42.577  # ppm x MHz/T
PHASE_TOLERANCE = 0.15  # of a turn between water and fat
T2_ECHO_MS, T2_REPETITION_MS = 60.0, 1500.0  # shorter ones are not T2-weighted

_DIXON: dict[str, Contrast] = {
    "W": Contrast.WATER, "WATER": Contrast.WATER, "F": Contrast.FAT, "FAT": Contrast.FAT,
    "IP": Contrast.IN_PHASE, "IN_PHASE": Contrast.IN_PHASE, "IN PHASE": Contrast.IN_PHASE,
    "INPHASE": Contrast.IN_PHASE,
    "OP": Contrast.OPPOSED, "OPP_PHASE": Contrast.OPPOSED, "OUT_PHASE": Contrast.OPPOSED,
    "OPP PHASE": Contrast.OPPOSED, "OUT PHASE": Contrast.OPPOSED, "OUTPHASE": Contrast.OPPOSED,
    "OPPOSED_PHASE": Contrast.OPPOSED,
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
    """What an image is.

    Attributes
    ----------
    contrast : Contrast or None
        None where it is not told, or of no use here.
    reason : str
        What tells it, or why not.
    doubtful : bool
        It may be one that is wanted: a person should look.
    """

    contrast: Contrast | None
    reason: str
    doubtful: bool = False


def classify_contrasts(images: Sequence[DicomImage], chosen: Mapping[str, Contrast]) -> dict[str, ContrastGuess]:
    """What each image is, by its name.

    Parameters
    ----------
    images : sequence of DicomImage
    chosen : name of an image to its contrast, as a person said it; goes before the header
    """
    echoes: dict[str, set[float]] = {}
    for image in images:
        echoes.setdefault(image.look.series_uid, set()).add(round(image.look.echo_time_ms, 2))
    said = {i.name: classify_contrast(i.look, echoes=len(echoes[i.look.series_uid])) for i in images}
    by_hand = set(chosen.values())
    for name, told in said.items():
        if name in chosen:
            said[name] = ContrastGuess(chosen[name], "as you said")
        elif told.contrast in by_hand:
            said[name] = ContrastGuess(None, f"looks like {told.contrast}, but you chose another image")
    for contrast in Contrast:
        rivals = [n for n, t in said.items() if t.contrast == contrast]
        if len(rivals) > 1:
            reason = f"{', '.join(rivals)} could all be {contrast}: choose one, as --set {rivals[0]}={contrast}"
            said |= {n: ContrastGuess(None, reason, doubtful=True) for n in rivals}
    return said


def classify_contrast(look: Look, *, echoes: int = 1) -> ContrastGuess:
    """What one image is.

    Parameters
    ----------
    look : Look
    echoes : int
        Different echo times in its series.
    """
    for word in look.image_type:
        if word in _NO_USE:
            return ContrastGuess(None, _NO_USE[word])
    dixon = {_DIXON[w] for w in look.image_type if w in _DIXON}
    t2_weighted = "SE" in look.sequence and look.echo_time_ms >= T2_ECHO_MS
    if len(dixon) > 1:
        return ContrastGuess(None, f"Image Type says {' and '.join(sorted(dixon))}", doubtful=True)
    if dixon:
        if t2_weighted:
            return ContrastGuess(None, f"{dixon.pop()} of a T2-weighted Dixon sequence", doubtful=True)
        return ContrastGuess(dixon.pop(), "by Image Type")
    if "GR" in look.sequence and "SE" not in look.sequence and echoes > 1:
        return _by_echo_time(look)
    if t2_weighted and look.repetition_time_ms >= T2_REPETITION_MS and "GR" not in look.sequence:
        if "IR" in look.sequence or set(look.options) & set(_FAT_SUPPRESSED):
            return ContrastGuess(None, "T2-weighted, but fat or fluid is suppressed", doubtful=True)
        return ContrastGuess(Contrast.T2, f"a spin echo, TE {look.echo_time_ms:g} ms, TR {look.repetition_time_ms:g} ms")
    return ContrastGuess(None, "neither Image Type nor echo times tell a contrast", doubtful=True)


def _by_echo_time(look: Look) -> ContrastGuess:
    """In- or opposed-phase echo of a gradient echo."""
    turns = look.echo_time_ms * 1e-3 * WATER_FAT_HZ_PER_TESLA * look.field_tesla
    if not np.isfinite(turns) or turns <= 0:
        return ContrastGuess(None, "a gradient echo that does not say its echo time and field strength", doubtful=True)
    words = f"TE {look.echo_time_ms:g} ms at {look.field_tesla:g} T"
    part = turns % 1
    if min(part, 1 - part) <= PHASE_TOLERANCE and turns > 0.5:
        return ContrastGuess(Contrast.IN_PHASE, words)
    if abs(part - 0.5) <= PHASE_TOLERANCE:
        return ContrastGuess(Contrast.OPPOSED, words)
    return ContrastGuess(None, f"neither in- nor opposed-phase: {words}", doubtful=True)
