"""Where everything of a study's output lies. Notebooks and stages find results through this and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.io.tables import read_table
from analysis.schemas import Table


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

    def measured_mask(self, subject: str, session: str) -> Path:
        """The mask as it was measured; there only where a person corrected it or its names."""
        return self.subject_dir(subject) / f"{session}_measured.nii.gz"

    def thumbnails(self, subject: str) -> Path:
        """Folder of a subject's thumbnails."""
        return self.output_dir / "thumbnails" / subject

    def thumbnail(self, subject: str, session: str) -> Path:
        return self.thumbnails(subject) / f"{session}.webp"

    @property
    def figures(self) -> Path:
        return self.output_dir / "figures"

    def subject_html(self, subject: str) -> Path:
        return self.output_dir / "subjects" / f"{subject}.html"

    def subject_notebook(self, subject: str) -> Path:
        return self.output_dir / "subjects" / f"{subject}.ipynb"

    @property
    def cohort_html(self) -> Path:
        return self.output_dir / "cohort.html"

    @property
    def cohort_notebook(self) -> Path:
        return self.output_dir / "cohort.ipynb"

    @property
    def index_html(self) -> Path:
        return self.output_dir / "index.html"

    @property
    def paper_text(self) -> Path:
        return self.output_dir / "methods_and_results.md"

    @property
    def provenance_json(self) -> Path:
        return self.output_dir / "provenance.json"

    def read(self, table: Table) -> pd.DataFrame:
        """A cohort table."""
        return read_table(self.table(table), table)

    def read_subject(self, subject: str, table: Table) -> pd.DataFrame:
        """One subject's slice of a table."""
        return read_table(self.subject_table(subject, table), table)

    def read_manifest(self, table: Table) -> pd.DataFrame:
        """A manifest table as the study was resolved."""
        return read_table(self.manifest_table(table), table)
