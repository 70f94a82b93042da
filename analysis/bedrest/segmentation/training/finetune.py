"""Training on the user's labelled scans: folds of subjects, one run per fold, the record in the weights.

A finished run is not repeated, an unfinished one goes on from its checkpoint. Knows nothing of studies and masks.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bedrest import __version__
from bedrest.errors import StudyError
from bedrest.io.begun import note_beginning, refuse_other
from bedrest.io.code_state import code_state
from bedrest.io.files import sha256_of, write_text
from bedrest.segmentation.network import build_network
from bedrest.segmentation.training.augment import Augmentation, Pool, batches_of, plain_pairs
from bedrest.segmentation.training.calibrate import calibrate
from bedrest.segmentation.training.fit import FitPlan, Progress, fit
from bedrest.segmentation.training.labelled import disc_dice
from bedrest.segmentation.weights import TrainedNetwork, save_weights

FINAL = "final"
PLAN_FILE = "training.json"  # in the output folder: data, starting weights and plan
# A validation scan takes about as long as two training steps: this keeps validation below a tenth of the time.
STEPS_FOR_A_VALIDATION_SCAN = 25
FEWEST_STEPS = 100
CALIBRATION_PATCHES = 24


@dataclass(frozen=True)
class FineTuningPlan:
    """Every choice that decides the result; where it runs is not among them."""

    minutes: float = 30.0  # budget of each run
    folds: int = 0  # 0, or the number of groups of subjects, each of which is tested on once
    validation_share: float = 0.2  # share of a run's subjects that are not trained on and decide when to stop
    patience: int = 10  # validations without a better Dice before a run stops early
    seed: int = 0
    from_scratch: bool = False  # the starting network still gives the structures that masks do not hold
    synthetic_share: float = 0.3  # of patches: what few scans do not show is not forgotten
    synthetic_anatomies: int = 16
    batch: int = 2
    fewest_steps: int = FEWEST_STEPS
    augmentation: Augmentation = field(default_factory=Augmentation)

    @property
    def peak_rate(self) -> float:
        """Highest learning rate: lower when starting from a trained network."""
        return 3e-3 if self.from_scratch else 1e-3


@dataclass(frozen=True)
class Machine:
    """Where training runs. Decides how long it takes, not what it gives."""

    device: str = "cpu"
    workers: int = 0


@dataclass(frozen=True)
class Fold:
    """The parts of the subjects in one run. Subjects, never scans: visits of one subject are alike."""

    name: str
    training: tuple[str, ...]
    validation: tuple[str, ...]  # decide when to stop
    held_out: tuple[str, ...]  # tested on

    @property
    def tested(self) -> tuple[str, ...]:
        """Subjects whose scans this run is tested on; validation subjects where none were held out."""
        return self.held_out or self.validation


@dataclass(frozen=True)
class FoldResult:
    """The outcome of one run; stored as result.json."""

    fold: Fold
    steps: int
    minutes: float
    stopped: str
    start_dice: float | None  # mean disc Dice of the validation scans, by the starting network; None without such scans
    dice: float | None  # by the trained one
    curve: list[list[float]]  # [step, seconds, mean loss]
    validations: list[list[float]]  # [step, seconds, mean disc Dice]


@dataclass(frozen=True, eq=False)
class Start:
    """The weights that training starts from, and checksums of their file and of every input file."""

    trained: TrainedNetwork
    sha256: str
    inputs_sha256: Mapping[str, str]  # by "subject session contrast"


def make_folds(subjects: Iterable[str], plan: FineTuningPlan) -> list[Fold]:
    """Cross-validation folds, if any, then the final run; the same for the same subjects and seed.

    Raises StudyError: there are fewer subjects than folds, or one fold was asked for.
    """
    names = sorted(set(subjects))
    if plan.folds == 1 or plan.folds < 0:
        raise StudyError("0 folds, or 2 and more", str(plan.folds), "--folds",
                         "One fold would leave no subject to train on, or none to test on.")
    if len(names) < plan.folds:
        raise StudyError(f"at least {plan.folds} labelled subjects for {plan.folds} folds", str(len(names)), "--folds",
                         f"Say --folds {len(names)} or fewer, or label scans of more subjects.")
    order = [names[i] for i in np.random.default_rng(plan.seed).permutation(len(names))]
    folds = []
    for i in range(plan.folds):
        held_out = order[i :: plan.folds]
        training, validation = _split([n for n in order if n not in held_out], plan.validation_share)
        folds.append(Fold(f"fold-{i + 1}", training, validation, tuple(sorted(held_out))))
    training, validation = _split(order, 0 if plan.folds else plan.validation_share)
    return [*folds, Fold(FINAL, training, validation, ())]


def _split(order: Sequence[str], share: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Training and validation; at least one subject each where there are two and a share is asked for."""
    n = min(max(round(share * len(order)), 1), len(order) - 1) if share > 0 else 0
    return tuple(sorted(order[n:])), tuple(sorted(order[:n]))


