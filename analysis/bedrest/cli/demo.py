"""`bedrest demo`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Demo:
    """Write the synthetic demo cohort and its study.toml."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Where to write it."""
    subjects: int = 8
    """Number of synthetic subjects."""
    sessions: int = 3
    """Visits of each subject."""
    seed: int = 0
    """Seed of the random numbers."""

    def run(self) -> int:
        from bedrest.phantom.demo_cohort import DemoPlan, write_cohort

        write_cohort(DemoPlan(self.subjects, self.sessions, self.seed), self.folder)
        print(f"Synthetic demo cohort: {self.folder}\nNext: bedrest run {self.folder / 'study.toml'}")
        return 0
