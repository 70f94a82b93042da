"""One training loop for every network here: time budget, moving average, early stopping, resumable checkpoints.

Knows nothing of what the pairs show: synthetic anatomies and labelled scans use it alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm

from bedrest.io.files import atomic_path
from bedrest.segmentation.device import mixed_precision

SAVE_EVERY_S = 120.0
Pair = tuple[NDArray[np.float32], NDArray[Any]]  # image (C, ...), target: shares (S, ...) or labels (...)
Draw = Callable[[np.random.Generator], Pair]


@dataclass(frozen=True)
class FitPlan:
    """How a network is trained."""

    minutes: float  # budget; the learning rate falls along a cosine of the share used, so any budget ends well
    device: str  # cpu, cuda or mps
    peak_rate: float = 3e-3  # highest learning rate of AdamW
    average_decay: float = 0.995  # of the moving average of weights, which is what is kept
    validate_every: int = 0  # steps between two validations; 0 = never
    patience: int = 10  # validations without a better score before training stops early
    steps: int = 0  # at most so many; 0 = as many as there is time for
    bf16: bool = False  # on the CPU: the network's pass in bfloat16, its weights in float32

    def share(self, progress: Progress) -> float:
        """Part of the budget that is used, 0 to 1."""
        by_steps = progress.step / self.steps if self.steps else 0.0
        return min(max(by_steps, progress.seconds / (self.minutes * 60) if self.minutes else 1.0), 1.0)


@dataclass(frozen=True, eq=False)
class Recipe:
    """Loss, optimiser and learning rate of a training."""

    loss: Callable[[Tensor, Tensor, float], Tensor]  # function of logits, target and the share of the budget used
    optimiser: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]  # function of the parameters
    rate: Callable[[int, float], float]  # function of the step and of the share of the budget used
    clip: float = math.inf  # largest norm of the gradient


def default_recipe(plan: FitPlan) -> Recipe:
    """AdamW with a short warm-up and a cosine, cross entropy plus Dice."""

    def rate(step: int, share: float) -> float:
        return plan.peak_rate * min(1, (step + 1) / 60) * (0.5 + 0.5 * math.cos(math.pi * share)) + 1e-5

    return Recipe(lambda logits, target, share: loss_of(logits, target),
                  lambda parameters: torch.optim.AdamW(parameters, lr=plan.peak_rate, weight_decay=1e-4), rate, 5.0)


@dataclass(eq=False)
class Progress:
    """Progress so far; stored in the checkpoint."""

    step: int = 0
    seconds: float = 0.0
    curve: list[list[float]] = field(default_factory=list)  # list of [step, seconds, mean loss]
    validations: list[list[float]] = field(default_factory=list)  # list of [step, seconds, score]
    best: float = float("nan")  # highest score so far; not a number before the first validation


def loss_of(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy against shares plus soft Dice over the structures but background (batch Dice).

    `logits, target`: (B, S, I, J, K); output before softmax; share of each voxel that each structure fills.
    """
    entropy = -(target * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()
    p, t = torch.softmax(logits, dim=1)[:, 1:], target[:, 1:]
    axes = (0, 2, 3, 4)
    dice = (2 * (p * t).sum(axes) + 1) / ((p * p).sum(axes) + (t * t).sum(axes) + 1)
    return entropy + (1 - dice).mean()


def fit(network: nn.Module, batches: Callable[[int], Iterable[tuple[Tensor, Tensor]]], plan: FitPlan, checkpoint: Path,
        *, validate: Callable[[nn.Module], float] | None = None, title: str = "training",
        recipe: Recipe | None = None) -> tuple[nn.Module, Progress]:
    """Train `network` and return the moving average of its weights: the best validated one, or the last.

    `batches`: function of the step to start from; gives endless (image, target) pairs, (B, C, ...) and, with
    `default_recipe`, (B, S, ...); `checkpoint`: written every two minutes and at the end; where it exists, training
    goes on from it; `validate`: function of a network in evaluation mode; higher is better. Without it there is no
    early stopping; `recipe`: Recipe; default: `default_recipe`.
    """
    device, recipe = torch.device(plan.device), recipe or default_recipe(plan)
    network = network.to(device)
    if not any(p.ndim == 4 for p in network.parameters()):  # no layer in two dimensions
        network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    average = AveragedModel(network, avg_fn=partial(_averaged, plan.average_decay), use_buffers=True)
    optimiser = recipe.optimiser(network.parameters())
    progress, best = Progress(), None
    parts: dict[str, Any] = {"network": network, "average": average, "optimiser": optimiser}
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        progress, best = Progress(**saved["progress"]), saved["best"]
    begun, last_saved, recent = time.monotonic() - progress.seconds, time.monotonic(), []
    bar = tqdm(total=round(plan.minutes * 60), initial=round(progress.seconds), unit="s", desc=title, mininterval=5)
    # A budget already used up draws no batch: asking for one would start the workers.
    for image, target in batches(progress.step) if plan.share(progress) < 1 else ():
        recent.append(_step(network, optimiser, recipe, (image, target), plan, progress))
        average.update_parameters(network)
        progress.step += 1
        if progress.step % (10 if progress.step <= 200 else 50) == 0:
            progress.curve.append([progress.step, round(progress.seconds), round(float(np.mean(recent)), 4)])
            recent.clear()
        if validate and plan.validate_every and progress.step % plan.validate_every == 0:
            score = validate(average.module.eval())
            progress.validations.append([progress.step, round(progress.seconds), round(score, 4)])
            if not progress.best >= score:
                progress.best = score
                best = {k: v.detach().clone() for k, v in average.state_dict().items()}
        progress.seconds = time.monotonic() - begun
        _show(bar, progress)
        done = plan.share(progress) >= 1 or _stale(progress, plan)
        if done or time.monotonic() - last_saved > SAVE_EVERY_S:
            with atomic_path(checkpoint) as temporary:
                torch.save({**{n: p.state_dict() for n, p in parts.items()}, "progress": vars(progress), "best": best},
                           temporary)
            last_saved = time.monotonic()
        if done:
            break
    bar.close()
    if best is not None:
        average.load_state_dict(best)
    return average.module.eval(), progress


def _step(network: nn.Module, optimiser: torch.optim.Optimizer, recipe: Recipe, pair: tuple[Tensor, Tensor],
          plan: FitPlan, progress: Progress) -> float:
    """One step of the optimiser; its loss."""
    image, target = pair
    share = plan.share(progress)
    for group in optimiser.param_groups:
        group["lr"] = recipe.rate(progress.step, share)
    network.train()
    memory = torch.channels_last_3d if image.ndim == 5 else torch.preserve_format
    with mixed_precision(plan.device, cpu=plan.bf16):
        logits = network(image.to(plan.device, memory_format=memory))
    loss = recipe.loss(logits.float(), target.to(plan.device), share)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    # One step with a gradient that is not finite would spoil every weight for good.
    if torch.isfinite(nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)):
        optimiser.step()
    return float(loss.detach())


