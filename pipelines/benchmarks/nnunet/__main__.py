"""nnU-Net v2 and this project, trained for the same minutes on the same scans, judged on scans neither saw.

    .venv/bin/python pipelines/benchmarks/nnunet/compare.py --minutes 20

Without --train and --test both studies are synthetic demo cohorts. nnU-Net gets an environment of its own below
build/nnunet, so it is no dependency. Writes build/nnunet/result.json, which `bedrest benchmark-engine` reads. Both
are judged by `bedrest.protocols.mask_scores`, and seconds a scan are from files to a written mask for both. Minutes are
those of optimiser steps: reading and preprocessing before the first step are outside, for both.

What is not the same for both: nnU-Net learns the seven discs as seven labels. This project learns disc, vertebra,
sacrum and canal, and counts. The masks hold discs alone, so its shipped networks give the other structures' targets
and find the spine; its segmenter starts from random weights, and no synthetic anatomy is painted for it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from bedrest.errors import BedrestError, StudyError
from bedrest.io.code_state import code_state
from bedrest.io.files import sha256_of, write_text
from bedrest.io.images.masks import read_label_map, write_label_map
from bedrest.io.images.nifti import read_scan
from bedrest.io.machine import cpu_model
from bedrest.io.manifest.resolve import build_manifest
from bedrest.protocols.mask_scores import DiscScore, score_discs, summarise
from bedrest.settings import load_study
from bedrest.types import LabelMap
from bedrest.vocabulary import DIXON, LEVEL_OF_LABEL, Contrast, MaskRole

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SEEDS = {"train": 880_001, "test": 880_002}


@dataclass(frozen=True)
class Case:
    """One visit: its Dixon images in channel order and its true mask, labels by `vocabulary.LEVEL_OF_LABEL`."""

    name: str
    images: dict[Contrast, Path]
    truth: Path


def cases_of(study_toml: Path) -> list[Case]:
    """Visits of a study that have all four Dixon contrasts, as .nii.gz, and a reference mask."""
    scans = build_manifest(load_study(study_toml)).scans
    cases = []
    for (subject, session), own in scans.groupby(["subject", "session"]):
        paths = {row.contrast: Path(row.path) for row in own.itertuples()}
        if MaskRole.REFERENCE in paths and all(c in paths and paths[c].name.endswith(".nii.gz") for c in DIXON):
            cases.append(Case(f"{subject}_{session}", {c: paths[c] for c in DIXON}, paths[MaskRole.REFERENCE]))
    if not cases:
        raise StudyError("visits with water, fat, in-phase and opposed-phase .nii.gz and a reference mask", "none",
                         str(study_toml), "Name such visits, or leave --train and --test out for synthetic ones.")
    return cases


def digest(cases: list[Case]) -> str:
    """One checksum of every image and mask, in order."""
    files = [path for case in cases for path in (*case.images.values(), case.truth)]
    return hashlib.sha256("".join(sha256_of(path) for path in files).encode()).hexdigest()


def cohort(folder: Path, which: str, subjects: int) -> Path:
    """study.toml of a synthetic cohort of one visit a subject; written where it is not there yet."""
    target = folder / f"{which}-{subjects}"
    if not (target / "study.toml").exists():
        run([sys.executable, "-m", "bedrest", "demo", target, "--subjects", subjects, "--sessions", 1,
             "--seed", SEEDS[which]])
    return target / "study.toml"


def run(command: list[object], **environment: str) -> str:
    """Run a command from the repository's root with its output shown; the command as a person would type it."""
    words = [str(c) for c in command]
    print("$", " ".join(words), flush=True)
    subprocess.run(words, cwd=ROOT, env={**os.environ, **environment}, check=True)
    return " ".join(words).replace(f"{ROOT}/", "")


