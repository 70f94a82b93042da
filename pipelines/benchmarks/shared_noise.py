"""By how much visits made of one scan flatter: they share its noise, visits of a subject do not.

`python -m pipelines.benchmarks.shared_noise` makes visits of a synthetic subject twice, with the same motion, coil and
gain: out of a scan without noise, each visit with its own, as at a scanner; and out of a noisy scan, with new noise on
top of the shared one, as `bedrest calibrate` must. The ratio of the SDs of the error of change is what its SDs have to
be multiplied by. Visits rendered anew, with another texture, slice position and interpolation, stand beside them. Names
and poses are the phantom's own: only joint volumes are compared. Everything is synthetic.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from bedrest.calibration.known_change import known_change
from bedrest.calibration.made_visits import Repositioning, Scanner, made_visit, motion_of
from bedrest.io.tables.markdown import markdown_table
from bedrest.longitudinal.boxes import PreparedVisit, prepare_visit
from bedrest.longitudinal.joint_volumes import GRID_SHIFTS, joint_volumes, poses_of
from bedrest.phantom.paint import paint, paint_levels
from bedrest.phantom.random_spine import draw_spine
from bedrest.phantom.render import Artefacts, demo_grid, render_dixon, render_t2, rician
from bedrest.types import LabelMap, Scan, Volume
from bedrest.vocabulary import LEVEL_OF_LABEL, Contrast
from scipy import ndimage
from tqdm import tqdm

from pipelines.benchmarks.pages import Device, WeightsFile
from pipelines.command_line import run_command

SEED = 778_303
SNR = 14.0
UNSHARED, RENDERED = "no noise shared", "rendered anew"


@dataclass(frozen=True)
class SharedNoise:
    """Compare made visits that share noise with ones that do not.

    Attributes
    ----------
    subjects
        Synthetic subjects.
    visits
        Made visits of each, of which the first is the reference.
    contrasts
        What they are scanned with.
    device
        Where the network runs.
    weights
        Network that measures; default: the shipped one.
    """

    subjects: int = 4
    visits: int = 3
    contrasts: tuple[Literal["t2", "water"], ...] = ("t2", "water")
    device: Device = "cpu"
    weights: WeightsFile = None


def run(options: SharedNoise) -> int:
    """Measure, print."""
    from bedrest.segmentation.device import resolve_device
    from bedrest.segmentation.weights import chosen_weights, load_weights

    trained, device = load_weights(chosen_weights(options.weights)), resolve_device(options.device)
    rows = []
    for subject in tqdm(range(options.subjects), desc="synthetic subjects", unit="subject"):
        for contrast in map(Contrast, options.contrasts):
            for arm, visits in _arms(subject, contrast, options.visits):
                for label, level in LEVEL_OF_LABEL.items():
                    measured = joint_volumes(trained, visits, label, device=device, grid_shifts=GRID_SHIFTS[:2])
                    volumes = {v.session: v.volume_mm3 for v in measured}
                    rows += [{"contrast": contrast.value, "arm": arm, "subject": subject, "level": level,
                              "error": 100 * (volumes[s] / volumes["0"] - 1)} for s in list(volumes)[1:]]
    frame = pd.DataFrame(rows)
    sds = frame.groupby(["contrast", "arm"], sort=False)["error"].agg(lambda e: float(np.sqrt(np.mean(e**2))))
    print(markdown_table(["contrast", "new noise over the scan's", "SD of the error of change (%)", "factor"],
                         [[c, arm, f"{sd:.3f}", f"{sds[c, UNSHARED] / sd:.3f}"] for (c, arm), sd in sds.items()]))
    print(f"{len(frame)} changes of {options.subjects} synthetic subjects, phantom of this repository, SNR {SNR:g}")
    return 0


def _arms(subject: int, contrast: Contrast, n: int) -> Iterator[tuple[str, dict[str, PreparedVisit]]]:
    """Made visits, ready to be measured jointly, by how much new noise they have."""
    rng = np.random.default_rng([SEED, subject])
    spine = draw_spine(rng)
    painting = paint(spine, demo_grid(), rng)
    render = render_t2 if contrast is Contrast.T2 else render_dixon
    clean = Scan({contrast: render(painting, rng, Artefacts(snr=1e6)).contrasts[contrast]})
    sigma = 163.0 / SNR * (1 if contrast is Contrast.T2 else 0.5**0.5)
    noisy = Scan({contrast: Volume(rician(clean.contrasts[contrast].data, sigma, rng), painting.grid)})
    labels = paint_levels(spine, demo_grid())
    unchanged = known_change(labels, {})
    visits = {}
    for v in range(n):
        moved = np.random.default_rng([SEED, subject, v])
        posed = spine.posed(moved, shift_mm=Repositioning.shift_mm, rotation_deg=Repositioning.rotation_deg)
        again = render(paint(posed, demo_grid(), np.random.default_rng([SEED, subject])), moved, Artefacts(snr=SNR))
        visits[str(v)] = _prepared(Scan({contrast: again.contrasts[contrast]}), paint_levels(posed, demo_grid()))
    yield RENDERED, visits
    for arm, scan, noise in ((UNSHARED, clean, 0.0), ("1", noisy, 1.0), ("1.41", noisy, 2**0.5)):
        visits = {}
        for v in range(n):
            moved = np.random.default_rng([SEED, subject, v])  # the same motion and coil in every arm
            made = made_visit(scan, unchanged, moved, scanner=replace(Scanner(), noise=noise),
                              repositioning=Repositioning())
            if arm == UNSHARED:
                data = made.contrasts[contrast].data
                made = Scan({contrast: Volume(rician(data, sigma, moved), painting.grid)})
            motion = motion_of(labels.grid, np.random.default_rng([SEED, subject, v]), Repositioning())
            index = unchanged.source_index(labels.grid, labels.grid, motion)
            there = LabelMap(ndimage.map_coordinates(labels.data, index, order=0), labels.grid)
            visits[str(v)] = _prepared(made, there)
        yield arm, visits


def _prepared(scan: Scan, discs: LabelMap) -> PreparedVisit:
    """A visit with the poses of its true discs."""
    return prepare_visit(scan, poses_of(discs, Volume((discs.data > 0).astype(np.float32), discs.grid)))


if __name__ == "__main__":
    sys.exit(run_command(SharedNoise, run, module="pipelines.benchmarks.shared_noise"))
