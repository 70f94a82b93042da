"""What would stop a run or make it fail late, collected before anything is computed. Changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from bedrest import schemas
from bedrest.anatomy.label_schemes import check_labels
from bedrest.errors import BedrestError, GeometryError, ManyProblems, OutputError, Problem
from bedrest.findings import render
from bedrest.io.files import sha256_of
from bedrest.io.images.masks import read_label_map
from bedrest.io.images.nifti import read_volume
from bedrest.io.manifest.edited_masks import read_edited
from bedrest.io.manifest.entries import InputProblem, LeftOut
from bedrest.io.manifest.resolve import Manifest
from bedrest.io.results import StudyResults
from bedrest.measurement.comparison.edits import compare_edit
from bedrest.measurement.numbering.recognise import IN_STUDY, name_discs
from bedrest.measurement.quality import unknown_labels
from bedrest.pages.reports import check_own_notebook
from bedrest.settings import Study
from bedrest.stages.measure import name_reference
from bedrest.types import Scan
from bedrest.vocabulary import Contrast, MaskRole, Status

# Measured on the demo cohort, rounded up: maps take 0.3 of a visit's largest image, pages 1.5 MB a visit.
_MAPS_OF_IMAGE, _PAGES_OF_VISIT, _OF_STUDY = 0.5, 2_000_000, 20_000_000


@dataclass(frozen=True)
class CheckedStudy:
    """What `bedrest check` found: a study in one line, what stops a run or excludes something, doubts, and images that
    are not used.
    """

    summary: str
    problems: list[str]
    doubts: list[str]
    left_out: tuple[LeftOut, ...]


def check_study(study_toml: Path, *, read_images: bool) -> CheckedStudy:
    """Everything that would stop a run, exclude a subject or a visit, or should be looked at.

    With `read_images` every image is read whole; else only its header, and whether the file is cut off. Masks are read.

    Raises
    ------
    StudyError, ManyProblems
        study.toml cannot be used.
    """
    from bedrest.io.manifest.corrections import check_edited, find_corrections
    from bedrest.io.manifest.resolve import build_manifest, check_manifest
    from bedrest.settings import load_study
    from bedrest.workflow.locks import locked

    study = load_study(study_toml)
    manifest = build_manifest(study, None)
    corrections = find_corrections(study, manifest)
    inputs = [*check_manifest(study, manifest, whole=read_images), *corrections.problems,
              *mask_problems(study, manifest), *unknown_contrasts(study, manifest),
              *check_edited(study, manifest, corrections.edited), *edit_doubts(study, corrections.edited),
              *covariate_problems(study, manifest),
              *(image_doubts(manifest) if read_images else [])]
    problems = [str(p.problem) for p in inputs if not p.doubt]
    problems += map(str, (*study_problems(study), *manifest_problems(study, manifest)))
    if (space := space_problem(study, manifest)) is not None:
        problems.append(str(space))
    try:
        with locked(study.output_dir, to_read=True):
            pass
    except OutputError as error:
        problems.append(str(error))
    n = f"{len(manifest.subjects)} subjects, {len(manifest.sessions)} visits, {len(manifest.scans)} files"
    if len(corrections.edited) or len(corrections.levels):
        n += f", {len(corrections.edited)} edited masks, {len(corrections.levels)} names set manually"
    doubts = list(dict.fromkeys(str(p.problem) for p in inputs if p.doubt))
    return CheckedStudy(f"{study.name}: {n}", list(dict.fromkeys(problems)), doubts, manifest.left_out)


def mask_problems(study: Study, manifest: Manifest) -> list[InputProblem]:
    """Given and reference masks whose labels cannot be the discs that they are named, and doubts about them.

    Masks that cannot be read are for `check_manifest`.
    """
    problems = []
    rows = manifest.scans[manifest.scans["contrast"].isin([*MaskRole])]
    for subject, session, role, path in rows[["subject", "session", "contrast", "path"]].itertuples(index=False):
        reference, where = role == MaskRole.REFERENCE, f"{subject} {session} {role} ({path})"
        labels = study.images.reference_labels if reference else study.images.labels
        with suppress(BedrestError):
            mask = read_label_map(Path(path), where=where, by_name=labels is None)
            try:
                named = (name_reference(mask, labels, where=where) if reference else
                         name_discs(mask, labels, where=where, option=IN_STUDY))
            except GeometryError as error:
                problems.append(InputProblem(subject, session, error.as_problem()))
                continue
            if named.problem is not None:
                problems.append(InputProblem(subject, session, named.problem))
            problems += [InputProblem(subject, session, Problem(
                where, "labels without a doubt", render(f), "Look at the mask; study.toml can name its numbering."),
                doubt=True) for f in named.all_doubts()]
            unknown = unknown_labels(named.mask, named.levels).keys() - named.known
            if unknown and named.problem is None:
                problems.append(InputProblem(subject, session, Problem(
                    where, "labels that stand for something", f"{', '.join(map(str, sorted(unknown)[:5]))}, which do "
                    "not", "Look at the mask: they are not measured."), doubt=True))
    return problems


def unknown_contrasts(study: Study, manifest: Manifest) -> list[InputProblem]:
    """Visits to be segmented of whose contrasts the weights know none; `study_problems` tells of broken weights."""
    from bedrest.segmentation.weights import check_weights, chosen_weights

    try:
        known = check_weights(path := chosen_weights(study.weights))
    except BedrestError:
        return []
    problems = []
    for (subject, session), given in manifest.scans.groupby(["subject", "session"], sort=False)["contrast"]:
        here = {*given}
        if here & {*Contrast} and not here & {*known, MaskRole.MASK}:
            problems.append(InputProblem(str(subject), str(session), Problem(
                f"{subject} {session}", f"a contrast that the weights know: {', '.join(known)}",
                f"{', '.join(sorted(here & {*Contrast}))} alone", f"Name weights trained for it in {study.path} "
                f"(weights; now {path.name}), or give another image or a mask of this visit.")))
    return problems


def image_doubts(manifest: Manifest) -> list[InputProblem]:
    """Doubts about voxels that need no segmentation; images that cannot be read are for `check_manifest`."""
    from bedrest.imaging.voxel_checks import bad_slices, impossible_intensities, notes_of

    doubts = []
    rows = manifest.scans[manifest.scans["contrast"].isin([*Contrast])]
    for subject, session, contrast, path in rows[["subject", "session", "contrast", "path"]].itertuples(index=False):
        where = f"{subject} {session} {contrast} ({path})"
        with suppress(BedrestError):
            scan = Scan({Contrast(contrast): read_volume(Path(path), where=where)})
            doubts += [InputProblem(subject, session, Problem(
                where, "slices and intensities as a scanner makes them", render(f),
                "Export the image again if it should have them; discs that they touch are flagged."), doubt=True)
                for f in (*notes_of(bad_slices(scan), next(iter(scan.contrasts.values())).grid),
                          *impossible_intensities(scan))]
    return doubts


def edit_doubts(study: Study, edited: pd.DataFrame) -> list[InputProblem]:
    """Doubts about discs of edited masks (as in `schemas.EDITED_MASKS`), as programs may renumber them.

    Masks that cannot be used are for `check_edited`.
    """
    doubts = []
    for subject, session, path in edited[["subject", "session", "path"]].itertuples(index=False):
        where = f"{subject} {session}"
        with suppress(BedrestError):
            before = read_label_map(StudyResults(study.output_dir).mask(subject, session), where=where)
            mask = read_edited(Path(path), before=before, grid=None, where=where)
            doubts += [InputProblem(subject, session, Problem(
                f"{where} {edit.level}, edited mask ({path})", "the number that the disc had", render(f),
                "Give it back its number, or confirm its name in levels.csv."), doubt=True)
                for edit in compare_edit(before, mask) for f in edit.findings if f.status != Status.OK]
    return doubts


def study_problems(study: Study, *, device: str | None = None) -> list[Problem]:
    """What study.toml names besides images: weights, their errors, device, the user's notebooks."""
    from bedrest.longitudinal.error_model import load_errors
    from bedrest.segmentation.device import resolve_device
    from bedrest.segmentation.weights import check_weights, chosen_weights

    def weights() -> None:
        path = chosen_weights(study.weights)
        check_weights(path)
        load_errors(path, sha256=sha256_of(path))

    def numbering() -> None:
        for key, value in (("labels", study.images.labels), ("reference_labels", study.images.reference_labels)):
            if value is not None:
                check_labels(value, where=f"images.{key} in {study.path}")

    wanted, results = device or study.device, StudyResults(study.output_dir)
    device_check = [] if wanted in ("auto", "cpu") else [partial(resolve_device, wanted)]
    return _problems([weights, numbering, *device_check,
                      *(partial(check_own_notebook, path, study, results) for path in study.notebooks)])