def _show(bar: tqdm[Any], progress: Progress) -> None:
    bar.set_postfix(refresh=False, step=progress.step,
                    **({"loss": progress.curve[-1][2]} if progress.curve else {}),
                    **({"dice": progress.validations[-1][2]} if progress.validations else {}))
    bar.update(round(progress.seconds) - bar.n)


def _averaged(decay: float, average: Tensor, latest: Tensor, n: Tensor | int) -> Tensor:
    """Moving average that forgets fast at first: the random start must not linger in a short training."""
    if not average.is_floating_point():
        return latest
    return torch.lerp(latest, average, min(decay, (1 + int(n)) / (10 + int(n))))


def _stale(progress: Progress, plan: FitPlan) -> bool:
    """Whether the last `patience` validations brought no better score."""
    scores = [v[2] for v in progress.validations]
    return len(scores) > plan.patience and len(scores) - 1 - int(np.argmax(scores)) >= plan.patience


class _Draws(IterableDataset[Pair]):
    """Draws that depend on the seed and the worker alone."""

    def __init__(self, draw: Draw, seed: tuple[int, ...]) -> None:
        self.draw, self.seed = draw, seed

    def __iter__(self) -> Iterator[Pair]:
        worker = get_worker_info()
        rng = np.random.default_rng([*self.seed, worker.id if worker else 0])
        while True:
            yield self.draw(rng)


def endless_batches(draw: Draw, *, seed: tuple[int, ...], batch: int, workers: int) -> Iterable[tuple[Tensor, Tensor]]:
    """Batches of `batch` pairs, drawn by `workers` processes, or by this one where there are none."""
    return DataLoader(_Draws(draw, seed), batch_size=batch, num_workers=workers,
                      prefetch_factor=3 if workers else None)
