"""What each command of the command line does. Heavy libraries load only inside the command that needs them."""

from __future__ import annotations

import argparse
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bedrest import schemas
from bedrest.errors import ImageError, OutputError, StudyError
from bedrest.vocabulary import LEVEL_OF_LABEL, TISSUE_OF_LABEL, Contrast, Status

if TYPE_CHECKING:
    import pandas as pd

    from bedrest.io.manifest.resolve import InputProblem
    from bedrest.io.results import StudyResults
    from bedrest.settings import Study
    from bedrest.workflow.run import ExecutionOptions, RunOutcome

DONE, COULD_NOT, DONE_WITH_FAILURES = 0, 1, 3


def demo(args: argparse.Namespace) -> int:
    """Write the demo cohort, two subjects at a time."""
    from concurrent.futures import ProcessPoolExecutor
    from functools import partial

    import pandas as pd
    from tqdm import tqdm

    from bedrest.phantom.demo_cohort import DemoPlan, write_study_files, write_subject

    if args.subjects < 1 or args.sessions < 1:
        raise StudyError("at least one subject and one session", f"{args.subjects} and {args.sessions}",
                         "bedrest demo", "Give positive numbers.")
    plan = DemoPlan(args.subjects, args.sessions, args.seed)
    args.folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        jobs = pool.map(partial(write_subject, plan=plan, folder=args.folder), range(plan.subjects))
        truth = list(tqdm(jobs, total=plan.subjects, desc="synthetic subjects", unit="subject"))
    write_study_files(plan, args.folder, pd.concat(truth, ignore_index=True))
    print(f"Synthetic demo cohort: {args.folder}\nNext: bedrest run {args.folder / 'study.toml'}")
    return DONE


def check(args: argparse.Namespace) -> int:
    """Print every problem of a study."""
    from bedrest.io.manifest.corrections import check_edited, find_corrections
    from bedrest.io.manifest.resolve import build_manifest, check_manifest
    from bedrest.settings import load_study
    from bedrest.workflow.checks import manifest_problems, space_problem, study_problems
    from bedrest.workflow.locks import locked

    study = load_study(args.study)
    manifest = build_manifest(study, None)
    corrections = find_corrections(study, manifest)
    problems = [*check_manifest(study, manifest, whole=args.full), *corrections.problems,
                *check_edited(study, manifest, corrections.edited)]
    told = [str(p.problem) for p in problems]
    told += map(str, (*study_problems(study), *manifest_problems(study, manifest)))
    if (space := space_problem(study, manifest)) is not None:
        told.append(str(space))
    try:
        with locked(study.output_dir, to_read=True):
            pass
    except OutputError as error:
        told.append(str(error))
    for words in told:
        print(f"- {words}")
    n = f"{len(manifest.subjects)} subjects, {len(manifest.sessions)} visits, {len(manifest.scans)} files"
    if len(corrections.edited) or len(corrections.levels):
        n += f", {len(corrections.edited)} edited masks, {len(corrections.levels)} names set by hand"
    print(f"{study.name}: {n}; " + (f"{len(told)} problem(s)" if told else "no problems"))
    return COULD_NOT if told else DONE


def run(args: argparse.Namespace) -> int:
    """Everything, resumable."""
    from bedrest.io.results import StudyResults
    from bedrest.segmentation.device import resolve_device
    from bedrest.settings import load_study
    from bedrest.workflow.checks import stop_at, study_problems
    from bedrest.workflow.locks import locked
    from bedrest.workflow.run import ExecutionOptions, find_profile

    if args.batch < 1 or args.cores < 1:
        raise StudyError("at least one core, and one subject a job", f"{args.cores} and {args.batch}",
                         "--cores, --batch", "Give positive numbers.")
    study = load_study(args.study)
    execution = ExecutionOptions(find_profile(args.profile) if args.profile else None, args.batch, args.log_json)
    wanted = args.device or study.device
    stop_at(study_problems(study, device="auto" if execution.profile else wanted))  # before any image is read
    device = wanted if execution.profile else resolve_device(wanted)  # a cluster's nodes decide for themselves
    results = StudyResults(study.output_dir)
    with locked(study.output_dir) as lock:
        return _run(args, study, results, device, execution, lock)


