"""Real scans with a known change: T2 scans of which further visits are made, and one patient scanned twice.

The scans lie beside the checkout in ../shared/data/real, each with its licence; they are never copied, and training
never sees them. Knows nothing of how discs are measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from bedrest.calibration.known_change import known_change
from bedrest.calibration.made_visits import Repositioning, Scanner, bones_of, made_visit
from bedrest.io.images.nifti import read_scan
from bedrest.measurement.registry import VOLUME
from bedrest.vocabulary import LABEL_OF_LEVEL, LEVEL_OF_LABEL, LEVELS, Contrast

from pipelines.benchmarks.change.known_visits import KnownVisit, Segmenter, growths
from pipelines.benchmarks.result_tables import BASELINE, OTHER_OCCASION, REPEAT
from pipelines.benchmarks.second_maker.subjects import held_out_series

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "real"
LUMBAR = LEVELS[LEVELS.index("L1-L2"):]
# File, and the levels of the discs in view by their sources' manual masks. SCT's scan has no sacrum, so no levels.
T2_SCANS: tuple[tuple[str, tuple[str, ...]], ...] = (
    *((f"lumbar-t2-ivd-fmrp/vol-{n}_t2.nii.gz", LUMBAR) for n in (11, 20, 25)),
    *((f"lower-spine-t2-berlin/vol-{n}_t2.nii.gz", LEVELS) for n in ("05", "07", "12", "17")))
REPEATS = {BASELINE: "AKs6", REPEAT: "AKs8", OTHER_OCCASION: "AKa3"}
REPEATED_LEVELS = LEVELS[LEVELS.index("T12-L1"):]
MADE_SEED = 780_001


def t2_scans() -> list[tuple[Path, tuple[str, ...]]]:
    """Those that are there."""
    return [(REAL / name, levels) for name, levels in T2_SCANS if (REAL / name).is_file()]


def t2_name(index: int) -> str:
    """Name of a scan, as a subject."""
    path, _ = t2_scans()[index]
    return f"{path.parent.name.split('-')[-1]}-{path.name.removesuffix('_t2.nii.gz')}"


def made_t2_visits(index: int, segmenter: Segmenter) -> Iterator[KnownVisit]:
    """Visits made of one scan: the discs that the network finds in it, changed by known amounts, and laid anew."""
    path, levels = t2_scans()[index]
    scan = read_scan({Contrast.T2: path}, where=path.name)
    segmented = segmenter(scan)
    there = [k for k in LEVEL_OF_LABEL if (segmented.discs.data == k).any()]
    bones = bones_of(segmented.tissues.data) if segmented.tissues else None
    plan = growths(np.random.default_rng([MADE_SEED, index, 100]))
    for number, (session, growth) in enumerate(plan.items()):
        wanted = {k: 100 * growth.get(LEVEL_OF_LABEL[k], 0.0) for k in there}
        change = known_change(segmented.discs, wanted, probability=segmented.disc_probability, bones=bones)
        rng = np.random.default_rng([MADE_SEED, index, number])
        made = made_visit(scan, change, rng, scanner=Scanner(), repositioning=Repositioning())
        yield KnownVisit(session, made, {
            level: change.change_percent(LABEL_OF_LEVEL[level]) if LABEL_OF_LEVEL[level] in there else math.nan
            for level in levels})


def repeats_are_there() -> bool:
    return all((REAL / "lumbar-t1-repeat-siegen" / f"{name}_t1.nii.gz").is_file() for name in REPEATS.values())


def repeated_visits(contrast: Contrast) -> Iterator[KnownVisit]:
    """One patient, twice at one occasion, 3 mm apart, and at another one; a T1 scan, given as a contrast."""
    for session, name in REPEATS.items():
        path = REAL / "lumbar-t1-repeat-siegen" / f"{name}_t1.nii.gz"
        change = math.nan if session == OTHER_OCCASION else 0.0
        yield KnownVisit(session, read_scan({contrast: path}, where=path.name), dict.fromkeys(REPEATED_LEVELS, change))


def manual_volumes() -> pd.DataFrame:
    """Manual discs whose rendering is measured: level_if_normal and manual_mm3; no rows where they are not there."""
    table = REAL / "spider-disc-masks" / "disc_volumes.csv"
    if not table.is_file():
        return pd.DataFrame({"case": [], "level_if_normal": [], "manual_mm3": []})
    rows = pd.read_csv(table).rename(columns={VOLUME.name: "manual_mm3"})
    return rows[rows["case"].isin(held_out_series())]
