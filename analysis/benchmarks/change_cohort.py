"""Synthetic people scanned again and again: how well volumes and their change are measured, way by way.

Three visits a person: a baseline, a repetition after lying down anew, and one with every disc grown by 3 %. All three
differ in position, noise, texture and coil. Everything here is synthetic: no person was scanned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.longitudinal.joint import joint_volumes, poses_of, see
from analysis.measure.volumes import volumes_from_probability
from analysis.phantom.anatomy import Spine, draw_spine
from analysis.phantom.paint import paint
from analysis.phantom.render import Artefacts, demo_grid, render_dixon
from analysis.segmentation.engine import segment
from analysis.segmentation.weights import TrainedNetwork
from analysis.types import Scan
from analysis.vocabulary import LEVEL_OF_LABEL, LEVELS

SEED = 778_001  # training, calibration and the demo draw from seeds of their own
SNR = 14.0
GROWTH = 0.03
VISITS: dict[str, float] = {"baseline": 0.0, "repeat": 0.0, "grown": GROWTH}


@dataclass(frozen=True)
class Way:
    """One way to a volume: its column, and what it is called."""

    column: str
    words: str


WAYS: tuple[Way, ...] = (Way("voxels_mm3", "voxels counted"), Way("single_mm3", "probabilities, each visit alone"),
                         Way("joint_mm3", "probabilities, all visits together"))


def draw_person(index: int, seed: int) -> Iterator[tuple[str, Spine, Scan]]:
    """Visit, spine and Dixon scan of one person."""
    rng = np.random.default_rng([seed, index])
    person = draw_spine(rng)
    for v, (visit, growth) in enumerate(VISITS.items()):
        spine = person.swollen(dict.fromkeys(LEVELS, growth)).posed(rng, shift_mm=2.0, turn_deg=1.0)
        backdrop, noise = (np.random.default_rng([seed, index, k]) for k in (1, 2 + v))
        painting = paint(spine, demo_grid(), backdrop)
        yield visit, spine, render_dixon(painting, noise, Artefacts(snr=SNR))


def measure_person(trained: TrainedNetwork, index: int, seed: int, device: str) -> pd.DataFrame:
    """True and measured volumes, one row a disc and visit."""
    rows, seen = [], {}
    for visit, spine, scan in draw_person(index, seed):
        found = segment(trained, scan, device=device)
        true, voxel_mm3 = spine.volumes_mm3(), found.discs.grid.voxel_volume_mm3
        single = volumes_from_probability(found.disc_probability, found.discs)
        counts = np.bincount(found.discs.data.ravel(), minlength=max(LEVEL_OF_LABEL) + 1)
        seen[visit] = see(scan, poses_of(found.discs, found.disc_probability))
        rows += [{"subject": index, "session": visit, "label": label, "level": level, "true_mm3": true[level],
                  "voxels_mm3": counts[label] * voxel_mm3, "single_mm3": single.get(label, np.nan)}
                 for label, level in LEVEL_OF_LABEL.items()]
    joint = pd.DataFrame([
        {"session": j.session, "label": j.label, "joint_mm3": j.volume_mm3, "looks_sd_mm3": j.looks_sd_mm3}
        for label in LEVEL_OF_LABEL for j in joint_volumes(trained, seen, label, device=device)])
    return pd.DataFrame(rows).merge(joint, on=["session", "label"], how="left")