def nnunet_python(folder: Path) -> Path:
    """Python of nnU-Net's own environment, made on first use by the pins beside this file."""
    pins, venv = HERE / "requirements.txt", folder / "venv"
    python, done = venv / "bin" / "python", venv / "pins.txt"
    if not done.exists() or done.read_text() != pins.read_text():
        run([sys.executable, "-m", "venv", venv])
        # --no-deps: every requirement is pinned, and the torchvision left out would bring torch for CUDA.
        run([python, "-m", "pip", "install", "-q", "--no-deps", "-r", pins])
        done.write_text(pins.read_text())
    return python


def write_nnunet_dataset(cases: list[Case], images: Path, labels: Path | None = None) -> None:
    """Lay cases out as nnU-Net wants them: case_0000.nii.gz ... case_0003.nii.gz, and case.nii.gz for the mask."""
    images.mkdir(parents=True, exist_ok=True)
    for case in cases:
        for channel, path in enumerate(case.images.values()):
            link = images / f"{case.name}_{channel:04d}.nii.gz"
            link.unlink(missing_ok=True)
            link.symlink_to(path.resolve())
        if labels is not None:
            truth = read_label_map(case.truth, where=case.name)
            write_label_map(truth, labels / f"{case.name}.nii.gz", names=LEVEL_OF_LABEL, like=case.truth)
            (labels / f"{case.name}.tsv").unlink()


def compare_nnunet(args: argparse.Namespace, train: list[Case], test: list[Case]) -> dict[str, object]:
    """Train and use nnU-Net in its own environment."""
    python = nnunet_python(args.folder)
    raw = args.folder / "raw" / "Dataset501_Discs"
    for old in [*raw.glob("*/*.nii.gz"), *args.folder.glob("test/*.nii.gz"), *args.folder.glob("nnunet-masks/*.gz")]:
        old.unlink()
    write_nnunet_dataset(train, raw / "imagesTr", raw / "labelsTr")
    write_nnunet_dataset(test, args.folder / "test")
    write_text(raw / "dataset.json", json.dumps({
        "channel_names": {str(i): c.value for i, c in enumerate(DIXON)},
        "labels": {"background": 0, **{level: label for label, level in LEVEL_OF_LABEL.items()}},
        "numTraining": len(train), "file_ending": ".nii.gz",
    }))
    masks, threads = args.folder / "nnunet-masks", str(args.threads)
    command = run(
        [python, HERE / "nnunet_side.py", "--minutes", args.minutes, "--threads", threads, "--device", args.device,
         "--memory-gb", args.memory_gb, "--test", args.folder / "test", "--output", masks],
        nnUNet_raw=str(args.folder / "raw"), nnUNet_preprocessed=str(args.folder / "preprocessed"),
        nnUNet_results=str(args.folder / "results"), nnUNet_n_proc_DA="1", nnUNet_def_n_proc=threads,
        nnUNet_compile="f", OMP_NUM_THREADS=threads, MPLBACKEND="agg")
    told = json.loads((masks / "nnunet.json").read_text())
    return {"command": command, **told, "seconds_a_scan": statistics.median(told["seconds_each_scan"]),
            **judge(test, masks)}


def compare_bedrest(args: argparse.Namespace, study: Path, test: list[Case]) -> dict[str, object]:
    """Train this project on the same study from random weights, and use what came out."""
    import torch
    from bedrest.segmentation.engine import segment
    from bedrest.segmentation.weights import load_weights

    folder, masks, threads = args.folder / "bedrest", args.folder / "bedrest-masks", str(args.threads)
    for old in (folder, masks):  # an earlier training must not be taken for this one
        shutil.rmtree(old, ignore_errors=True)
    command = run([sys.executable, "-m", "bedrest", "train", study, "-o", folder, "--from-scratch",
                   "--minutes", args.minutes, "--device", args.device, "--threads", threads, "--synthetic-share", 0,
                   "--validation-share", 0, *(["--start", args.start] if args.start else [])], OMP_NUM_THREADS=threads)
    torch.set_num_threads(args.threads)
    trained, seconds = load_weights(folder / "weights.safetensors"), []
    for case in test:
        begun = time.monotonic()
        discs = segment(trained, read_scan(case.images, where=case.name), device=args.device).discs
        write_label_map(discs, masks / f"{case.name}.nii.gz", names=LEVEL_OF_LABEL)
        seconds.append(time.monotonic() - begun)
    record = trained.record
    return {"command": command, "steps": record.get("steps"), "minutes": record.get("minutes"), "record": record,
            "seconds_each_scan": seconds, "seconds_a_scan": statistics.median(seconds),
            "weights_sha256": sha256_of(folder / "weights.safetensors"),
            "versions": {"torch": torch.__version__, "code": code_state()}, **judge(test, masks)}