def run_fold(fold: Fold, pool: Pool, start: Start, plan: FineTuningPlan, *, machine: Machine,
             folder: Path) -> FoldResult:
    """Train one network, or return what is stored of it; writes result.json and weights.safetensors into `folder`."""
    if (folder / "result.json").exists():
        return read_result(folder)
    training, validation = ([s for s in pool.scans if s.subject in names] for names in (fold.training, fold.validation))

    def score(network: nn.Module) -> float:
        return float(np.mean([disc_dice(network, s, machine.device) for s in validation]))

    every = max(plan.fewest_steps, STEPS_FOR_A_VALIDATION_SCAN * len(validation))
    fit_plan = FitPlan(plan.minutes, machine.device, plan.peak_rate, validate_every=every if validation else 0,
                       patience=plan.patience)
    batches = batches_of(replace(pool, scans=training), plan.augmentation, seed=plan.seed, batch=plan.batch,
                         workers=machine.workers)
    torch.manual_seed(plan.seed)
    first = (build_network(start.trained.architecture, channels=len(start.trained.contrasts)) if plan.from_scratch
             else copy.deepcopy(start.trained.network))
    network, progress = fit(first, batches, fit_plan, folder / "checkpoint.pt",
                            validate=score if validation else None, title=fold.name)
    early = progress.seconds < plan.minutes * 60
    before, after = (round(score(n), 4) if validation else None for n in (start.trained.network, network))
    result = FoldResult(fold, progress.step, round(progress.seconds / 60, 2),
                        f"no better for {plan.patience} validations" if early else "time used",
                        before, after, progress.curve, progress.validations)
    calibration = start.trained.calibration
    if some := validation[:CALIBRATION_PATCHES]:
        pairs = plain_pairs(some, plan.augmentation, each=CALIBRATION_PATCHES // len(some), seed=plan.seed)
        calibration = calibrate(network, pairs, device=machine.device)
    save_weights(folder / "weights.safetensors", replace(
        start.trained, network=network.cpu(), locator=start.trained.locator.cpu(), calibration=calibration,
        record=record_of(fold, progress, start, plan)))
    write_text(folder / "result.json", json.dumps(asdict(result), indent=1) + "\n")
    (folder / "checkpoint.pt").unlink()  # five times the size of the weights, and no longer needed
    return result


def record_of(fold: Fold, progress: Progress, start: Start, plan: FineTuningPlan) -> dict[str, Any]:
    """Training record of the weights. Names subjects and visits, but no path."""
    how = "from scratch, neighbours by" if plan.from_scratch else "fine-tuned from"
    return {
        "data": f"user's scans, {how} {start.sha256}",
        "subjects": {"training": list(fold.training), "validation": list(fold.validation),
                     "held_out": list(fold.held_out)},
        "inputs_sha256": {role: {key: sha for key, sha in start.inputs_sha256.items() if key.split(" ")[0] in names}
                          for role, names in (("training", fold.training), ("validation", fold.validation))},
        "plan": asdict(plan), "steps": progress.step, "minutes": round(progress.seconds / 60, 1),
        "bedrest": __version__, "code": code_state(), "torch": torch.__version__,
        "started_from": {"sha256": start.sha256, "record": start.trained.record},
    }


def read_result(folder: Path) -> FoldResult:
    """A finished run's result.json."""
    stored = json.loads((folder / "result.json").read_text())
    fold = Fold(stored["fold"]["name"], *(tuple(stored["fold"][k]) for k in ("training", "validation", "held_out")))
    return FoldResult(**{**stored, "fold": fold})


def claim_folder(folder: Path, start: Start, plan: FineTuningPlan) -> None:
    """Record in the folder what its training is made from."""
    note_beginning(folder / PLAN_FILE, _plan_record(start, plan))


def refuse_other_training(folder: Path, start: Start, plan: FineTuningPlan) -> None:
    """Raises OutputError naming each difference where a folder was begun with other data, weights or options."""
    refuse_other(folder / PLAN_FILE, _plan_record(start, plan), what="folder")


def _plan_record(start: Start, plan: FineTuningPlan) -> dict[str, Any]:
    return {"files": {**start.inputs_sha256, "starting weights": start.sha256}, **asdict(plan)}


def start_from(trained: TrainedNetwork, inputs_sha256: Mapping[str, str]) -> Start:
    """Starting weights with the checksum of their file."""
    return Start(trained, sha256_of(trained.path), dict(sorted(inputs_sha256.items())))
