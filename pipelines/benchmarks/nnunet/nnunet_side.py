"""nnU-Net's half of the comparison: plan, preprocess, train for so many minutes, predict scan by scan.

Runs in nnU-Net's own environment, started by `__main__.py`; knows nothing of this project. The folders come through
nnU-Net's environment variables. Two departures from nnU-Net's defaults, both in its favour here:

- The budget is time, not 1000 epochs of 250 steps. Its polynomial learning rate, 0.01 (1 - used share)^0.9, is
  followed step by step over the share of minutes used, so that it ends at zero when the minutes end. No validation
  epochs: they cost time and choose nothing, as the last weights are used.
- No mirroring, its own variant nnUNetTrainerNoMirroring: upside down, L5-S1 is no longer the lowest disc, and mirrored
  prediction would take eight times as long.

Everything else (planning, patch, network, augmentation, loss, optimiser, tiling) is as nnU-Net decides it, for the
memory that --memory-gb tells its planner. Its default of 8 GB makes the whole scan one patch, two minutes a step on two
busy cores and 36 s a scan; 0.5 GB gives a patch near this project's own, many more steps, and more windows a scan.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprints,
    plan_experiments,
    preprocess_dataset,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoMirroring import (
    nnUNetTrainerNoMirroring,
)
from nnunetv2.utilities.dataset_name_id_conversion import convert_id_to_dataset_name

DATASET = 501
CONFIGURATION = "3d_fullres"


def make_trainer(plans_name: str, device: torch.device) -> nnUNetTrainerNoMirroring:
    """Trainer on every training scan. Made here: the search by name also imports networks that need timm."""
    folder = Path(str(nnUNet_preprocessed)) / convert_id_to_dataset_name(DATASET)
    plans = json.loads((folder / f"{plans_name}.json").read_text()) | {"continue_training": False}
    return nnUNetTrainerNoMirroring(plans, CONFIGURATION, "all", json.loads((folder / "dataset.json").read_text()),
                                    device=device)


def train(trainer: nnUNetTrainerNoMirroring, minutes: float) -> dict[str, float]:
    """Train until the minutes are used; leaves checkpoint_final.pth in the trainer's folder."""
    trainer.on_train_start()
    begun, losses, share = time.monotonic(), [], 0.0
    while share < 1:
        rate = trainer.initial_lr * (1 - share) ** 0.9
        for group in trainer.optimizer.param_groups:
            group["lr"] = rate
        trainer.network.train()
        losses.append(float(trainer.train_step(next(trainer.dataloader_train))["loss"]))
        share = (time.monotonic() - begun) / (60 * minutes)
        print(f"step {len(losses)} {100 * share:.0f} % loss {losses[-1]:.3f}", flush=True)
    seconds = time.monotonic() - begun
    trainer.on_train_end()
    return {"steps": len(losses), "minutes": seconds / 60, "first_loss": losses[0],
            "last_loss": float(np.mean(losses[-5:]))}


def predict(trainer: nnUNetTrainerNoMirroring, folder: Path, output: Path) -> list[float]:
    """Segment every scan of `folder`; seconds of each, reading and writing included."""
    saved = torch.load(Path(trainer.output_folder) / "checkpoint_final.pth", weights_only=False)
    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(use_mirroring=False, perform_everything_on_device=False, device=trainer.device,
                                allow_tqdm=False)
    predictor.manual_initialization(trainer.network, trainer.plans_manager, trainer.configuration_manager,
                                    [saved["network_weights"]], trainer.dataset_json, "nnUNetTrainerNoMirroring", None)
    output.mkdir(parents=True, exist_ok=True)
    seconds = []
    for first in sorted(folder.glob("*_0000.nii.gz")):
        case = first.name.removesuffix("_0000.nii.gz")
        begun = time.monotonic()
        predictor.predict_from_files_sequential([[str(p) for p in sorted(folder.glob(f"{case}_000?.nii.gz"))]],
                                                [str(output / case)])
        seconds.append(time.monotonic() - begun)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--memory-gb", type=float, required=True)
    parser.add_argument("--test", type=Path, required=True, help="folder of case_0000.nii.gz ... case_0003.nii.gz")
    parser.add_argument("--output", type=Path, required=True, help="folder for masks and nnunet.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    np.random.seed(0)
    begun = time.monotonic()
    extract_fingerprints([DATASET], num_processes=args.threads, check_dataset_integrity=True, show_progress_bar=False)
    plans = plan_experiments([DATASET], gpu_memory_target_in_gb=args.memory_gb)
    preprocess_dataset(DATASET, plans, (CONFIGURATION,), (args.threads,), show_progress_bar=False)
    prepared = time.monotonic() - begun
    trainer = make_trainer(plans, torch.device(args.device))
    trained = train(trainer, args.minutes)
    seconds = predict(trainer, args.test, args.output)
    chosen = trainer.configuration_manager
    (args.output / "nnunet.json").write_text(json.dumps({
        **trained, "preparing_seconds": prepared, "seconds_each_scan": seconds,
        "patch": list(chosen.patch_size), "batch": chosen.batch_size, "memory_gb": args.memory_gb,
        "features": list(chosen.network_arch_init_kwargs["features_per_stage"]),
        "versions": {name: version(name) for name in ("nnunetv2", "torch", "numpy")},
    }, indent=1))


if __name__ == "__main__":
    main()
