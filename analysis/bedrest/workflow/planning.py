"""The commands without images: error rates of the statistics, and the size of a study. All cohorts are synthetic."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedrest import __version__
from bedrest.errors import StudyError

SIZES = (24, 250, 500, 1000, 2000)
_HEAD = """# How often the statistics are wrong

Synthetic cohorts of known truth, subjects assigned to two groups in turn, four visits (before, two in bed, recovery)
with true changes of +2, +4 and 0 % in both groups. Disc volume varies by 15 % between subjects; one disc's error has an
SD of 1 % at the first visit and a variance that grows threefold to the last. `missing`: share of visits that never took
place, any visit, the first included. `response SD`: SD between subjects of their true change at the last visit in bed.

- **no change**: rejections of "volume at recovery equals volume before", true in every cohort. Nominal 5 %.
- **no difference**: rejections of "both groups changed alike at the last visit in bed", true. Nominal 5 %.
- **no visit x group**: rejections of the F test of the interaction, true. Nominal 5 %.
- **coverage**: 95 % intervals of the change at the last visit in bed that hold the true +4 %. Nominal 95 %.
- **no answer**: cohorts too incomplete for the analysis; they are left out of the rates.

The standard error of a rate of 5 % is {se:.1f} points with {replicates} cohorts.
"""


@dataclass(frozen=True)
class PlannedStudy:
    """A study whose size is to be chosen, as `bedrest power` takes it.

    Attributes
    ----------
    groups, visits, levels : int
        Study arms; visits, of which the last is tested against the first; discs of a subject, 1 to 7.
    cv_percent, growth : float
        SD of one disc volume at the first visit; variance of the last visit over that of the first.
    response_sd_percent : float
        SD of true change between subjects.
    missing : float
        Share of visits that do not take place, 0 to below 1.
    change_percent : float
        True change to compute the power for.
    power : float
        Wanted of the smallest detectable change.
    """

    groups: int = 2
    visits: int = 3
    levels: int = 1
    cv_percent: float = 1.0
    growth: float = 3.0
    response_sd_percent: float = 1.0
    missing: float = 0.1
    change_percent: float = 3.0
    power: float = 0.8


def print_sizes(*, seed: int) -> int:
    """Print time and memory of the statistical analysis by size of the study."""
    _one_thread_a_process()
    print("Whole statistical analysis of a study (subjects x visits x levels), 5 % of visits missing, one process:")
    print("| study | volumes | time | peak memory |\n| --- | --- | --- | --- |")
    for line in _sizes(seed):
        print(line, flush=True)
    return 0


def print_error_rates(*, replicates: int, seed: int, cores: int, output: Path | None = None) -> int:
    """Print, and write where wanted, the table of error rates from so many cohorts of each scenario."""
    _one_thread_a_process()
    from tqdm import tqdm

    from bedrest.io.files import write_text
    from bedrest.statistics.planning.error_rates import ANALYSES, SCENARIOS, error_rates

    _positive(replicates, "--replicates")
    rows = error_rates(SCENARIOS, ANALYSES, replicates=replicates, seed=seed, processes=cores)
    total = len(SCENARIOS) * len(ANALYSES)
    lines = [_line(row) for row in tqdm(rows, total=total, desc="error rates", unit="row")]
    se = 100 * (0.05 * 0.95 / replicates) ** 0.5
    text = "\n".join([
        _HEAD.format(se=se, replicates=replicates),
        f"Made by `bedrest simulate --replicates {replicates} --seed {seed}`, bedrest {__version__}.\n",
        "| analysis | subjects | missing | response SD | no change | no difference | no visit x group | coverage "
        "| no answer | cohorts |",
        "| --- " * 10 + "|", *sorted(lines, key=lambda line: line.split("|")[1] != " primary (one level) "),
        ""])
    if output is not None:
        write_text(output, text)
    print(text)
    return 0


def _sizes(seed: int) -> Iterator[str]:
    """Time and peak memory of the whole statistical analysis, by size of the study."""
    import time
    import tracemalloc

    import numpy as np

    from bedrest.statistics.planning.simulated_cohorts import Scenario, draw_study
    from bedrest.statistics.study.analysis import Analysis, AnalysisOptions
    from bedrest.statistics.study.sensitivity import Resampling

    for subjects in SIZES:
        scenario = Scenario(subjects, changes_percent=(1.0, 2.0, 3.0, 4.0, 1.0), missing=0.05, levels=7)
        study = draw_study(scenario, np.random.default_rng(seed))
        seconds = []
        for traced in (False, True):  # tracing slows the work, so time and memory are measured apart
            begun = time.monotonic()
            if traced:
                tracemalloc.start()
            list(Analysis(study, scenario.plan, AnalysisOptions(resampling=Resampling(seed=seed))).tables())
            seconds.append(time.monotonic() - begun)
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        yield f"| {subjects} x 6 x 7 | {len(study.measures)} | {seconds[0]:.1f} s | {peak:.0f} MiB |"


def _line(row: dict[str, Any]) -> str:
    from bedrest.statistics.planning.error_rates import QUESTIONS

    rates = ["-" if row[q] != row[q] else f"{row[q]:.1f} %" for q in QUESTIONS]
    cells = [row["analysis"], row["subjects"], f"{row['missing_percent']:.0f} %", f"{row['response_sd_percent']:g} %",
             *rates, f"{row['no_answer_percent']:.1f} %", row["replicates"]]
    return "| " + " | ".join(str(c) for c in cells) + " |"


def print_power(planned: PlannedStudy, subjects: Sequence[int], *, replicates: int, seed: int, cores: int,
                output: Path | None = None) -> int:
    """Print, and write where wanted, power and smallest detectable change for each number of subjects."""
    _one_thread_a_process()
    from bedrest.io.tables.typed_csv import write_table
    from bedrest.schemas import POWER
    from bedrest.statistics.planning.power import PlannedStudy as PowerPlan
    from bedrest.statistics.planning.power import power_frame
    from bedrest.statistics.planning.simulated_cohorts import Scenario

    p = planned
    if not subjects:
        raise StudyError("at least one number of subjects", "none", "--subjects", "Name one, as --subjects 8 12.")
    for option, value in (*(("--subjects", n) for n in subjects), ("--replicates", replicates),
                          ("--cv", p.cv_percent), ("--growth", p.growth)):
        _positive(value, option)
    if p.visits < 2 or not 1 <= p.levels <= 7 or not 0 <= p.missing < 1 or not 0 < p.power < 1:
        raise StudyError("2 or more visits, 1 to 7 levels, a share missing below 1 and a power between 0 and 1",
                         f"{p.visits}, {p.levels}, {p.missing}, {p.power}", "bedrest power", "Correct the numbers.")
    plans = [
        PowerPlan(Scenario(n, p.groups, (0.0,) * (p.visits - 1), error_sd_percent=p.cv_percent,
                           variance_growth=p.growth, response_sd_percent=p.response_sd_percent,
                           missing=p.missing, levels=p.levels), p.change_percent, p.power)
        for n in subjects
    ]
    frame = power_frame(plans, replicates=replicates, seed=seed, processes=cores)
    if output is not None:
        write_table(frame, output, POWER)
    columns = ["question", "subjects", "power", "smallest_change_percent", "no_answer_percent"]
    print(f"Synthetic cohorts, last of {p.visits} visits against the first, {p.levels} disc(s) a subject; "
          f"power for a true change of {p.change_percent:g} %, smallest change with power {p.power:g}:")
    print(frame[columns].round(2).to_string(index=False))
    return 0


def _one_thread_a_process() -> None:
    """Small matrices: threads of the linear algebra would only get in each other's way."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def _positive(value: float, name: str) -> None:
    if value <= 0:
        raise StudyError("a positive number", str(value), name, "Correct it.")
