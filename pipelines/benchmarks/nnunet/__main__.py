"""nnU-Net v2 and this project, trained for the same minutes on the same scans, judged on other scans.

    python -m pipelines.benchmarks.nnunet --minutes 20

Without --train and --test both studies are synthetic demo cohorts. nnU-Net gets an environment of its own below
build/nnunet, so it is no dependency. Writes build/nnunet/result.json, which `pipelines.benchmarks.engine` reads. Both
are judged by `pipelines.benchmarks.mask_scores`, and seconds a scan are from files to a written mask for both. Minutes
are those of optimiser steps: reading and preprocessing before the first step are outside, for both.

What is not the same for both: nnU-Net learns the seven discs as seven labels. This project learns disc, vertebra,
sacrum and canal, and counts. The masks hold discs alone, so its shipped networks give the other structures' targets
and find the spine; its segmenter starts from random weights, and no synthetic anatomy is painted for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from bedrest.errors import StudyError
from bedrest.io.code_state import code_state
from bedrest.io.files import sha256_of, write_text
from bedrest.io.images.masks import read_label_map, write_label_map
from bedrest.io.images.nifti import read_scan
from bedrest.io.machine import cpu_model
from bedrest.io.manifest.resolve import build_manifest
from bedrest.protocols.scores import DiscScore, score_discs
from bedrest.settings import load_study
from bedrest.types import LabelMap
from bedrest.vocabulary import DIXON, LEVEL_OF_LABEL, Contrast, MaskRole
from tyro.conf import arg

from pipelines.benchmarks.mask_scores import summarise
from pipelines.command_line import run_command

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SEEDS = {"train": 880_001, "test": 880_002}
_Study = Annotated[Path | None, arg(metavar="STUDY.toml")]
BEDREST = Path(sys.executable).with_name("bedrest")


@dataclass(frozen=True)
class DixonVisit:
    """One visit: its Dixon images in channel order and its true mask, labels by `vocabulary.LEVEL_OF_LABEL`."""

    name: str
    images: dict[Contrast, Path]
    truth: Path


@dataclass(frozen=True)
class NnunetComparison:
    """Train nnU-Net v2 and this project for the same minutes on the same scans, and judge both on other scans.

    Attributes
    ----------
    minutes
        Of training, each of the two.
    train
        Labelled Dixon scans; default: synthetic.
    test
        Other ones; default: synthetic.
    subjects
        Of the synthetic training cohort; the test has a third as many.
    threads
        Of both.
    device
        Of both.
    memory_gb
        What nnU-Net plans its patch for; its own default of 8 gives a handful of steps on a CPU.
    start
        This project's networks for neighbours and locator; default: the shipped ones.
    only
        Do one and keep the other's part of the result, or judge the masks of both anew.
    folder
        For environment, data and result.json.
    """

    minutes: float = 20
    train: _Study = None
    test: _Study = None
    subjects: int = 12
    threads: int = 2
    device: Literal["cpu", "cuda"] = "cpu"
    memory_gb: float = 0.5
    start: Annotated[Path | None, arg(metavar="WEIGHTS")] = None
    only: Literal["nnunet", "bedrest", "judge"] | None = None
    folder: Path = ROOT / "build" / "nnunet"


def visits_of(study_toml: Path) -> list[DixonVisit]:
    """Visits of a study that have all four Dixon contrasts, as .nii.gz, and a reference mask."""
    scans = build_manifest(load_study(study_toml)).scans
    visits = []
    for (subject, session), rows in scans.groupby(["subject", "session"]):
        paths = {row.contrast: Path(row.path) for row in rows.itertuples()}
        if MaskRole.REFERENCE in paths and all(c in paths and paths[c].name.endswith(".nii.gz") for c in DIXON):
            visits.append(DixonVisit(f"{subject}_{session}", {c: paths[c] for c in DIXON}, paths[MaskRole.REFERENCE]))
    if not visits:
        raise StudyError("visits with water, fat, in-phase and opposed-phase .nii.gz and a reference mask", "none",
                         str(study_toml), "Name such visits, or leave --train and --test out for synthetic ones.")
    return visits


def digest(visits: list[DixonVisit]) -> str:
    """One checksum of every image and mask, in order."""
    files = [path for visit in visits for path in (*visit.images.values(), visit.truth)]
    return hashlib.sha256("".join(sha256_of(path) for path in files).encode()).hexdigest()


def cohort(folder: Path, which: str, subjects: int) -> Path:
    """study.toml of a synthetic cohort of one visit a subject; written where it is not there yet."""
    target = folder / f"{which}-{subjects}"
    if not (target / "study.toml").exists():
        run([BEDREST, "demo", target, "--subjects", subjects, "--sessions", 1,
             "--seed", SEEDS[which]])
    return target / "study.toml"


def run(command: list[object], **environment: str) -> str:
    """Run a command from the repository's root with its output shown; the command as one would type it."""
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


