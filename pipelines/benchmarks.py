"""`bedrest benchmark-engine`: measures the engine against its targets and writes what came out.

Orders the work; the measuring is in `analysis.benchmarks`. What cannot be measured here is said, never made up.
"""

from __future__ import annotations

import argparse
import os
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from analysis import __version__
from analysis.errors import StudyError

if TYPE_CHECKING:
    from analysis.benchmarks.records import Part
    from analysis.phantom.cohort import DemoPlan
    from analysis.segmentation.weights import TrainedNetwork

ROOT = Path(__file__).resolve().parents[1]
SESSIONS = 3
_HEAD = """# What the engine reaches, measured

Every number here was measured by one command, or says why it was not. The cohort and the scans for timing are
synthetic: drawn from seeds that training never used, rendered as Dixon at an SNR of {snr:g}. Real scans are named as
such; none of them was used in training. Numbers of Li et al. (Med Image Anal 2018;45:41) are of other, real scans and
only say what is usual. A disc that was not found counts as a Dice of 0 and as a wrong level.

- made by `{command}`
- bedrest {version}, torch {torch}, seed {seed}, {subjects} subjects x {sessions} visits
- weights `{weights}`, sha256 `{sha256}`
- training record: {record}
- machine: {cpu}, {cores} cores; device {device}
- every disc: [{csv}]({csv})
"""


def benchmark_engine(args: argparse.Namespace) -> int:
    """Measure what was asked for, print the table of targets, write page and discs."""
    from analysis.benchmarks.engine_cohort import SEED
    from analysis.benchmarks.records import DISCS
    from analysis.benchmarks.targets import BY_NAME, Verdict, not_measured
    from analysis.io.files import write_text
    from analysis.io.tables import write_table
    from analysis.phantom.cohort import DemoPlan
    from analysis.segmentation.device import resolve_device
    from analysis.segmentation.weights import SHIPPED, load_weights
    from analysis.tables.frames import typed_frame

    if args.subjects < 1:
        raise StudyError("at least one subject", str(args.subjects), "--subjects", "Give a positive number.")
    if args.output.suffix != ".md":
        raise StudyError("a file name ending in .md", args.output.name, "--output", "Choose another name with -o.")
    weights = (args.weights or SHIPPED).resolve()
    trained, device, plan = load_weights(weights), resolve_device(args.device), DemoPlan(args.subjects, SESSIONS, SEED)
    wanted = [name for name in BY_NAME if name in (args.rows or BY_NAME)]
    parts = _measure(args, wanted, trained, weights=weights, plan=plan, device=device)
    checks = [c for name in BY_NAME
              for c in (parts[name].checks if name in parts else not_measured(name, "left out by --rows"))]
    csv = args.output.with_suffix(".csv")
    head = _head(args, trained, weights=weights, plan=plan, device=device, csv=csv)
    table = _table(checks)
    details = [p.detail for p in parts.values() if p.detail]
    write_table(typed_frame([row for p in parts.values() for row in p.rows], DISCS), csv, DISCS)
    write_text(args.output, "\n".join([head, table, _legend(), *details]))
    print(table)
    counts = {v: sum(c.verdict == v for c in checks) for v in (Verdict.MET, Verdict.MISSED, Verdict.NOT_MEASURED)}
    print(f"{counts[Verdict.MET]} targets met, {counts[Verdict.MISSED]} missed, {counts[Verdict.NOT_MEASURED]} numbers "
          f"not measured: {args.output}, {csv}")
    return 0


def _measure(args: argparse.Namespace, wanted: list[str], trained: TrainedNetwork, *, weights: Path, plan: DemoPlan,
             device: str) -> dict[str, Part]:
    """The parts asked for, by name of the row."""
    from analysis.benchmarks import engine_cohort, engine_real, engine_speed
    from analysis.phantom.cohort import plan_visits

    parts: dict[str, Part] = {}
    # Timing first, while this process is small and the machine cool.
    timings: dict[str, Callable[[Path, DemoPlan, Path], Part]] = {
        "speed": engine_speed.speed, "sliding-window": engine_speed.sliding_window, "gpu": engine_speed.gpu}
    for name in [n for n in wanted if n in timings]:
        print(f"measuring: {name}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            parts[name] = timings[name](weights, plan, Path(folder))
    reports: dict[str, Callable[[engine_cohort.CohortFindings], Part]] = {
        "synthetic": engine_cohort.report_synthetic,
        "volumes": lambda found: engine_cohort.report_volumes(
            found, reference_session=plan_visits(SESSIONS)[0].session),
        "contrasts": engine_cohort.report_contrasts}
    if asked := [name for name in wanted if name in reports]:
        found = engine_cohort.look_at(trained, plan, device, dixon=asked != ["contrasts"], alone="contrasts" in asked)
        parts |= {name: reports[name](found) for name in asked}
    real = args.real or Path(os.environ.get("BEDREST_REAL_DATA", ROOT.parent / "shared" / "data" / "real"))
    for name, look in (("t2-discs", engine_real.drawn_discs), ("vertebrae", engine_real.between_vertebrae)):
        if name in wanted:
            print(f"measuring: {name}", flush=True)
            parts[name] = look(trained, real, device)
    if "nnunet" in wanted:
        parts["nnunet"] = engine_speed.nnunet(args.nnunet)
    return {name: parts[name] for name in wanted}


def _head(args: argparse.Namespace, trained: TrainedNetwork, *, weights: Path, plan: DemoPlan, device: str,
          csv: Path) -> str:
    """What was measured, on what, with what: no date, so that the same run gives the same page."""
    from importlib.metadata import version

    from analysis.benchmarks.engine_cohort import SNR
    from analysis.benchmarks.engine_speed import cpu_model
    from analysis.io.files import sha256_of

    words = ["bedrest", "benchmark-engine", "--device", args.device, "--subjects", str(args.subjects)]
    for flag, value in (("--weights", args.weights), ("--real", args.real), ("--nnunet", args.nnunet)):
        words += [flag, str(value)] if value else []
    words += ["--rows", *args.rows] if args.rows else []
    record = ", ".join(f"{k} {v}" for k, v in trained.record.items() if isinstance(v, str | int | float))
    return _HEAD.format(
        snr=SNR, command=shlex.join([*words, "-o", str(args.output)]), version=__version__, torch=version("torch"),
        seed=plan.seed, subjects=plan.subjects, sessions=plan.sessions, weights=weights.name,
        sha256=sha256_of(weights), record=record or "none", cpu=cpu_model(), cores=os.cpu_count(), device=device,
        csv=csv.name)


def _table(checks: list) -> str:
    """Measured beside target, one line a number."""
    from analysis.benchmarks.records import markdown_table
    from analysis.benchmarks.targets import BY_NAME

    numbers = {name: i for i, name in enumerate(BY_NAME, start=1)}
    lines = [[f"{numbers[c.row]} {c.row}" if i == 0 or checks[i - 1].row != c.row else "", c.what, c.measured or "-",
              c.target, c.verdict.value, c.note] for i, c in enumerate(checks)]
    return markdown_table(["row", "number", "measured", "target", "met", "note"], lines)


def _legend() -> str:
    """What each row is measured on, and why its targets are what they are."""
    from analysis.benchmarks.targets import ROWS

    return "".join(f"{i}. **{row.name}**: {row.subject}. Why these targets: {row.why}.\n"
                   for i, row in enumerate(ROWS, start=1))
