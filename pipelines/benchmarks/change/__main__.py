"""`python -m pipelines.benchmarks.change`: how well change is measured, on subjects of several makers.

Orders the work; the makers are in `makers`, the measuring is in `known_visits`.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from bedrest.errors import StudyError
from tyro.conf import arg

from pipelines.benchmarks.pages import (
    Device,
    PageFile,
    WeightsFile,
    check_page,
    check_subjects,
    network_facts,
    origin,
    subjects_text,
    verdict_counts,
    write_page,
)
from pipelines.command_line import command_text, run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from bedrest.longitudinal.error_model import ErrorModel
    from bedrest.segmentation.weights import TrainedNetwork

    from pipelines.benchmarks.change.known_visits import Job
    from pipelines.benchmarks.change.makers import Maker
    from pipelines.benchmarks.change.synthetic_subjects import Condition
    from pipelines.benchmarks.targets import Check

MODULE = "pipelines.benchmarks.change"
CONDITION_SUBJECTS = 3
FIGURES = ("change_makers", "change_ablation")
ConditionName = Literal["all", "none", "sub-voxel", "turned", "thick-slices", "noisy", "bias-field"]
MakerName = Literal["all", "own", "second", "real-anatomy", "real-t2", "real-repeats"]
SetName = Literal["standard", "water", "t2", "t1", "in_phase"]
_HEAD = """# How well change is measured

Every number here was measured by one command, or has the reason why it was not. Each column is another maker of scans,
and only the first is the one that training draws from: no number should be quoted from one alone.

{makers}

Each subject is scanned at baseline, again with nothing changed, with every disc grown by {growth:g} %, and with a
change of its own in each disc, between {least:+g} and {most:+g} %; bones stay rigid. Subjects are repositioned at
every visit (SD 2 mm along and 1 degree about each axis; in real scans with thick slices, less across them), with new
noise. Slope is that of a straight line of measured on true change. A disc that was not found, or goes by another disc's
name, has no volume, and in every share it counts against the method. Beyond error: farther from 0 than 1.96 standard
errors.

{origin}"""
_FIGURE = """![Error of change, maker by maker and way by way](figures/{0}.png)

Each point is one disc of one subject, from baseline to another visit.

![Own phantom: bias by level, scan-rescan difference, error of change](figures/{1}.png)

