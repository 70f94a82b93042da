"""Which contrast a BIDS image is, by its name and its sidecars, or why it is none that is measured.

BIDS has no suffix for Dixon images: in- and opposed-phase are echoes of a MEGRE, water and fat are reconstructions of a
T1w. Any other T1w is T1, where nothing says that it is no plain spin echo. A name and a sidecar that contradict each
other are a problem, never decided here. Knows no folders.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from bedrest.errors import Problem
from bedrest.io.bids.sidecars import PHASES, BidsName, Sidecar
from bedrest.io.contrast_rules import T1_ECHO_MS, T1_REPETITION_MS, T2_ECHO_MS, ContrastGuess, phase_by_echo_time
from bedrest.vocabulary import Contrast

MAX_FIELDS_RATIO = 1.1  # between the echoes of one scan
_REC = {"water": Contrast.WATER, "w": Contrast.WATER, "fat": Contrast.FAT, "f": Contrast.FAT}
_ECHO = {1: Contrast.OPPOSED, 2: Contrast.IN_PHASE}  # at 1.5 T and 3 T, where nothing else says it
_SUFFIXES = ("MEGRE", "T1w", "T2w")
_NO_USE = {  # entity -> what such an image is
    "inv": "an inversion image", "ce": "made with a contrast agent", "mod": "made from another image",
    "chunk": "a part of the field of view", "label": "a mask or a part", "desc": "a derivative",
    "space": "a derivative", "res": "a derivative", "den": "a derivative",
}
_SUPPRESSED = re.compile(r"stir|tirm|flair|fatsat|fatsup|spair|spir(?!al)|fs$", re.IGNORECASE)
# Also one letter alone, or as the capital at the end of a word: dixonW. The echoes of a T2-weighted Dixon are no T2w.
_DIXON = re.compile(r"(?i:water|fat|dixon|inph|outph|oppo|^(w|f|ip|op|opp)$)|[a-z](W|F|IP|OP|Opp)$")
_GRADIENT_ECHO = re.compile(r"mp2?rage|flash|vibe|fspgr|spgr|bravo|tfl|tfe|ffe|gre(?![a-z])", re.IGNORECASE)
_CORRECT = "Find out which of the two is right, and correct the other."


@dataclass
class Judged:
    """What the images of one folder are: each one has a contrast, a reason why it is not used, or a problem."""

    contrasts: dict[Path, Contrast] = field(default_factory=dict)
    left_out: dict[Path, str] = field(default_factory=dict)
    contradictions: list[Problem] = field(default_factory=list)
    doubts: list[Problem] = field(default_factory=list)
    by_number: list[Path] = field(default_factory=list)  # phases that nothing but the number of the echo tells


def judged(images: Mapping[Path, Sidecar]) -> Judged:
    """Judge the images of one visit by their names and sidecars."""
    result, echoes = Judged(), dict[frozenset[tuple[str, str]], list[_Echo]]()
    for path, sidecar in images.items():
        name = BidsName.of(path)
        if reason := _reason(name, sidecar):
            result.left_out[path] = reason
        elif name.label("part") and (reason := sidecar.no_use):
            result.contradictions.append(_contradiction(path, "a magnitude image", reason))
        elif reason := sidecar.no_use:
            result.left_out[path] = f"{reason}, as its sidecar says"
        elif name.suffix == "MEGRE":
            others = frozenset((k, v) for k, v in name.entities.items() if k not in ("echo", "part", "ph"))
            echoes.setdefault(others, []).append(_Echo(path, name.echo, sidecar))
        elif name.suffix == "T2w":
            result.contrasts[path] = Contrast.T2
        elif name.label("rec") not in _REC:
            result.contrasts[path] = Contrast.T1
        elif by_words := sidecar.contrasts - {contrast := _REC[name.label("rec")]}:
            result.contradictions.append(_contradiction(path, contrast, _listed(by_words)))
        else:
            result.contrasts[path] = contrast
    for group in echoes.values():
        phases = Judged()
        if problem := _judge_echoes(sorted(group, key=lambda e: (e.number or 0, e.path)), phases):
            result.contradictions.append(problem)
            phases = Judged(left_out={e.path: "echoes that contradict each other or their sidecars" for e in group})
        result.contrasts |= phases.contrasts
        result.left_out |= phases.left_out
        result.by_number += phases.by_number
        result.doubts += phases.doubts
    result.doubts += _of_several_runs(result.contrasts)
    return result


def _of_several_runs(contrasts: Mapping[Path, Contrast]) -> Iterator[Problem]:
    """Images that are compared voxel by voxel, but were not taken in one run by their names."""
    for pair, entities in (((Contrast.WATER, Contrast.FAT), ["run"]), (PHASES, ["run", "acq"])):
        both = [path for path, c in contrasts.items() if c in pair]
        named = {path: str([BidsName.of(path).entities.get(e) for e in entities]) for path in both}
        if len({*contrasts.values()} & {*pair}) == 2 == len(named) == len({*named.values()}):
            first, other = named
            yield Problem(f"{first} and {other.name}", f"{' and '.join(pair)} of one run",
                          f"another {' or '.join(entities)} in their names", "See that both are of one acquisition; if "
                          "not, add the image that is missing, or take one out.")


def _reason(name: BidsName, sidecar: Sidecar) -> str:
    """Why an image is not used, as far as it does not depend on others; empty where it may be."""
    if name.suffix not in _SUFFIXES:
        near = next((s for s in _SUFFIXES if s.lower() == name.suffix.lower()), "")
        return f"suffix {name.suffix!r}; did you mean {near}?" if near else \
            f"suffix {name.suffix!r}, of no use; used are {', '.join(_SUFFIXES)}"
    if (part := name.label("part")) not in ("", "mag"):
        return f"part-{part}: not a magnitude image"
    if name.marked_as_phase and not sidecar.contrasts & {*PHASES}:
        return "marked as a phase image (_ph), and no sidecar says that it is in- or opposed-phase"
    for entity, meaning in _NO_USE.items():
        if entity in name.entities:
            return f"{entity}-{name.entities[entity]}: {meaning}"
    if name.label("mt") == "on":
        return "mt-on: with magnetization transfer"
    for entity in ("acq", "rec"):
        if _SUPPRESSED.search(name.label(entity)):
            return f"{entity}-{name.entities[entity]}: fat or fluid is suppressed"
    if sidecar.sequence == "an echo-planar image":
        return "an echo-planar image, as its sidecar says"
    rec = name.label("rec")
    if name.suffix == "T2w":
        return _reason_of_t2(name, sidecar)
    if name.suffix == "T1w" and rec not in _REC:
        return _reason_of_t1(name, sidecar)
    if name.suffix == "T1w" and sidecar.echo_time_ms >= T2_ECHO_MS:
        return f"TE {sidecar.echo_time_ms:g} ms: {_REC[rec]} of a T2-weighted Dixon sequence"
    if name.suffix == "MEGRE" and sidecar.sequence == "a spin echo":
        return "a spin echo, as its sidecar says, not a gradient echo"
    if name.suffix == "MEGRE" and sidecar.suppressed and not sidecar.contrasts:
        return f"{sidecar.suppressed}, as its sidecar says: neither in- nor opposed-phase"
    if name.suffix == "MEGRE" and rec in _REC:
        return f"a MEGRE with rec-{rec}; {_REC[rec]} images are named rec-{_REC[rec]}_T1w"
    return ""


def _reason_of_t2(name: BidsName, sidecar: Sidecar) -> str:
    te = sidecar.echo_time_ms
    if by_words := sidecar.contrasts:
        return f"{_listed(by_words)} of a T2-weighted Dixon sequence"
    for entity in ("acq", "rec"):
        if _DIXON.search(name.entities.get(entity, "")):
            return f"{entity}-{name.entities[entity]}: of a T2-weighted Dixon sequence"
    if sidecar.sequence == "a gradient echo":
        return "a gradient echo, as its sidecar says, not a spin echo"
    if sidecar.suppressed:
        return f"{sidecar.suppressed}, as its sidecar says: fat or fluid is suppressed"
    if re.match(r"pdw?(\d|$)", name.label("acq")):
        return f"acq-{name.entities['acq']}: proton density"
    if 0 < te < T2_ECHO_MS:
        return f"TE {te:g} ms, not T2-weighted, which is {T2_ECHO_MS:g} ms and more"
    if "echo" in name.entities and not te > 0:
        return "one echo of several, whose echo time no sidecar says"
    return ""


def _reason_of_t1(name: BidsName, sidecar: Sidecar) -> str:
    te, tr, names = sidecar.echo_time_ms, sidecar.repetition_time_ms, "in- and opposed-phase are named " \
        "echo-1_MEGRE, echo-2_MEGRE, water and fat rec-water_T1w, rec-fat_T1w"
    if by_words := sidecar.contrasts:
        return f"{_listed(by_words)}, as its sidecar says; {names}"
    for entity in ("acq", "rec"):
        if _DIXON.search(name.entities.get(entity, "")):
            return f"{entity}-{name.entities[entity]}: of a Dixon sequence; {names}"
        if _GRADIENT_ECHO.search(name.label(entity)):
            return f"{entity}-{name.entities[entity]}: a gradient echo, not a spin echo"
    if "echo" in name.entities and sidecar.sequence != "a spin echo":
        return f"one echo of several, and no sidecar says of a spin echo; {names}"
    if sidecar.sequence == "a gradient echo":
        return "a gradient echo, as its sidecar says, not a spin echo"
    if sidecar.suppressed:
        return f"{sidecar.suppressed}, as its sidecar says"
    if sidecar.contrast_agent:
        return "made with a contrast agent, as its sidecar says"
    if te > T1_ECHO_MS:
        return f"TE {te:g} ms, not T1-weighted, which is {T1_ECHO_MS:g} ms and less"
    if tr > T1_REPETITION_MS:
        return f"TR {tr:g} ms, not T1-weighted, which is {T1_REPETITION_MS:g} ms and less"
    if "echo" in name.entities and not te > 0:
        return "one echo of several, whose echo time no sidecar says"
    return ""


@dataclass(frozen=True, eq=False)
class _Echo:
    """One echo of a MEGRE."""

    path: Path
    number: int | None
    sidecar: Sidecar

    @property
    def by_word(self) -> Contrast | None:
        return next(iter(self.sidecar.contrasts), None)

    @property
    def by_time(self) -> ContrastGuess:
        return phase_by_echo_time(self.sidecar.echo_time_ms, self.sidecar.field_tesla)


def _judge_echoes(echoes: list[_Echo], result: Judged) -> Problem | None:
    """Judge the echoes of one MEGRE, in the order of their numbers. Words go before times, times before numbers."""
    times = [e.sidecar.echo_time_ms for e in echoes if e.sidecar.echo_time_ms > 0]
    words = [e.by_word for e in echoes if e.by_word is not None]
    # Phases that are computed from two echoes carry the time of one of them, or times of any phase.
    one_time = len(times) > 1 and len(set(times)) == 1
    if not (one_time and len(set(words)) == len(echoes)) and (problem := _order_problem(echoes)):
        return problem
    against = [e for e in echoes if e.by_word and e.by_time.contrast not in (None, e.by_word)]
    computed = one_time or len(set(words)) == len(echoes) == 2 > len(against)
    if against and computed and not one_time:
        result.doubts.append(_against_words(against[0], against[0].by_time, "Words count; see that they are right."))
    phases: dict[Contrast, list[_Echo]] = {}
    for echo in echoes:
        time = ContrastGuess(None, "") if computed else echo.by_time
        if problem := _echo_problem(echo, time):
            return problem
        phase = echo.by_word or time.contrast
        if phase is None and echo.sidecar.echo_time_ms > 0 and echo.sidecar.field_tesla > 0:
            result.left_out[echo.path] = time.reason
            continue
        if phase is None:
            if (phase := _ECHO.get(echo.number or 0)) is None:
                result.left_out[echo.path] = "a MEGRE that is neither echo-1 nor echo-2, and whose echo time and " \
                    "field strength no sidecar says"
                continue
            result.by_number.append(echo.path)
        phases.setdefault(phase, []).append(echo)
    for phase, (first, *others) in phases.items():
        for other in others:
            if other.number == first.number:
                result.contrasts[other.path] = phase  # two files of one echo: which one counts is not decided here
                continue
            if not _later(first, other):
                return Problem(f"{other.path}", f"an echo in another phase than {first.path.name}",
                               f"{phase} for both, by their sidecars and numbers",
                               "Write EchoTime and MagneticFieldStrength into the sidecar of each.")
            result.left_out[other.path] = f"{phase}, as the earlier {first.path.name}"
        result.contrasts[first.path] = phase
    return None


def _later(first: _Echo, other: _Echo) -> bool:
    """Whether two echoes are in one phase by their times."""
    guesses = first.by_time, other.by_time
    return guesses[0].contrast is not None and guesses[0].contrast == guesses[1].contrast \
        and first.sidecar.echo_time_ms < other.sidecar.echo_time_ms


def _order_problem(echoes: list[_Echo]) -> Problem | None:
    """Echo times that do not rise with the number of the echo, or two field strengths."""
    timed = [e for e in echoes if e.sidecar.echo_time_ms > 0]
    for one, other in pairwise(timed):
        if one.number != other.number and one.sidecar.echo_time_ms >= other.sidecar.echo_time_ms:
            return Problem(f"{one.path} and {other.path.name}", "echo times that rise with the number of the echo",
                           f"{one.sidecar.echo_time_ms:g} and {other.sidecar.echo_time_ms:g} ms in their sidecars",
                           _CORRECT)
    fields = [e for e in echoes if e.sidecar.field_tesla > 0]
    low, high = (f(fields, key=lambda e: e.sidecar.field_tesla, default=None) for f in (min, max))
    if low and high and high.sidecar.field_tesla > MAX_FIELDS_RATIO * low.sidecar.field_tesla:
        return Problem(f"{low.path} and {high.path.name}", "echoes of one scanner", f"{low.sidecar.field_tesla:g} and "
                       f"{high.sidecar.field_tesla:g} T in their sidecars", _CORRECT)
    return None


def _echo_problem(echo: _Echo, time: ContrastGuess) -> Problem | None:
    """What the sidecar of one echo says against itself or against the name."""
    by_words, number = echo.sidecar.contrasts, echo.sidecar.echo_number
    if len(by_words) > 1 or by_words - {*PHASES}:
        return _contradiction(echo.path, "in_phase or opposed", _listed(by_words))
    if by_words and time.contrast not in (None, *by_words):
        return _against_words(echo, time, _CORRECT)
    known = bool(by_words) or time.contrast is not None
    # A scanner calls the echo of every sequence with one echo the first.
    if echo.number is not None and number > 0 and number != echo.number and not (known and number == 1):
        return _contradiction(echo.path, f"echo {echo.number}", f"EchoNumber {number:g}")
    return None


def _against_words(echo: _Echo, time: ContrastGuess, remedy: str) -> Problem:
    return Problem(str(echo.path), f"{echo.by_word}, as the words in its sidecar say",
                   f"{time.contrast} by {time.reason} in the same sidecar", remedy)


def _contradiction(path: Path, by_name: str, by_sidecar: str) -> Problem:
    return Problem(str(path), f"{by_name}, as its name says", f"{by_sidecar}, as its sidecar says", _CORRECT)


def _listed(contrasts: set[Contrast]) -> str:
    return " and ".join(sorted(contrasts))
