"""Trains the shipped network on synthetic anatomies alone.

`python -m analysis.segmentation.train --minutes 45 --out FOLDER`. The learning rate follows the share of the time
budget used, so the same command ends well on two CPU cores and on a GPU. Resumes from FOLDER/checkpoint.pt.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm

from analysis.phantom.anatomy import draw_spine
from analysis.phantom.paint import Painting, paint
from analysis.phantom.render import demo_grid
from analysis.segmentation.network import Architecture, build_network
from analysis.segmentation.sampling import Sampling, draw_patch
from analysis.segmentation.weights import save_weights

# Training draws from seeds of its own; the demo cohort and the tests never use them.
TRAINING_SEED = 10_000_019


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides a training run; written into the record."""

    minutes: float
    device: str
    anatomies: int = 96
    batch: int = 2
    workers: int = 1
    threads: int = 2
    peak_rate: float = 3e-3
    seed: int = TRAINING_SEED
    architecture: Architecture = field(default_factory=Architecture)
    sampling: Sampling = field(default_factory=Sampling)


class Patches(IterableDataset):
    """Endless patches from a fixed pool of anatomies."""

    def __init__(self, pool: list[Painting], plan: TrainingPlan, start: int) -> None:
        self.pool, self.plan, self.start = pool, plan, start

    def __iter__(self):
        info = get_worker_info()
        rng = np.random.default_rng([self.plan.seed, self.start, info.id if info else 0])
        while True:
            yield draw_patch(self.pool[rng.integers(len(self.pool))], rng, self.plan.sampling)


def paint_pool(plan: TrainingPlan) -> list[Painting]:
    """The anatomies to learn from: wider than healthy volunteers, turned and shifted more than in a scanner."""
    pool = []
    for i in tqdm(range(plan.anatomies), desc="anatomies"):
        rng = np.random.default_rng([plan.seed, i])
        spine = draw_spine(rng, spread=2.0).posed(rng, shift_mm=5, turn_deg=4)
        pool.append(paint(spine, demo_grid(), rng))
    return pool


def loss_of(scores: Tensor, target: Tensor) -> Tensor:
    """Cross entropy against shares plus soft Dice over the four structures (batch Dice); (B, 5, I, J, K) both."""
    entropy = -(target * torch.log_softmax(scores, dim=1)).sum(dim=1).mean()
    p, t = torch.softmax(scores, dim=1)[:, 1:], target[:, 1:]
    axes = (0, 2, 3, 4)
    dice = (2 * (p * t).sum(axes) + 1) / ((p * p).sum(axes) + (t * t).sum(axes) + 1)
    return entropy + (1 - dice).mean()


def train(plan: TrainingPlan, folder: Path) -> None:
    """Train within the budget; write checkpoints, weights and the record into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)
    torch.set_num_threads(plan.threads)
    device = torch.device(plan.device)
    network = build_network(plan.architecture).to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.995), use_buffers=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.peak_rate, weight_decay=1e-4)
    state: dict[str, Any] = {"step": 0, "seconds": 0.0, "curve": []}
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(saved["network"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        state = saved["state"]
    loader = DataLoader(Patches(paint_pool(plan), plan, state["step"]), batch_size=plan.batch,
                        num_workers=plan.workers, prefetch_factor=3 if plan.workers else None)
    _loop(plan, network, average, optimiser, state, loader, checkpoint)
    record = {"plan": asdict(plan), "steps": state["step"], "minutes": round(state["seconds"] / 60, 1),
              "data": "synthetic anatomies only", "torch": torch.__version__, "curve": state["curve"]}
    save_weights(folder / "weights.safetensors", average.module.cpu(), architecture=plan.architecture,
                 record={k: v for k, v in record.items() if k != "curve"})
    (folder / "weights.json").write_text(json.dumps(record, indent=1) + "\n")


def _loop(plan: TrainingPlan, network: nn.Module, average: AveragedModel, optimiser: torch.optim.Optimizer,
          state: dict[str, Any], loader: DataLoader, checkpoint: Path) -> None:
    device = torch.device(plan.device)
    begun, last_saved, recent = time.monotonic() - state["seconds"], time.monotonic(), []
    bar = tqdm(total=round(plan.minutes * 60), unit="s", desc="training", mininterval=20)
    for image, target in loader:
        share = min(state["seconds"] / (plan.minutes * 60), 1.0)
        for group in optimiser.param_groups:
            warm_up = min(1, (state["step"] + 1) / 60)
            group["lr"] = plan.peak_rate * warm_up * (0.5 + 0.5 * math.cos(math.pi * share)) + 1e-5
        network.train()
        image = image.to(device, memory_format=torch.channels_last_3d)
        loss = loss_of(network(image), target.to(device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        average.update_parameters(network)
        recent.append(float(loss.detach()))
        state["step"] += 1
        state["seconds"] = time.monotonic() - begun
        if state["step"] % 50 == 0:
            state["curve"].append([state["step"], round(state["seconds"]), round(float(np.mean(recent[-50:])), 4)])
            bar.set_postfix(step=state["step"], loss=state["curve"][-1][2])
        bar.update(round(state["seconds"]) - bar.n)
        over = state["seconds"] >= plan.minutes * 60
        if over or time.monotonic() - last_saved > 120:
            temporary = checkpoint.with_suffix(".tmp")
            torch.save({"network": network.state_dict(), "average": average.state_dict(),
                        "optimiser": optimiser.state_dict(), "state": state}, temporary)
            temporary.replace(checkpoint)
            last_saved = time.monotonic()
        if over:
            break
    bar.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--anatomies", type=int, default=96)
    args = parser.parse_args()
    train(TrainingPlan(args.minutes, args.device, anatomies=args.anatomies), args.out)


if __name__ == "__main__":
    main()
