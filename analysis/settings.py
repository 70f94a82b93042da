"""What a study.toml may say. Unknown keys are refused with the nearest known one, all problems at once.

Knows nothing of images and tables.
"""

from __future__ import annotations

import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from analysis.errors import ManyProblems, Problem, StudyError
from analysis.vocabulary import Contrast, Phase

_SAFE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9 ._+-]*$")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Session(_Frozen):
    """A planned visit."""

    id: str = Field(description="session identifier, as in the dataset")
    study_day: float = Field(description="day 1 is the first day in bed; negative before")
    phase: Phase = Field(description="baseline, bed_rest or recovery")


class Images(_Frozen):
    """Where the images are and how they are laid out."""

    layout: Literal["bids", "ivdm3seg", "csv"] = Field(description="how files are found")
    root: Path = Field(description="image folder; relative to study.toml")
    derivatives: Path | None = Field(None, description="BIDS derivatives folder with reference masks")
    subjects_csv: Path | None = Field(None, description="subjects table; needed for layout csv")
    sessions_csv: Path | None = Field(None, description="sessions table; optional")
    scans_csv: Path | None = Field(None, description="scans table; needed for layout csv")
    pairs: dict[str, tuple[str, str]] = Field(
        default_factory=dict, description="IVDM3Seg only: scan folder -> [subject, session]"
    )


class Statistics(_Frozen):
    """Choices of the statistical analysis."""

    confidence_level: float = Field(0.95, gt=0.5, lt=1, description="level of every interval")
    adjust: Literal["holm"] = Field("holm", description="correction within a family of tests")


class Study(_Frozen):
    """A study as its study.toml describes it, with every path made absolute."""

    name: str = Field(description="names the output folder")
    description: str = Field("", description="shown on every report")
    groups: tuple[str, ...] = Field(min_length=1, description="study arms")
    reference_session: str = Field(description="the visit that change is counted from")
    sessions: tuple[Session, ...] = Field(min_length=1, description="planned visits")
    images: Images
    contrasts: tuple[Contrast, ...] = Field((), description="contrasts every visit should have; empty = any")
    output: Path | None = Field(None, description="output folder; default reports/<name> in the working folder")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where the network runs")
    statistics: Statistics = Field(default_factory=Statistics)  # type: ignore[arg-type]
    path: Path = Field(Path("study.toml"), exclude=True)

    @field_validator("name")
    @classmethod
    def _name_is_a_folder_name(cls, value: str) -> str:
        if not _SAFE.match(value) or value.endswith("."):
            raise ValueError("must be letters, digits, spaces and . _ + -: it names the output folder")
        return value

    @model_validator(mode="after")
    def _sessions_fit(self) -> Study:
        ids = [s.id for s in self.sessions]
        if twice := {i for i in ids if ids.count(i) > 1}:
            raise ValueError(f"sessions listed more than once: {', '.join(sorted(twice))}")
        if self.reference_session not in ids:
            near = get_close_matches(self.reference_session, ids, n=1)
            raise ValueError(f"reference_session {self.reference_session!r} is none of the sessions {', '.join(ids)}"
                             + (f"; did you mean {near[0]!r}?" if near else ""))
        return self

    @property
    def output_dir(self) -> Path:
        """Absolute output folder."""
        if self.output is None:
            return Path.cwd() / "reports" / self.name
        return self.output

    @property
    def session_ids(self) -> tuple[str, ...]:
        return tuple(s.id for s in self.sessions)


def load_study(path: Path) -> Study:
    """Read a study.toml.

    Raises
    ------
    StudyError
        The file is missing or not TOML.
    ManyProblems
        Keys are unknown or missing, or values do not fit; all at once.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise StudyError("a study.toml", "no such file", str(path), "See data_manifest/README.md for an example.") \
            from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise StudyError("valid TOML", str(error), str(path), "Correct the line named.") from error
    if "path" in raw:
        raise ManyProblems([_unknown(("path",), str(path))])
    try:
        study = Study.model_validate({**raw, "path": path})
    except ValidationError as error:
        raise ManyProblems([_problem(e, str(path)) for e in error.errors()]) from error
    return _absolute(study, path.resolve().parent)


def _absolute(study: Study, base: Path) -> Study:
    names = ("root", "derivatives", "subjects_csv", "sessions_csv", "scans_csv")
    paths = {n: base / getattr(study.images, n) for n in names if getattr(study.images, n) is not None}
    return study.model_copy(update={
        "images": study.images.model_copy(update=paths),
        "output": base / study.output if study.output is not None else None,
        "path": study.path.resolve(),
    })


def _problem(error: Any, where: str) -> Problem:
    place = tuple(error["loc"])
    if error["type"] == "extra_forbidden":
        return _unknown(place, where)
    dotted = ".".join(map(str, place)) or "study"
    if error["type"] == "missing":
        return Problem(where, f"a key {dotted}", "none", "Add it; data_manifest/README.md has an example.")
    return Problem(where, f"{dotted} that fits ({error['msg']})", repr(error["input"])[:80] if place else "this study",
                   "Correct the value.")


def _unknown(place: tuple[Any, ...], where: str) -> Problem:
    model: Any = Study
    for step in place[:-1]:
        if isinstance(step, str) and step in getattr(model, "model_fields", {}):
            annotation = model.model_fields[step].annotation
            model = next((a for a in get_args(annotation) if hasattr(a, "model_fields")), annotation)
    known = [k for k in getattr(model, "model_fields", {}) if k != "path"]
    near = get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
    return Problem(where, f"keys out of {', '.join(known)}", f"unknown key {'.'.join(map(str, place))!r}",
                   f"Did you mean {near[0]!r}?" if near else "Remove it.")
