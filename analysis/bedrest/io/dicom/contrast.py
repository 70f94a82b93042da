"""Which contrast a DICOM image is, from header values defined by the standard or the vendor. Never from free text.

Dixon: the words of Image Type that Siemens (WATER, FAT, IN_PHASE, OPP_PHASE), Philips (W, F, IP, OP) and GE (WATER,
FAT, IN_PHASE, OUT_PHASE) write. Echoes of one gradient echo without such words: by echo time, with water and fat
3.4 ppm apart, where at least one is in and one opposed phase; one echo alone is not judged by its time. T2 and
T1: a spin echo with long, or short, echo and repetition time. Everything else stays undecided, with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from bedrest.io.contrast_rules import (
    DIXON_WORDS,
    NO_USE,
    T1_ECHO_MS,
    T1_REPETITION_MS,
    T2_ECHO_MS,
    T2_REPETITION_MS,
    ContrastGuess,
    fat_suppressed,
    phase_by_echo_time,
    water_fat_cycles,
)
from bedrest.io.dicom.header import ECHO_MS, ImageHeader, close, same_sequence
from bedrest.io.dicom.slices import DicomImage, head_foot_mm, shared_places, too_few
from bedrest.vocabulary import DIXON, Contrast

NEIGHBOUR_SERIES = 2  # echoes of one sequence as series: phase images may lie between
SAME_TIME_S = 2.0  # between the beginnings of two echoes, beyond a repetition time
_COMPONENTS = {"PHASE": "a phase image", "REAL": "a real part", "IMAGINARY": "an imaginary part"}


def classify_contrasts(images: Sequence[DicomImage], chosen: Mapping[str, Contrast]) -> dict[str, ContrastGuess]:
    """The contrast of each image, by its name. `chosen`: name -> contrast by the user, which overrides the header."""
    guesses = {i.name: classify_contrast(i.header) for i in images}
    for echoes in _echo_trains([i for i in images if guesses[i.name] == _ECHO]):
        guesses |= _by_echo_times(echoes)
    guesses |= _exchanged_phases(images, guesses)
    given = set(chosen.values())
    for name, guess in guesses.items():
        if name in chosen:
            guesses[name] = ContrastGuess(chosen[name], "chosen with --set")
        elif guess.contrast in given:
            guesses[name] = ContrastGuess(None, f"{guess.contrast} by its header, but you chose another image")
    for contrast in Contrast:
        guesses |= _outdone([i for i in images if guesses[i.name].contrast == contrast], guesses)
        rivals = [i for i in images if guesses[i.name].contrast == contrast]
        if len(rivals) > 1:
            reason = (f"{', '.join(i.name for i in rivals)} could all be {contrast}: choose one, as "
                      f"--set {rivals[0].name}={contrast}{_heights(rivals)}")
            guesses |= {i.name: ContrastGuess(None, reason, doubtful=True) for i in rivals}
    return guesses


def _outdone(rivals: Sequence[DicomImage], guesses: Mapping[str, ContrastGuess]) -> dict[str, ContrastGuess]:
    """Out of several images of one contrast those that are no rivals: localizers, or no word where others have one.

    Scanners make localizers as T2-weighted single shots or short T1-weighted ones; Philips puts source echoes beside
    images in and opposed phase.
    """
    few = {i.name: why for i in rivals if guesses[i.name].contrast not in DIXON and (why := too_few(i))}
    outdone = {n: replace(guesses[n], contrast=None, reason=f"{guesses[n].contrast}, {guesses[n].reason}, but as a "
                          f"localizer has: {why}") for n, why in few.items() if len(few) < len(rivals)}
    named = [i for i in rivals if guesses[i.name].reason == _BY_WORD]
    outdone |= {i.name: replace(guesses[i.name], contrast=None, reason=f"{guesses[i.name].contrast} by its echo time, "
                                f"{named[0].name} by Image Type")
                for i in rivals if named and i not in named and _of_one_series(i, named[0])}
    return outdone


_BY_WORD = "by Image Type"
_ECHO = ContrastGuess(None, "a gradient echo", doubtful=True)  # to be judged with the other echoes


def classify_contrast(header: ImageHeader) -> ContrastGuess:
    """The contrast of one image by its own header; echoes of a gradient echo are undecided."""
    if header.component in _COMPONENTS:
        return ContrastGuess(None, _COMPONENTS[header.component])
    for word in header.image_type:
        if word in NO_USE:
            return ContrastGuess(None, NO_USE[word])
    if header.component == "MIXED":
        return ContrastGuess(None, "magnitude or phase: Complex Image Component is MIXED", doubtful=True)
    if "EP" in header.sequence:
        return ContrastGuess(None, "an echo-planar image")
    dixon = {DIXON_WORDS[w] for word in header.image_type if (w := word.replace(" ", "_")) in DIXON_WORDS}
    spin_echo = "SE" in header.sequence and "GR" not in header.sequence
    if len(dixon) > 1:
        return ContrastGuess(None, f"Image Type says {' and '.join(sorted(dixon))}", doubtful=True)
    if dixon:
        if "SE" in header.sequence and header.echo_time_ms >= T2_ECHO_MS:
            return ContrastGuess(None, f"{dixon.pop()} of a T2-weighted Dixon sequence", doubtful=True)
        return ContrastGuess(dixon.pop(), _BY_WORD)
    inverted = "IR" in header.sequence or header.inversion_time_ms > 0 or any(
        "IR" in word.split("_") for word in header.image_type)
    suppressed = inverted or fat_suppressed((*header.options, *header.image_type))
    if spin_echo and header.echo_time_ms >= T2_ECHO_MS:
        times = f"a spin echo, TE {header.echo_time_ms:g} ms, TR {header.repetition_time_ms:g} ms"
        if not header.repetition_time_ms >= T2_REPETITION_MS:
            return ContrastGuess(None, f"{times}, which is below {T2_REPETITION_MS:g} ms for T2", doubtful=True)
        if suppressed:
            return ContrastGuess(None, "T2-weighted, but fat or fluid is suppressed", doubtful=True)
        return ContrastGuess(Contrast.T2, times)
    if spin_echo and header.echo_time_ms <= T1_ECHO_MS:
        return _t1_of_spin_echo(header, suppressed=suppressed)
    if "GR" in header.sequence and "SE" not in header.sequence:
        return ContrastGuess(None, "a gradient echo that inverts or suppresses", doubtful=True) if suppressed else _ECHO
    return ContrastGuess(None, "neither Image Type nor echo times show a contrast", doubtful=True)


def _t1_of_spin_echo(header: ImageHeader, *, suppressed: bool) -> ContrastGuess:
    times = f"a spin echo, TE {header.echo_time_ms:g} ms, TR {header.repetition_time_ms:g} ms"
    if not header.repetition_time_ms <= T1_REPETITION_MS:
        return ContrastGuess(None, f"{times}, which is not up to {T1_REPETITION_MS:g} ms for T1", doubtful=True)
    if suppressed or header.contrast_agent:
        what = "fat or fluid is suppressed" if suppressed else "with a contrast agent"
        return ContrastGuess(None, f"T1-weighted, but {what}", doubtful=True)
    return ContrastGuess(Contrast.T1, times)


def _echo_trains(images: Sequence[DicomImage]) -> list[list[DicomImage]]:
    """Gradient echoes by the run of a sequence that they come from."""
    trains: list[list[DicomImage]] = []
    for image in images:
        if train := next((t for t in trains if any(_one_run(image, i) for i in t)), None):
            train.append(image)
        else:
            trains.append([image])
    return trains


def _one_run(a: DicomImage, b: DicomImage) -> bool:
    """Whether two images are of one run of a sequence: same geometry and parameters, same time or neighbours."""
    if not same_sequence(a.header, b.header) or 2 * shared_places(a, b) < max(len(a.frames), len(b.frames)):
        return False
    apart_s = abs(a.header.acquisition_time_s - b.header.acquisition_time_s)
    if apart_s > SAME_TIME_S + np.nan_to_num(a.header.repetition_time_ms) / 1000:
        return False
    if a.header.series_number == b.header.series_number or a.header.series_uid == b.header.series_uid:
        return _of_one_series(a, b)
    return (abs(a.header.series_number - b.header.series_number) <= NEIGHBOUR_SERIES
            and (apart_s >= 0 or a.header.acquisition == b.header.acquisition))


def _of_one_series(a: DicomImage, b: DicomImage) -> bool:
    return (a.header.series_number, a.header.series_uid) == (b.header.series_number, b.header.series_uid)


def _by_echo_times(echoes: Sequence[DicomImage]) -> dict[str, ContrastGuess]:
    """In and opposed phase among the echoes of one sequence, where both are there: the earliest ones."""
    times = sorted(i.header.echo_time_ms for i in echoes)
    guesses = {i.name: phase_by_echo_time(i.header.echo_time_ms, i.header.field_tesla) for i in echoes}
    if {Contrast.IN_PHASE, Contrast.OPPOSED} <= {g.contrast for g in guesses.values()}:
        first = {g.contrast: i for i in sorted(echoes, key=lambda e: -e.header.echo_time_ms)
                 if (g := guesses[i.name]).contrast}
        return {i.name: replace(g, doubtful=False) if not (g := guesses[i.name]).contrast else
                g if close(i.header.echo_time_ms, (e := first[g.contrast]).header.echo_time_ms, ECHO_MS) else
                replace(g, contrast=None, reason=f"{g.contrast}, as the earlier {e.name}") for i in echoes}
    unknown = next((guesses[i.name] for i in echoes
                    if water_fat_cycles(i.header.echo_time_ms, i.header.field_tesla) is None), None)
    by_time = {n: guess.contrast or "CONTRAST" for n, guess in guesses.items()}
    name = next((n for n, c in by_time.items() if c != "CONTRAST"), echoes[0].name)
    if unknown and len(echoes) > 1:
        reason = unknown.reason
    elif not any(b - a > ECHO_MS for a, b in pairwise(times)):
        reason = ("a gradient echo alone: neither Image Type nor echo times show a contrast; where you know it, choose "
                  f"it, as --set {name}={by_time[name]}")
    else:
        at = ", ".join(f"{t:g}" for t in times)
        reason = (f"echoes at {at} ms at {echoes[0].header.field_tesla:g} T are no pair of in and opposed phase (a "
                  f"field map?); where you know it, choose one, as --set {name}={by_time[name]}")
    return {i.name: ContrastGuess(None, reason, doubtful=True) for i in echoes}


def _exchanged_phases(images: Sequence[DicomImage], guesses: Mapping[str, ContrastGuess]) -> dict[str, ContrastGuess]:
    """Images in and opposed phase by Image Type, of which the echo times of one sequence say the opposite."""
    doubts: dict[str, ContrastGuess] = {}
    for a in images:
        for b in images:
            if (guesses[a.name].contrast == Contrast.IN_PHASE and guesses[b.name].contrast == Contrast.OPPOSED
                    and _one_run(a, b) and "SE" not in a.header.sequence):
                times = [phase_by_echo_time(i.header.echo_time_ms, i.header.field_tesla) for i in (a, b)]
                if [t.contrast for t in times] == [Contrast.OPPOSED, Contrast.IN_PHASE]:
                    reason = (f"{a.name} is in_phase and {b.name} opposed by Image Type, {times[0].reason} and "
                              f"{times[1].reason} say the opposite: choose, as --set {a.name}=opposed --set "
                              f"{b.name}=in_phase")
                    doubts |= {i.name: ContrastGuess(None, reason, doubtful=True) for i in (a, b)}
    return doubts


def echo_numbers(images: Mapping[Contrast, DicomImage]) -> dict[Contrast, int]:
    """Numbers of the echoes in and opposed phase, which rise with the echo time."""
    phases = (Contrast.OPPOSED, Contrast.IN_PHASE)  # in this order where the times do not say it
    times = [images[c].header.echo_time_ms if c in images else float("nan") for c in phases]
    ordered = reversed(phases) if times[1] < times[0] - ECHO_MS else phases
    return {c: n for n, c in enumerate(ordered, 1)}


def _heights(rivals: Sequence[DicomImage]) -> str:
    """Where rivals lie along the patient, if that differs."""
    reach = [head_foot_mm(i) for i in rivals]
    if max(np.ptp(np.array(reach), axis=0)) < 20:
        return ""
    return "; head to foot they reach " + ", ".join(
        f"{i.name} from {top:.0f} to {bottom:.0f} mm" for i, (bottom, top) in zip(rivals, reach, strict=True))


def scale_doubts(images: Mapping[Contrast, DicomImage]) -> dict[str, str]:
    """Images out of water, fat, in and opposed phase whose values cannot be compared, by name, with the reason."""
    dixon = [i for c, i in images.items() if c in DIXON]
    lacking = [i.name for i in dixon if not has_scale(i)]
    slopes = {round(f.slope, 6) for i in dixon for f in i.frames}
    if not lacking or (len(lacking) == len(dixon) and (len(slopes) == 1 or not any(i.header.philips for i in dixon))):
        return {}
    reason = (f"Philips MR Scale Slope (2005,100E) is missing in {', '.join(lacking)}, so that values of the images "
              "cannot be compared and a fat fraction would be wrong; an export with private attributes has it")
    return {i.name: reason for i in dixon} if len(dixon) > 1 else {}


def has_scale(image: DicomImage | None) -> bool:
    """Every slice has the scale slope of Philips; so it is of no image."""
    return image is None or not any(np.isnan(f.scale_slope) for f in image.frames)


def measured_values(images: Mapping[Contrast, DicomImage]) -> set[Contrast]:
    """Contrasts to be read by their scale slope: where the one that they are compared with has it, too."""
    pairs = ((Contrast.WATER, Contrast.FAT), (Contrast.IN_PHASE, Contrast.OPPOSED), (Contrast.T2,), (Contrast.T1,))
    return {c for pair in pairs if all(has_scale(images.get(c)) for c in pair) for c in pair}
