"""The keys of study.toml. Unknown keys are refused with the nearest known one, all problems at once.

Knows nothing of images and tables.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bedrest.errors import ManyProblems, Problem, StudyError, did_you_mean
from bedrest.vocabulary import FORMULA_STARTS, LEVELS, MISSING_WORDS, Contrast, Phase

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]*")
_LONGEST_NAME = 100  # two of them and an ending make a file name, which may have 255 bytes
_LONGEST_PATH = 4000
_HELP = "data_manifest/README.md has an example."
_IMAGE_PATHS = ("root", "derivatives", "subjects_csv", "sessions_csv", "scans_csv")  # keys of [images]
_PATHS = ("output", "weights", "edited", "level_names")


def is_safe_name(text: str) -> bool:
    """May this text name a file or folder on every system, and stand in a table?"""
    return (bool(_SAFE.fullmatch(text)) and not text.endswith((".", " ")) and len(text) <= _LONGEST_NAME
            and text not in MISSING_WORDS)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Session(_Frozen):
    """A planned visit."""

    id: str = Field(description="session identifier, as in the dataset")
    study_day: float = Field(allow_inf_nan=False, ge=-100_000, le=100_000,
                             description="day 1 is the first day in bed; negative before")
    phase: Phase = Field(description="baseline, bed_rest or recovery")


class Images(_Frozen):
    """Where the images are and how they are laid out."""

    layout: Literal["bids", "ivdm3seg", "csv"] = Field(description="how files are found")
    root: Path = Field(description="image folder; relative to study.toml")
    derivatives: Path | None = Field(None, description="BIDS derivatives folder with reference masks")
    subjects_csv: Path | None = Field(None, description="subjects table; needed for layout csv")
    sessions_csv: Path | None = Field(None, description="sessions table; optional")
    scans_csv: Path | None = Field(None, description="scans table; needed for layout csv")
    resample: bool = Field(False, description="contrasts of a visit on different grids are resampled onto the grid of "
                           "the first (water, fat, in_phase, opposed, t2, t1); default: such a visit is refused")
    labels: str | None = Field(None, description="program whose numbers given masks have, for example spineps "
                               "(docs/label_schemes.md), or pairs such as 51=L5-S1,102=L4-L5; default: the numbering "
                               "that fits, 1 = L5-S1 to 7 = T11-T12 where none does")
    reference_labels: str | None = Field(None, description="the same for reference masks")
    pairs: dict[str, tuple[str, str]] = Field(
        default_factory=dict, description="IVDM3Seg only: scan folder -> [subject, session]"
    )


class Statistics(_Frozen):
    """Choices of the statistical analysis."""

    confidence_level: float = Field(0.95, gt=0.5, lt=1, description="level of every interval")
    covariance: Literal["compound_symmetry", "unstructured"] = Field(
        "compound_symmetry", description="of a disc's visits; unstructured needs many more subjects than visits"
    )
    covariates: tuple[str, ...] = Field(
        (), description="columns of the subjects or sessions table, for example age, sex, minutes_supine"
    )
    recovery_band_percent: float | None = Field(
        None, gt=0, description="a group's change within plus or minus this counts as none; default: the smallest "
        "detectable change of the method, where baseline was scanned twice"
    )
    resamples: int = Field(2000, ge=200, le=1_000_000, description="of bootstrap and permutation")
    seed: int = Field(0, ge=0, lt=2**63, description="of every random number in the statistics")


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
    weights: Path | None = Field(None, description="weights file of the network, as `bedrest train` writes it; "
                                 "relative to study.toml; default: the shipped one")
    tissues: Literal["discs", "all"] = Field("all", description="all: also write masks of vertebral bodies, sacrum and "
                                             "spinal canal, which bulge, canal width, intervertebral length and "
                                             "normalised signals need")
    visits: Literal["together", "alone"] = Field("together", description="together: the volumes of a disc are measured "
                                                 "from all visits of a subject jointly; alone: from each visit "
                                                 "separately, faster and less precise")
    edited: Path | None = Field(None, description="folder of manually corrected masks; relative to study.toml; "
                                "default: masks/edited in the output folder")
    levels: tuple[str, ...] = Field((), description="levels to measure, out of T11-T12 to L5-S1; the others are 'not "
                                    "in view', which is no failure; empty = all")
    level_names: Path | None = Field(None, description="table of disc names set manually; relative to study.toml; "
                                     "default: levels.csv beside study.toml, if there is one")
    notebooks: tuple[Path, ...] = Field((), description="notebooks of your own (.py in percent format, or .ipynb) that "
                                        "are run as pages own/<name>.html; relative to study.toml")
    statistics: Statistics = Field(default_factory=Statistics)  # type: ignore[arg-type]
    path: Path = Field(Path("study.toml"), exclude=True)

    @property
    def output_dir(self) -> Path:
        """Absolute output folder."""
        return self.output or Path.cwd() / "reports" / self.name

    @property
    def edited_dir(self) -> Path:
        """Folder of manually corrected masks; it need not exist."""
        return self.edited or self.output_dir / "masks" / "edited"

    @property
    def levels_file(self) -> Path | None:
        """Table of disc names set manually; None when there is none."""
        beside = self.path.parent / "levels.csv"
        return self.level_names or (beside if beside.is_file() else None)

    @property
    def measured_levels(self) -> tuple[str, ...]:
        """Levels that are measured: those listed, or all."""
        return self.levels or LEVELS

    @property
    def session_ids(self) -> tuple[str, ...]:
        return tuple(s.id for s in self.sessions)

    @property
    def reference_day(self) -> float:
        """Planned study day of the reference visit."""
        return next(s.study_day for s in self.sessions if s.id == self.reference_session)


def load_study(path: Path) -> Study:
    """Read a study.toml.

    Raises StudyError: the file is missing or not TOML; ManyProblems: keys are unknown or missing, or values do not fit;
    all at once.
    """
    where = str(path)
    try:
        if not path.is_file():  # a pipe would wait for ever
            raise StudyError("a study.toml", "no such file", where, f"Check the path; {_HELP}")
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise StudyError("valid TOML in UTF-8", "lists within lists without end", where, _HELP) from error
    except (ValueError, OSError) as error:  # not TOML, not UTF-8 or not a number
        raise StudyError("valid TOML in UTF-8", str(error), where, f"Correct the line named; {_HELP}") from error
    if "path" in raw:
        raise ManyProblems([_unknown(("path",), where)])
    try:
        study = Study.model_validate({**raw, "path": path})
    except ValidationError as error:
        raise ManyProblems([_problem(e, where) for e in _root_errors(error)]) from error
    if problems := [*_path_problems(study, where), *_name_problems(study, where), *_fit_problems(study, where)]:
        raise ManyProblems(problems)
    return _absolute(study, path.resolve().parent)


def _absolute(study: Study, base: Path) -> Study:
    def under_base(model: BaseModel, names: tuple[str, ...]) -> dict[str, Path]:
        return {n: base / p.expanduser() for n in names if (p := getattr(model, n)) is not None}

    return study.model_copy(update={
        "images": study.images.model_copy(update=under_base(study.images, _IMAGE_PATHS)),
        **under_base(study, _PATHS),
        "notebooks": tuple(base / p.expanduser() for p in study.notebooks),
        "path": study.path.resolve(),
    })


def _path_problems(study: Study, where: str) -> list[Problem]:
    """Paths that no file can have."""
    given = {**{f"images.{n}": getattr(study.images, n) for n in _IMAGE_PATHS},
             **{n: getattr(study, n) for n in _PATHS}, **{f"notebooks.{i}": p for i, p in enumerate(study.notebooks)}}
    return [Problem(where, f"{key} that is a path", repr(str(path))[:200], "Correct the path.")
            for key, path in given.items() if path is not None and not _is_path(path)]


def _is_path(path: Path) -> bool:
    try:
        whole = os.fsencode(path.expanduser())
    except (RuntimeError, ValueError):  # no user of this name has a home folder
        return False
    return b"\0" not in whole and len(whole) <= _LONGEST_PATH and all(len(n) < 256 for n in whole.split(b"/"))


def _name_problems(study: Study, where: str) -> Iterator[Problem]:
    """Names that become those of files, folders and pages, and those of groups, which stand in tables."""
    for key, name in (("name", study.name), *((f"sessions.{i}.id", s.id) for i, s in enumerate(study.sessions))):
        if not is_safe_name(name):
            yield Problem(where, f"{key} of at most {_LONGEST_NAME} letters, digits, spaces and . _ + - that starts "
                          "with a letter or digit", repr(name), "Choose another name: it becomes part of a path.")
    for i, name in enumerate(study.groups):
        if (name in MISSING_WORDS or name != name.strip() or name.startswith((*FORMULA_STARTS, "'"))
                or not name.isprintable() or len(name) > _LONGEST_NAME):
            yield Problem(where, f"groups.{i} that a table can hold: 1 to {_LONGEST_NAME} characters on one line, no "
                          "= + - @ in front, no space at an end", repr(name), "Choose another name for the group.")
    for path in study.notebooks:
        if path.suffix not in (".py", ".ipynb") or not is_safe_name(path.stem):
            yield Problem(where, "notebooks that end in .py or .ipynb, named by letters, digits, spaces and . _ + -",
                          repr(str(path)), "Rename it: its name becomes that of a page.")


def _fit_problems(study: Study, where: str) -> Iterator[Problem]:
    """Values that do not fit each other."""
    ids, images = study.session_ids, study.images
    for level in (v for v in study.levels if v not in LEVELS):
        yield Problem(where, f"levels out of {', '.join(LEVELS)}", repr(level),
                      did_you_mean(level.upper(), LEVELS, "Correct the name."))
    for what, listed in (("session", ids), ("group", study.groups), ("level", study.levels), (
            "covariate", study.statistics.covariates), ("name of notebooks", tuple(p.stem for p in study.notebooks))):
        for name in dict.fromkeys(listed):
            if listed.count(name) > 1:
                yield Problem(where, f"every {what} once", f"{name!r} more than once", "Remove or rename one of them.")
    for key, session in (("reference_session", study.reference_session),
                         *((f"images.pairs.{folder}", session) for folder, (_, session) in images.pairs.items())):
        if session not in ids:
            yield Problem(where, f"{key} with a session out of {', '.join(ids)}", repr(session),
                          did_you_mean(session, ids, "Name one of the sessions."))
    if images.layout == "csv" and images.scans_csv is None:
        yield Problem(where, "a key images.scans_csv, as layout is 'csv'", "none", f"Name the table of scans; {_HELP}")
    if images.layout == "csv" and images.subjects_csv is None and len(study.groups) > 1:
        yield Problem(where, "a key images.subjects_csv, as there are several groups", "none",
                      f"Name the table that gives each subject's group; {_HELP}")
    for key, layout in (("derivatives", "bids"), ("pairs", "ivdm3seg")):
        if getattr(images, key) and images.layout != layout:
            yield Problem(where, f"images.{key} only with layout {layout!r}", f"layout {images.layout!r}",
                          "Remove the key or change the layout.")


def _root_errors(error: ValidationError) -> list[Any]:
    """Errors without those of a list that only seems too short because its items are wrong."""
    errors = error.errors()
    return [e for e in errors if e["type"] != "too_short"
            or not any(o is not e and o["loc"][: len(e["loc"])] == e["loc"] for o in errors)]


def _problem(error: Any, where: str) -> Problem:
    place = tuple(error["loc"])
    if error["type"] == "extra_forbidden":
        return _unknown(place, where)
    dotted = ".".join(map(str, place)) or "study"
    if place == ("levels",) and isinstance(error["input"], str):
        return Problem(where, 'levels as a list of discs, such as ["L4-L5", "L5-S1"]', repr(error["input"])[:80],
                       "A table of names set manually is named by the key level_names.")
    if error["type"] == "missing":
        return Problem(where, f"a key {dotted}", "none", f"Add it; {_HELP}")
    return Problem(where, f"{dotted} that fits ({error['msg']})", repr(error["input"])[:80] if place else "this study",
                   _nearest_value(error))


def _nearest_value(error: Any) -> str:
    """The remedy for a value out of a list: the nearest one allowed."""
    allowed = re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected", "")))
    return did_you_mean(error["input"], allowed, "Correct the value.")


def _unknown(place: tuple[Any, ...], where: str) -> Problem:
    model: Any = Study
    for step in place[:-1]:
        if isinstance(step, str) and step in getattr(model, "model_fields", {}):
            annotation = model.model_fields[step].annotation
            model = next((a for a in get_args(annotation) if hasattr(a, "model_fields")), annotation)
    known = [k for k in getattr(model, "model_fields", {}) if k != "path"]
    if len(place) > 1 and place[-1] in Study.model_fields:
        return Problem(where, f"{place[-1]} at the top of the file", f"{'.'.join(map(str, place))}, within a table",
                       "Move it above the first line that begins with [: what follows such a line belongs to it.")
    return Problem(where, f"keys out of {', '.join(known)}", f"unknown key {'.'.join(map(str, place))!r}",
                   did_you_mean(place[-1], known, "Remove it.", cutoff=0.5))
