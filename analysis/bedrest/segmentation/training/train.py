"""Trains the shipped networks on synthetic anatomies alone.

`python -m bedrest.segmentation.training.train --out FOLDER` takes under an hour on two CPU cores; a larger `--minutes` and
`--anatomies` and `--device cuda` make better ones. The learning rate follows the share of the budget used. Resumes from
the checkpoints in FOLDER.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import nn
from tqdm import tqdm

from bedrest.io.code_state import code_state
from bedrest.io.files import sha256_of
from bedrest.phantom.paint import Painting, paint, paint_levels
from bedrest.phantom.random_spine import draw_spine
from bedrest.phantom.render import Artefacts, demo_grid, render_dixon, render_t2
from bedrest.phantom.variation import draw_varied_spine
from bedrest.segmentation.network import LOCATOR, SEGMENTER, Architecture, build_network
from bedrest.segmentation.predict import network_input
from bedrest.segmentation.training.calibrate import calibrate
from bedrest.segmentation.training.draws import Draw, Pair, endless_batches
from bedrest.segmentation.training.fit import FitPlan, fit
from bedrest.segmentation.training.sampling import (
    Sampling,
    coarse_shares,
    draw_overview,
    draw_patch,
    draw_subset,
    structure_shares,
)
from bedrest.segmentation.weights import Calibration, TrainedNetwork, key_of, load_weights, save_weights, tensors_of
from bedrest.vocabulary import DIXON, Contrast

# Training draws from seeds of its own; the demo cohort, the benchmarks and the tests never use them.
TRAINING_SEED = 20_000_003
CALIBRATION_PEOPLE = 12
MIDDLE = slice(40, 200)  # voxels from back to front that hold the spine, a multiple of 16


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides a training run; written into the record."""

    minutes: float = 50
    locator_minutes: float = 7
    device: str = "cpu"
    anatomies: int = 112
    batch: int = 2
    workers: int = 1
    threads: int = 2
    peak_rate: float = 3e-3
    locator_peak_rate: float = 4e-3
    seed: int = TRAINING_SEED
    architecture: Architecture = SEGMENTER
    locator_architecture: Architecture = LOCATOR
    sampling: Sampling = field(default_factory=Sampling)


def paint_one(index: int, seed: int) -> Painting:
    """Anatomy number `index` of the pool: always the same."""
    rng = np.random.default_rng([seed, index])
    return paint(draw_varied_spine(rng), demo_grid(), rng)


def paint_pool(plan: TrainingPlan) -> list[Painting]:
    """The anatomies to learn from."""
    with ProcessPoolExecutor(plan.threads) as workers:
        jobs = workers.map(partial(paint_one, seed=plan.seed), range(plan.anatomies))
        return list(tqdm(jobs, total=plan.anatomies, desc="anatomies", mininterval=5))