def write_nnunet_dataset(visits: list[DixonVisit], images: Path, labels: Path | None = None) -> None:
    """Lay visits out as nnU-Net's cases: NAME_0000.nii.gz ... NAME_0003.nii.gz, and NAME.nii.gz for the mask."""
    images.mkdir(parents=True, exist_ok=True)
    for visit in visits:
        for channel, path in enumerate(visit.images.values()):
            link = images / f"{visit.name}_{channel:04d}.nii.gz"
            link.unlink(missing_ok=True)
            link.symlink_to(path.resolve())
        if labels is not None:
            truth = read_label_map(visit.truth, where=visit.name)
            write_label_map(truth, labels / f"{visit.name}.nii.gz", names=LEVEL_OF_LABEL, like=visit.truth)
            (labels / f"{visit.name}.tsv").unlink()


def compare_nnunet(options: NnunetComparison, train: list[DixonVisit], test: list[DixonVisit]) -> dict[str, object]:
    """Train and use nnU-Net in its own environment."""
    python = nnunet_python(options.folder)
    raw = options.folder / "raw" / "Dataset501_Discs"
    for old in [*raw.glob("*/*.nii.gz"),
                *(path for part in ("test", "nnunet-masks") for path in options.folder.glob(f"{part}/*.nii.gz"))]:
        old.unlink()
    write_nnunet_dataset(train, raw / "imagesTr", raw / "labelsTr")
    write_nnunet_dataset(test, options.folder / "test")
    write_text(raw / "dataset.json", json.dumps({
        "channel_names": {str(i): c.value for i, c in enumerate(DIXON)},
        "labels": {"background": 0, **{level: label for label, level in LEVEL_OF_LABEL.items()}},
        "numTraining": len(train), "file_ending": ".nii.gz",
    }))
    masks, threads = options.folder / "nnunet-masks", str(options.threads)
    command = run(
        [python, HERE / "nnunet_side.py", "--minutes", options.minutes, "--threads", threads,
         "--device", options.device, "--memory-gb", options.memory_gb,
         "--test", options.folder / "test", "--output", masks],
        nnUNet_raw=str(options.folder / "raw"), nnUNet_preprocessed=str(options.folder / "preprocessed"),
        nnUNet_results=str(options.folder / "results"), nnUNet_n_proc_DA="1", nnUNet_def_n_proc=threads,
        nnUNet_compile="f", OMP_NUM_THREADS=threads, MPLBACKEND="agg")
    record = json.loads((masks / "nnunet.json").read_text())
    return {"command": command, **record, "seconds_a_scan": statistics.median(record["seconds_each_scan"]),
            **judge(test, masks)}


