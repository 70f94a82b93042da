"""Who made the scans that judge the measurement of change: our own phantom, others, real anatomy, real scans.

The registry of the change benchmark: a maker is a function from the number of a subject to its visits, with the
contrasts it can show. Knows nothing of how discs are measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from bedrest.types import Scan
from bedrest.vocabulary import LEVELS, Contrast

from pipelines.benchmarks.change.known_visits import Job, KnownVisit, Segmenter, growths
from pipelines.benchmarks.change.real_scans import (
    made_t2_visits,
    repeated_visits,
    repeats_are_there,
    t2_name,
    t2_scans,
)
from pipelines.benchmarks.change.scores import STANDARD_NAME
from pipelines.benchmarks.change.synthetic_subjects import SEED, STANDARD, T1, T2, WATER, draw_subject
from pipelines.benchmarks.second_maker.subjects import (
    MadeSubject,
    RealSubject,
    draw_made_subject,
    draw_real_subject,
    held_out_series,
)

SECOND_SEED, REAL_SEED = 779_001, 779_101
CONDITION_OF_SET = {c.name: c for c in (STANDARD, WATER, T2, T1)}

DIXON_SET, WATER_SET, T2_SET, T1_SET, IN_PHASE_SET = STANDARD_NAME, "water", "t2", "t1", "in_phase"
SETS: Mapping[str, str] = {DIXON_SET: "Four Dixon contrasts", WATER_SET: "Dixon water alone", T2_SET: "T2 alone",
                           T1_SET: "T1 alone", IN_PHASE_SET: "T1 given as in-phase"}
RENDERED = (DIXON_SET, WATER_SET, T2_SET, T1_SET)


def _numbered(index: int) -> str:
    return f"sub-{index + 1:02d}"


@dataclass(frozen=True)
class Maker:
    """A source of subjects.

    Attributes
    ----------
    name, title, words : str
        On the command line; heading of its column; what it is, for the page.
    visits : number of a subject from 0, a set of contrasts, and a segmenter -> its visits
    sets : the sets of contrasts it can show, of `SETS`
    subjects : how many there are, in the order of their numbers; None: as many as wanted
    name_of : number of a subject -> its name
    """

    name: str
    title: str
    words: str
    visits: Callable[[int, str, Segmenter], Iterator[KnownVisit]]
    sets: tuple[str, ...] = (DIXON_SET, WATER_SET, T2_SET)
    subjects: Callable[[], int] | None = None
    name_of: Callable[[int], str] = _numbered

    def jobs(self, set_name: str, subjects: int) -> list[Job]:
        """The first subjects, or as many as there are."""
        there = subjects if self.subjects is None else min(subjects, self.subjects())
        return [Job(self.name, set_name, self.name_of(i), partial(self.visits, i, set_name)) for i in range(there)]


def _own(index: int, set_name: str, _: Segmenter) -> Iterator[KnownVisit]:
    return draw_subject(index, SEED, CONDITION_OF_SET[set_name])


def _second(index: int, set_name: str, _: Segmenter) -> Iterator[KnownVisit]:
    return _rendered(draw_made_subject(index, SECOND_SEED), LEVELS, set_name, [SECOND_SEED, index, 100])


def _real_anatomy(index: int, set_name: str, _: Segmenter) -> Iterator[KnownVisit]:
    subject = draw_real_subject(index, REAL_SEED)
    return _rendered(subject, subject.levels, set_name, [REAL_SEED, index, 100])


def _rendered(subject: MadeSubject | RealSubject, levels: Sequence[str], set_name: str, seed: list[int]
              ) -> Iterator[KnownVisit]:
    """Dixon on the grid of bed-rest studies; T2 and T1 in thick slices, as clinics do."""
    before: dict[str, float] = {}
    dixon = set_name in (DIXON_SET, WATER_SET)
    for number, (session, growth) in enumerate(growths(np.random.default_rng(seed), levels).items()):
        volumes, centres, scan = subject.visit(number, growth, "dixon" if dixon else set_name,
                                               "bed-rest" if dixon else "clinical")
        before = before or volumes
        shown = Scan({Contrast.WATER: scan.contrasts[Contrast.WATER]}) if set_name == WATER_SET else scan
        yield KnownVisit(session, shown, {k: 100 * (v / before[k] - 1) for k, v in volumes.items()}, volumes, centres)


def _real_t2(index: int, _: str, segmenter: Segmenter) -> Iterator[KnownVisit]:
    return made_t2_visits(index, segmenter)


def _real_repeats(_: int, set_name: str, __: Segmenter) -> Iterator[KnownVisit]:
    return repeated_visits(Contrast(set_name))


MAKERS: tuple[Maker, ...] = (
    Maker("own", "own phantom", "our own phantom, from a seed that training and the fit of errors never used", _own,
          RENDERED),
    Maker("second", "second phantom", "a phantom and a renderer that training never saw: surfaces without voxels, "
          "signals from relaxation times, images from k-space", _second, RENDERED),
    Maker("real-anatomy", "real anatomy, rendered", "manual masks of SPIDER's patients whom training never saw, "
          "rendered by the second phantom's scanner; the sacrum is made", _real_anatomy, RENDERED,
          lambda: len(held_out_series()), lambda i: f"spider-{held_out_series()[i].split('_')[0]}"),
    Maker("real-t2", "real T2, made visits", "real T2 scans, of which further visits are made: laid anew, with new "
          "noise and coil, discs stretched along their normal between rigid bones", _real_t2, (T2_SET,),
          lambda: len(t2_scans()), t2_name),
    Maker("real-repeats", "real repeats", "one patient scanned twice at one occasion, 3 mm apart, T1, in slices that "
          "do not cover the discs: no change", _real_repeats, (T1_SET, IN_PHASE_SET), lambda: int(repeats_are_there()),
          lambda _: "siegen-ak"),
)
BY_NAME: Mapping[str, Maker] = {maker.name: maker for maker in MAKERS}


def makers_in(frame: pd.DataFrame, set_name: str) -> list[str]:
    """Makers whose subjects were scanned with a set of contrasts, in the order of the page; rows of `CHANGE_DISCS`."""
    there = set(frame.loc[frame["condition"] == set_name, "maker"])
    return [maker.name for maker in MAKERS if maker.name in there]