def judge(test: list[Case], masks: Path) -> dict[str, object]:
    """This project's metrics for a folder of masks, whoever made them; `dice_unnamed` takes all discs of a scan as one.

    A network that sees small patches may find discs and not tell which they are.
    """
    scores: list[DiscScore] = []
    unnamed = []
    for case in test:
        truth = read_label_map(case.truth, where=case.name)
        found = read_label_map(masks / f"{case.name}.nii.gz", where=case.name)
        levels = {k: v for k, v in LEVEL_OF_LABEL.items() if (truth.data == k).any()}
        scores += score_discs(found, truth, levels=levels)
        every = [LabelMap((m.data > 0).astype(np.int32), m.grid) for m in (found, truth)]
        unnamed += score_discs(*every, levels={1: "every disc"})
    return {**asdict(summarise(scores)), "dice_unnamed": summarise(unnamed).dice}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="of training, each of the two")
    parser.add_argument("--train", type=Path, metavar="STUDY.toml", help="labelled Dixon scans; default synthetic")
    parser.add_argument("--test", type=Path, metavar="STUDY.toml", help="other ones; default synthetic")
    parser.add_argument("--subjects", type=int, default=12,
                        help="of the synthetic training cohort; the test has a third as many")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--memory-gb", type=float, default=0.5,
                        help="what nnU-Net plans its patch for; its own default 8 gives a handful of steps on a CPU")
    parser.add_argument("--start", type=Path, metavar="WEIGHTS",
                        help="this project's networks for neighbours and locator; default: the shipped ones")
    parser.add_argument("--only", choices=("nnunet", "bedrest", "judge"),
                        help="do one and keep the other's part of the result, or judge the masks of both anew")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "nnunet")
    return parser.parse_args()


def main() -> int:
    args = parse()
    args.folder = args.folder.resolve()
    studies = {which: getattr(args, which) or cohort(args.folder / "cohorts", which, n)
               for which, n in (("train", args.subjects), ("test", max(1, args.subjects // 3)))}
    train, test = cases_of(studies["train"]), cases_of(studies["test"])
    output = args.folder / "result.json"
    result = json.loads(output.read_text()) if args.only and output.exists() else {}
    # Both halves must agree in this, or they are no comparison: benchmark-engine looks.
    terms = {"asked_minutes": args.minutes, "training_scans": len(train), "test_scans": len(test),
             "data": "synthetic" if args.train is None and args.test is None else "given",
             "scans_sha256": digest([*train, *test]), "threads": args.threads, "cores": os.cpu_count(),
             "cpu": cpu_model(), "device": args.device}
    if args.only in (None, "nnunet"):
        result["nnunet"] = {"terms": terms, **compare_nnunet(args, train, test)}
    if args.only in (None, "bedrest"):
        result["bedrest"] = {"terms": terms, **compare_bedrest(args, studies["train"], test)}
    if args.only == "judge":
        for who in result:
            result[who] |= judge(test, args.folder / f"{who}-masks")
    write_text(output, json.dumps(result, indent=1) + "\n")
    for who in ("nnunet", "bedrest"):
        got = result.get(who, {})
        shown = ("steps", "dice", "dice_unnamed", "mld_mm", "volume_bias_percent", "seconds_a_scan")
        print(who, {k: got.get(k) for k in shown})
    print(output)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BedrestError as error:
        print(f"compare: {error}", file=sys.stderr)
        sys.exit(1)
    except subprocess.CalledProcessError as error:
        print(f"compare: {Path(error.cmd[0]).name} ended with status {error.returncode}; see above", file=sys.stderr)
        sys.exit(1)
