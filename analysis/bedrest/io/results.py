"""The layout of a study's output folder. Notebooks and stages locate results through it and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bedrest.errors import OutputError
from bedrest.io.tables.typed_csv import read_table, read_tables
from bedrest.schemas import Table

# What `bedrest verify` checks. Slices of the tables and measured masks lie in work/<subject>.
_OUTPUTS = ("*.html", "*.ipynb", "*.md", "manifest/*", "tables/*", "masks/*", "figures/*", "subjects/*", "own/*",
            "calibration/*", "work/*/*.csv", "work/*/*.nii.gz", "work/*/*.tsv")
_NOT_OUTPUTS = (("work", "pages"), ("work", "settings"))


@dataclass(frozen=True)
class StudyResults:
    """The output folder of one study."""

    output_dir: Path

    def manifest_table(self, table: Table) -> Path:
        return self.output_dir / "manifest" / f"{table.name}.csv"

    def subject_dir(self, subject: str) -> Path:
        return self.output_dir / "work" / subject

    def subject_table(self, subject: str, table: Table) -> Path:
        return self.subject_dir(subject) / f"{table.name}.csv"

    def table(self, table: Table) -> Path:
        return self.output_dir / "tables" / f"{table.name}.csv"

    def mask(self, subject: str, session: str) -> Path:
        return self.output_dir / "masks" / f"{subject}_{session}_discs.nii.gz"

    def tissue_mask(self, subject: str, session: str) -> Path:
        return self.output_dir / "masks" / f"{subject}_{session}_tissues.nii.gz"

    def probability(self, subject: str, session: str) -> Path:
        return self.output_dir / "masks" / f"{subject}_{session}_probability.nii.gz"

    @property
    def label_files(self) -> Path:
        """Stem of the colour tables for ITK-SNAP and 3D Slicer, valid for every mask of the study."""
        return self.output_dir / "masks" / "labels"

    def measured_mask(self, subject: str, session: str) -> Path:
        """The mask as it was measured; exists only where it or its names were corrected."""
        return self.subject_dir(subject) / f"{session}_measured.nii.gz"

    def thumbnails(self, subject: str) -> Path:
        return self.output_dir / "thumbnails" / subject

    def thumbnail(self, subject: str, session: str) -> Path:
        return self.thumbnails(subject) / f"{session}.webp"

    def calibration(self, table: Table) -> Path:
        """A table that `bedrest calibrate` wrote; need not exist."""
        return self.study_errors.with_name(f"{table.name}.csv")

    @property
    def study_errors(self) -> Path:
        """The error model that it fitted on this study's own scans; need not exist."""
        return self.output_dir / "calibration" / "errors.json"

    @property
    def figures(self) -> Path:
        return self.output_dir / "figures"

    def page(self, name: str) -> Path:
        """A page by its name, for example method_checks or own/mine."""
        return self.output_dir / f"{name}.html"

    def page_record(self, name: str) -> Path:
        """The outcome of a page: one row of `schemas.REPORTS`."""
        return self.output_dir / "work" / "pages" / f"{name}.csv"

    def subject_html(self, subject: str) -> Path:
        return self.output_dir / "subjects" / f"{subject}.html"

    @property
    def index_html(self) -> Path:
        return self.output_dir / "index.html"

    @property
    def paper_text(self) -> Path:
        return self.output_dir / "methods_and_results.md"

    @property
    def provenance_json(self) -> Path:
        return self.output_dir / "provenance.json"

    @property
    def program_json(self) -> Path:
        """What `bedrest run` recorded of the program before it started."""
        return self.output_dir / "work" / "program.json"

    @property
    def checksums_json(self) -> Path:
        """Checksums of files that need not be read again: see `files.Checksums`."""
        return self.output_dir / "work" / "checksums.json"

    @property
    def sketches_json(self) -> Path:
        """Fingerprints of images that need not be read again: see `images.voxel_digest`."""
        return self.output_dir / "work" / "sketches.json"

    @property
    def runs_json(self) -> Path:
        """Every run that did something, with its time and exit status."""
        return self.output_dir / "work" / "runs.json"

    def output_files(self) -> list[str]:
        """Every file of the results that exists now, relative to the output folder; see `_OUTPUTS`."""
        files = {f for pattern in _OUTPUTS for f in self.output_dir.glob(pattern)}
        names = (f.relative_to(self.output_dir) for f in files
                 if f.is_file() and not f.name.startswith(".") and f != self.provenance_json)
        return sorted(n.as_posix() for n in names if n.parts[:2] not in _NOT_OUTPUTS)

    @staticmethod
    def read_json(path: Path, *, default: Any = None) -> Any:
        """A JSON file; `default` where there is none.

        Raises OutputError: it cannot be read, or there is neither file nor default.
        """
        if not path.is_file() and default is not None:
            return default
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise OutputError("a JSON file that `bedrest run` wrote", str(error), str(path), "Run `bedrest run`.") \
                from error

    def read(self, table: Table, *, subject: str = "", measure: str = "") -> pd.DataFrame:
        """A cohort table.

        `subject`: this one's rows alone; no others are checked. `measure`: of a table that has rows of several
        measures, this one's alone.
        """
        return _of_measure(read_table(self.table(table), table, subject=subject), measure)

    def read_subject(self, subject: str, table: Table, *, measure: str = "") -> pd.DataFrame:
        """One subject's slice of a table; `measure` as in `read`."""
        return _of_measure(read_table(self.subject_table(subject, table), table), measure)

    def read_subjects(self, subjects: Iterable[str], table: Table) -> pd.DataFrame:
        """The slices of many subjects as one table."""
        return read_tables([self.subject_table(s, table) for s in subjects], table)

    def read_manifest(self, table: Table) -> pd.DataFrame:
        """A manifest table as the study was resolved."""
        return read_table(self.manifest_table(table), table)


def _of_measure(frame: pd.DataFrame, measure: str) -> pd.DataFrame:
    return frame[frame["measure"] == measure] if measure and "measure" in frame.columns else frame
