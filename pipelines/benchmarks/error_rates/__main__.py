"""`python -m pipelines.benchmarks.error_rates`: how often the statistics are wrong, and how long they take.

Writes the page of error rates, or prints time and memory by size of the study. All cohorts are synthetic.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedrest import __version__
from bedrest.errors import StudyError

from pipelines.command_line import run_command

MODULE = "pipelines.benchmarks.error_rates"
STUDY_SUBJECTS = (24, 250, 500, 1000, 2000)
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
_COLUMNS = ("analysis", "subjects", "missing", "response SD", "no change", "no difference", "no visit x group",
            "coverage", "no answer", "cohorts")


@dataclass(frozen=True)
class ErrorRates:
    """Measure error rates of the statistics on synthetic cohorts of known truth.

    Attributes
    ----------
    replicates
        Cohorts of each scenario.
    sizes
        Time and memory by size of the study instead.
    seed
        Seed of the random numbers.
    cores
        Processes at a time.
    output
        Also write the table to this page, as docs/error_rates.md.
    """

    replicates: int = 2400
    sizes: bool = False
    seed: int = 1
    cores: int = 2
    output: Path | None = None


def run(options: ErrorRates) -> int:
    """Print the table, and write it where wanted."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # small matrices: threads would only get in each other's way
    if options.sizes:
        print("Whole statistical analysis of a study (subjects x visits x levels), 5 % of visits missing, one process:")
        print("| study | volumes | time | peak memory |\n| --- | --- | --- | --- |")
        for line in _sizes(options.seed):
            print(line, flush=True)
        return 0
    from bedrest.io.files import write_text
    from tqdm import tqdm

    from pipelines.benchmarks.error_rates.rates import ANALYSES, PRIMARY, SCENARIOS, error_rates

    if options.replicates <= 0:
        raise StudyError("a positive number", str(options.replicates), "--replicates", "Correct it.")
    rows = error_rates(SCENARIOS, ANALYSES, replicates=options.replicates, seed=options.seed, processes=options.cores)
    total = len(SCENARIOS) * len(ANALYSES)
    lines = [_line(row) for row in sorted(tqdm(rows, total=total, desc="error rates", unit="row"),
                                          key=lambda row: row["analysis"] != PRIMARY.name)]
    se = 100 * (0.05 * 0.95 / options.replicates) ** 0.5
    command = f"python -m {MODULE} --replicates {options.replicates} --seed {options.seed}"
    text = "\n".join([_HEAD.format(se=se, replicates=options.replicates),
                      f"Made by `{command}`, bedrest {__version__}.\n",
                      f"| {' | '.join(_COLUMNS)} |", "| --- " * len(_COLUMNS) + "|", *lines, ""])
    if options.output is not None:
        write_text(options.output, text)
    print(text)
    return 0


def _line(row: Mapping[str, Any]) -> str:
    from pipelines.benchmarks.error_rates.rates import QUESTIONS

    rates = ["-" if row[q] != row[q] else f"{row[q]:.1f} %" for q in QUESTIONS]
    cells = [row["analysis"], row["subjects"], f"{row['missing_percent']:.0f} %", f"{row['response_sd_percent']:g} %",
             *rates, f"{row['no_answer_percent']:.1f} %", row["replicates"]]
    return "| " + " | ".join(str(c) for c in cells) + " |"


def _sizes(seed: int) -> Iterator[str]:
    """Time and peak memory of the whole statistical analysis, by size of the study."""
    import time
    import tracemalloc

    import numpy as np
    from bedrest.statistics.planning.simulated_cohorts import Scenario
    from bedrest.statistics.study.analysis import Analysis, AnalysisOptions
    from bedrest.statistics.study.sensitivity import Resampling

    from pipelines.benchmarks.simulated_study import draw_study

    for subjects in STUDY_SUBJECTS:
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


if __name__ == "__main__":
    sys.exit(run_command(ErrorRates, run, module=MODULE))
