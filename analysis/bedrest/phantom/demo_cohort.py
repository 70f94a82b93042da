"""The demo cohort: a synthetic bed-rest study whose truth is known.

The discs of two groups swell in bed, in one less than in the other, and recover. The volume of every disc at every
visit is analytic. Deterministic by seed, subject by subject. Every file meant for readers says that it is synthetic.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from bedrest.errors import StudyError
from bedrest.io.bids.writer import write_dataset_files, write_reference_mask, write_scan, write_truth_dataset
from bedrest.io.files import write_text
from bedrest.io.tables.typed_csv import write_table
from bedrest.phantom.paint import Painting, paint, paint_levels
from bedrest.phantom.random_spine import Spine, draw_spine
from bedrest.phantom.render import Artefacts, demo_grid, render_dixon
from bedrest.schemas import TRUTH
from bedrest.types import Scan
from bedrest.vocabulary import LABEL_OF_LEVEL, LEVELS, Phase

GROUPS: tuple[str, ...] = ("bed rest", "bed rest + exercise")
SWELLING: dict[str, float] = {"bed rest": 0.08, "bed rest + exercise": 0.04}  # relative, at the end of bed rest
LEVEL_FACTOR: dict[str, float] = {"T11-T12": 0.6, "T12-L1": 0.8}
REMAINING = 0.15  # share of the swelling left at the recovery visit
SUBJECT_SD = 0.010  # of subjects around the swelling of their group
DISC_SD = 0.005  # of discs around the swelling of their subject


@dataclass(frozen=True)
class PlannedVisit:
    """One planned visit: identifier, study day, phase, and the share of the full swelling reached by then."""

    session: str
    study_day: float
    phase: Phase
    share: float


@dataclass(frozen=True)
class DemoPlan:
    """Size and seed of the demo cohort."""

    subjects: int = 8
    sessions: int = 3
    seed: int = 0


def plan_visits(n: int) -> tuple[PlannedVisit, ...]:
    """Baseline before bed rest, then visits in bed up to day 60, the last of three or more in recovery."""
    visits = [PlannedVisit("ses-1", -3, Phase.BASELINE, 0.0)]
    in_bed = n - 1 if n <= 2 else n - 2
    for i in range(in_bed):
        share = (i + 1) / in_bed
        visits.append(PlannedVisit(f"ses-{i + 2}", round(60 * share), Phase.BED_REST, share**0.5))
    if n >= 3:
        visits.append(PlannedVisit(f"ses-{n}", 74, Phase.RECOVERY, REMAINING))
    return tuple(visits)


def group_of(index: int) -> str:
    return GROUPS[index % len(GROUPS)]


def expected_change_percent(group: str, level: str, visit: PlannedVisit) -> float:
    """True mean change of the discs of a group at a level."""
    return 100 * SWELLING[group] * LEVEL_FACTOR.get(level, 1.0) * visit.share


def spines_of(index: int, plan: DemoPlan) -> list[Spine]:
    """The subject's spine at each visit: the same anatomy, swollen and repositioned."""
    rng = np.random.default_rng([plan.seed, index, 0])
    anatomy = draw_spine(rng)
    deviation = rng.normal(0, SUBJECT_SD)
    spines = []
    for visit in plan_visits(plan.sessions):
        relative = {
            level: (expected_change_percent(group_of(index), level, visit) / 100
                    + visit.share * deviation + (visit.share > 0) * rng.normal(0, DISC_SD))
            for level in LEVELS
        }
        spines.append(anatomy.swollen(relative).posed(rng, shift_mm=2.0, rotation_deg=1.0))
    return spines


@dataclass(frozen=True, eq=False)
class DrawnVisit:
    """One visit of one subject: plan, anatomy and scan."""

    visit: PlannedVisit
    spine: Spine
    painting: Painting
    scan: Scan


def draw_subject(index: int, plan: DemoPlan, artefacts: Artefacts) -> Iterator[DrawnVisit]:
    """The subject's Dixon scans, one per visit."""
    for v, (visit, spine) in enumerate(zip(plan_visits(plan.sessions), spines_of(index, plan), strict=True)):
        backdrop = np.random.default_rng([plan.seed, index, 1])  # the same organs at every visit
        noise = np.random.default_rng([plan.seed, index, 2 + v])
        painting = paint(spine, demo_grid(), backdrop)
        yield DrawnVisit(visit, spine, painting, render_dixon(painting, noise, artefacts))


