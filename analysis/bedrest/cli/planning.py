"""`bedrest power`: how large a study must be, from synthetic cohorts; no images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from bedrest.cli.arguments import Seed, unset
from bedrest.errors import StudyError

_Percent = Annotated[float, tyro.conf.arg(metavar="%")]
_SHOWN = ["question", "subjects", "power", "smallest_change_percent", "no_answer_percent"]


@dataclass(frozen=True)
class Power:
    """Compute power and smallest detectable change of a study that is being planned."""

    subjects: tuple[int, ...] = (8, 12, 16, 24)
    """Numbers of subjects to try, in all groups together."""
    groups: Literal[1, 2] = 2
    """Study arms."""
    visits: int = 3
    """Visits of each subject; the last one is tested against the first."""
    levels: int = 1
    """Discs of a subject; more than one: joint model."""
    cv: _Percent = 1.0
    """SD of one disc volume at the first visit."""
    growth: float = 3.0
    """Variance of the last visit over that of the first."""
    response_sd: _Percent = 1.0
    """SD of true change between subjects."""
    missing: float = 0.1
    """Share of visits that do not take place."""
    change: _Percent = 3.0
    """True change to compute the power for."""
    power: float = 0.8
    """Power wanted of the smallest detectable change."""
    replicates: int = 1000
    """Cohorts of each number of subjects."""
    seed: Seed = 1
    cores: int = 2
    """Processes at a time."""
    output: Annotated[Path | None, unset("optional", metavar="CSV", short=("-o",))] = None
    """Also write the table to this file."""

    def run(self) -> int:
        self._check()
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # small matrices: threads would only get in each other's way
        from bedrest.io.tables.typed_csv import write_table
        from bedrest.schemas import POWER
        from bedrest.statistics.planning.power import PlannedStudy, power_frame
        from bedrest.statistics.planning.simulated_cohorts import Scenario

        studies = [PlannedStudy(Scenario(
            n, self.groups, (0.0,) * (self.visits - 1), error_sd_percent=self.cv, variance_growth=self.growth,
            response_sd_percent=self.response_sd, missing=self.missing, levels=self.levels), self.change, self.power)
            for n in self.subjects]
        frame = power_frame(studies, replicates=self.replicates, seed=self.seed, processes=self.cores)
        if self.output is not None:
            write_table(frame, self.output, POWER)
        print(f"Synthetic cohorts, last of {self.visits} visits against the first, {self.levels} disc(s) a subject; "
              f"power for a true change of {self.change:g} %, smallest change with power {self.power:g}:")
        print(frame[_SHOWN].round(2).to_string(index=False))
        return 0

    def _check(self) -> None:
        if not self.subjects:
            raise StudyError("at least one number of subjects", "none", "--subjects", "Name one, as --subjects 8 12.")
        for option, value in (*(("--subjects", n) for n in self.subjects), ("--replicates", self.replicates),
                              ("--cv", self.cv), ("--growth", self.growth)):
            if value <= 0:
                raise StudyError("a positive number", str(value), option, "Correct it.")
        if self.visits < 2 or not 1 <= self.levels <= 7 or not 0 <= self.missing < 1 or not 0 < self.power < 1:
            raise StudyError("2 or more visits, 1 to 7 levels, a share missing below 1 and a power between 0 and 1",
                             f"{self.visits}, {self.levels}, {self.missing}, {self.power}", "bedrest power",
                             "Correct the numbers.")
