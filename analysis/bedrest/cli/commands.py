"""Every command by its name. A new one is a dataclass in a module of this folder and its name here."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from bedrest.cli.learning import Benchmark, Train
from bedrest.cli.masks import Evaluate, Measure, Segment
from bedrest.cli.planning import Power
from bedrest.cli.results import ExportBids, Figures, Report, Share, Verify
from bedrest.cli.run import Calibrate, Run
from bedrest.cli.study_data import Check, Demo, ImportDicom


class Command(Protocol):
    """Options of a command as its fields, documented by their docstrings."""

    def run(self) -> int:
        """Do it; the exit status."""


_CLASSES: tuple[type[Command], ...] = (
    Demo, ImportDicom, Check, Run, Calibrate, Segment, Measure, Evaluate, Train, Benchmark, Report, Figures,
    Verify, ExportBids, Share, Power)
# ImportDicom is `import-dicom`.
COMMANDS: dict[str, Callable[..., Command]] = {
    re.sub(r"(?<=[a-z])(?=[A-Z])", "-", command.__name__).lower(): command for command in _CLASSES}
