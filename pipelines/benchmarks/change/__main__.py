"""`python -m pipelines.benchmarks.change`: how well change is measured, on synthetic subjects.

Orders the work; the measuring is in `synthetic_subjects`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bedrest.errors import StudyError

from pipelines.benchmarks.pages import (
    Device,
    PageFile,
    WeightsFile,
    check_page,
    check_subjects,
    legend,
    network_facts,
    origin,
    subjects_text,
    target_table,
    verdict_counts,
    write_page,
)
from pipelines.benchmarks.targets import CHANGE
from pipelines.command_line import command_text, run_command

if TYPE_CHECKING:
    from pipelines.benchmarks.change.synthetic_subjects import Condition

MODULE = "pipelines.benchmarks.change"
CONDITION_SUBJECTS = 3
FIGURE = "change_ablation"
ConditionName = Literal["all", "none", "sub-voxel", "turned", "thick-slices", "noisy", "bias-field", "water", "t2",
                        "t1"]
_HEAD = """# How well change is measured

Every number here was measured by one command, or has the reason why it was not. All of it is synthetic: subjects drawn
from a seed that training and the fit of errors never used, scanned three times at an SNR of {snr:g}: a baseline, a
repetition with nothing changed, and one with every disc grown by {growth:g} %. Subjects are repositioned at every visit
(SD {shift:g} mm along and {turn:g} degree about each axis), with new noise, texture and coil. A disc that was not found
has no volume: notes count it, and in every share it counts against the method. Real scans have faults that synthetic
ones lack.

{origin}"""
_FIGURE = """![Bias by level, scan-rescan difference, error of change; synthetic scans](figures/{name}.png)

Synthetic scans, standard condition. Each point of the two right panels is one disc of one subject.
"""


@dataclass(frozen=True)
class ChangeBenchmark:
    """Measure how well volumes and their change are measured, on synthetic subjects.

    Attributes
    ----------
    subjects
        Synthetic subjects, three visits each.
    device
        Where the network runs.
    weights
        Network to judge; default: the shipped one.
    conditions
        Further conditions, three subjects each: all, none, or some of the others.
    output
        The page; a .csv of every disc and figures/ go beside it.
    """

    subjects: int = 16
    device: Device = "cpu"
    weights: WeightsFile = None
    conditions: tuple[ConditionName, ...] = ("all",)
    output: PageFile = Path("docs/change_benchmark.md")


def run(options: ChangeBenchmark) -> int:
    """Measure synthetic subjects by every method, print the table of targets, write page, discs and figure."""
    from bedrest.figures.style import save_figure
    from bedrest.io.files import sha256_of
    from bedrest.longitudinal.error_model import errors_path, load_errors
    from bedrest.segmentation.device import resolve_device
    from bedrest.segmentation.weights import chosen_weights, load_weights

    from pipelines.benchmarks.change.figure import change_ablation
    from pipelines.benchmarks.change.report import conditions_table, report_standard
    from pipelines.benchmarks.change.synthetic_subjects import GROWTH, SEED, SNR, STANDARD, measure_subjects
    from pipelines.benchmarks.result_tables import CHANGE_DISCS

    check_subjects(options.subjects)
    check_page(options.output)
    conditions, few = _conditions(options.conditions), min(options.subjects, CONDITION_SUBJECTS)
    weights = chosen_weights(options.weights).resolve()
    trained, device = load_weights(weights), resolve_device(options.device)
    model = load_errors(weights, sha256=sha256_of(weights))
    frame = measure_subjects(trained, [(STANDARD, options.subjects), *((c, few) for c in conditions)], seed=SEED,
                             device=device, errors=model)
    part, csv = report_standard(frame, model), options.output.with_suffix(".csv").name
    head = _HEAD.format(
        snr=SNR, growth=100 * GROWTH, shift=STANDARD.shift_mm, turn=STANDARD.turn_deg, origin=origin(
            command_text(options, module=MODULE), f"seed {SEED}, {subjects_text(options.subjects)} x 3 visits",
            *network_facts(trained, weights, device),
            f"errors: {f'`{errors_path(weights).name}`, made by `make fit-errors`' if model else 'not known'}",
            f"every disc: [{csv}]({csv})"))
    table = target_table(part.checks, CHANGE)
    named = [(c.name, c.words) for c in conditions if c.name in {*frame["condition"]}]
    further = [conditions_table(frame, named, subjects=few)] if named else []
    save_figure(change_ablation(frame), options.output.parent / "figures" / FIGURE, endings=("png",))
    print(table)
    print(f"{verdict_counts(part.checks)}:", end=" ")
    write_page(options.output, [head, table, legend(CHANGE), _FIGURE.format(name=FIGURE), part.detail, *further], frame,
               CHANGE_DISCS)
    return 0


def _conditions(names: tuple[str, ...]) -> list[Condition]:
    """The further conditions that were chosen, in the order of the page."""
    from pipelines.benchmarks.change.synthetic_subjects import FURTHER

    if len(names) > 1 and {"all", "none"} & set(names):
        raise StudyError("all, none, or names", " ".join(names), "--conditions", "Give one of them.")
    return [c for c in FURTHER if c.name in names or names == ("all",)]


if __name__ == "__main__":
    sys.exit(run_command(ChangeBenchmark, run, module=MODULE))
