"""`python -m pipelines.benchmarks.real_repeats`: change measured where nothing changed, in real scans.

One patient scanned again at one occasion with the slices elsewhere, in stacks narrower than the discs, and once at
another occasion (`lumbar-t1-repeat-siegen`; internal data, not in the repository). Measured as a study would: the rows
are those of `change.csv`. Whatever is said must be said of these scans alone: one patient.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from bedrest.io.files import sha256_of
from bedrest.io.images.nifti import read_scan
from bedrest.io.tables.frames import concat_tables
from bedrest.io.tables.markdown import markdown_table
from bedrest.longitudinal.boxes import prepare_visit
from bedrest.longitudinal.error_model import ErrorModel, load_errors
from bedrest.longitudinal.joint_volumes import joint_volumes, poses_of
from bedrest.measurement.discs import measure_discs
from bedrest.measurement.volumes import volumes_from_probability
from bedrest.schemas import MEASURES
from bedrest.segmentation.engine import segment
from bedrest.segmentation.weights import TrainedNetwork, chosen_weights, load_weights
from bedrest.tables.change import change_frame
from bedrest.tables.joint import joint_frame, with_errors, with_joint
from bedrest.tables.measures import VisitKey, measures_frame
from bedrest.types import Scan
from bedrest.vocabulary import LEVEL_OF_LABEL, Contrast

from pipelines.benchmarks.pages import WeightsFile
from pipelines.command_line import run_command

MODULE = "pipelines.benchmarks.real_repeats"
PAIRS = (("AKs6", "AKs8"), ("AKs6", "AKa3"))


@dataclass(frozen=True)
class RealRepeats:
    """Measure the change between real scans of one patient, where there should be none.

    Attributes
    ----------
    folder
        With `NAME_t1.nii.gz` of the repeated scans.
    weights
        Network to judge; default: the shipped one.
    """

    folder: Path = Path("../shared/data/real/lumbar-t1-repeat-siegen")
    weights: WeightsFile = None


def run(options: RealRepeats) -> int:
    """Print every change with its interval, and a summary of each pair."""
    path = chosen_weights(options.weights)
    trained, model = load_weights(path), load_errors(path, sha256=sha256_of(path))
    contrast = Contrast.T1 if Contrast.T1 in trained.contrasts else Contrast.IN_PHASE
    for pair in PAIRS:
        scans = {name: read_scan({contrast: options.folder / f"{name}_t1.nii.gz"}, where=name) for name in pair}
        change = change_of(trained, scans, model)
        columns = ["level", "status", "change_percent", "se_percent", "ci_low_percent", "ci_high_percent",
                   "change_single_percent", "reason"]
        print(f"\n{pair[1]} against {pair[0]}, T1 given as {contrast}\n")
        print(markdown_table(columns, [[str(cell) for cell in row] for row in change[columns].round(1).to_numpy()]))
        given = change[change["change_percent"].notna()]
        known = given[given["se_percent"].notna()]
        hold = (known["ci_low_percent"] <= 0) & (known["ci_high_percent"] >= 0)
        print(f"\n{len(given)} of {len(change)} with a change: mean {given['change_percent'].mean():+.1f} %, SD "
              f"{given['change_percent'].std():.1f} %, {int(hold.sum())} of {len(known)} intervals hold 0")
    return 0


def change_of(trained: TrainedNetwork, scans: Mapping[str, Scan], errors: ErrorModel | None) -> pd.DataFrame:
    """Rows of `schemas.CHANGE` between the first scan and each other one of one subject, as a study has them."""
    frames, visits, singles = [], {}, {}
    for session, scan in scans.items():
        segmented = segment(trained, scan, device="cpu")
        singles[session] = volumes_from_probability(segmented.disc_probability, segmented.discs)
        visits[session] = prepare_visit(scan, poses_of(segmented.discs, segmented.disc_probability))
        labels = {int(k): LEVEL_OF_LABEL[int(k)] for k in np.unique(segmented.discs.data) if int(k) in LEVEL_OF_LABEL}
        measured = measure_discs(segmented.discs, labels, {}, volumes_mm3=singles[session])
        frames.append(measures_frame(measured, visit=VisitKey("01", "g", session, 1.0, "baseline"), source="automatic"))
    joint = joint_frame([v for label in LEVEL_OF_LABEL
                         for v in joint_volumes(trained, visits, label, device="cpu", errors=errors)],
                        subject="01", single_mm3=singles)
    records = pd.DataFrame({"session": list(scans), "contrasts": ["+".join(s.contrasts) for s in scans.values()]})
    measures = with_errors(with_joint(concat_tables(frames, MEASURES), joint), joint, records, errors)
    return change_frame(measures, reference_session=next(iter(scans)))


if __name__ == "__main__":
    sys.exit(run_command(RealRepeats, run, module=MODULE))
