"""Visits of one subject whose true volumes or changes are known -> its discs measured by every method.

Rows of `CHANGE_DISCS`, and a file of them for every subject, so that hours of work can be stopped and go on. Knows
nothing of how visits are made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from bedrest.io.tables.frames import typed_frame
from bedrest.io.tables.typed_csv import read_table, write_table
from bedrest.longitudinal.boxes import prepare_visit
from bedrest.longitudinal.error_model import MIN_COVERED, ErrorModel
from bedrest.longitudinal.joint_volumes import joint_volumes, poses_of
from bedrest.longitudinal.poses import Pose
from bedrest.measurement.volumes import volumes_from_probability
from bedrest.segmentation.engine import segment
from bedrest.segmentation.weights import TrainedNetwork, key_of
from bedrest.types import Scan, Segmentation
from bedrest.vocabulary import LABEL_OF_LEVEL, LEVEL_OF_LABEL, LEVELS
from numpy.typing import NDArray
from tqdm import tqdm

from pipelines.benchmarks.result_tables import BASELINE, CHANGE_DISCS, GROWN, MIXED, REPEAT

GROWTH = 0.03
SHRUNK_MOST, GROWN_MOST = -0.05, 0.08
FAR_MM = 12.0  # a disc whose middle lies this far from the true one of its name is another disc


@dataclass(frozen=True, eq=False)
class KnownVisit:
    """One visit, with what is true of the discs in view, by level."""

    session: str
    scan: Scan
    change_percent: Mapping[str, float]  # since baseline; not a number where nobody knows
    volumes_mm3: Mapping[str, float] = field(default_factory=dict)  # of those whose volume is known
    centres_mm: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)  # (3,) world, where known


Segmenter = Callable[[Scan], Segmentation]  # with all tissues: for visits that are made of a scan by its own discs
Visits = Callable[[Segmenter], Iterator[KnownVisit]]


@dataclass(frozen=True)
class Job:
    """One subject of one maker, scanned in one way."""

    maker: str
    condition: str
    subject: str
    visits: Visits

    @property
    def file_name(self) -> str:
        return f"{self.maker}_{self.condition}_{self.subject}.csv"


def growths(rng: np.random.Generator, levels: Sequence[str] = LEVELS) -> dict[str, dict[str, float]]:
    """Change of each disc since baseline, relative, by visit: none, none, 3 % in all, and one of its own in each."""
    mixed = {level: float(rng.uniform(SHRUNK_MOST, GROWN_MOST)) for level in levels}
    return {BASELINE: {}, REPEAT: {}, GROWN: dict.fromkeys(levels, GROWTH), MIXED: mixed}


def measure_jobs(trained: TrainedNetwork, jobs: Sequence[Job], *, device: str, errors: ErrorModel | None = None,
                 folder: Path | None = None) -> pd.DataFrame:
    """Rows of `CHANGE_DISCS` of all jobs.

    Parameters
    ----------
    errors : of these weights: joint volumes are freed from the bias it tells of
    folder : of the files of finished subjects, which are taken as they are; None keeps none
    """
    frames = []
    for job in tqdm(jobs, desc="subjects with known change", unit="subject"):
        done = None if folder is None else folder / job.file_name
        if done is None or not done.is_file():
            frame = measure_job(trained, job, device=device, errors=errors)
            if done is not None:
                write_table(frame, done, CHANGE_DISCS)
        frames.append(frame if done is None else read_table(done, CHANGE_DISCS))  # one order, one number of digits
    return pd.concat(frames, ignore_index=True)


def measure_job(trained: TrainedNetwork, job: Job, *, device: str, errors: ErrorModel | None = None) -> pd.DataFrame:
    """True and measured volumes of one subject, rows of `CHANGE_DISCS`: every disc in view at every visit.

    A disc that was not found has no volume and says so; it is never 0. Nor has one that goes by another disc's name.
    """
    rows: dict[tuple[str, int], dict[str, object]] = {}
    visits = {}
    for visit in job.visits(partial(segment, trained, device=device, tissues=True)):
        segmented = segment(trained, visit.scan, device=device)
        single = volumes_from_probability(segmented.disc_probability, segmented.discs)
        counts = np.bincount(segmented.discs.data.ravel(), minlength=max(LEVEL_OF_LABEL) + 1)
        poses = poses_of(segmented.discs, segmented.disc_probability)
        wrong = _wrong_names(poses, visit)
        kept = {label: pose for label, pose in poses.items() if label not in wrong}
        visits[visit.session] = prepare_visit(visit.scan, kept)
        for level, change in visit.change_percent.items():
            label = LABEL_OF_LEVEL[level]
            row = {"maker": job.maker, "condition": job.condition, "contrasts": key_of(visit.scan.contrasts),
                   "subject": job.subject, "session": visit.session, "level": level,
                   "true_mm3": visit.volumes_mm3.get(level, math.nan), "true_change_percent": change, "named": False,
                   "reason": wrong.get(label, "not found")}
            if label in single and label not in wrong:
                row |= {"voxels_mm3": counts[label] * segmented.discs.grid.voxel_volume_mm3, "named": True,
                        "single_mm3": single[label], "reason": "nothing where the visits meet"}
            rows[visit.session, label] = row
    for label in LEVEL_OF_LABEL:
        for j in joint_volumes(trained, visits, label, device=device, errors=errors):
            if j.volume_mm3 > 0 and j.covered >= MIN_COVERED and (j.session, label) in rows:
                rows[j.session, label] |= {
                    "joint_mm3": j.volume_mm3, "grid_shifts_sd_mm3": j.grid_shifts_sd_mm3,
                    "boundary_uncertainty": j.boundary_uncertainty, "rotation_deg": j.rotation_deg, "reason": "",
                    "deformation_mm3": j.by_deformation_mm3}
                if j.deformation is not None:
                    rows[j.session, label] |= {"deformation_ln": j.deformation.ln_ratio,
                                               "deformation_ln_se": j.deformation.ln_ratio_se}
    return typed_frame(rows.values(), CHANGE_DISCS)


def _wrong_names(poses: Mapping[int, Pose], visit: KnownVisit) -> dict[int, str]:
    """Labels that lie on another disc than their own, and the reason."""
    wrong = {}
    for label, pose in poses.items():
        true = visit.centres_mm.get(LEVEL_OF_LABEL.get(label, ""))
        if true is not None and float(np.linalg.norm(pose.centre_mm - true)) > FAR_MM:
            wrong[label] = "another disc has its name"
    return wrong