def compare_bedrest(options: NnunetComparison, study: Path, test: list[DixonVisit]) -> dict[str, object]:
    """Train this project on the same study from random weights, and use what came out."""
    import torch
    from bedrest.segmentation.engine import segment
    from bedrest.segmentation.weights import load_weights

    folder, masks, threads = options.folder / "bedrest", options.folder / "bedrest-masks", str(options.threads)
    for old in (folder, masks):  # an earlier training must not be taken for this one
        shutil.rmtree(old, ignore_errors=True)
    start = ["--start", options.start] if options.start else []
    command = run([BEDREST, "train", study, "-o", folder, "--from-scratch", "--minutes", options.minutes,
                   "--device", options.device, "--threads", threads, "--synthetic-share", 0, "--validation-share", 0,
                   *start], OMP_NUM_THREADS=threads)
    torch.set_num_threads(options.threads)
    trained, seconds = load_weights(folder / "weights.safetensors"), []
    for visit in test:
        begun = time.monotonic()
        discs = segment(trained, read_scan(visit.images, where=visit.name), device=options.device).discs
        write_label_map(discs, masks / f"{visit.name}.nii.gz", names=LEVEL_OF_LABEL)
        seconds.append(time.monotonic() - begun)
    record = trained.record
    return {"command": command, "steps": record.get("steps"), "minutes": record.get("minutes"), "record": record,
            "seconds_each_scan": seconds, "seconds_a_scan": statistics.median(seconds),
            "weights_sha256": sha256_of(folder / "weights.safetensors"),
            "versions": {"torch": torch.__version__, "code": code_state()}, **judge(test, masks)}


def judge(test: list[DixonVisit], masks: Path) -> dict[str, object]:
    """This project's metrics for a folder of masks, whoever made them; `dice_unnamed` takes all discs of a scan as one.

    A network that sees small patches may find discs and not tell which they are.
    """
    scores: list[DiscScore] = []
    unnamed = []
    for visit in test:
        truth = read_label_map(visit.truth, where=visit.name)
        predicted = read_label_map(masks / f"{visit.name}.nii.gz", where=visit.name)
        levels = {k: v for k, v in LEVEL_OF_LABEL.items() if (truth.data == k).any()}
        scores += score_discs(predicted, truth, levels=levels)
        discs = [LabelMap((m.data > 0).astype(np.int32), m.grid) for m in (predicted, truth)]
        unnamed += score_discs(*discs, levels={1: "every disc"})
    return {**asdict(summarise(scores)), "dice_unnamed": summarise(unnamed).dice}


def run_comparison(options: NnunetComparison) -> int:
    """Train both, judge both, write what came out."""
    options = replace(options, folder=options.folder.resolve())
    studies = {which: getattr(options, which) or cohort(options.folder / "cohorts", which, n)
               for which, n in (("train", options.subjects), ("test", max(1, options.subjects // 3)))}
    train, test = visits_of(studies["train"]), visits_of(studies["test"])
    output = options.folder / "result.json"
    result = json.loads(output.read_text()) if options.only and output.exists() else {}
    # Both halves must agree in this, or they are no comparison: the engine's benchmark checks it.
    terms = {"asked_minutes": options.minutes, "training_scans": len(train), "test_scans": len(test),
             "data": "synthetic" if options.train is None and options.test is None else "given",
             "scans_sha256": digest([*train, *test]), "threads": options.threads, "cores": os.cpu_count(),
             "cpu": cpu_model(), "device": options.device}
    if options.only in (None, "nnunet"):
        result["nnunet"] = {"terms": terms, **compare_nnunet(options, train, test)}
    if options.only in (None, "bedrest"):
        result["bedrest"] = {"terms": terms, **compare_bedrest(options, studies["train"], test)}
    if options.only == "judge":
        for who in result:
            result[who] |= judge(test, options.folder / f"{who}-masks")
    write_text(output, json.dumps(result, indent=1) + "\n")
    for who in ("nnunet", "bedrest"):
        names = ("steps", "dice", "dice_unnamed", "mld_mm", "volume_bias_percent", "seconds_a_scan")
        print(who, {name: result.get(who, {}).get(name) for name in names})
    print(output)
    return 0


def main() -> int:
    """As `run_comparison`, from the command line; a program that broke is one line, too."""
    try:
        return run_command(NnunetComparison, run_comparison, module="pipelines.benchmarks.nnunet")
    except subprocess.CalledProcessError as error:
        print(f"{Path(error.cmd[0]).name} ended with status {error.returncode}; see above", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
