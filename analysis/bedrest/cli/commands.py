"""Every command by its name. A new one is a dataclass in a module of this folder and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bedrest.cli.inputs import Check, Demo, ImportDicom
from bedrest.cli.learning import Benchmark, Train
from bedrest.cli.masks import Evaluate, Measure, Segment
from bedrest.cli.planning import Power, Simulate
from bedrest.cli.results import ExportBids, Figures, Report, Share, Verify
from bedrest.cli.run import Run


class Command(Protocol):
    """Options of a command as its fields, documented by their docstrings."""

    def run(self) -> int:
        """Do it; the exit status."""


COMMANDS: dict[str, Callable[..., Command]] = {
    "demo": Demo,
    "import-dicom": ImportDicom,
    "check": Check,
    "run": Run,
    "segment": Segment,
    "measure": Measure,
    "evaluate": Evaluate,
    "train": Train,
    "benchmark": Benchmark,
    "report": Report,
    "figures": Figures,
    "verify": Verify,
    "export-bids": ExportBids,
    "share": Share,
    "simulate": Simulate,
    "power": Power,
}
