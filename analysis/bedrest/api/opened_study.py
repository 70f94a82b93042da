"""The stored results of a study for a notebook: tables, masks, scans, figures. Reads, and computes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

import pandas as pd

from bedrest import schemas
from bedrest.errors import ManifestError, OutputError
from bedrest.io.images.masks import read_label_map
from bedrest.io.results import StudyResults
from bedrest.io.tables.typed_csv import read_table
from bedrest.settings import Study, load_study
from bedrest.stages.visits import scan_of, visit_in
from bedrest.types import LabelMap, Scan


class StudyTables:
    """Every table of a study as an attribute, read from its file each time; data_manifest/columns.md explains them.

    OutputError: the table is not there. ManyProblems: the file does not hold what its schema says.
    """

    def __init__(self, results: StudyResults, remedy: str) -> None:
        self._results, self._remedy = results, remedy

    def __dir__(self) -> list[str]:
        """Names of the tables that are there."""
        return [t.name for t in schemas.TABLES if any(p.is_file() for p in self._places(t))]

    def __getattr__(self, name: str) -> pd.DataFrame:
        table = next((t for t in schemas.TABLES if t.name == name), None)
        if table is None:
            raise AttributeError(f"a study has no table {name!r}", name=name, obj=self)
        path = next((p for p in self._places(table) if p.is_file()), None)
        if path is None:
            raise OutputError(f"the table {name}", "no such file", str(self._results.table(table)), self._remedy)
        return read_table(path, table)

    def _places(self, table: schemas.Table) -> tuple[Path, Path]:
        return self._results.table(table), self._results.manifest_table(table)


@dataclass(frozen=True)
class OpenedStudy:
    """The stored results of one study, as `open_study` returns them.

    `results` knows where every file of the results lies.
    """

    study_toml: Path
    results: StudyResults

    @cached_property
    def settings(self) -> Study:
        """What study.toml says."""
        return load_study(self.study_toml)

    @property
    def tables(self) -> StudyTables:
        """The tables: ``.tables.measures``, ``.tables.change`` and so on."""
        return StudyTables(self.results, self._remedy)

    @property
    def figures(self) -> dict[str, Path]:
        """Publication figures that were made: name to PNG; PDF, SVG and CSV lie beside it."""
        return {p.stem: p for p in sorted(self.results.figures.glob("*.png"))}

    def mask(self, subject: str, session: str) -> LabelMap:
        """The discs of a visit as they were measured, corrections included.

        ManifestError: there is no such subject or session. OutputError: the visit has no mask.
        """
        self._check_visit(subject, session)
        paths = self.results.measured_mask(subject, session), self.results.mask(subject, session)
        path = next((p for p in paths if p.is_file()), None)
        if path is None:
            raise OutputError("a mask", "no such file", str(paths[-1]), f"See tables/failures.csv. {self._remedy}")
        return read_label_map(path, where=f"{subject} {session}")

    def scan(self, subject: str, session: str) -> Scan:
        """The images of a visit on one grid.

        ManifestError: there is no such subject or session. ImageError, GeometryError: as `bedrest.segment`.
        """
        self._check_visit(subject, session)
        visit = visit_in(self.tables.scans, subject, session)
        return scan_of(visit, resample=self.settings.images.resample)

    @property
    def _remedy(self) -> str:
        return f"Run `bedrest run {self.study_toml}` first."

    def _check_visit(self, subject: str, session: str) -> None:
        sessions = self.tables.sessions
        for kind, name, known in (("subject", subject, sessions["subject"]),
                                  ("session", session, sessions.loc[sessions["subject"] == subject, "session"])):
            names = list(known.unique())
            if name not in names:
                near = get_close_matches(name, names, n=1)
                raise ManifestError(f"a {kind} of the study", repr(name), str(self.study_toml),
                                    f"Did you mean {near[0]!r}?" if near else f"Name one of {', '.join(names)}.")


def open_study(study_toml: str | Path, output_dir: str | Path = "") -> OpenedStudy:
    """Open the stored results of a study.

    Parameters
    ----------
    study_toml : path
        Settings of the study, or the folder that holds study.toml.
    output_dir : path, optional
        Where the results lie, if not where study.toml says; its default, reports/<name>, is one in the working folder.

    Raises
    ------
    StudyError, ManyProblems
        study.toml cannot be used.

    Examples
    --------
    >>> import bedrest
    >>> study = bedrest.open_study(demo / "study.toml")
    >>> sorted(study.tables.change["session"].unique())
    ['ses-2']
    >>> study.tables.measures.query("source == 'automatic' and level == 'L4-L5'")["volume_mm3"].count()
    np.int64(7)
    """
    path = Path(study_toml)
    path = path / "study.toml" if path.is_dir() else path
    return OpenedStudy(path, StudyResults(Path(output_dir) if output_dir else load_study(path).output_dir))
