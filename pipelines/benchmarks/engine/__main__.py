"""`python -m pipelines.benchmarks.engine`: measures the engine against its targets and writes what came out.

Orders the work; the measuring is in the modules beside it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from pipelines.benchmarks.pages import (
    Device,
    PageFile,
    WeightsFile,
    check_page,
    check_subjects,
    legend,
    network_facts,
    origin,
    target_table,
    verdict_counts,
    write_page,
)
from pipelines.benchmarks.targets import ENGINE, not_measured
from pipelines.command_line import command_text, run_command

if TYPE_CHECKING:
    from bedrest.phantom.demo_cohort import DemoPlan
    from bedrest.segmentation.weights import TrainedNetwork

    from pipelines.benchmarks.pages import Part

MODULE = "pipelines.benchmarks.engine"
ROOT = Path(__file__).resolve().parents[3]
SESSIONS = 3
RowName = Literal["synthetic", "volumes", "contrasts", "t2-discs", "vertebrae", "speed", "sliding-window", "gpu",
                  "nnunet"]
_HEAD = """# What the engine reaches, measured

Every number here was measured by one command, or has the reason why it was not. The cohort and the scans for timing are
synthetic: drawn from seeds that training never used, rendered as Dixon at an SNR of {snr:g}. Real scans are named as
such; none of them was used in training. Numbers of Li et al. (Med Image Anal 2018;45:41) are of other, real scans and
only show what is usual. A disc that was not found counts as a Dice of 0 and as a wrong level.

{origin}"""


@dataclass(frozen=True)
class EngineBenchmark:
    """Measure the engine against its targets.

    Attributes
    ----------
    device
        Where networks run.
    subjects
        Of the synthetic cohort, three visits each.
    weights
        Network to judge; default: the shipped one.
    real
        Folder of real data; default: $BEDREST_REAL_DATA, or shared/data/real beside the repository.
    nnunet
        result.json of pipelines.benchmarks.nnunet.
    rows
        Rows of the table to measure; default: all.
    output
        The page; every disc goes into a .csv beside it.
    """

    device: Device = "auto"
    subjects: int = 8
    weights: WeightsFile = None
    real: Annotated[Path | None, arg(metavar="FOLDER")] = None
    nnunet: Annotated[Path | None, arg(metavar="JSON")] = None
    rows: tuple[RowName, ...] = ()
    output: PageFile = Path("docs/engine_benchmark.md")


def run(options: EngineBenchmark) -> int:
    """Measure the rows, print the table of targets, write page and discs."""
    from bedrest.io.tables.frames import typed_frame
    from bedrest.phantom.demo_cohort import DemoPlan
    from bedrest.segmentation.device import resolve_device
    from bedrest.segmentation.weights import SHIPPED, load_weights

    from pipelines.benchmarks.engine.synthetic_visits import SEED, SNR
    from pipelines.benchmarks.result_tables import ENGINE_DISCS

    check_subjects(options.subjects)
    check_page(options.output)
    weights = (options.weights or SHIPPED).resolve()
    trained, device = load_weights(weights), resolve_device(options.device)
    plan = DemoPlan(options.subjects, SESSIONS, SEED)
    parts = _measure(options, trained, weights=weights, plan=plan, device=device)
    checks = [c for row in ENGINE for c in (parts[row.name].checks if row.name in parts else
                                            not_measured(row.name, "left out by --rows"))]
    csv = options.output.with_suffix(".csv").name
    head = _HEAD.format(snr=SNR, origin=origin(
        command_text(options, module=MODULE), f"seed {plan.seed}, {plan.subjects} subjects x {plan.sessions} visits",
        *network_facts(trained, weights, device), f"every disc: [{csv}]({csv})"))
    table = target_table(checks, ENGINE)
    details = [p.detail for p in parts.values() if p.detail]
    print(table)
    print(f"{verdict_counts(checks)}:", end=" ")
    write_page(options.output, [head, table, legend(ENGINE), *details],
               typed_frame([row for p in parts.values() for row in p.rows], ENGINE_DISCS), ENGINE_DISCS)
    return 0


def _measure(options: EngineBenchmark, trained: TrainedNetwork, *, weights: Path, plan: DemoPlan,
             device: str) -> dict[str, Part]:
    """The rows to measure, in the order of the table, by name."""
    from bedrest.phantom.demo_cohort import plan_visits

    from pipelines.benchmarks.engine import real, speed, synthetic_visits

    wanted = [row.name for row in ENGINE if not options.rows or row.name in options.rows]
    parts: dict[str, Part] = {}
    # Timing first, while this process is small and the machine cool.
    timings: dict[str, Callable[[Path, DemoPlan, Path], Part]] = {
        "speed": speed.speed, "sliding-window": speed.sliding_window, "gpu": speed.gpu}
    for name in [n for n in wanted if n in timings]:
        print(f"measuring: {name}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            parts[name] = timings[name](weights, plan, Path(folder))
    reports: dict[str, Callable[[synthetic_visits.CohortScores], Part]] = {
        "synthetic": synthetic_visits.report_synthetic,
        "volumes": lambda scores: synthetic_visits.report_volumes(
            scores, reference_session=plan_visits(SESSIONS)[0].session),
        "contrasts": synthetic_visits.report_contrasts}
    if names := [name for name in wanted if name in reports]:
        scores = synthetic_visits.score_cohort(trained, plan, device, dixon=names != ["contrasts"],
                                               alone="contrasts" in names)
        parts |= {name: reports[name](scores) for name in names}
    folder_of_real = options.real or Path(os.environ.get("BEDREST_REAL_DATA", ROOT.parent / "shared" / "data" / "real"))
    for name, judge_real in (("t2-discs", real.manual_discs), ("vertebrae", real.between_vertebrae)):
        if name in wanted:
            print(f"measuring: {name}", flush=True)
            parts[name] = judge_real(trained, folder_of_real, device)
    if "nnunet" in wanted:
        parts["nnunet"] = speed.nnunet(options.nnunet)
    return {name: parts[name] for name in wanted}


if __name__ == "__main__":
    sys.exit(run_command(EngineBenchmark, run, module=MODULE))
