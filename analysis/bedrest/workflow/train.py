"""`bedrest train`: a study's labelled visits -> a network trained on them, its cross-validation and its report.

Orders the work; heavy libraries load only when it begins. A finished run is not done again, an unfinished one goes on.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bedrest import schemas
from bedrest.errors import BedrestError, ManyProblems, StudyError
from bedrest.findings import findings_of_error
from bedrest.io.files import sha256_of, write_bytes, write_text
from bedrest.io.images.masks import read_label_map, write_label_map
from bedrest.io.manifest.resolve import Manifest, build_manifest
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import concat_tables
from bedrest.io.tables.typed_csv import read_table, write_table
from bedrest.measurement.numbering.recognise import OF_REFERENCE_IN_STUDY, name_discs
from bedrest.settings import load_study
from bedrest.stages.measure import read_reference
from bedrest.stages.visits import Visit, scan_of, visit_in
from bedrest.types import LabelMap
from bedrest.vocabulary import LEVEL_OF_LABEL, MaskRole, Status

if TYPE_CHECKING:
    from bedrest.segmentation.training.augment import Pool
    from bedrest.segmentation.training.finetune import FineTuningPlan, Fold, FoldResult, Machine, Start
    from bedrest.segmentation.training.labelled import LabelledScan
    from bedrest.segmentation.weights import TrainedNetwork


@dataclass(frozen=True, eq=False)
class Training:
    """One training: visits to learn from, runs to do, where results go."""

    visits: list[Visit]
    folds: list[Fold]
    start: Start
    plan: FineTuningPlan
    machine: Machine
    results: StudyResults
    resample: bool = False  # as in `settings.Images`
    reference_labels: str | None = None  # the same

    @property
    def folder(self) -> Path:
        return self.results.output_dir


def train(study_toml: Path, output: Path, *, plan: FineTuningPlan, start: Path | None = None,
          device: str | None = None, threads: int | None = None) -> int:
    """Cross-validation as planned, then the final network, then the report, in the folder `output`.

    Without `start` the shipped weights, without `device` that of study.toml, without `threads` every core.
    """
    from bedrest.segmentation.training import finetune
    from bedrest.segmentation.training.augment import Pool
    from bedrest.segmentation.weights import chosen_weights, load_weights
    from bedrest.workflow.locks import locked

    study = load_study(study_toml)
    _check_options(plan, threads)
    machine = _machine(device or study.device, threads or os.cpu_count() or 1)
    manifest = build_manifest(study)
    for problem in manifest.problems:
        print(f"- {problem.problem}", file=sys.stderr)
    visits = labelled_visits(manifest, where=str(study_toml))
    keys = {(v.subject, v.session) for v in visits}
    learnt = manifest.scans[[key in keys for key in manifest.scans[["subject", "session"]].itertuples(index=False)]]
    checksums = {f"{r.subject} {r.session} {r.contrast}": r.sha256 for r in learnt.itertuples()
                 if r.contrast != MaskRole.MASK}
    network = finetune.start_from(load_weights(chosen_weights(start)), checksums)
    folds = finetune.make_folds((v.subject for v in visits), plan)
    training = Training(visits, folds, network, plan, machine, StudyResults(output), study.images.resample,
                        study.images.reference_labels)
    finetune.refuse_other_training(output, network, plan)
    output.mkdir(parents=True, exist_ok=True)
    with locked(output):
        todo = [f for f in folds if not (output / f.name / "accuracy.csv").exists()]
        pool = _pool(training) if todo else Pool([])
        finetune.claim_folder(output, network, plan)
        _print_plan(training)
        outcomes = []
        for fold in folds:
            outcomes.append(finetune.run_fold(fold, pool, network, plan, machine=machine, folder=output / fold.name))
            _test(training, fold)
        write_table(learnt, training.results.manifest_table(schemas.SCANS), schemas.SCANS)
        _store(training, outcomes)
        return _report(training, outcomes)


def _check_options(plan: FineTuningPlan, threads: int | None) -> None:
    share = "a share from 0 to below 1"
    for option, value, valid, expected in (
            ("minutes", plan.minutes, plan.minutes > 0, "a positive number of minutes"),
            ("validation-share", plan.validation_share, 0 <= plan.validation_share < 1, share),
            ("synthetic-share", plan.synthetic_share, 0 <= plan.synthetic_share < 1, share),
            ("patience", plan.patience, plan.patience > 0, "a positive number of validations"),
            ("threads", threads, threads is None or threads > 0, "a positive number")):
        if not valid:
            raise StudyError(expected, str(value), f"--{option}", "Correct it.")


def _machine(wanted: str, threads: int) -> Machine:
    import torch

    from bedrest.segmentation.device import resolve_device
    from bedrest.segmentation.training.finetune import Machine

    device = resolve_device(wanted)
    torch.set_num_threads(threads)
    # On a CPU the network needs the cores; a GPU waits for patches.
    return Machine(device, min(threads - 1, 1 if device == "cpu" else 8))


def labelled_visits(manifest: Manifest, *, where: str) -> list[Visit]:
    """Visits with a reference mask, without subjects whose identity or files are not certain; StudyError for none."""
    excluded = {p.subject for p in manifest.problems if p.excludes_subject}
    keys = manifest.scans[["subject", "session"]].drop_duplicates().sort_values(["subject", "session"])
    every = (visit_in(manifest.scans, *key) for key in keys[~keys["subject"].isin(excluded)].itertuples(index=False))
    visits = [v for v in every if MaskRole.REFERENCE in v.paths]
    if not visits:
        raise StudyError("at least one visit with a reference mask", "none", where,
                         "Training learns from manual masks: data_manifest/README.md says where they lie.")
    return visits


def _pool(training: Training) -> Pool:
    """Sources of patches: labelled scans and, if they have a share, synthetic anatomies."""
    from bedrest.phantom.variation import paint_anatomies
    from bedrest.segmentation.training.augment import Pool

    plan, scans = training.plan, _label(training)
    if not plan.synthetic_share:
        return Pool(scans)
    anatomies = paint_anatomies(plan.synthetic_anatomies, processes=max(training.machine.workers, 1))
    return Pool(scans, anatomies, plan.synthetic_share)


def _label(training: Training) -> list[LabelledScan]:
    """Every labelled visit on the working grid, with its targets; all that is wrong with them at once."""
    from tqdm import tqdm

    from bedrest.segmentation.training.labelled import label_scan
    from bedrest.tables.training import training_scans_frame

    scans, rows, problems = [], [], []
    for v in tqdm(training.visits, desc="labelled scans", unit="scan"):
        try:
            scan = scan_of(v, resample=training.resample)
            mask = _training_mask(v, training.reference_labels)
            scans.append(label_scan(scan, mask, training.start.trained, training.machine.device,
                                    subject=v.subject, session=v.session))
            rows.append((v.subject, v.session, list(v.contrasts()), pd.unique(mask.data.ravel()).tolist()))
        except BedrestError as error:
            problems.append(error.as_problem())
    if problems:
        raise ManyProblems(problems)
    write_table(training_scans_frame(rows, training.folds), training.results.table(schemas.TRAINING_SCANS),
                schemas.TRAINING_SCANS)
    return scans


def _training_mask(visit: Visit, labels: str | None) -> LabelMap:
    """The labelled discs; under one label, training need not tell them apart."""
    path = visit.paths[MaskRole.REFERENCE]
    mask = read_label_map(path, where=visit.where, by_name=labels is None)
    if labels is None and mask.data.max() == 1:
        return mask
    return name_discs(mask, labels, where=f"{visit.where} {MaskRole.REFERENCE} ({path})",
                      option=OF_REFERENCE_IN_STUDY).in_ours()


def _print_plan(training: Training) -> None:
    final, plan = training.folds[-1], training.plan
    print(f"{len(training.visits)} labelled scans of {len({v.subject for v in training.visits})} subjects; "
          f"{len(training.folds)} run(s) of at most {plan.minutes:g} min on {training.machine.device}")
    if not final.validation:
        why = "every subject was tested in a fold" if plan.folds else "validation share 0" \
            if not plan.validation_share else "one subject only, and scans of one subject must not test each other"
        print(f"The final network has no validation: {why}. It trains for its whole time.")


def _test(training: Training, fold: Fold) -> None:
    """Starting and trained network on the scans the run did not learn from, level by level; done once."""
    from tqdm import tqdm

    from bedrest.segmentation.weights import load_weights
    from bedrest.tables.training import training_accuracy_frame

    folder = training.folder / fold.name
    if (folder / "accuracy.csv").exists():
        return
    networks = {"start": training.start.trained, "trained": load_weights(folder / "weights.safetensors")}
    visits = [v for v in training.visits if v.subject in fold.tested]
    rows: dict[str, list[pd.DataFrame]] = {name: [] for name in networks}
    for visit in tqdm(visits, desc=f"{fold.name}: testing", unit="scan", disable=not visits):
        for name, network in networks.items():
            rows[name].append(_compare(training, visit, network, keep=name == "trained"))
    frames = {name: concat_tables(compared, schemas.ACCURACY) for name, compared in rows.items()}
    write_table(training_accuracy_frame(frames, fold=fold.name), folder / "accuracy.csv", schemas.TRAINING_ACCURACY)


def _compare(training: Training, visit: Visit, network: TrainedNetwork, *, keep: bool) -> pd.DataFrame:
    from bedrest.measurement.comparison.agreement import compare_masks
    from bedrest.segmentation.engine import segment
    from bedrest.tables.measures import VisitKey, accuracy_frame, failed_accuracy

    key = VisitKey(visit.subject, "", visit.session, float("nan"), "")
    try:
        result = segment(network, scan_of(visit, resample=training.resample), device=training.machine.device)
        if keep:
            names = {**LEVEL_OF_LABEL, **{d.label: d.name for d in result.segmented}}
            write_label_map(result.discs, training.results.mask(visit.subject, visit.session), names=names,
                            like=next(iter(visit.contrasts().values())))
        reference = read_reference(visit.paths[MaskRole.REFERENCE], where=visit.where, labels=training.reference_labels)
        levels = {k: v for k, v in LEVEL_OF_LABEL.items() if (reference.data == k).any()}
        return accuracy_frame(compare_masks(result.discs, reference, levels=levels, reference_levels=levels), visit=key)
    except BedrestError as error:
        return failed_accuracy(key, findings=findings_of_error(error))


def _store(training: Training, outcomes: list[FoldResult]) -> None:
    """Tables of all runs, and the final weights with their record beside them."""
    from bedrest.segmentation.weights import training_record
    from bedrest.tables.training import curves_frame, folds_frame

    accuracy = [read_table(training.folder / f.name / "accuracy.csv", schemas.TRAINING_ACCURACY)
                for f in training.folds]
    for frame, table in ((folds_frame(outcomes), schemas.TRAINING_FOLDS),
                         (curves_frame(outcomes), schemas.TRAINING_CURVES),
                         (concat_tables(accuracy, schemas.TRAINING_ACCURACY), schemas.TRAINING_ACCURACY)):
        write_table(frame, training.results.table(table), table)
    final = training.folder / training.folds[-1].name / "weights.safetensors"
    write_bytes(training.folder / "weights.safetensors", final.read_bytes())
    record = {"sha256": sha256_of(final), **training_record(final)}
    write_text(training.folder / "weights.json", json.dumps(record, indent=1) + "\n")


def _report(training: Training, outcomes: list[FoldResult]) -> int:
    from bedrest.pages.reports import make_training_report
    from bedrest.tables.training import accuracy_by_level

    page = make_training_report(training.folder)
    accuracy = training.results.read(schemas.TRAINING_ACCURACY)
    for r in outcomes:
        if r.dice is not None and r.start_dice is not None:
            worse = ": no better than the start" if r.dice <= r.start_dice else ""
            print(f"{r.fold.name}: validation Dice {r.start_dice:.3f} -> {r.dice:.3f}, {r.steps} steps{worse}")
    if len(accuracy):
        last = accuracy_by_level(accuracy).iloc[-1]
        print(f"Discs of scans not learnt from: mean Dice {last['Dice, start']:.3f} -> {last['Dice, trained']:.3f}, "
              f"missed {last['missed, start']} -> {last['missed, trained']} of {last['discs']}")
    weights = training.folder / "weights.safetensors"
    print(f"Weights: {weights}\nReport: {page}\nUse: bedrest segment --weights {weights} ..., or weights = "
          f"\"{weights.resolve()}\" in study.toml")
    failed = (accuracy["network"] == "trained") & (accuracy["status"] == Status.FAILED)
    return 3 if failed.any() else 0
