"""How long the engine takes and how much memory, beside the same network in sliding windows, a GPU, and nnU-Net.

Every timing is made in a process of its own (`child`), on synthetic scans.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from bedrest.errors import OutputError
from bedrest.phantom.demo_cohort import DemoPlan
from bedrest.protocols.scores import score_discs
from bedrest.types import LabelMap
from bedrest.vocabulary import LEVEL_OF_LABEL

from pipelines.benchmarks.engine.child import save_scan
from pipelines.benchmarks.engine.synthetic_visits import SyntheticVisit, draw_visits
from pipelines.benchmarks.mask_scores import summarise
from pipelines.benchmarks.pages import Part
from pipelines.benchmarks.targets import Missing, judge, not_measured

THREADS = 2
SPEED_SCANS, WINDOW_SCANS, GPU_SCANS = 5, 3, 24
NNUNET_COMMAND = "python -m pipelines.benchmarks.nnunet"


def speed(weights: Path, plan: DemoPlan, folder: Path) -> Part:
    """Row `speed`; `folder` is emptied of nothing and gets scans and masks."""
    _save(islice(draw_visits(plan), SPEED_SCANS), folder)
    timed = _child("speed", weights, folder)
    seconds = timed["seconds"]
    median = statistics.median(seconds)
    return Part(judge("speed", {
        "median time of a scan": median,
        "peak memory of the process": timed["peak_memory_bytes"] / 1e9,
    }, notes={"median time of a scan": f"{len(seconds)} scans, {min(seconds):.1f} to {max(seconds):.1f} s; "
                                       f"networks {timed['network_seconds']:.1f} s of it"}), [])


def sliding_window(weights: Path, plan: DemoPlan, folder: Path) -> Part:
    """Row `sliding-window`."""
    visits = list(islice(draw_visits(plan), WINDOW_SCANS))
    _save(visits, folder)
    _child("speed", weights, folder)
    timed = _child("windows", weights, folder)
    ours, theirs = (_dice(folder, task, visits) for task in ("speed", "windows"))
    slow, quick = (statistics.median(timed[who]) for who in ("theirs", "ours"))
    return Part(judge("sliding-window", {
        "times as slow as ours": slow / quick, "our Dice minus its Dice": ours - theirs,
    }, notes={"times as slow as ours": f"{slow:.1f} s against {quick:.1f} s, {len(visits)} scans",
              "our Dice minus its Dice": f"{ours:.4f} against {theirs:.4f}"}), [])


def gpu(weights: Path, plan: DemoPlan, folder: Path) -> Part:
    """Row `gpu`; only where there is one."""
    import torch

    if not torch.cuda.is_available():
        return Part(not_measured("gpu", "no GPU on this machine"), [])
    scans = min(GPU_SCANS, plan.subjects * plan.sessions)
    _save(islice(draw_visits(plan), scans), folder)
    timed = _child("gpu", weights, folder)
    for path in sorted(folder.glob("scan-*.npz"))[SPEED_SCANS:]:
        path.unlink()
    _child("speed", weights, folder)
    lowest = min((_lowest_dice(folder, i) for i in range(min(scans, SPEED_SCANS))), default=math.nan)
    whole = timed["seconds"] if scans == GPU_SCANS else Missing(f"the cohort has {scans} scans only")
    return Part(judge("gpu", {
        "networks, time of a scan": timed["network_seconds"], "24 scans, from memory to masks": whole,
        "lowest Dice of a disc against the CPU's": lowest,
    }, notes={"networks, time of a scan": timed["name"],
              "lowest Dice of a disc against the CPU's": f"{min(scans, SPEED_SCANS)} scans"}), [])


def nnunet(result: Path | None) -> Part:
    """Row `nnunet`, from the file that pipelines.benchmarks.nnunet writes."""
    if result is None or not result.is_file():
        return Part(not_measured("nnunet", f"run `{NNUNET_COMMAND}`, then give its result.json with --nnunet"), [])
    halves = json.loads(result.read_text())
    if missing := [who for who in ("nnunet", "bedrest") if "dice" not in halves.get(who, {})]:
        return Part(not_measured("nnunet", f"{result.name} has no result of {' and '.join(missing)}"), [])
    theirs, ours = halves["nnunet"], halves["bedrest"]
    terms = theirs["terms"]
    if different := sorted(k for k in terms if terms[k] != ours["terms"].get(k)):
        return Part(not_measured("nnunet", f"the two halves of {result.name} differ in {', '.join(different)}"), [])
    words = [f"{name}: Dice {r['dice']:.3f}, {r['steps']} steps in {r['minutes']:.1f} min, "
             f"{r['seconds_a_scan']:.1f} s a scan, {r['n_missing']} of {r['n']} discs not found, volume bias "
             f"{r['volume_bias_percent']:+.1f} %" for name, r in (("nnU-Net", theirs), ("ours", ours))]
    detail = (
        "## Beside nnU-Net v2\n\n"
        f"{terms['training_scans']} labelled {terms['data']} scans to learn from, {terms['test_scans']} others to be "
        f"judged on; {terms['asked_minutes']:g} min of training each, {terms['threads']} threads, {terms['cores']} "
        f"cores ({terms['cpu']}), {terms['device']}. nnU-Net {theirs['versions']['nnunetv2']}, its planner given "
        f"{theirs['memory_gb']:g} GB: patch {' x '.join(map(str, theirs['patch']))}, batch {theirs['batch']}; no "
        "mirroring, learning rate by share of time. Its default of 8 GB takes the whole scan as one patch: on a CPU a "
        "handful of steps in these minutes, but fewer windows to predict. Ours: segmenter from random weights; the "
        "shipped networks find the spine and give the neighbours' targets.\n\n"
        + "".join(f"- {line}\n" for line in words))
    return Part(judge("nnunet", {
        "our mean Dice minus nnU-Net's": ours["dice"] - theirs["dice"],
        "the same, whatever the discs are called": ours["dice_unnamed"] - theirs["dice_unnamed"],
        "times as slow as ours": theirs["seconds_a_scan"] / ours["seconds_a_scan"],
    }, notes={"our mean Dice minus nnU-Net's": f"{ours['dice']:.3f} against {theirs['dice']:.3f} after "
                                               f"{terms['asked_minutes']:g} min, {terms['data']} scans",
              "the same, whatever the discs are called": f"{ours['dice_unnamed']:.3f} against "
                                                         f"{theirs['dice_unnamed']:.3f}",
              "times as slow as ours": f"{theirs['seconds_a_scan']:.1f} s against {ours['seconds_a_scan']:.1f} s"}),
        [], detail)


def _save(visits: Iterable[SyntheticVisit], folder: Path) -> None:
    for old in folder.glob("*.np?"):
        old.unlink()
    for i, visit in enumerate(visits):
        save_scan(visit.dixon, folder / f"scan-{i:02d}.npz")


def _child(task: str, weights: Path, folder: Path) -> dict[str, Any]:
    """Run a task of `child`; what it measured.

    Raises
    ------
    OutputError
        It ended badly.
    """
    threads = {name: str(THREADS) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-m", "pipelines.benchmarks.engine.child", task, str(weights), str(folder),
                           str(THREADS)], capture_output=True, text=True, env={**os.environ, **threads})
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise OutputError("a timed run that ends well", last, f"timed task {task}",
                          "Leave the row out with --rows, or free some memory.")
    result: dict[str, Any] = json.loads((folder / f"{task}.json").read_text())
    return result


def _dice(folder: Path, task: str, visits: list[SyntheticVisit]) -> float:
    """Mean Dice of a task's masks against the truth."""
    scores = [s for i, visit in enumerate(visits)
              for s in score_discs(LabelMap(np.load(folder / f"{task}-{i:02d}.npy"), visit.truth.grid), visit.truth,
                                   levels=LEVEL_OF_LABEL)]
    return summarise(scores).dice


def _lowest_dice(folder: Path, index: int) -> float:
    """Lowest Dice of a disc between the masks of one scan from the GPU and from the CPU."""
    on_gpu, on_cpu = (np.load(folder / f"{task}-{index:02d}.npy") for task in ("gpu", "speed"))
    dice = []
    for label in LEVEL_OF_LABEL:
        a, b = on_gpu == label, on_cpu == label
        if a.any() or b.any():
            dice.append(2 * float((a & b).sum()) / float(a.sum() + b.sum()))
    return min(dice, default=math.nan)