Own phantom, four Dixon contrasts. Each point of the two right panels is one disc of one subject.
"""


@dataclass(frozen=True)
class ChangeBenchmark:
    """Measure how well volumes and their change are measured, on subjects of several makers.

    Attributes
    ----------
    subjects
        Subjects of each maker, four visits each, or as many as there are.
    maker
        Whose subjects: all, or some of the others.
    contrasts
        Sets of contrasts: standard (four Dixon contrasts), water, t2, t1, in_phase (real T1 given as in-phase); each
        maker is scanned with those it can show.
    device
        Where the network runs.
    weights
        Network to judge; default: the shipped one.
    conditions
        Further conditions of our own phantom, three subjects each: all, none, or some of the others.
    work
        Keeps the rows of finished subjects, in a folder for this code and these weights, so that a run can go on.
    output
        The page; a .csv of every disc and figures/ go beside it.
    """

    subjects: int = 16
    maker: Annotated[tuple[MakerName, ...], arg(aliases=["--makers"])] = ("all",)
    contrasts: tuple[SetName, ...] = ("standard", "t2", "t1", "in_phase")
    device: Device = "cpu"
    weights: WeightsFile = None
    conditions: tuple[ConditionName, ...] = ("all",)
    work: Path = Path("reports/change_benchmark")
    output: PageFile = Path("docs/change_benchmark.md")


def run(options: ChangeBenchmark) -> int:
    """Measure subjects by every method, print the tables, write page, discs and figures."""
    from bedrest.figures.style import save_figure
    from bedrest.io.files import sha256_of
    from bedrest.longitudinal.error_model import errors_path, load_errors
    from bedrest.segmentation.device import resolve_device
    from bedrest.segmentation.weights import chosen_weights, load_weights

    from pipelines.benchmarks.change.figure import change_ablation, makers_ablation
    from pipelines.benchmarks.change.known_visits import measure_jobs
    from pipelines.benchmarks.result_tables import CHANGE_DISCS

    check_subjects(options.subjects)
    check_page(options.output)
    makers, conditions = _makers(options.maker), _conditions(options.conditions)
    weights = chosen_weights(options.weights).resolve()
    trained, device = load_weights(weights), resolve_device(options.device)
    model = load_errors(weights, sha256=sha256_of(weights))
    jobs = _jobs(options, makers, conditions, trained)
    frame = measure_jobs(trained, jobs, device=device, errors=model, folder=options.work / state_of(weights))
    tables, rest, checks = _sections(frame, conditions, model)
    fitted = f"`{errors_path(weights).name}`, made by `make fit-errors`" if model else "not known"
    head = _head(options, makers, frame, (*network_facts(trained, weights, device), f"errors: {fitted}"))
    for name, draw in zip(FIGURES, (makers_ablation, change_ablation), strict=True):
        save_figure(draw(frame), options.output.parent / "figures" / name, endings=("png",))
    print("\n".join(tables))
    print(f"{verdict_counts(checks)}:", end=" ")
    write_page(options.output, [head, *tables, *rest], frame, CHANGE_DISCS)
    return 0


def _jobs(options: ChangeBenchmark, makers: Sequence[Maker], conditions: Sequence[Condition], trained: TrainedNetwork
          ) -> list[Job]:
    """Subjects by turns, so that a run that is stopped has some of each maker."""
    from pipelines.benchmarks.change.synthetic_subjects import own_job

    lists = [maker.jobs(set_name, options.subjects) for maker in makers for set_name in maker.sets
             if set_name in options.contrasts and (set_name != "t1" or "t1" in trained.contrasts)]
    few = min(options.subjects, CONDITION_SUBJECTS)
    if any(maker.name == "own" for maker in makers):
        lists += [[own_job(i, condition) for i in range(few)] for condition in conditions]
    return [jobs[i] for i in range(max(map(len, lists), default=0)) for jobs in lists if i < len(jobs)]


def _sections(frame: pd.DataFrame, conditions: Sequence[Condition], model: ErrorModel | None
              ) -> tuple[list[str], list[str], list[Check]]:
    """Tables of all makers; what else the page has below its head; every check."""
    from pipelines.benchmarks.change import report
    from pipelines.benchmarks.change.makers import SETS, makers_in
    from pipelines.benchmarks.change.real_scans import manual_volumes
    from pipelines.benchmarks.change.scores import STANDARD_NAME

    made = [report.makers_table(frame, name, model) for name in SETS if makers_in(frame, name)]
    phantom = frame[frame["maker"] == "own"]
    named = [(c.name, c.words) for c in conditions if (phantom["condition"] == c.name).any()]
    further = []
    if (phantom["condition"] == STANDARD_NAME).any():
        further.append(report.methods_table(phantom, model))
        if named:
            few = min(CONDITION_SUBJECTS, phantom["subject"].nunique())
            further.append(report.conditions_table(phantom, named, subjects=few))
    rest = [report.other_occasion(frame), _FIGURE.format(*FIGURES), report.levels_of_makers(frame),
            report.manual_table(frame, manual_volumes()), *further]
    return [table for table, _ in made], [text for text in rest if text], [c for _, checks in made for c in checks]


def _head(options: ChangeBenchmark, makers: Sequence[Maker], frame: pd.DataFrame, facts: Sequence[str]) -> str:
    from pipelines.benchmarks.change.known_visits import GROWN_MOST, GROWTH, SHRUNK_MOST

    counts = {m.name: frame.loc[frame["maker"] == m.name, "subject"].nunique() for m in makers}
    absent = ". Not measured: other contrasts were asked for, or its data are not here"
    lines = [f"- **{m.title}**: {m.words}{'' if counts[m.name] else absent}." for m in makers]
    csv = options.output.with_suffix(".csv").name
    made = origin(command_text(options, module=MODULE),
                  "; ".join(f"{m.title}: {subjects_text(counts[m.name])}" for m in makers if counts[m.name]), *facts,
                  f"every disc: [{csv}]({csv})")
    return _HEAD.format(makers="\n".join(lines), growth=100 * GROWTH, least=100 * SHRUNK_MOST, most=100 * GROWN_MOST,
                        origin=made)


def _makers(names: tuple[str, ...]) -> list[Maker]:
    """Those that were chosen, in the order of the page."""
    from pipelines.benchmarks.change.makers import MAKERS

    if len(names) > 1 and "all" in names:
        raise StudyError("all, or names", " ".join(names), "--maker", "Give one of them.")
    return [m for m in MAKERS if m.name in names or names == ("all",)]


def _conditions(names: tuple[str, ...]) -> list[Condition]:
    """The further conditions of our own phantom that were chosen, in the order of the page."""
    from pipelines.benchmarks.change.synthetic_subjects import FURTHER

    if len(names) > 1 and {"all", "none"} & set(names):
        raise StudyError("all, none, or names", " ".join(names), "--conditions", "Give one of them.")
    return [c for c in FURTHER if c.name in names or names == ("all",)]


def state_of(weights: Path) -> str:
    """Name of a state of everything that rows depend on: weights, their errors, our code."""
    from bedrest.longitudinal.error_model import errors_path
    from bedrest.workflow.fingerprints import closure

    here = Path(__file__).resolve().parent
    sources = [here / "known_visits.py", here / "synthetic_subjects.py", here / "makers.py", here / "real_scans.py",
               *sorted((here.parent / "second_maker").glob("*.py")), here.parents[1] / "anatomies" / "real_masks.py"]
    digest = hashlib.sha256()
    for path in (weights, errors_path(weights), *sources, *sorted(closure(sources).modules)):
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:12]


if __name__ == "__main__":
    sys.exit(run_command(ChangeBenchmark, run, module=MODULE))
