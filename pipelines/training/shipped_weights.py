"""How the shipped networks are trained, on synthetic anatomies alone, and calibrated.

The learning rate follows the share of the budget used. Knows nothing of studies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bedrest.io.code_state import code_state
from bedrest.io.files import sha256_of, write_text
from bedrest.phantom.paint import Painting, paint, paint_levels
from bedrest.phantom.random_spine import draw_spine
from bedrest.phantom.render import Artefacts, demo_grid, render_dixon, render_t1, render_t2
from bedrest.phantom.variation import TRAINING_SEED
from bedrest.segmentation.device import computes_bf16
from bedrest.segmentation.network import LOCATOR, SEGMENTER, Architecture, build_network
from bedrest.segmentation.predict import network_input
from bedrest.segmentation.training.calibrate import calibrate
from bedrest.segmentation.training.fit import Draw, FitPlan, Pair, endless_batches, fit
from bedrest.segmentation.training.sampling import Sampling, draw_patch, draw_subset, structure_shares
from bedrest.segmentation.weights import Calibration, TrainedNetwork, key_of, load_weights, save_weights, tensors_of
from bedrest.types import LabelMap
from bedrest.vocabulary import DIXON, Contrast
from numpy.typing import NDArray
from safetensors import safe_open
from torch import nn

from pipelines.anatomies.real_anatomies import paint_real_anatomy
from pipelines.anatomies.real_masks import TRAINING_DATA, series_of
from pipelines.training.anatomies import draw_anatomy, draw_pool
from pipelines.training.overview import coarse_shares, draw_overview

CALIBRATION_SUBJECTS = 24
AVERAGE_DECAY = 0.999  # of the moving average of weights: over about a thousand steps
IN_PHASE = list(Contrast).index(Contrast.IN_PHASE)  # its channel
MIDDLE = slice(40, 200)  # voxels from back to front that hold the spine, a multiple of 16


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides a training run; written into the record."""

    minutes: float = 50
    locator_minutes: float = 7
    device: str = "cpu"
    anatomies: int = 112
    real: float = 0.5  # chance that an anatomy is from SPIDER's masks
    refresh: float = 1 / 50  # chance that a patch is cut from a new anatomy, which then takes the place of an old one
    batch: int = 2
    workers: int = 1
    threads: int = 2
    peak_rate: float = 3e-3
    locator_peak_rate: float = 4e-3
    seed: int = TRAINING_SEED
    architecture: Architecture = SEGMENTER
    locator_architecture: Architecture = LOCATOR
    sampling: Sampling = field(default_factory=Sampling)