def train(plan: TrainingPlan, folder: Path, *, start: Path | None = None) -> None:
    """Train locator and segmenter within their budgets; write weights and record into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    code = code_state()  # what is running, whatever is edited meanwhile
    torch.manual_seed(plan.seed)
    torch.set_num_threads(plan.threads)
    pool = paint_pool(plan)
    shares = [coarse_shares(p) for p in pool]
    locator, network = build_network(plan.locator_architecture), build_network(plan.architecture)
    if start is not None:
        _copy(start, locator, "locator")
        _copy(start, network, "segmenter")
    locator, found = fit(
        locator,
        partial(_batches, plan, partial(_draw_overview, plan, shares), 1),
        FitPlan(plan.locator_minutes, plan.device, plan.locator_peak_rate), folder / "locator.pt", title="locator")
    network, done = fit(
        network, partial(_batches, plan, partial(_draw_patch, plan, pool), 2),
        FitPlan(plan.minutes, plan.device, plan.peak_rate), folder / "segmenter.pt", title="segmenter")
    calibration = _calibrate(network, seed=plan.seed, device=plan.device)
    record = {
        "data": "synthetic anatomies only",
        "data_sha256": hashlib.sha256(b"".join(p.tissue.tobytes() for p in pool[:8])).hexdigest(),
        "started_from_sha256": sha256_of(start) if start is not None else "",
        "plan": asdict(plan), "steps": done.step, "minutes": round(done.seconds / 60, 1),
        "locator_steps": found.step, "locator_minutes": round(found.seconds / 60, 1),
        "torch": torch.__version__, "code": code,
    }
    _write(folder, TrainedNetwork(network.cpu(), locator.cpu(), plan.architecture, plan.locator_architecture,
                                  calibration, record),
           curves={"curve": done.curve, "locator_curve": found.curve})


def calibrate_anew(folder: Path, *, device: str) -> None:
    """Fit the calibration of the weights in `folder` once more, as this program does it, and write them back."""
    trained = load_weights(folder / "synthetic.safetensors")
    asked = trained.record["plan"]
    torch.set_num_threads(asked["threads"])
    record = {**trained.record, "calibration_code": code_state()}
    calibration = _calibrate(trained.network, seed=asked["seed"], device=device)
    _write(folder, replace(trained, calibration=calibration, record=record), curves=_curves_beside(trained.path))


def _curves_beside(weights: Path) -> dict[str, Any]:
    stored = json.loads(weights.with_suffix(".json").read_text())
    return {key: stored[key] for key in ("curve", "locator_curve")}


def _write(folder: Path, trained: TrainedNetwork, *, curves: dict[str, Any]) -> None:
    save_weights(folder / "synthetic.safetensors", trained)
    told = {**trained.record, "calibration": asdict(trained.calibration), **curves}
    (folder / "synthetic.json").write_text(json.dumps(told, indent=1) + "\n")


def _batches(plan: TrainingPlan, draw: Draw, stream: int, step: int) -> Iterable[Any]:
    return endless_batches(draw, seed=(plan.seed, stream, step), batch=plan.batch, workers=plan.workers)


def _draw_patch(plan: TrainingPlan, pool: Sequence[Painting], rng: np.random.Generator) -> Pair:
    return draw_patch(pool[int(rng.integers(len(pool)))], rng, plan.sampling)


def _draw_overview(plan: TrainingPlan, pool: Sequence[NDArray[np.uint8]], rng: np.random.Generator) -> Pair:
    return draw_overview(pool[int(rng.integers(len(pool)))], rng, plan.sampling)


def _calibrate(network: nn.Module, *, seed: int, device: str) -> Calibration:
    """Level by level on whole scans that the training never saw, at the noise of the demo cohort.

    One calibration each for all of Dixon and every contrast alone, one for any other set: there each person brings
    contrasts drawn at random.
    """
    rng = np.random.default_rng([seed, 3])
    spines = [draw_spine(rng).posed(rng, shift_mm=2, turn_deg=1) for _ in range(CALIBRATION_PEOPLE)]
    people = [paint(s, demo_grid(), rng) for s in spines]
    scans = [{**render_dixon(p, rng, Artefacts()).contrasts, **render_t2(p, rng, Artefacts()).contrasts}
             for p in people]
    shares = [structure_shares(p.tissue)[:, :, MIDDLE] for p in people]
    named = [paint_levels(s, demo_grid()).data[:, MIDDLE] for s in spines]

    def fitted(sets: Sequence[Sequence[Contrast]]) -> Calibration:
        pairs = [(network_input({c: scan[c].data for c in given}, demo_grid(), demo_grid())[:, :, MIDDLE], share)
                 for scan, given, share in zip(scans, sets, shares, strict=True)]
        return calibrate(network, pairs, device=device, labels=named)

    usual = (DIXON, *((c,) for c in Contrast))
    by_contrasts = {key_of(given): fitted([given] * len(people)) for given in usual}
    return replace(fitted([draw_subset(list(Contrast), rng) for _ in people]), by_contrasts=by_contrasts)


def _copy(weights: Path, network: nn.Module, part: str) -> None:
    """Start a network from its part of a weights file, wherever layers fit by name."""
    with safe_open(weights, framework="pt") as file, torch.no_grad():
        for name, tensor in tensors_of(network).items():
            if f"{part}.{name}" in file.keys():  # noqa: SIM118 - not a mapping
                tensor.copy_(file.get_tensor(f"{part}.{name}"))


def main() -> None:
    plan = TrainingPlan()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=plan.minutes, help="for the segmenter")
    parser.add_argument("--locator-minutes", type=float, default=plan.locator_minutes,
                        help="0 keeps the locator of --start")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--anatomies", type=int, default=plan.anatomies)
    parser.add_argument("--workers", type=int, default=plan.workers)
    parser.add_argument("--batch", type=int, default=plan.batch)
    parser.add_argument("--peak-rate", type=float, default=plan.peak_rate)
    parser.add_argument("--filters", type=int, nargs=5, default=SEGMENTER.filters, help="channels at the five depths")
    parser.add_argument("--start", type=Path, default=None, help="weights file to start from")
    parser.add_argument("--calibrate", action="store_true", help="train nothing: calibrate the weights in OUT anew")
    args = parser.parse_args()
    if args.calibrate:
        calibrate_anew(args.out, device=args.device)
        return
    train(TrainingPlan(args.minutes, args.locator_minutes, args.device, args.anatomies, args.batch, args.workers,
                       peak_rate=args.peak_rate, architecture=Architecture(tuple(args.filters))),
          args.out, start=args.start)


if __name__ == "__main__":
    main()
