"""Synthetic subjects scanned again and again, and their discs measured by every method.

Three visits a subject: a baseline, a repetition after repositioning, and one with every disc grown by 3 %. All three
differ in position, noise, texture and coil. Everything here is synthetic: no subject was scanned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from bedrest.io.tables.frames import typed_frame
from bedrest.longitudinal.error_model import ErrorModel
from bedrest.longitudinal.joint_volumes import joint_volumes, poses_of, prepare_visit
from bedrest.measurement.volumes import volumes_from_probability
from bedrest.phantom.paint import paint
from bedrest.phantom.random_spine import Spine, draw_spine
from bedrest.phantom.render import Artefacts, demo_grid, render_dixon, render_t1, render_t2
from bedrest.segmentation.engine import segment
from bedrest.segmentation.weights import TrainedNetwork, key_of
from bedrest.types import Grid, Scan, Volume
from bedrest.vocabulary import DIXON, LEVEL_OF_LABEL, LEVELS, Contrast
from tqdm import tqdm

from pipelines.benchmarks.change.scores import STANDARD_NAME
from pipelines.benchmarks.result_tables import BASELINE, CHANGE_DISCS, GROWN, REPEAT

SEED = 778_001  # training, calibration, the demo and the fit of errors draw from seeds of their own
SNR = 14.0
GROWTH = 0.03
SCANNER = Artefacts(snr=SNR)
GROWN_BY: dict[str, float] = {BASELINE: 0.0, REPEAT: 0.0, GROWN: GROWTH}


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
_RENDER = {Contrast.T2: render_t2, Contrast.T1: render_t1}  # all others: render_dixon
FURTHER: tuple[Condition, ...] = (
    Condition("sub-voxel", "sub-voxel shift only: 0.4 mm SD, no turn", shift_mm=0.4, turn_deg=0.0),
    Condition("turned", "turned by about 5 degrees between visits", turn_deg=2.0),  # 2 SD x sqrt(2 visits x 3 axes)
    Condition("thick-slices", "sagittal slices of 4 mm", slices_averaged=2),
    Condition("noisy", "SNR 7", artefacts=replace(SCANNER, snr=7.0)),
    Condition("bias-field", "strong bias field: up to 50 % instead of 20 %", artefacts=replace(SCANNER, bias=0.5)),
    WATER,
    T2,
    T1,
)


def draw_subject(index: int, seed: int, condition: Condition = STANDARD) -> Iterator[tuple[str, Spine, Scan]]:
    """Visit, spine and scan of one subject: of one index and seed, the same anatomy in every condition."""
    rng = np.random.default_rng([seed, index])
    anatomy = draw_spine(rng)
    for v, (visit, growth) in enumerate(GROWN_BY.items()):
        grown = anatomy.swollen(dict.fromkeys(LEVELS, growth))
        spine = grown.posed(rng, shift_mm=condition.shift_mm, rotation_deg=condition.turn_deg)
        backdrop, noise = (np.random.default_rng([seed, index, k]) for k in (1, 2 + v))
        yield visit, spine, _scan(spine, condition, backdrop, noise)


def _scan(spine: Spine, condition: Condition, backdrop: np.random.Generator, noise: np.random.Generator) -> Scan:
    painting = paint(spine, demo_grid(), backdrop)
    n = condition.slices_averaged
    # The mean of n slices has root n times their SNR.
    artefacts = replace(condition.artefacts, snr=condition.artefacts.snr / n**0.5)
    render = _RENDER.get(condition.contrasts[0], render_dixon)
    rendered = render(painting, noise, artefacts).contrasts
    return Scan({c: averaged(rendered[c], n) for c in condition.contrasts})


def averaged(volume: Volume, n: int) -> Volume:
    """The mean of every `n` neighbours along the first axis, on a grid `n` times as coarse there; n divides I."""
    i, j, k = volume.grid.shape
    affine = volume.grid.affine_ras_mm.copy()
    affine[:3, 3] += affine[:3, 0] * (n - 1) / 2  # centre of the first n slices
    affine[:3, 0] *= n
    return Volume(volume.data.reshape(i // n, n, j, k).mean(axis=1), Grid((i // n, j, k), affine))


def measure_subjects(trained: TrainedNetwork, wanted: Sequence[tuple[Condition, int]], *, seed: int, device: str,
                     errors: ErrorModel | None = None) -> pd.DataFrame:
    """Rows of `CHANGE_DISCS`.

    Parameters
    ----------
    wanted : conditions, and how many subjects are scanned under each, counted from the first; one with a contrast that
        the weights do not know is left out
    errors : of these weights: joint volumes are freed from the bias it tells of
    """
    jobs = [(condition, index) for condition, subjects in wanted
            if {*condition.contrasts} <= {*trained.contrasts} for index in range(subjects)]
    frames = [measure_subject(trained, index, seed=seed, device=device, condition=condition, errors=errors)
              for condition, index in tqdm(jobs, desc="synthetic subjects, 3 visits each", unit="subject")]
    return pd.concat(frames, ignore_index=True)


def measure_subject(trained: TrainedNetwork, index: int, *, seed: int, device: str, condition: Condition = STANDARD,
                    errors: ErrorModel | None = None) -> pd.DataFrame:
    """True and measured volumes of one subject, rows of `CHANGE_DISCS`: every named disc at every visit.

    A disc that was not found has no volume and says so; it is never 0.
    """
    rows: dict[tuple[str, int], dict[str, object]] = {}
    visits = {}
    for visit, spine, scan in draw_subject(index, seed, condition):
        segmented = segment(trained, scan, device=device)
        true, voxel_mm3 = spine.volumes_mm3(), segmented.discs.grid.voxel_volume_mm3
        single = volumes_from_probability(segmented.disc_probability, segmented.discs)
        counts = np.bincount(segmented.discs.data.ravel(), minlength=max(LEVEL_OF_LABEL) + 1)
        visits[visit] = prepare_visit(scan, poses_of(segmented.discs, segmented.disc_probability))
        for label, level in LEVEL_OF_LABEL.items():
            row = {"condition": condition.name, "contrasts": key_of(scan.contrasts), "subject": f"sub-{index + 1:02d}",
                   "session": visit, "level": level, "true_mm3": true[level], "reason": "not found"}
            if label in single:
                row |= {"voxels_mm3": counts[label] * voxel_mm3, "single_mm3": single[label],
                        "reason": "nothing where the visits meet"}
            rows[visit, label] = row
    for label in LEVEL_OF_LABEL:
        for j in joint_volumes(trained, visits, label, device=device, errors=errors):
            if j.volume_mm3 > 0:
                rows[j.session, label] |= {
                    "joint_mm3": j.volume_mm3, "grid_shifts_sd_mm3": j.grid_shifts_sd_mm3,
                    "boundary_uncertainty": j.boundary_uncertainty, "rotation_deg": j.rotation_deg, "reason": ""}
    return typed_frame(rows.values(), CHANGE_DISCS)
