"""`bedrest simulate` and `bedrest power`: commands without images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from bedrest.cli.arguments import Flag, Seed, unset

_Percent = Annotated[float, tyro.conf.arg(metavar="%")]


@dataclass(frozen=True)
class Simulate:
    """Measure error rates of the statistics on synthetic cohorts of known truth."""

    replicates: int = 2400
    """Cohorts of each scenario."""
    sizes: Flag = False
    """Time and memory by size of the study instead."""
    seed: Seed = 1
    cores: int = 2
    """Processes at a time."""
    output: Annotated[Path | None, unset("optional", metavar="MD", short=("-o",))] = None
    """Also write the table to this page."""

    def run(self) -> int:
        from bedrest.workflow.planning import print_error_rates, print_sizes

        if self.sizes:
            return print_sizes(seed=self.seed)
        return print_error_rates(replicates=self.replicates, seed=self.seed, cores=self.cores, output=self.output)


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
        from bedrest.workflow.planning import PlannedStudy, print_power

        planned = PlannedStudy(self.groups, self.visits, self.levels, self.cv, self.growth, self.response_sd,
                               self.missing, self.change, self.power)
        return print_power(planned, self.subjects, replicates=self.replicates, seed=self.seed, cores=self.cores,
                           output=self.output)
