"""Commands on the stored results of a study: `report`, `figures`, `verify`, `export-bids`, `share`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bedrest.cli.arguments import Device, Flag, OutputFolder, PageCores, StudyFile, unset


@dataclass(frozen=True)
class Report:
    """Make reports again from stored results."""

    study: StudyFile
    subject: Annotated[str | None, unset("default: every page", metavar="sub-01")] = None
    """Only the report of this subject."""
    cores: PageCores = 2

    def run(self) -> int:
        from bedrest.workflow.remake import remake_reports

        return remake_reports(self.study, subject=self.subject, cores=self.cores)


@dataclass(frozen=True)
class Figures:
    """Write the publication figures as PDF, SVG and PNG, with their data."""

    study: StudyFile
    output: Annotated[Path | None, unset("default: figures/ in the study's output folder", metavar="DIR",
                                  short=("-o",))] = None
    """Folder to write to."""

    def run(self) -> int:
        from bedrest.workflow.remake import write_figures

        return write_figures(self.study, output=self.output)


@dataclass(frozen=True)
class Verify:
    """Check every input and result against its recorded checksum."""

    study: StudyFile
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
    output: OutputFolder
    """An empty folder, or one that does not exist; best <BIDS dataset>/derivatives/bedrest."""

    def run(self) -> int:
        from bedrest import schemas
        from bedrest.io.bids.derivatives import write_derivatives
        from bedrest.pages.reports import stored_results
        from bedrest.settings import load_study

        study = load_study(self.study)
        results = stored_results(study)
        n, planned = write_derivatives(study, results, self.output), len(results.read_manifest(schemas.SESSIONS))
        print(f"Masks of {n} of {planned} visits: {self.output}")
        return 0 if n == planned else 3


@dataclass(frozen=True)
class Share:
    """Copy reports, tables and figures under pseudonyms, to hand them on."""

    study: StudyFile
    output: OutputFolder
    """A folder that does not exist yet."""
    cores: PageCores = 2

    def run(self) -> int:
        from bedrest.workflow.share import share

        return share(self.study, self.output, cores=self.cores)
