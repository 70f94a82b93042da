"""`bedrest benchmark-change` and `bedrest fit-errors`: how well change is measured, and how sure one may be of it.

Orders the work; the measuring is in `analysis.benchmarks`. What cannot be measured here is said, never made up.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bedrest.errors import StudyError

from pipelines.benchmarks.pages import check_page, check_subjects, legend, origin, target_table, told_counts

if TYPE_CHECKING:
    from pipelines.benchmarks.change.cohort import Condition

CONDITION_PEOPLE = 3
FIGURE = "change_ablation"
_HEAD = """# How well change is measured

Every number here was measured by one command, or says why it was not. All of it is synthetic: people drawn from a seed
that training and the fit of errors never used, scanned three times at an SNR of {snr:g}: a baseline, a repetition with
nothing changed, and one with every disc grown by {growth:g} %. At every visit a person lies anew (SD {shift:g} mm along
and {turn:g} degree about each axis), with new noise, texture and coil. A disc that was not found has no volume: notes
count it, and in every share it counts against the method. Real scans have faults that synthetic ones lack.

{origin}- errors: {errors}
- every disc: [{csv}]({csv})
"""
_FIGURE = """![Bias by level, scan-rescan difference, error of change; synthetic scans](figures/{name}.png)

Synthetic scans, standard condition. Each point of the two right panels is one disc of one person.
"""


def benchmark_change(args: argparse.Namespace) -> int:
    """Measure synthetic people in every way, print the table of targets, write page, discs and figure."""
    from bedrest.figures.style import save_figure
    from bedrest.io.files import sha256_of, write_text
    from bedrest.io.tables.typed_csv import write_table
    from bedrest.longitudinal.error_model import errors_path, load_errors
    from bedrest.segmentation.device import resolve_device
    from bedrest.segmentation.weights import chosen_weights, load_weights

    from pipelines.benchmarks.change.cohort import GROWTH, SEED, SNR, STANDARD, measure_people
    from pipelines.benchmarks.change.figure import change_ablation
    from pipelines.benchmarks.change.records import CHANGE_DISCS
    from pipelines.benchmarks.change.report import conditions_table, report_standard
    from pipelines.benchmarks.targets import CHANGE

    check_page(args)
    conditions, few = _conditions(args.conditions), min(args.subjects, CONDITION_PEOPLE)
    weights = chosen_weights(args.weights).resolve()
    trained, device = load_weights(weights), resolve_device(args.device)
    model = load_errors(weights, sha256=sha256_of(weights))
    frame = measure_people(trained, [(STANDARD, args.subjects), *((c, few) for c in conditions)], seed=SEED,
                           device=device, errors=model)
    part, csv = report_standard(frame, model), args.output.with_suffix(".csv")
    words = ["bedrest", "benchmark-change", "--subjects", str(args.subjects), "--device", args.device,
             *(["--weights", str(args.weights)] if args.weights else []), "--conditions", *args.conditions,
             "-o", str(args.output)]
    head = _HEAD.format(
        snr=SNR, growth=100 * GROWTH, shift=STANDARD.shift_mm, turn=STANDARD.turn_deg, csv=csv.name,
        origin=origin(words, trained, weights=weights, device=device,
                      drawn=f"seed {SEED}, {args.subjects} {_people(args.subjects)} x 3 visits"),
        errors=f"`{errors_path(weights).name}`, made by `bedrest fit-errors`" if model else "not known")
    table = target_table(part.checks, CHANGE)
    named = [(c.name, c.words) for c in conditions]
    further = [conditions_table(frame, named, people=few)] if named else []
    figure = _FIGURE.format(name=FIGURE)
    write_table(frame, csv, CHANGE_DISCS)
    save_figure(change_ablation(frame), args.output.parent / "figures" / FIGURE, endings=("png",))
    write_text(args.output, "\n".join([head, table, legend(CHANGE), figure, part.detail, *further]))
    print(table)
    print(f"{told_counts(part.checks)}: {args.output}, {csv}")
    return 0


def _people(n: int) -> str:
    return "person" if n == 1 else "people"


def _conditions(names: list[str]) -> list[Condition]:
    """The further conditions asked for, in the order of the page."""
    from pipelines.benchmarks.change.cohort import FURTHER

    if len(names) > 1 and {"all", "none"} & set(names):
        raise StudyError("all, none, or names", " ".join(names), "--conditions", "Give one of them.")
    return [c for c in FURTHER if c.name in names or names == ["all"]]


def fit_errors(args: argparse.Namespace) -> int:
    """Measure other synthetic people, fit the errors of the weights, write them beside the weights."""
    from bedrest.io.files import sha256_of, write_text
    from bedrest.longitudinal.error_model import ErrorModel, errors_path, errors_text
    from bedrest.protocols.disc_records import markdown_table
    from bedrest.segmentation.device import resolve_device
    from bedrest.segmentation.weights import chosen_weights, load_weights

    from pipelines.benchmarks.change.cohort import measure_people
    from pipelines.benchmarks.change.errors import SEED, asked_of
    from pipelines.benchmarks.change.errors import fit_errors as fit

    check_subjects(args.subjects)
    weights = chosen_weights(args.weights)
    trained, device = load_weights(weights), resolve_device(args.device)
    found = fit(measure_people(trained, asked_of(args.subjects), seed=SEED, device=device))
    write_text(errors_path(weights), errors_text(ErrorModel(sha256_of(weights), found)))
    print(markdown_table(
        ["contrasts", "method", "truth: floor", "slope", "repeat: floor", "slope", "discs"],
        [[contrasts, method, *(f"{x:g}" for x in (e.truth.floor, e.truth.slope, e.repeat.floor, e.repeat.slope)),
          str(e.discs)] for contrasts, by_method in found.items() for method, e in by_method.items()]))
    print(f"Errors of {weights.name}, from synthetic scans: {errors_path(weights)}")
    return 0
