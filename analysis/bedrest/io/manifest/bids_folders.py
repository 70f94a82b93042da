"""Images of a BIDS dataset and masks of its derivatives, visit by visit: what is taken, what not, and why.

Where a file lies must be what its name says. Knows nothing of tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bedrest.errors import BedrestError, GeometryError, Problem
from bedrest.io.bids.contrasts import judged
from bedrest.io.bids.sidecars import BidsName, Sidecars
from bedrest.io.images.nifti import read_grid, require_shared
from bedrest.io.manifest.entries import InputProblem
from bedrest.io.manifest.unused_images import images_below, is_image
from bedrest.types import same_grid
from bedrest.vocabulary import Contrast, MaskRole

_REFERENCE_DESC = ("manual", "reference", "truth")
_DISC_LABELS = ("", "disc", "discs", "ivd", "ivds")


@dataclass
class Listing:
    """Images that are taken, those that are not, and what is wrong or doubtful."""

    rows: list[tuple[str, str, str, str]] = field(default_factory=list)  # subject, session, contrast, path
    left_out: dict[Path, str] = field(default_factory=dict)
    problems: list[InputProblem] = field(default_factory=list)
    met: set[Path] = field(default_factory=set)  # images in folders of visits


def subject_folders(root: Path) -> list[Path]:
    """The folders of subjects."""
    return sorted(p for p in root.glob("sub-*") if p.is_dir())


def list_images(root: Path, reference_session: str, *, spare: list[Path], resample: bool = False) -> Listing:
    """Every image below a dataset's root but in the folders to be spared. `resample`: as in `settings.Images`."""
    listing, sidecars, by_number = Listing(), Sidecars(root), list[Path]()
    for subject, session, paths in _visits(root, reference_session):
        result = judged({path: sidecars.of(path) for path in _named(listing, subject, session, paths, exclude=True)})
        aside = _t1_aside(result.contrasts, resample=resample)
        listing.rows += [(subject, session, c.value, str(p.absolute())) for p, c in result.contrasts.items()
                         if p not in aside]
        listing.left_out |= result.left_out | aside
        listing.problems += [InputProblem(subject, session, p, excludes_visit=True) for p in result.contradictions]
        listing.problems += [InputProblem(subject, session, p, doubt=True) for p in result.doubts]
        by_number += result.by_number
    if by_number:
        listing.problems.append(InputProblem("", "", _of_number_alone(root, by_number), doubt=True))
    for path, problem in sidecars.problems:
        parts = path.relative_to(root).parts
        visit = (parts[0], reference_session if parts[1] == "anat" else parts[1]) if len(parts) > 2 else ("", "")
        listing.problems.append(InputProblem(*visit, problem, doubt=True))
    _add_elsewhere(listing, root, spare)
    return listing


def _t1_aside(contrasts: Mapping[Path, Contrast], *, resample: bool) -> dict[Path, str]:
    """T1w images of a visit that cannot be used with its others, which count then: many a T1w shows another place."""
    others = sorted((p for p, c in contrasts.items() if c != Contrast.T1),
                    key=lambda p: [*Contrast].index(contrasts[p]))
    t1 = [p for p, c in contrasts.items() if c == Contrast.T1] if others else []
    aside = {p: f"a T1w on another grid than {others[0].name}, which is measured" for p in t1
             if not _together(others[0], p, resample=resample)}
    if len(t1) - len(aside) > 1:
        aside |= dict.fromkeys(t1, f"one of several T1w beside {others[0].name}, which is measured")
    return aside


def _together(first: Path, image: Path, *, resample: bool) -> bool:
    try:
        grids = [read_grid(path, where=path.name) for path in (first, image)]
    except BedrestError:
        return True  # reported by the check of the files
    if not resample or same_grid(*grids):
        return same_grid(*grids)
    try:
        require_shared(*grids, where=image.name, onto=first.name)
    except GeometryError:
        return False
    return True


def list_reference_masks(derivatives: Path, reference_session: str, *, spare: list[Path]) -> Listing:
    """Every mask below a derivatives folder but in the folders to be spared."""
    listing = Listing()
    for subject, session, paths in _visits(derivatives, reference_session):
        for path in _named(listing, subject, session, paths, exclude=False):
            if reason := _reason(BidsName.of(path)):
                listing.left_out[path] = reason
            else:
                listing.rows.append((subject, session, MaskRole.REFERENCE.value, str(path.absolute())))
    _add_elsewhere(listing, derivatives, spare)
    return listing


def _reason(name: BidsName) -> str:
    """Why a mask is no reference mask of discs; empty where it is."""
    if name.suffix != "dseg":
        return f"suffix {name.suffix!r}; reference masks are named dseg"
    if name.label("label") not in _DISC_LABELS:
        return f"label-{name.entities['label']}: not a mask of discs"
    if name.label("desc") not in _REFERENCE_DESC:
        return f"reference masks are named {', '.join(f'desc-{desc}' for desc in _REFERENCE_DESC)}"
    return ""


def _visits(root: Path, reference_session: str) -> Iterator[tuple[str, str, list[Path]]]:
    """(subject, session, images) of every visit; a subject without session folders was there at the reference one."""
    for subject in subject_folders(root):
        sessions = [(p.name, p / "anat") for p in sorted(subject.glob("ses-*")) if p.is_dir()]
        for session, anat in sessions or [(reference_session, subject / "anat")]:
            yield subject.name, session, sorted(p for p in anat.iterdir() if is_image(p)) if anat.is_dir() else []


def _named(listing: Listing, subject: str, session: str, paths: list[Path], *, exclude: bool) -> Iterator[Path]:
    """The files of a visit that carry its names; whether others exclude the visit."""
    listing.met |= {*paths}
    for path in paths:
        name = BidsName.of(path).entities
        named = {key: f"{key}-{name[key]}" for key in ("sub", "ses") if key in name}
        if not path.name.endswith((".nii", ".nii.gz")):
            listing.left_out[path] = "BIDS images are .nii or .nii.gz"
        elif "sub" not in named:
            listing.left_out[path] = f"the name does not begin with {subject}_"
        elif named["sub"] != subject or named.get("ses", session) != session:
            listing.problems.append(InputProblem(subject, session, Problem(
                str(path), f"{subject} {session} in its name, as its folder says", " ".join(named.values()),
                "Move the file to where it belongs, or correct its name."), excludes_visit=exclude))
        else:
            if "ses" not in named and path.parent.parent.name == session:
                listing.problems.append(InputProblem(subject, session, Problem(
                    str(path), f"{session} in the name, as its folder says", "no session in the name",
                    f"Rename the file {subject}_{session}_..."), doubt=True))
            yield path


def _of_number_alone(root: Path, paths: list[Path]) -> Problem:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return Problem(f"{paths[0]}{more}", "a sidecar with EchoTime and MagneticFieldStrength, or with IN_PHASE or "
                   "OUT_PHASE in ImageType", "none: echo-1 is taken for opposed, echo-2 for in_phase", "Write one. "
                   f"Where all were scanned alike, {root / 'echo-1_MEGRE.json'} and echo-2_MEGRE.json do for all.")


def _add_elsewhere(listing: Listing, root: Path, spare: list[Path]) -> None:
    """Add images that do not lie where those of visits do."""
    for path in images_below(root, spare=spare):
        if path not in listing.met:
            folder = path.parent.relative_to(root)
            alone = len(folder.parts) == 2 and folder.name == "anat" and folder.parts[0].startswith("sub-")
            listing.left_out[path] = "not in one of the subject's ses- folders" if alone else \
                f"in {folder}/, not in sub-*/[ses-*/]anat/"
