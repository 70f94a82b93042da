"""Any method on any cases: its stages one after another, within a budget, resumable stage by stage.

Knows no method and no protocol.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import nn

from bedrest.io.files import atomic_path, write_text
from bedrest.methods.cases import intensities
from bedrest.methods.method import Case, Method, Stage, Trained, prepared, with_contrasts
from bedrest.segmentation.training.fit import FitPlan, Recipe, endless_batches, fit


@dataclass(frozen=True)
class Budget:
    """How long and where a method is trained."""

    minutes: float  # of all stages together
    device: str = "cpu"
    seed: int = 0
    workers: int = 0  # processes that draw pairs; 0: none besides this one
    steps: int = 0  # at most so many for each stage; 0: as many as there is time for


@dataclass(frozen=True)
class StageRecord:
    """What training one stage took; stored beside its weights."""

    stage: str
    steps: int
    minutes: float
    parameters: int
    curve: list[list[float]]  # list of [step, seconds, mean loss]
    cases: list[str]  # subject and session of what it learnt from


def train_method(method: Method, cases: Sequence[Case], budget: Budget, folder: Path) -> Trained:
    """Train every stage that `folder` does not hold yet, and go on where one was stopped.

    `cases`: at least one; each with the method's contrasts; `folder`: gets ``learnt.safetensors`` and, of each stage,
    ``<stage>.safetensors`` and ``<stage>.json``.
    """
    usable = [with_contrasts(c, method.contrasts) for c in cases]
    later, earlier = _held_back(method, usable, budget.seed)
    learnt: dict[str, NDArray[Any]] = {**intensities(usable), **method.learn(usable)}
    trained = Trained({}, learnt)
    for number, stage in enumerate(method.stages):
        used = later if stage.held_back else earlier
        network = _trained(stage, used, trained, (budget, number), folder)
        trained = Trained({**trained.networks, stage.name: network}, learnt)
    with atomic_path(folder / "learnt.safetensors") as temporary:
        save_arrays({name: np.ascontiguousarray(value) for name, value in learnt.items()}, temporary)
    return trained


def stage_records(method: Method, folder: Path) -> list[StageRecord]:
    """What the training of each stage took."""
    return [StageRecord(**json.loads((folder / f"{s.name}.json").read_text())) for s in method.stages]


def _held_back(method: Method, cases: Sequence[Case], seed: int) -> tuple[list[Case], list[Case]]:
    """Cases of the stages that learn from other subjects' predictions, and of all others; subjects kept whole."""
    share = max(stage.held_back for stage in method.stages) if method.stages else 0.0
    subjects = sorted({c.subject for c in cases})
    if not share or len(subjects) < 2:
        return list(cases), list(cases)
    order = [subjects[i] for i in np.random.default_rng(seed).permutation(len(subjects))]
    held = set(order[: max(1, round(share * len(order)))])
    return [c for c in cases if c.subject in held], [c for c in cases if c.subject not in held]


def _trained(stage: Stage, cases: Sequence[Case], trained: Trained, at: tuple[Budget, int], folder: Path) -> nn.Module:
    budget, number = at
    if (folder / f"{stage.name}.json").exists():
        return _loaded(stage, folder)
    torch.manual_seed(budget.seed)
    network = stage.build()

    def adam(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=stage.rate(0, 0.0), weight_decay=stage.weight_decay)

    recipe = Recipe(stage.loss, adam, stage.rate)
    ready = prepared(stage, cases, trained, budget.device)

    def batches(step: int) -> Any:
        return endless_batches(partial(stage.draw, cases, ready), seed=(budget.seed, number, step),
                               batch=stage.batch, workers=budget.workers)

    plan = FitPlan(budget.minutes * stage.share, budget.device, average_decay=0.0, steps=budget.steps)
    checkpoint = folder / f"{stage.name}.pt"
    network, progress = fit(network, batches, plan, checkpoint, title=stage.name, recipe=recipe)
    with atomic_path(folder / f"{stage.name}.safetensors") as temporary:
        save_file({k: v.contiguous().cpu() for k, v in network.state_dict().items()}, temporary)
    record = StageRecord(stage.name, progress.step, round(progress.seconds / 60, 2),
                         sum(p.numel() for p in network.parameters()), progress.curve,
                         [f"{c.subject} {c.session}" for c in cases])
    write_text(folder / f"{stage.name}.json", json.dumps(asdict(record), indent=1) + "\n")
    checkpoint.unlink()
    return network


def _loaded(stage: Stage, folder: Path) -> nn.Module:
    network = stage.build()
    network.load_state_dict(load_file(folder / f"{stage.name}.safetensors"))
    return network.eval()
