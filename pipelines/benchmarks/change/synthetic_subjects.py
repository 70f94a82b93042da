"""Subjects of our own maker, which training draws from too, with other seeds, scanned again and again.

Four visits a subject: a baseline, a repetition after repositioning, one with every disc grown by 3 %, one with a change
of its own in every disc. All differ in position, noise, texture and coil. Everything here is synthetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from bedrest.phantom.paint import paint
from bedrest.phantom.random_spine import Spine, draw_spine
from bedrest.phantom.render import Artefacts, demo_grid, render_dixon, render_t1, render_t2
from bedrest.types import Grid, Scan, Volume
from bedrest.vocabulary import DIXON, LEVELS, Contrast

from pipelines.benchmarks.change.known_visits import Job, KnownVisit, growths
from pipelines.benchmarks.change.scores import STANDARD_NAME

SEED = 778_001  # training, calibration, the demo and the fit of errors draw from seeds of their own
SNR = 14.0
SCANNER = Artefacts(snr=SNR)
OWN = "own"


@dataclass(frozen=True)
class Condition:
    """How subjects are scanned.

    Attributes
    ----------
    name, words : str
        On the command line; on the page.
    shift_mm, turn_deg : float
        SD of a visit's shift along each axis and turn about it. Two visits differ by the root of 2 times as much.
    artefacts : Artefacts
    contrasts : all Dixon contrasts or some of them, or T2 or T1 alone
    slices_averaged : int
        Neighbouring sagittal slices of 2 mm that are averaged into one; the SNR is that of the result.
    """

    name: str
    words: str
    shift_mm: float = 2.0
    turn_deg: float = 1.0
    artefacts: Artefacts = SCANNER
    contrasts: tuple[Contrast, ...] = DIXON
    slices_averaged: int = 1


STANDARD = Condition(STANDARD_NAME, "standard")
WATER = Condition("water", "water alone", contrasts=(Contrast.WATER,))
T2 = Condition("t2", "T2 alone", contrasts=(Contrast.T2,))
T1 = Condition("t1", "T1 alone", contrasts=(Contrast.T1,))
FURTHER: tuple[Condition, ...] = (
    Condition("sub-voxel", "sub-voxel shift only: 0.4 mm SD, no turn", shift_mm=0.4, turn_deg=0.0),
    Condition("turned", "turned by about 5 degrees between visits", turn_deg=2.0),  # 2 SD x sqrt(2 visits x 3 axes)
    Condition("thick-slices", "sagittal slices of 4 mm", slices_averaged=2),
    Condition("noisy", "SNR 7", artefacts=replace(SCANNER, snr=7.0)),
    Condition("bias-field", "strong bias field: up to 50 % instead of 20 %", artefacts=replace(SCANNER, bias=0.5)),
)


def own_job(index: int, condition: Condition = STANDARD, *, seed: int = SEED) -> Job:
    """One subject of our own maker: of one index and seed, the same anatomy in every condition."""
    return Job(OWN, condition.name, f"sub-{index + 1:02d}", lambda _: draw_subject(index, seed, condition))


def draw_subject(index: int, seed: int, condition: Condition = STANDARD) -> Iterator[KnownVisit]:
    """The visits of one subject."""
    rng = np.random.default_rng([seed, index])
    anatomy = draw_spine(rng)
    before = anatomy.volumes_mm3()
    for v, (session, growth) in enumerate(growths(np.random.default_rng([seed, index, 100])).items()):
        spine = anatomy.swollen(growth).posed(rng, shift_mm=condition.shift_mm, rotation_deg=condition.turn_deg)
        backdrop, noise = (np.random.default_rng([seed, index, k]) for k in (1, 2 + v))
        volumes = spine.volumes_mm3()
        centres = {d.name: f.centre_mm for d, f in zip(spine.discs, spine.frames(), strict=True) if d.name in LEVELS}
        yield KnownVisit(session, _scan(spine, condition, backdrop, noise),
                         {k: 100 * (v / before[k] - 1) for k, v in volumes.items()}, volumes, centres)


def _scan(spine: Spine, condition: Condition, backdrop: np.random.Generator, noise: np.random.Generator) -> Scan:
    painting = paint(spine, demo_grid(), backdrop)
    n = condition.slices_averaged
    # The mean of n slices has root n times their SNR.
    artefacts = replace(condition.artefacts, snr=condition.artefacts.snr / n**0.5)
    render = {Contrast.T2: render_t2, Contrast.T1: render_t1}.get(condition.contrasts[0], render_dixon)
    rendered = render(painting, noise, artefacts).contrasts
    return Scan({c: averaged(rendered[c], n) for c in condition.contrasts})


def averaged(volume: Volume, n: int) -> Volume:
    """The mean of every `n` neighbours along the first axis, on a grid `n` times as coarse there; n divides I."""
    i, j, k = volume.grid.shape
    affine = volume.grid.affine_ras_mm.copy()
    affine[:3, 3] += affine[:3, 0] * (n - 1) / 2  # centre of the first n slices
    affine[:3, 0] *= n
    return Volume(volume.data.reshape(i // n, n, j, k).mean(axis=1), Grid((i // n, j, k), affine))
