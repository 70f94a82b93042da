"""`bedrest benchmark-engine`: measures the engine against its targets and writes what came out.

Orders the work; the measuring is in `analysis.benchmarks`. What cannot be measured here is said, never made up.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.benchmarks.pages import check_page, legend, origin, target_table, told_counts

if TYPE_CHECKING:
    from bedrest.phantom.demo_cohort import DemoPlan
    from bedrest.protocols.disc_records import Part
    from bedrest.segmentation.weights import TrainedNetwork

ROOT = Path(__file__).resolve().parents[3]
SESSIONS = 3
_HEAD = """# What the engine reaches, measured

Every number here was measured by one command, or says why it was not. The cohort and the scans for timing are
synthetic: drawn from seeds that training never used, rendered as Dixon at an SNR of {snr:g}. Real scans are named as
such; none of them was used in training. Numbers of Li et al. (Med Image Anal 2018;45:41) are of other, real scans and
only say what is usual. A disc that was not found counts as a Dice of 0 and as a wrong level.

{origin}- every disc: [{csv}]({csv})
"""


def benchmark_engine(args: argparse.Namespace) -> int:
    """Measure what was asked for, print the table of targets, write page and discs."""
    from bedrest.io.files import write_text
    from bedrest.io.tables.frames import typed_frame
    from bedrest.io.tables.typed_csv import write_table
    from bedrest.phantom.demo_cohort import DemoPlan
    from bedrest.protocols.disc_records import DISCS
    from bedrest.segmentation.device import resolve_device
    from bedrest.segmentation.weights import SHIPPED, load_weights

    from pipelines.benchmarks.engine.cohort import SEED
    from pipelines.benchmarks.targets import ENGINE, not_measured

    check_page(args)
    weights = (args.weights or SHIPPED).resolve()
    trained, device, plan = load_weights(weights), resolve_device(args.device), DemoPlan(args.subjects, SESSIONS, SEED)
    names = [row.name for row in ENGINE]
    wanted = [name for name in names if name in (args.rows or names)]
    parts = _measure(args, wanted, trained, weights=weights, plan=plan, device=device)
    checks = [c for name in names
              for c in (parts[name].checks if name in parts else not_measured(name, "left out by --rows"))]
    csv = args.output.with_suffix(".csv")
    head = _head(args, trained, weights=weights, plan=plan, device=device, csv=csv)
    table = target_table(checks, ENGINE)
    details = [p.detail for p in parts.values() if p.detail]
    write_table(typed_frame([row for p in parts.values() for row in p.rows], DISCS), csv, DISCS)
    write_text(args.output, "\n".join([head, table, legend(ENGINE), *details]))
    print(table)
    print(f"{told_counts(checks)}: {args.output}, {csv}")
    return 0


def _measure(args: argparse.Namespace, wanted: list[str], trained: TrainedNetwork, *, weights: Path, plan: DemoPlan,
             device: str) -> dict[str, Part]:
    """The parts asked for, by name of the row."""
    from bedrest.phantom.demo_cohort import plan_visits

    from pipelines.benchmarks.engine import cohort as engine_cohort
    from pipelines.benchmarks.engine import real as engine_real
    from pipelines.benchmarks.engine import speed as engine_speed

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
    """What was measured, on what, with what."""
    from pipelines.benchmarks.engine.cohort import SNR

    words = ["bedrest", "benchmark-engine", "--device", args.device, "--subjects", str(args.subjects)]
    for flag, value in (("--weights", args.weights), ("--real", args.real), ("--nnunet", args.nnunet)):
        words += [flag, str(value)] if value else []
    words += ["--rows", *args.rows] if args.rows else []
    drawn = f"seed {plan.seed}, {plan.subjects} subjects x {plan.sessions} visits"
    return _HEAD.format(snr=SNR, csv=csv.name, origin=origin(
        [*words, "-o", str(args.output)], trained, weights=weights, drawn=drawn, device=device))