def _run(args: argparse.Namespace, study: Study, results: StudyResults, device: str, execution: ExecutionOptions,
         lock: int) -> int:
    from bedrest.io.code_state import code_state
    from bedrest.io.files import remove_leftovers
    from bedrest.workflow.checks import manifest_problems, stop_at
    from bedrest.workflow.provenance import RunRecord, note_run, write_program
    from bedrest.workflow.run import prepare, run_workflow

    remove_leftovers(study.output_dir, spare=study.edited_dir)
    manifest, problems = prepare(study, results)
    for p in problems:
        print(f"- {p.problem}", file=sys.stderr)
    if manifest.subjects.empty:
        raise StudyError("at least one subject that can be analysed", "none", str(args.study),
                         "See the problems above, or run `bedrest check`.")
    stop_at(manifest_problems(study, manifest))
    write_program(results, study)
    began, clock = datetime.now(UTC), time.monotonic()
    outcome = run_workflow(study, results, manifest, cores=args.cores, device=device, execution=execution, lock=lock)
    status = _tell(outcome, results, problems)
    if outcome.redone:
        note_run(results, RunRecord(began.isoformat(timespec="seconds"), round(time.monotonic() - clock, 1), status,
                              dict(outcome.redone), args.cores, device, code_state()))
    return status


def _tell(outcome: RunOutcome, results: StudyResults, problems: list[InputProblem]) -> int:
    if not outcome.finished:
        print("A stage broke down; what was computed is kept.", *outcome.errors, f"All that was said: {outcome.log}",
              sep="\n", file=sys.stderr)
        return COULD_NOT
    if outcome.redone:
        print("Computed: " + ", ".join(f"{rule} x{n}" for rule, n in outcome.redone.items()))
        everything = outcome.redone.get("segment", 0) >= len(results.read_manifest(schemas.SUBJECTS))
        for line in [] if everything else outcome.reasons:
            print(f"  {line}")
    else:
        print("Nothing to do: every result is up to date.")
    failures = results.read(schemas.FAILURES)
    failed = failures[failures["status"] == Status.FAILED]
    for _, row in failed.head(20).iterrows():
        what = " ".join(str(row[c]) for c in ("subject", "session", "level") if row[c])
        print(f"failed: {row['stage']} {what}: {row['reason']}", file=sys.stderr)
    if len(failed) > 20:
        print(f"... {len(failed)} failures in all: {results.table(schemas.FAILURES)}", file=sys.stderr)
    pages = _tell_pages(results)
    flagged = int((failures["status"] == Status.FLAGGED).sum())
    print(f"{len(failed)} failed, {flagged} flagged\nLook at {results.index_html}")
    return DONE_WITH_FAILURES if len(failed) or problems or pages else DONE


def _tell_pages(results: StudyResults) -> int:
    """Name every page that could not be made; how many there are."""
    pages = results.read(schemas.REPORTS)
    failed = pages[pages["status"] == Status.FAILED]
    for _, row in failed.iterrows():
        print(f"failed: report {row['page']}: {row['reason']}", file=sys.stderr)
    return len(failed)


def segment(args: argparse.Namespace) -> int:
    """One scan -> one mask in the scan's own grid."""
    from bedrest.io.images.label_tables import write_label_files
    from bedrest.io.images.masks import label_table_path, write_label_map, write_volume
    from bedrest.segmentation.device import resolve_device
    from bedrest.segmentation.engine import segment as run_engine
    from bedrest.segmentation.weights import chosen_weights, load_weights
    from bedrest.stages.visits import Visit, scan_of

    paths = {c: getattr(args, c.value) for c in Contrast if getattr(args, c.value)}
    if not paths:
        raise StudyError("at least one contrast", "none", "bedrest segment",
                         "Give --water, --fat, --in-phase, --opposed or --t2.")
    for output in filter(None, (args.output, args.probabilities)):
        _refuse_overwrite(output, list(paths.values()))
    scan = scan_of(Visit("scan", "", {c.value: p for c, p in paths.items()}), resample=args.resample)
    result = run_engine(load_weights(chosen_weights(args.weights)), scan, device=resolve_device(args.device),
                        tissues=args.tissues == "all")
    like = next(iter(paths.values()))
    names = {**(TISSUE_OF_LABEL if result.tissues else LEVEL_OF_LABEL), **{f.label: f.name for f in result.findings}}
    write_label_map(result.tissues or result.discs, args.output, names=names, like=like)
    write_label_files(label_table_path(args.output).with_suffix(""), names)
    if args.probabilities:
        write_volume(result.disc_probability, args.probabilities, like=like)
    for warning in (*scan.notes, *result.warnings):
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{'level':10s} {'status':8s} p_disc p_level reason")
    for f in result.findings:
        print(f"{f.name:10s} {f.status:8s} {f.mean_probability:6.2f} {f.level_confidence:7.2f} {f.reason}")
    found = any(f.status != Status.FAILED for f in result.findings)
    return DONE if found else DONE_WITH_FAILURES