def manifest_problems(study: Study, manifest: Manifest) -> list[Problem]:
    """What the statistics would stop at, hours later."""
    from bedrest.statistics.study.covariates import check_covariates

    return _problems([partial(check_covariates, (name,), manifest.subjects, manifest.sessions)
                      for name in study.statistics.covariates])


def covariate_problems(study: Study, manifest: Manifest) -> list[InputProblem]:
    """Doubts about the covariates: what the statistics could then not tell apart, or only from one subject."""
    from bedrest.statistics.study.covariates import covariate_doubts

    return [InputProblem("", "", problem, doubt=True) for problem in covariate_doubts(
        study.statistics.covariates, manifest.subjects, manifest.sessions, manifest.scans[["subject", "session"]])]


def space_problem(study: Study, manifest: Manifest) -> Problem | None:
    """Whether the disk has too little room for what a run is about to write: an estimate."""
    results = StudyResults(study.output_dir)
    images = manifest.scans[manifest.scans["contrast"].isin([*Contrast, MaskRole.MASK])]
    largest: dict[tuple[str, str], int] = {}
    for subject, session, path in images[["subject", "session", "path"]].itertuples(index=False):
        if Path(path).is_file() and not results.mask(subject, session).is_file():
            largest[subject, session] = max(largest.get((subject, session), 0), Path(path).stat().st_size)
    needed = _OF_STUDY + sum(_MAPS_OF_IMAGE * size + _PAGES_OF_VISIT for size in largest.values())
    nearest = next(p for p in (study.output_dir, *study.output_dir.parents) if p.exists())
    free = shutil.disk_usage(nearest).free
    if (results.table(schemas.MEASURES).is_file() and not largest) or free >= needed:
        return None
    return Problem(f"output folder {study.output_dir}", f"about {needed / 1e6:,.0f} MB of free space",
                   f"{free / 1e6:,.0f} MB", "Free some space, or choose another output folder.")


def stop_at(problems: list[Problem]) -> None:
    """Raise ManyProblems if there is any."""
    if problems:
        raise ManyProblems(problems)


def _problems(checks: Sequence[Callable[[], object]]) -> list[Problem]:
    problems = []
    for check in checks:
        try:
            check()
        except BedrestError as error:
            problems.append(error.as_problem())
    return problems
