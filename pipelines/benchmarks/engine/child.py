"""The timed part of the engine's benchmark, in a process of its own so that nothing else counts.

`python -m pipelines.benchmarks.engine.child TASK WEIGHTS FOLDER THREADS`: reads FOLDER/scan-*.npz, writes
FOLDER/TASK.json and the masks FOLDER/TASK-*.npy. Started by `speed`.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bedrest.anatomy.structures import Structure
from bedrest.segmentation.engine import segment
from bedrest.segmentation.training.sampling import Sampling
from bedrest.segmentation.weights import TrainedNetwork, load_weights
from bedrest.types import Grid, LabelMap, Scan, Volume
from bedrest.vocabulary import Contrast
from torch import nn

from pipelines.benchmarks.memory import peak_memory_bytes


class SlidingWindows(nn.Module):
    """A network run over the image patch by patch, as MONAI's users do it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        from monai.inferers import sliding_window_inference

        logits = sliding_window_inference(image, Sampling().patch, 1, self.network, overlap=0.5, mode="gaussian")
        return torch.as_tensor(logits)


class Everywhere(nn.Module):
    """A locator that sees spine everywhere, so that the whole scan is searched."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(1, len(Structure), *image.shape[2:])
        logits[:, Structure.VERTEBRA] = 10
        return logits


class NetworkClock:
    """Seconds spent inside networks, summed; waits for the GPU before it looks at the clock."""

    def __init__(self, networks: Iterable[nn.Module], device: str) -> None:
        self.seconds, self._device, self._begun = 0.0, device, 0.0
        for network in networks:
            network.register_forward_pre_hook(self._start)
            network.register_forward_hook(self._stop)

    def _now(self) -> float:
        if self._device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def _start(self, *_: object) -> None:
        self._begun = self._now()

    def _stop(self, *_: object) -> None:
        self.seconds += self._now() - self._begun


def save_scan(scan: Scan, path: Path) -> None:
    """Write a scan so that reading it costs next to nothing."""
    arrays: dict[str, Any] = {c.value: v.data for c, v in scan.contrasts.items()}
    np.savez(path, affine=scan.grid.affine_ras_mm, **arrays)


def read_saved_scan(path: Path) -> Scan:
    with np.load(path) as saved:
        data = {Contrast(name): saved[name] for name in saved.files if name != "affine"}
        shape = next(iter(data.values())).shape
        grid = Grid((shape[0], shape[1], shape[2]), saved["affine"])
    return Scan({c: Volume(d, grid) for c, d in data.items()})


def timed(trained: TrainedNetwork, scans: Iterable[Scan], device: str) -> tuple[list[float], list[LabelMap]]:
    """Seconds from scan to mask, and the masks."""
    seconds, masks = [], []
    for scan in scans:
        begun = time.perf_counter()
        masks.append(segment(trained, scan, device=device).discs)
        seconds.append(time.perf_counter() - begun)
    return seconds, masks


def speed(trained: TrainedNetwork, paths: list[Path]) -> tuple[dict[str, Any], list[LabelMap]]:
    """One scan after the other on the CPU, each read when its turn comes."""
    clock = NetworkClock((trained.network, trained.locator), "cpu")
    seconds, masks = timed(trained, map(read_saved_scan, paths), "cpu")
    return {"seconds": seconds, "network_seconds": clock.seconds / len(paths),
            "peak_memory_bytes": peak_memory_bytes()}, masks


def windows(trained: TrainedNetwork, paths: list[Path]) -> tuple[dict[str, Any], list[LabelMap]]:
    """The same network in sliding windows over whole scans, and ours again, in turns."""
    sliding = replace(trained, network=SlidingWindows(trained.network), locator=Everywhere())
    ours: list[float] = []
    theirs: list[float] = []
    masks: list[LabelMap] = []
    for path in paths:
        scan = read_saved_scan(path)
        ours += timed(trained, [scan], "cpu")[0]
        seconds, made = timed(sliding, [scan], "cpu")
        theirs, masks = theirs + seconds, masks + made
    return {"ours": ours, "theirs": theirs}, masks


def gpu(trained: TrainedNetwork, paths: list[Path]) -> tuple[dict[str, Any], list[LabelMap]]:
    """Networks alone and whole scans on CUDA, after one scan to warm up."""
    scans = [read_saved_scan(p) for p in paths]
    segment(trained, scans[0], device="cuda")
    clock = NetworkClock((trained.network, trained.locator), "cuda")
    seconds, masks = timed(trained, scans, "cuda")
    return {"seconds": sum(seconds), "scans": len(scans), "median": statistics.median(seconds),
            "network_seconds": clock.seconds / len(scans), "name": torch.cuda.get_device_name()}, masks


TASKS: dict[str, Callable[[TrainedNetwork, list[Path]], tuple[dict[str, Any], list[LabelMap]]]] = {
    "speed": speed, "windows": windows, "gpu": gpu}


def main(argv: list[str]) -> None:
    task, weights, folder, threads = argv[0], Path(argv[1]), Path(argv[2]), int(argv[3])
    torch.set_num_threads(threads)
    result, masks = TASKS[task](load_weights(weights), sorted(folder.glob("scan-*.npz")))
    for i, mask in enumerate(masks):
        np.save(folder / f"{task}-{i:02d}.npy", mask.data)
    (folder / f"{task}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
