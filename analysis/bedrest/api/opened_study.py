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
from bedrest.settings import Study, load_study
from bedrest.stages.visits import Visit, scan_of
from bedrest.types import LabelMap, Scan

_INPUTS = ("subjects", "sessions", "scans", "levels", "input_problems", "edited_masks")  # in manifest/, not in tables/


class StudyTables:
    """Every table of a study as an attribute, read from its file each time; data_manifest/columns.md explains them.

    Raises
    ------
    OutputError
        The table is not there.
    ManyProblems
        The file does not hold what its schema says.
    """

    subjects: pd.DataFrame
    sessions: pd.DataFrame
    scans: pd.DataFrame
    levels: pd.DataFrame
    input_problems: pd.DataFrame
    edited_masks: pd.DataFrame
    measures: pd.DataFrame
    spine_measures: pd.DataFrame
    change: pd.DataFrame
    change_bands: pd.DataFrame
    detections: pd.DataFrame
    arvd: pd.DataFrame
    accuracy: pd.DataFrame
    edits: pd.DataFrame
    contrasts: pd.DataFrame
    sensitivity: pd.DataFrame
    models: pd.DataFrame
    variances: pd.DataFrame
    terms: pd.DataFrame
    marginal_means: pd.DataFrame
    recovery: pd.DataFrame
    flow: pd.DataFrame
    baseline: pd.DataFrame
    residuals: pd.DataFrame
    qc: pd.DataFrame
    agreement: pd.DataFrame
    repeatability: pd.DataFrame
    failures: pd.DataFrame
    reports: pd.DataFrame

    def __init__(self, results: StudyResults, remedy: str) -> None:
        self._results, self._remedy = results, remedy

    def __dir__(self) -> list[str]:
        return list(StudyTables.__annotations__)

    def __getattr__(self, name: str) -> pd.DataFrame:
        if name not in StudyTables.__annotations__:
            raise AttributeError(f"a study has no table {name!r}", name=name, obj=self)
        table = next(t for t in schemas.TABLES if t.name == name)
        path = self._results.manifest_table(table) if name in _INPUTS else self._results.table(table)
        if not path.is_file():
            raise OutputError(f"the table {name}", "no such file", str(path), self._remedy)
        return self._results.read_manifest(table) if name in _INPUTS else self._results.read(table)


@dataclass(frozen=True)
class OpenedStudy:
    """The stored results of one study, as `open_study` returns them.

    Attributes
    ----------
    study_toml : Path
    results : StudyResults
        Where every file of the results lies.
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
        """Publication figures that were drawn: name to PNG; PDF, SVG and CSV lie beside it."""
        return {p.stem: p for p in sorted(self.results.figures.glob("*.png"))}

    def mask(self, subject: str, session: str) -> LabelMap:
        """The discs of a visit as they were measured, corrections included.

        Raises
        ------
        ManifestError
            There is no such subject or session.
        OutputError
            The visit has no mask.
        """
        self._check_visit(subject, session)
        paths = self.results.measured_mask(subject, session), self.results.mask(subject, session)
        path = next((p for p in paths if p.is_file()), None)
        if path is None:
            raise OutputError("a mask", "no such file", str(paths[-1]), f"See tables/failures.csv. {self._remedy}")
        return read_label_map(path, where=f"{subject} {session}")

    def scan(self, subject: str, session: str) -> Scan:
        """The images of a visit on one grid.

        Raises
        ------
        ManifestError
            There is no such subject or session.
        ImageError, GeometryError
            A file cannot be used, or the files do not fit each other.
        """
        self._check_visit(subject, session)
        scans = self.tables.scans
        rows = scans[(scans["subject"] == subject) & (scans["session"] == session)]
        paths = {c: Path(p) for c, p in zip(rows["contrast"], rows["path"], strict=True)}
        return scan_of(Visit(subject, session, paths), resample=self.settings.images.resample)

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
        Where the results lie, if they are not where study.toml says. The default folder, reports/<name>, is looked for
        in the working folder.

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