def train(plan: TrainingPlan, folder: Path, *, start: Path | None = None) -> None:
    """Train locator and segmenter within their budgets; write weights and record into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    code = code_state()  # now: files may be edited during training
    torch.manual_seed(plan.seed)
    torch.set_num_threads(plan.threads)
    pool = draw_pool(plan.anatomies, plan.real, seed=plan.seed, processes=plan.threads)
    shares = [coarse_shares(p) for p in pool]
    locator, network = build_network(plan.locator_architecture), build_network(plan.architecture)
    if start is not None:
        _copy(start, locator, "locator")
        _copy(start, network, "segmenter")
    bf16 = computes_bf16(plan.device)
    locator, located = fit(
        locator,
        partial(_batches, plan, partial(_draw_overview, plan, shares), 1),
        FitPlan(plan.locator_minutes, plan.device, plan.locator_peak_rate, bf16=bf16),
        folder / "locator.pt", title="locator")
    network, segmented = fit(
        network, partial(_batches, plan, partial(_draw_patch, plan, pool), 2),
        FitPlan(plan.minutes, plan.device, plan.peak_rate, average_decay=AVERAGE_DECAY, bf16=bf16),
        folder / "segmenter.pt", title="segmenter")
    calibration = _calibrate(network, seed=plan.seed, device=plan.device)
    record = {
        "data": TRAINING_DATA if plan.real else "synthetic anatomies only",
        "data_sha256": hashlib.sha256(b"".join(p.tissue.tobytes() for p in pool[:8])).hexdigest(),
        "started_from_sha256": sha256_of(start) if start is not None else "",
        "plan": asdict(plan), "steps": segmented.step, "minutes": round(segmented.seconds / 60, 1),
        "locator_steps": located.step, "locator_minutes": round(located.seconds / 60, 1),
        "torch": torch.__version__, "code": code,
    }
    _write(folder, TrainedNetwork(network.cpu(), locator.cpu(), plan.architecture, plan.locator_architecture,
                                  calibration, record),
           curves={"curve": segmented.curve, "locator_curve": located.curve})


def calibrate_anew(folder: Path, *, device: str) -> None:
    """Fit the calibration of the weights in `folder` once more, as this program does it, and write them back."""
    trained = load_weights(folder / "synthetic.safetensors")
    plan = trained.record["plan"]
    torch.set_num_threads(plan["threads"])
    record = {**trained.record, "calibration_code": code_state()}
    calibration = _calibrate(trained.network, seed=plan["seed"], device=device)
    _write(folder, replace(trained, calibration=calibration, record=record), curves=_curves_beside(trained.path))


def _curves_beside(weights: Path) -> dict[str, Any]:
    stored = json.loads(weights.with_suffix(".json").read_text())
    return {key: stored[key] for key in ("curve", "locator_curve")}


def _write(folder: Path, trained: TrainedNetwork, *, curves: dict[str, Any]) -> None:
    save_weights(folder / "synthetic.safetensors", trained)
    record = {**trained.record, "calibration": asdict(trained.calibration), **curves}
    write_text(folder / "synthetic.json", json.dumps(record, indent=1) + "\n")


def _batches(plan: TrainingPlan, draw: Draw, stream: int, step: int) -> Iterable[Any]:
    return endless_batches(draw, seed=(plan.seed, stream, step), batch=plan.batch, workers=plan.workers)


def _draw_patch(plan: TrainingPlan, pool: list[Painting], rng: np.random.Generator) -> Pair:
    i = int(rng.integers(len(pool)))
    if rng.random() < plan.refresh:
        pool[i] = draw_anatomy(rng, plan.real)
    return draw_patch(pool[i], rng, plan.sampling)


def _draw_overview(plan: TrainingPlan, pool: Sequence[NDArray[np.uint8]], rng: np.random.Generator) -> Pair:
    return draw_overview(pool[int(rng.integers(len(pool)))], rng, plan.sampling)


def _calibrate(network: nn.Module, *, seed: int, device: str) -> Calibration:
    """Calibration per level, on whole scans that were not trained on, at the noise of the demo cohort.

    One for all Dixon contrasts, one for each contrast alone, and one for any other set, from random subsets. Half of
    the anatomies are the shape model's, half new paintings of SPIDER's training patients.
    """
    rng = np.random.default_rng([seed, 3])
    drawn = [_calibration_anatomy(i, rng) for i in range(CALIBRATION_SUBJECTS)]
    scans = [{c: v for render in (render_dixon, render_t2, render_t1)
              for c, v in render(p, rng, Artefacts()).contrasts.items()} for p, _ in drawn]
    used = [(slice(None), MIDDLE, slice(0, p.grid.shape[2] // 16 * 16)) for p, _ in drawn]
    shares = [structure_shares(p.tissue)[(slice(None), *part)] for (p, _), part in zip(drawn, used, strict=True)]
    named = [discs.data[part] for (_, discs), part in zip(drawn, used, strict=True)]

    def fitted(sets: Sequence[Sequence[Contrast]]) -> Calibration:
        pairs = [(network_input({c: scan[c].data for c in given}, p.grid, p.grid)[(slice(None), *part)], share)
                 for scan, given, (p, _), part, share in zip(scans, sets, drawn, used, shares, strict=True)]
        return calibrate(network, pairs, device=device, labels=named)

    usual = (DIXON, *((c,) for c in Contrast))
    by_contrasts = {key_of(given): fitted([given] * len(drawn)) for given in usual}
    return replace(fitted([draw_subset(list(Contrast), rng) for _ in drawn]), by_contrasts=by_contrasts)


def _calibration_anatomy(index: int, rng: np.random.Generator) -> tuple[Painting, LabelMap]:
    """An anatomy and its named discs: by turns the shape model's and a real one."""
    if index % 2:
        names = series_of(held_out=False)
        real = paint_real_anatomy(names[index * 7 % len(names)], rng)
        return real.painting, real.discs
    spine = draw_spine(rng).posed(rng, shift_mm=2, rotation_deg=1)
    return paint(spine, demo_grid(), rng), paint_levels(spine, demo_grid())


def _copy(weights: Path, network: nn.Module, part: str) -> None:
    """Start a network from its part of a weights file, wherever layers fit by name.

    A contrast that the file does not know starts as in-phase, which it resembles most.
    """
    with safe_open(weights, framework="pt") as file, torch.no_grad():
        stored = set(file.keys())
        for name, tensor in tensors_of(network).items():
            if f"{part}.{name}" in stored:
                start = file.get_tensor(f"{part}.{name}")
                if start.ndim == 5 and (new := tensor.shape[1] - start.shape[1]) > 0:  # the first layer, of contrasts
                    start = torch.cat([start, *[start[:, [IN_PHASE]]] * new], dim=1)
                tensor.copy_(start)
