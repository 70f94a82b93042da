"""How the slices of a DICOM image lie: its grid, and whether slices are missing. Knows neither pixels nor contrasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bedrest.errors import GeometryError
from bedrest.io.dicom.header import Frame, ImageHeader, same_sequence
from bedrest.types import Grid

SLICE_TOLERANCE_MM = 0.1  # between a slice and its position in an even stack; scanners round to 0.01 mm
SAME_SLICE_MM = 0.25  # between slices of two images
MAX_APART_S = 120.0  # between images of one run; in and opposed phase may be two breath-holds
MIN_SLICES = 4  # a lumbar disc is about 50 mm wide
MAX_STEP_MM = 7.5  # farther apart, too few slices meet a disc to measure it
MAX_STEP_OF_DECLARED, MAX_STEP_OF_THICKNESS = 1.25, 1.75  # of Spacing Between Slices; of Slice Thickness
MAX_GAP_PART = 0.6  # some write the gap as Spacing Between Slices: it is a smaller part of the thickness than this
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class DicomImage:
    """Slices of one image, in no order; `name` is the series number, with a count where a series has several images."""

    name: str
    header: ImageHeader
    frames: tuple[Frame, ...]


def along_normal(frames: Sequence[Frame]) -> NDArray[np.float64]:
    """Positions along the normal of the first slice, in mm, shape (n,)."""
    across, down = np.reshape(frames[0].header.orientation, (2, 3))
    return np.array([f.position_mm for f in frames]) @ np.cross(across, down)


def grid_of(image: DicomImage) -> tuple[Grid, list[Frame]]:
    """Grid of an image, world RAS+, and its slices in the order of the grid.

    Axes of the grid: columns, rows, slices.

    Raises GeometryError: there are fewer than two slices, two at one place, or gaps between them; or they are not
    stacked at right angles to their plane.
    """
    header, at = image.header, f"DICOM series {image.name}"
    axes = np.reshape(header.orientation, (2, 3))
    across, down = axes
    normal = np.cross(across, down)
    if np.abs(np.linalg.norm(axes, axis=1) - 1).max() > 0.01 or abs(across @ down) > 0.01:
        raise GeometryError("an orientation of two unit vectors at right angles", f"{list(header.orientation)}", at,
                            "Export the series again.")
    if not (np.array(header.spacing_mm) > 0).all():
        raise GeometryError("positive pixel spacings", f"{list(header.spacing_mm)} mm", at, "Export the series again.")
    frames = sorted(image.frames, key=lambda f: float(f.position_mm @ normal))
    if len(frames) < 2:
        raise GeometryError("at least two slices", f"{len(frames)}", at, "Export the whole series.")
    places = np.array([f.position_mm for f in frames])
    step = (places[-1] - places[0]) / (len(frames) - 1)
    distinct = len(np.unique(np.round(places @ normal, 2)))
    if distinct < len(frames):
        raise GeometryError("one slice at each place", f"{len(frames)} slices at {distinct} places", at,
                            "The series holds several images, such as repetitions, and no header value separates "
                            "them: export one of them.")
    off = np.linalg.norm(places - (places[0] + np.arange(len(frames))[:, None] * step), axis=1).max()
    if off > SLICE_TOLERANCE_MM:
        steps = np.diff(places @ normal)
        k = int(steps.argmax())
        raise GeometryError("slices at even distances", f"one that is {off:.1f} mm off: slices {k + 1} and {k + 2} lie "
                            f"{steps[k]:.1f} mm apart, others {np.median(steps):.1f} mm", at, "A slice is missing or "
                            "belongs elsewhere: export the whole series, several stacks as several series.")
    lean = (len(frames) - 1) * float(np.linalg.norm(step - (step @ normal) * normal))
    if lean > SLICE_TOLERANCE_MM * len(frames):
        raise GeometryError("slices stacked at right angles to their plane", f"a stack that leans by {lean:.1f} mm", at,
                            "Resample the series to a straight stack first.")
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = across * header.spacing_mm[1], down * header.spacing_mm[0]
    affine[:3, 2], affine[:3, 3] = step, places[0]
    return Grid((header.size[1], header.size[0], len(frames)), _LPS_TO_RAS @ affine), frames


def head_foot_mm(image: DicomImage) -> tuple[float, float]:
    """From where to where the slices reach along the patient, feet to head, in mm of the frame of reference."""
    across, down = np.reshape(image.header.orientation, (2, 3))
    (rows, columns), (down_mm, across_mm) = image.header.size, image.header.spacing_mm
    edges = [f.position_mm + across * across_mm * j + down * down_mm * i
             for f in image.frames for j in (-0.5, columns - 0.5) for i in (-0.5, rows - 0.5)]
    return min(float(e[2]) for e in edges), max(float(e[2]) for e in edges)


def slice_doubt(image: DicomImage, images: Sequence[DicomImage]) -> str | None:
    """Why slices of an image may be missing, held against its header and the other images of the visit; else None.

    An image without a grid has no doubt: reading it says why.
    """
    try:
        grid, _ = grid_of(image)
    except GeometryError:
        return None
    return (_distance_doubt(image.header, float(grid.spacing_mm[2])) or _number_doubt(image, images)
            or _sibling_doubt(image, images) or _few_doubt(len(image.frames), float(grid.spacing_mm[2])))


def _distance_doubt(header: ImageHeader, step_mm: float) -> str | None:
    between, thickness = header.between_slices_mm, header.thickness_mm
    gap_alone = between < MAX_GAP_PART * thickness and abs(step_mm - thickness - between) <= SLICE_TOLERANCE_MM
    if between > 0 and step_mm > MAX_STEP_OF_DECLARED * between and not gap_alone:
        return f"slices are missing: they lie {step_mm:.2f} mm apart, Spacing Between Slices is {between:g} mm"
    if thickness > 0 and step_mm > MAX_STEP_OF_THICKNESS * thickness:
        return f"slices may be missing: they lie {step_mm:.2f} mm apart and are {thickness:g} mm thick"
    return None


def too_few(image: DicomImage) -> str | None:
    """Why an image has too few slices to measure discs, as a localizer; else None. Also where it has no grid."""
    try:
        grid, frames = grid_of(image)
    except GeometryError as error:
        return None if len(image.frames) >= MIN_SLICES else f"{error.actual} slices"
    step_mm = float(grid.spacing_mm[2])
    return f"{len(frames)} slices, {step_mm:.1f} mm apart" if _few_doubt(len(frames), step_mm) else None


def _few_doubt(n: int, step_mm: float) -> str | None:
    if n < MIN_SLICES:
        return f"slices may be missing: there are {n}"
    if step_mm > MAX_STEP_MM:
        return f"slices may be missing: {n} slices lie {step_mm:.1f} mm apart"
    return None


def _number_doubt(image: DicomImage, images: Sequence[DicomImage]) -> str | None:
    """Instance Numbers of a series run on from 1 or from the last one of another series.

    Where images are interleaved, each skips the others'. Numbers that begin far above the number of slices count
    something else.
    """
    def numbers_of(one: DicomImage) -> list[int]:
        return sorted(f.number for f in one.frames if f.number is not None)

    numbers = numbers_of(image)
    if len(set(numbers)) < len(image.frames):
        return None
    series = [i for i in images if i.header.series_uid == image.header.series_uid]
    steps = np.diff(numbers)
    if steps.max() > len(series):
        k = int(steps.argmax())
        return f"slices are missing: their Instance Numbers jump from {numbers[k]} to {numbers[k + 1]}"
    first = min(n for i in series for n in numbers_of(i))
    others = [numbers_of(i)[-1:] for i in images if i.header.series_uid != image.header.series_uid]
    if 1 < first <= 2 * len(image.frames) and [first - 1] not in others:
        return f"the first slices may be missing: Instance Numbers begin at {first}"
    return None


def _sibling_doubt(image: DicomImage, images: Sequence[DicomImage]) -> str | None:
    """Images of one acquisition have their slices at the same places."""
    for other in images:
        if other is image or not same_sequence(image.header, other.header):
            continue
        shared = shared_places(image, other)
        missing = len(other.frames) - shared
        if missing and 2 * shared >= len(image.frames):
            return f"{missing} slice{'s are' if missing > 1 else ' is'} missing that image {other.name} has"
    return None


def shared_places(image: DicomImage, other: DicomImage) -> int:
    """How many slices of another image lie where this one has a slice."""
    places, theirs = (np.array([f.position_mm for f in i.frames]) for i in (image, other))
    return int((np.linalg.norm(theirs[:, None] - places[None], axis=2).min(axis=1) <= SAME_SLICE_MM).sum())


def apart(images: Sequence[DicomImage]) -> list[str]:
    """Pairs of images of one visit between which the subject may have moved, in words."""
    notes = []
    for a, b in combinations(images, 2):
        references = {i.header.frame_of_reference for i in (a, b)} - {""}
        apart_s = abs(a.header.acquisition_time_s - b.header.acquisition_time_s)
        if len(references) > 1 and all(len({f.header.frame_of_reference for f in i.frames}) == 1 for i in (a, b)):
            notes.append(f"{a.name} and {b.name} have two frames of reference: the subject was positioned anew, or an "
                         "anonymiser changed them; see that they show one subject at one place")
        elif apart_s > MAX_APART_S and same_sequence(a.header, b.header):
            notes.append(f"{a.name} and {b.name} are of two runs of a sequence, {apart_s / 60:.0f} min apart; see that "
                         "the subject did not move, or choose images of one run")
    return notes


def unfinished_acquisitions(images: Sequence[DicomImage]) -> list[str]:
    """Sequences of which fewer images lie here than their headers count (Images in Acquisition), in words."""
    notes: dict[str, str] = {}
    for image in images:
        together = [i for i in images if same_sequence(i.header, image.header)
                    and i.header.acquisition == image.header.acquisition]
        present, declared = sum(len(i.frames) for i in together), image.header.images_in_acquisition
        if present < declared:
            names = ", ".join(i.name for i in together)
            notes[names] = (f"{names}: {present} slices here, {declared:g} in the acquisition by its headers; see that "
                            "the field of view is the one that was scanned")
    return list(notes.values())
