"""`python -m pipelines.training --output FOLDER`: makes weights such as the shipped ones.

Takes under an hour on two CPU cores; larger `--minutes` and `--anatomies`, and `--device cuda`, make better ones. Goes
on from the checkpoints in FOLDER.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from bedrest.segmentation.network import SEGMENTER, Architecture
from tyro.conf import arg

from pipelines.command_line import run_command
from pipelines.training.shipped_weights import TrainingPlan, calibrate_anew, train

_DEFAULT = TrainingPlan()


@dataclass(frozen=True)
class TrainShippedWeights:
    """Train the shipped networks on synthetic anatomies.

    Attributes
    ----------
    output
        Folder for weights, record and checkpoints.
    minutes
        For the segmenter.
    locator_minutes
        For the locator; 0 keeps that of --start.
    filters
        Channels at the five depths.
    start
        Weights file to start from.
    real
        Chance, 0 to 1, that an anatomy is drawn from SPIDER's masks and not from the shape model.
    threads
        Of the processor, for the network.
    calibrate
        Train nothing: calibrate the weights in the output folder anew.
    """

    output: Annotated[Path, arg(aliases=["-o"])]
    minutes: float = _DEFAULT.minutes
    locator_minutes: float = _DEFAULT.locator_minutes
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    anatomies: int = _DEFAULT.anatomies
    workers: int = _DEFAULT.workers
    batch: int = _DEFAULT.batch
    peak_rate: float = _DEFAULT.peak_rate
    filters: tuple[int, ...] = SEGMENTER.filters
    real: float = _DEFAULT.real
    threads: int = _DEFAULT.threads
    start: Path | None = None
    calibrate: bool = False


def run(options: TrainShippedWeights) -> int:
    """Train, or calibrate what was trained."""
    if options.calibrate:
        calibrate_anew(options.output, device=options.device)
        return 0
    plan = TrainingPlan(
        minutes=options.minutes, locator_minutes=options.locator_minutes, device=options.device,
        anatomies=options.anatomies, batch=options.batch, workers=options.workers, peak_rate=options.peak_rate,
        real=options.real, threads=options.threads,
        architecture=Architecture(options.filters))
    train(plan, options.output, start=options.start)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(TrainShippedWeights, run, module="pipelines.training"))