def measure(args: argparse.Namespace) -> int:
    """A mask made by anyone -> measures of its discs."""
    from bedrest.anatomy.levels import parse_levels
    from bedrest.io.images.masks import read_label_map
    from bedrest.io.images.nifti import read_volume
    from bedrest.io.tables.typed_csv import write_table
    from bedrest.measure.discs import measure_discs
    from bedrest.measure.quality import unknown_labels
    from bedrest.measure.spine_checks import checked
    from bedrest.tables.measures import VisitKey, measures_frame

    levels = parse_levels(args.levels) if args.levels else dict(LEVEL_OF_LABEL)
    mask = read_label_map(args.mask, where="mask")
    images = {}
    if args.image:
        image = read_volume(args.image, where="image")
        if image.grid.max_corner_distance_mm(mask.grid) > 0.1:
            raise ImageError("an image on the mask's grid", f"{image.grid.shape} against {mask.grid.shape}, or another "
                             "affine", str(args.image), "Resample one onto the other first.")
        images = {Contrast.WATER: image}
    _refuse_overwrite(args.output, [args.mask])
    measures = checked(measure_discs(mask, levels, images), mask)
    key = VisitKey(args.mask.name.split(".")[0], "", "", float("nan"), "")
    frame = measures_frame(measures, visit=key, source="automatic", mask_origin="given")
    frame = frame.rename(columns={"signal_water": "signal", "subject": "mask"})[schemas.MASK_MEASURES.column_names]
    write_table(frame, args.output, schemas.MASK_MEASURES)
    for label, n in unknown_labels(mask, levels).items():
        print(f"warning: label {label} ({n} voxels) is not among the levels asked for", file=sys.stderr)
    return _tell_rows(frame, args.output)


def evaluate(args: argparse.Namespace) -> int:
    """Two masks -> agreement by level."""
    from bedrest.anatomy.levels import parse_levels
    from bedrest.io.images.masks import read_label_map
    from bedrest.io.tables.typed_csv import write_table
    from bedrest.measure.agreement import compare_masks
    from bedrest.tables.measures import VisitKey, accuracy_frame

    levels = parse_levels(args.levels) if args.levels else dict(LEVEL_OF_LABEL)
    reference_levels = parse_levels(args.reference_levels) if args.reference_levels else dict(LEVEL_OF_LABEL)
    predicted = read_label_map(args.predicted, where="predicted mask")
    reference = read_label_map(args.reference, where="reference mask")
    _refuse_overwrite(args.output, [args.predicted, args.reference])
    agreement = compare_masks(predicted, reference, levels=levels, reference_levels=reference_levels)
    key = VisitKey(args.predicted.name.split(".")[0], "", "", float("nan"), "")
    frame = accuracy_frame(agreement, visit=key).rename(columns={"subject": "mask"})
    frame = frame[schemas.MASK_ACCURACY.column_names]
    write_table(frame, args.output, schemas.MASK_ACCURACY)
    shown = frame[["level", "dice", "centre_distance_mm", "assd_mm", "hausdorff_mm", "volume_error_percent", "status"]]
    print(shown.round(3).to_string(index=False))
    return _tell_rows(frame, args.output)


def report(args: argparse.Namespace) -> int:
    """Reports again from stored results."""
    from bedrest.pages.index import write_index
    from bedrest.pages.reports import make_reports, stored_results
    from bedrest.settings import load_study
    from bedrest.workflow.locks import locked
    from bedrest.workflow.provenance import write_provenance
    from bedrest.workflow.records import renew

    study = load_study(args.study)
    results = stored_results(study)
    with locked(study.output_dir):
        pages = make_reports(study, results, subject=args.subject, cores=args.cores)
        write_index(results, study)
        write_provenance(results, study)
        renew(results, "subject_report", "cohort_report", "page", "index")
    print(f"Look at {results.index_html if args.subject is None else results.subject_html(args.subject)}")
    return DONE_WITH_FAILURES if (pages["status"] == Status.FAILED).any() else DONE


def _refuse_overwrite(output: Path, inputs: list[Path]) -> None:
    if any(output.resolve() == p.resolve() for p in inputs):
        raise StudyError("an output file of its own", "the same file as an input", str(output),
                         "Choose another name with -o.")


def _tell_rows(frame: pd.DataFrame, output: Path) -> int:
    bad = frame[frame["status"] != Status.OK]
    for _, row in bad.iterrows():
        print(f"{row['status']}: {row['level']}: {row['reason']}", file=sys.stderr)
    print(f"{len(frame)} discs, {len(bad)} not ok: {output}")
    return DONE if bad.empty else DONE_WITH_FAILURES
