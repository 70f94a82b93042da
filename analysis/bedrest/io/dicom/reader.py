"""Reads a folder of DICOM files as three-dimensional images: which slices belong to one image, and its intensities.

One image is one acquisition: slices belong together where everything that changes an image is equal up to the last
digits, and lie apart; what lies at one place is separated by what differs (stations, repetitions, Image Type). Knows
nothing of contrasts but which words of Image Type mean one.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedrest.errors import ImageError, StudyError
from bedrest.io.contrast_rules import DIXON_WORDS, NO_USE
from bedrest.io.dicom.header import (
    ECHO_MS,
    FLIP_DEG,
    Frame,
    ImageHeader,
    NoMrImage,
    close,
    load_pydicom,
    read_file,
    read_pixels,
    same_plane,
)
from bedrest.io.dicom.slices import DicomImage, along_normal, grid_of
from bedrest.types import Volume

SAME_PLACE_MM, STATION_MM = 0.05, 5.0  # along the normal; in the plane
UNPLACED = "MR images that do not say where they lie"
MAX_REPETITION_RATIO = 1.5  # of the repetition times of one image: triggered sequences vary theirs


@dataclass
class DicomFolder:
    """The content of a folder."""

    images: list[DicomImage] = field(default_factory=list)  # by series number and echo time
    studies: dict[str, set[str]] = field(default_factory=dict)  # examination -> its frames of reference
    patients: set[str] = field(default_factory=set)
    dates: set[str] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)  # what was not read, in words


def find_images(folder: Path) -> DicomFolder:
    """Every MR image below a folder, from headers alone. Links to folders are not followed.

    Raises StudyError: pydicom is not installed, or the folder is not there.
    """
    load_pydicom()
    if not folder.is_dir():
        raise StudyError("a folder of DICOM files", "a file" if folder.exists() else "no such folder", str(folder),
                         "Give the folder it lies in, unpacked." if folder.exists() else "Correct the path.")
    content = DicomFolder()
    frames: list[Frame] = []
    for path in filter(Path.is_file, sorted(Path(p, name) for p, _, names in os.walk(folder) for name in names)):
        try:
            file = read_file(path)
        except NoMrImage as error:
            content.left_out[str(error)] += 1
            continue
        references = content.studies.setdefault(file.study, set())
        references |= {f.header.frame_of_reference for f in file.frames} - {""}
        content.patients |= {file.patient} - {""}
        content.dates |= {file.date} - {""}
        content.left_out[UNPLACED] += file.unplaced
        frames += file.frames
    frames = _with_series(frames)
    parts = [_without_copies(part, content) for group in _groups(frames) for part in _apart(group)]
    ordered = sorted(((_common(part), part) for part in parts), key=lambda s: (
        s[0].series_number, s[0].series_uid, np.nan_to_num(s[0].echo_time_ms), s[0].image_type,
        -float(s[1][0].position_mm[2])))
    numbers = [shared.series_number for shared, _ in ordered]
    for i, (shared, part) in enumerate(ordered):
        n = shared.series_number
        name = f"{n}-{numbers[:i].count(n) + 1}" if numbers.count(n) > 1 else f"{n}"
        content.images.append(DicomImage(name, shared, tuple(part)))
    content.left_out = +content.left_out
    return content


def read_dicom(image: DicomImage, *, measured: bool = False) -> Volume:
    """Intensities of an image; errors as `grid_of`, and ImageError where pixels cannot be decoded.

    `measured`: by the Philips scale slope, which makes images of one acquisition comparable, instead of as displayed.
    """
    grid, frames = grid_of(image)
    data = np.empty(grid.shape, dtype=np.float32)
    held: tuple[Path, NDArray[Any]] | None = None
    for k, frame in enumerate(frames):
        if held is None or held[0] != frame.path:
            held = frame.path, read_pixels(frame.path, f"DICOM series {image.name} ({frame.path.name})")
        pixels = held[1] if held[1].ndim == 2 else held[1][frame.index]
        if pixels.shape != image.header.size:
            raise ImageError(f"slices of {image.header.size} pixels", f"{pixels.shape}", f"DICOM series {image.name}",
                             "Export a grey-scale series.")
        scale = frame.slope * frame.scale_slope if measured else 1.0
        data[:, :, k] = (pixels.T * frame.slope + frame.intercept) / scale
    return Volume(data, grid)


def _with_series(frames: Sequence[Frame]) -> list[Frame]:
    """Slices whose Series Instance UIDs an anonymiser drew anew for each file belong to the series of their number."""
    slices = Counter((f.header.series_number, f.header.series_uid) for f in frames)
    single = {number: all(n == 1 for (other, _), n in slices.items() if other == number)
              for number, _ in slices}
    return [replace(f, header=replace(f.header, series_uid="")) if single[f.header.series_number] else f
            for f in frames]


def _groups(frames: Iterable[Frame]) -> list[list[Frame]]:
    """Slices whose headers agree, up to the last digits, in all that separates two images."""
    groups: dict[tuple[Any, ...], list[list[Frame]]] = {}
    for frame in frames:
        header = frame.header
        meant = frozenset(DIXON_WORDS.get(w.replace(" ", "_"), NO_USE.get(w, "")) for w in header.image_type) - {""}
        candidates = groups.setdefault((header.series_uid, header.series_number, header.size, header.component,
                                        header.sequence, header.variant, meant), [])
        if fitting := next((g for g in candidates if _agree(g[0].header, header)), None):
            fitting.append(frame)
        else:
            candidates.append([frame])
    return [group for candidates in groups.values() for group in candidates]


def _agree(a: ImageHeader, b: ImageHeader) -> bool:
    longest = max(a.repetition_time_ms, b.repetition_time_ms)
    return (same_plane(a, b) and close(a.echo_time_ms, b.echo_time_ms, ECHO_MS)
            and close(a.flip_angle_deg, b.flip_angle_deg, FLIP_DEG)
            and close(a.repetition_time_ms, b.repetition_time_ms, longest * (1 - 1 / MAX_REPETITION_RATIO)))


def _apart(frames: list[Frame]) -> list[list[Frame]]:
    """Images out of slices that agree: stations, and what lies at one place by whatever separates it cleanly."""
    axes = np.reshape(frames[0].header.orientation, (2, 3))
    offsets = np.array([axes @ f.position_mm for f in frames])
    across, down = (_runs(offsets[:, i], STATION_MM) for i in (0, 1))
    stations = _split(frames, list(zip(across, down, strict=True)))
    if len(stations) > 1 and min(map(len, stations)) > 1:
        return [image for station in stations for image in _apart(station)]
    depth = _depth(frames)
    for i in range(len(frames[0].marks) if depth > 1 else 0):
        parts = _split(frames, [f.marks[i] for f in frames])
        if len(parts) > 1 and sum(map(_depth, parts)) == depth:
            return [image for part in parts for image in _apart(part)]
    return [frames]


def _depth(frames: Sequence[Frame]) -> int:
    """The largest number of slices at one place."""
    return max(Counter(_runs(along_normal(frames), SAME_PLACE_MM)).values())


def _split(frames: Sequence[Frame], keys: Sequence[Any]) -> list[list[Frame]]:
    parts: dict[str, list[Frame]] = {}
    for frame, key in zip(frames, keys, strict=True):
        parts.setdefault(repr(key), []).append(frame)
    return list(parts.values())


def _runs(values: NDArray[np.float64], gap: float) -> list[int]:
    """The number of the run that each value belongs to; runs are more than `gap` apart."""
    order = np.argsort(values)
    runs = np.empty(len(values), dtype=int)
    runs[order] = np.concatenate([[0], np.cumsum(np.diff(values[order]) > gap)])
    return list(map(int, runs))


def _without_copies(frames: list[Frame], content: DicomFolder) -> list[Frame]:
    """Slices without second copies of the same pixels at the same place."""
    if _depth(frames) == 1:
        return frames
    kept: dict[int, list[tuple[Frame, bytes]]] = {}
    for frame, place in zip(frames, _runs(along_normal(frames), SAME_PLACE_MM), strict=True):
        try:
            pixels = read_pixels(frame.path, frame.path.name)
        except ImageError:  # told when the image is read
            return frames
        bytes_ = (pixels if pixels.ndim == 2 else pixels[frame.index]).tobytes()
        if bytes_ in (b for _, b in kept.setdefault(place, [])):
            content.left_out["second copies of slices"] += 1
        else:
            kept[place].append((frame, bytes_))
    return [f for slices in kept.values() for f, _ in slices]


def _common(frames: Sequence[Frame]) -> ImageHeader:
    """The header of an image: what its slices agree in, the middle of what differs in the last digits."""
    headers = [f.header for f in frames]

    def middle(get: Callable[[ImageHeader], float]) -> float:
        values = [v for h in headers if (v := get(h)) == v]
        return float(np.median(values)) if values else float("nan")

    axes = np.reshape(np.mean([h.orientation for h in headers], axis=0), (2, 3))
    lengths = np.linalg.norm(np.reshape(headers[0].orientation, (2, 3)), axis=1)
    axes *= (lengths / np.linalg.norm(axes, axis=1))[:, None] if np.linalg.norm(axes, axis=1).min() > 0 else 1
    rows, columns = np.mean([h.spacing_mm for h in headers], axis=0)
    return replace(headers[0], orientation=tuple(map(float, axes.ravel())), spacing_mm=(float(rows), float(columns)),
                   image_type=tuple(w for w in headers[0].image_type if all(w in h.image_type for h in headers)),
                   echo_time_ms=middle(lambda h: h.echo_time_ms),
                   repetition_time_ms=middle(lambda h: h.repetition_time_ms),
                   acquisition_time_s=middle(lambda h: h.acquisition_time_s))
