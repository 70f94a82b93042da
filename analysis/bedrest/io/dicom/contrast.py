"""Which contrast a DICOM image is, from header values defined by the standard or the vendor. Never from free text.

Dixon: the words of Image Type that Siemens (WATER, FAT, IN_PHASE, OPP_PHASE), Philips (W, F, IP, OP) and GE (WATER,
FAT, IN_PHASE, OUT_PHASE) write. Two echoes of a gradient echo without such words: by echo time, with water and fat
3.4 ppm apart. T2: a spin echo with long echo and repetition time. Everything else stays undecided, with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bedrest.io.contrast_rules import (
    DIXON_WORDS,
    FAT_SUPPRESSED,
    NO_USE,
    T2_ECHO_MS,
    T2_REPETITION_MS,
    ContrastGuess,
    phase_by_echo_time,
)
from bedrest.io.dicom.reader import DicomImage, ImageHeader
from bedrest.vocabulary import Contrast


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
        if word in NO_USE:
            return ContrastGuess(None, NO_USE[word])
    dixon = {DIXON_WORDS[w] for word in header.image_type if (w := word.replace(" ", "_")) in DIXON_WORDS}
    t2_weighted = "SE" in header.sequence and header.echo_time_ms >= T2_ECHO_MS
    if len(dixon) > 1:
        return ContrastGuess(None, f"Image Type says {' and '.join(sorted(dixon))}", doubtful=True)
    if dixon:
        if t2_weighted:
            return ContrastGuess(None, f"{dixon.pop()} of a T2-weighted Dixon sequence", doubtful=True)
        return ContrastGuess(dixon.pop(), "by Image Type")
    if "GR" in header.sequence and "SE" not in header.sequence and echoes > 1:
        return phase_by_echo_time(header.echo_time_ms, header.field_tesla)
    if t2_weighted and header.repetition_time_ms >= T2_REPETITION_MS and "GR" not in header.sequence:
        if "IR" in header.sequence or set(header.options) & set(FAT_SUPPRESSED):
            return ContrastGuess(None, "T2-weighted, but fat or fluid is suppressed", doubtful=True)
        times = f"TE {header.echo_time_ms:g} ms, TR {header.repetition_time_ms:g} ms"
        return ContrastGuess(Contrast.T2, f"a spin echo, {times}")
    return ContrastGuess(None, "neither Image Type nor echo times show a contrast", doubtful=True)
