"""Commands on the stored results of a study: `report`, `figures`, `verify`, `export-bids`, `share`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bedrest.cli.arguments import Device, Flag, OutputFolder, StudyFile, unset


@dataclass(frozen=True)
class Report:
    """Make reports again from stored results."""

    study: StudyFile
    """Settings of the study."""
    subject: Annotated[str | None, unset("default: every page", metavar="sub-01")] = None
    """Only the report of this subject."""
    cores: int = 2
    """Pages at a time."""

    def run(self) -> int:
        from bedrest.workflow.figures import remake_reports

        return remake_reports(self.study, subject=self.subject, cores=self.cores)


@dataclass(frozen=True)
class Figures:
    """Write the publication figures as PDF, SVG and PNG, with their data."""

    study: StudyFile
    """Settings of the study."""
    output: Annotated[Path | None, unset("default: figures/ in the study's output folder", metavar="DIR",
                                  short=("-o",))] = None
    """Folder to write to."""

    def run(self) -> int:
        from bedrest.workflow.figures import write_figures

        return write_figures(self.study, output=self.output)


@dataclass(frozen=True)
class Verify:
    """Prove that results are what they claim to be: checksums of every file."""

    study: StudyFile
    """Settings of the study."""
    rerun: Flag = False
    """Also run the study again in a temporary folder and compare every table."""
    cores: Annotated[int | None, unset("default: as the first one")] = None
    """CPU cores of the second run."""
    device: Annotated[Device | None, unset("default: as the first one")] = None
    """Where the network of the second run runs."""

    def run(self) -> int:
        from bedrest.workflow.verify import verify

        return verify(self.study, rerun=self.rerun, cores=self.cores, device=self.device)


@dataclass(frozen=True)
class ExportBids:
    """Write the masks of a study as a BIDS derivatives dataset."""

    study: StudyFile
    """Settings of the study."""
    output: OutputFolder
    """An empty folder, or one that does not exist; best <BIDS dataset>/derivatives/bedrest."""

    def run(self) -> int:
        from bedrest.workflow.export import export_bids

        return export_bids(self.study, self.output)


@dataclass(frozen=True)
class Share:
    """Copy reports, tables and figures under pseudonyms, to hand them on."""

    study: StudyFile
    """Settings of the study."""
    output: OutputFolder
    """A folder that does not exist yet."""
    cores: int = 2
    """Pages at a time."""

    def run(self) -> int:
        from bedrest.workflow.share import share

        return share(self.study, self.output, cores=self.cores)