def write_subject(index: int, plan: DemoPlan, folder: Path) -> pd.DataFrame:
    """Write one subject's scans and reference masks; return its rows of the truth table."""
    subject, grid = f"sub-{index + 1:02d}", demo_grid()
    rows = []
    for visit_of in draw_subject(index, plan, Artefacts()):
        visit, spine = visit_of.visit, visit_of.spine
        write_scan(folder / "bids", subject, visit.session, scan=visit_of.scan)
        mask = paint_levels(spine, grid)
        write_reference_mask(folder / "bids/derivatives/truth", subject, visit.session, mask=mask)
        for level, volume in spine.volumes_mm3().items():
            rows.append({
                "subject": subject, "group": group_of(index), "session": visit.session, "study_day": visit.study_day,
                "level": level, "volume_mm3": volume,
                "reference_mask_volume_mm3": float((mask.data == LABEL_OF_LEVEL[level]).sum() * grid.voxel_volume_mm3),
                "expected_change_percent": expected_change_percent(group_of(index), level, visit),
            })
    return pd.DataFrame(rows)


def write_cohort(plan: DemoPlan, folder: Path) -> None:
    """Write the whole demo cohort, two subjects at a time.

    Raises StudyError: the plan holds no subject or no session.
    """
    if plan.subjects < 1 or plan.sessions < 1:
        raise StudyError("at least one subject and one session", f"{plan.subjects} and {plan.sessions}",
                         "bedrest demo", "Give positive numbers.")
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        jobs = pool.map(partial(write_subject, plan=plan, folder=folder), range(plan.subjects))
        truth = list(tqdm(jobs, total=plan.subjects, desc="synthetic subjects", unit="subject"))
    write_study_files(plan, folder, pd.concat(truth, ignore_index=True))


def write_study_files(plan: DemoPlan, folder: Path, truth: pd.DataFrame) -> None:
    """Write everything of the demo that is not an image: BIDS tables, the truth table, study.toml."""
    subjects = [f"sub-{i + 1:02d}" for i in range(plan.subjects)]
    rng = np.random.default_rng([plan.seed, 999])
    participants = pd.DataFrame({
        "participant_id": subjects,
        "group": [group_of(i) for i in range(plan.subjects)],
        "age": rng.integers(23, 45, plan.subjects),
        "sex": rng.choice(["F", "M"], plan.subjects),
        "height": rng.integers(163, 190, plan.subjects),
        "weight": rng.integers(58, 92, plan.subjects),
    })
    visits = plan_visits(plan.sessions)
    planned = pd.DataFrame([(v.session, v.study_day, v.phase.value) for v in visits],
                           columns=["session_id", "study_day", "phase"])
    sessions = {s: planned.assign(minutes_supine=rng.integers(25, 40, len(visits))) for s in subjects}
    write_dataset_files(
        folder / "bids", description=_description("Synthetic bed-rest demo cohort", "raw"),
        readme="Synthetic Dixon scans of a bed-rest study, made by `bedrest demo`. No person was scanned.\n"
               "Water and fat are reconstructions of a T1w, opposed- and in-phase the two echoes of a MEGRE.\n"
               "True masks: derivatives/truth; true volumes: ../truth.csv\n",
        participants=participants, sessions=sessions)
    write_truth_dataset(
        folder / "bids/derivatives/truth", description=_description("Truth of the demo cohort", "derivative"),
        readme="True discs of the synthetic demo cohort, painted from the analytic shapes that its scans were "
               "rendered from.\nNo person was scanned. Labels: desc-truth_dseg.tsv\n")
    write_table(truth, folder / "truth.csv", TRUTH)
    write_text(folder / "study.toml", _study_toml(visits))


def _description(name: str, kind: str) -> dict[str, object]:
    return {"Name": name, "BIDSVersion": "1.11.0", "DatasetType": kind, "License": "CC0",
            "Authors": ["The bedrest developers"], "GeneratedBy": [{"Name": "bedrest demo"}]}


def _study_toml(visits: tuple[PlannedVisit, ...]) -> str:
    blocks = "\n".join(
        f'[[sessions]]\nid = "{v.session}"\nstudy_day = {v.study_day:g}\nphase = "{v.phase.value}"\n' for v in visits
    )
    groups = ", ".join(f'"{g}"' for g in GROUPS)
    return (
        'name = "demo"\n'
        'description = "Synthetic demo cohort: phantoms with known truth, no person was scanned."\n'
        f'groups = [{groups}]\nreference_session = "{visits[0].session}"\n'
        'contrasts = ["water", "fat", "in_phase", "opposed"]\ndevice = "auto"\n\n'
        "[statistics]\n# A mean change within 2 % either way counts as back.\nrecovery_band_percent = 2\n\n"
        f'[images]\nlayout = "bids"\nroot = "bids"\nderivatives = "bids/derivatives/truth"\n\n{blocks}'
    )
