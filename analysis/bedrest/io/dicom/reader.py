"""Reads a folder of DICOM files as three-dimensional images. Needs pydicom, an optional extra.

Only header values that geometry and contrast need are read: names, dates and free text stay in the file. Single-frame
and enhanced multi-frame objects are read. Knows nothing of contrasts.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedrest.errors import GeometryError, ImageError, StudyError, brief
from bedrest.types import Grid, Volume

SLICE_TOLERANCE_MM = 0.1  # between a slice and its position in an even stack; scanners round to 0.01 mm
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_TAGS = [
    "SOPClassUID", "Modality", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber", "ImageType",
    "EchoTime", "RepetitionTime", "FlipAngle", "MagneticFieldStrength", "ScanningSequence", "EchoPulseSequence",
    "ScanOptions", "Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "PixelSpacing",
    "ImageOrientationPatient", "ImagePositionPatient", "RescaleSlope", "RescaleIntercept",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]


@dataclass(frozen=True, eq=False)
class Frame:
    """One slice: its position in the patient (LPS, mm) and the place of its pixels."""

    path: Path  # file and frame in it
    index: int
    position_mm: NDArray[np.float64]  # (3,) centre of the first pixel
    slope: float  # from stored numbers to intensities
    intercept: float


@dataclass(frozen=True)
class ImageHeader:
    """Header values that all slices of one image share and in which two images differ."""

    series_uid: str
    series_number: int
    image_type: tuple[str, ...]  # upper-case words of Image Type, or of Frame Type in multi-frame objects
    echo_time_ms: float  # NaN where the header does not say
    repetition_time_ms: float
    flip_angle_deg: float
    field_tesla: float
    sequence: tuple[str, ...]  # words of Scanning Sequence (SE, GR, IR, EP) and Scan Options
    options: tuple[str, ...]
    size: tuple[int, int]  # (rows, columns)
    spacing_mm: tuple[float, float]  # (between rows, between columns)
    orientation: tuple[float, ...]  # six numbers of Image Orientation (Patient)


@dataclass(frozen=True, eq=False)
class DicomImage:
    """Slices of one image, in no order; `name` is the series number, with a count where a series has several images."""

    name: str
    header: ImageHeader
    frames: tuple[Frame, ...]


@dataclass
class DicomFolder:
    """The content of a folder."""

    images: list[DicomImage] = field(default_factory=list)  # by series number and echo time
    studies: set[str] = field(default_factory=set)  # identifiers of the examinations
    other_files: int = 0  # that are not DICOM
    other_objects: int = 0  # that are no MR images
    unplaced: int = 0  # MR images without a position


def find_images(folder: Path) -> DicomFolder:
    """Every MR image below a folder, from headers alone. Links to folders are not followed.

    Raises StudyError: pydicom is not installed, or the folder is not there.
    """
    pydicom = _pydicom()
    if not folder.is_dir():
        raise StudyError("a folder of DICOM files", "a file" if folder.exists() else "no such folder", str(folder),
                         "Correct the path.")
    content = DicomFolder()
    slices: dict[tuple[Any, ...], tuple[ImageHeader, list[Frame]]] = {}
    files = sorted(Path(place, name) for place, _, names in os.walk(folder) for name in names if name != "DICOMDIR")
    for path in filter(Path.is_file, files):
        try:
            with _quiet():
                header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        except (pydicom.errors.InvalidDicomError, OSError, ValueError, EOFError, AttributeError, NotImplementedError):
            content.other_files += 1
            continue
        with _quiet():
            if str(header.get("Modality", "")) != "MR" or not header.get("Rows"):
                content.other_objects += 1
                continue
            content.studies.add(str(header.get("StudyInstanceUID", "")))
            for shared, frame in _frames(header, path):
                if frame is None:
                    content.unplaced += 1
                else:
                    slices.setdefault(_key(shared), (shared, []))[1].append(frame)
    ordered = sorted(slices.values(), key=lambda s: (s[0].series_number, s[0].series_uid, np.nan_to_num(
        s[0].echo_time_ms), s[0].image_type))
    numbers = [shared.series_number for shared, _ in ordered]
    for i, (shared, frames) in enumerate(ordered):
        n = shared.series_number
        name = f"{n}-{numbers[:i].count(n) + 1}" if numbers.count(n) > 1 else f"{n}"
        content.images.append(DicomImage(name, shared, tuple(frames)))
    return content


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
                            "The series holds several images, such as repetitions: export one of them.")
    off = np.linalg.norm(places - (places[0] + np.arange(len(frames))[:, None] * step), axis=1).max()
    if off > SLICE_TOLERANCE_MM:
        raise GeometryError("slices at even distances", f"one that is {off:.1f} mm off", at,
                            "A slice is missing or belongs elsewhere: export the whole series.")
    lean = (len(frames) - 1) * float(np.linalg.norm(step - (step @ normal) * normal))
    if lean > SLICE_TOLERANCE_MM * len(frames):
        raise GeometryError("slices stacked at right angles to their plane", f"a stack that leans by {lean:.1f} mm", at,
                            "Resample the series to a straight stack first.")
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = across * header.spacing_mm[1], down * header.spacing_mm[0]
    affine[:3, 2], affine[:3, 3] = step, places[0]
    return Grid((header.size[1], header.size[0], len(frames)), _LPS_TO_RAS @ affine), frames


def read_dicom(image: DicomImage) -> Volume:
    """Intensities of an image; errors as `grid_of`, and ImageError where pixels cannot be decoded."""
    pydicom = _pydicom()
    grid, frames = grid_of(image)
    data = np.empty(grid.shape, dtype=np.float32)
    held: tuple[Path, NDArray[Any]] | None = None
    for k, frame in enumerate(frames):
        if held is None or held[0] != frame.path:
            try:
                with _quiet():
                    held = frame.path, np.asarray(pydicom.dcmread(frame.path).pixel_array)
            except Exception as error:  # each decoder has its own errors
                raise ImageError("pixels that pydicom can decode", brief(error),
                                 f"DICOM series {image.name} ({frame.path.name})", "Export uncompressed DICOM, or "
                                 "decompress it, for example with dcmdjpeg of dcmtk.") from error
        pixels = held[1] if held[1].ndim == 2 else held[1][frame.index]
        if pixels.shape != image.header.size:
            raise ImageError(f"slices of {image.header.size} pixels", f"{pixels.shape}", f"DICOM series {image.name}",
                             "Export a grey-scale series.")
        data[:, :, k] = pixels.T * frame.slope + frame.intercept
    return Volume(data, grid)


def _pydicom() -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise StudyError("pydicom, which reads DICOM", "it is not installed", "bedrest import-dicom",
                         "Install it: pip install pydicom==3.0.2, or bedrest with its extra, pip install "
                         "'bedrest[dicom]'.") from error
    return pydicom


@contextmanager
def _quiet() -> Iterator[None]:
    """pydicom warns of every deviation from the standard, which scanners have; what matters is checked here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _frames(header: Any, path: Path) -> Iterator[tuple[ImageHeader, Frame | None]]:
    """The slices of a file; None for one without a position."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        yield _frame(header, [header], path, 0)
        return
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])
    for index, groups in enumerate(per_frame):
        inner = [item for group in (groups, *shared) for element in group if element.VR == "SQ"
                 for item in element.value]
        yield _frame(header, [*inner, header], path, index)


def _frame(header: Any, places: list[Any], path: Path, index: int) -> tuple[ImageHeader, Frame | None]:
    """One slice; `places` are the data sets that may hold a value, the nearest first."""
    def first(*names: str) -> Any:
        return next((p.get(n) for n in names for p in places if p.get(n) not in (None, "")), None)

    spacing, orientation = _numbers(first("PixelSpacing"), 2), _numbers(first("ImageOrientationPatient"), 6)
    position = _numbers(first("ImagePositionPatient"), 3)
    shared = ImageHeader(
        series_uid=str(header.get("SeriesInstanceUID", "")),
        series_number=int(_number(first("SeriesNumber"), 0.0)),
        image_type=_words(first("FrameType", "ImageType")),
        echo_time_ms=_number(first("EffectiveEchoTime", "EchoTime")),
        repetition_time_ms=_number(first("RepetitionTime")),
        flip_angle_deg=_number(first("FlipAngle")),
        field_tesla=_number(first("MagneticFieldStrength")),
        sequence=_sequence(_words(first("ScanningSequence", "EchoPulseSequence")), first("InversionRecovery")),
        options=_words(first("ScanOptions")),
        size=(int(header.get("Rows", 0)), int(header.get("Columns", 0))),
        spacing_mm=(spacing[0], spacing[1]) if spacing else (0.0, 0.0),
        orientation=orientation or (),
    )
    if spacing is None or orientation is None or position is None:
        return shared, None
    return shared, Frame(path, index, np.array(position), _number(first("RescaleSlope"), 1.0),
                       _number(first("RescaleIntercept"), 0.0))


def _sequence(words: tuple[str, ...], inversion: Any) -> tuple[str, ...]:
    """Scanning Sequence; multi-frame objects spell it SPIN, GRADIENT, BOTH, and hold inversion separately."""
    short = {"SPIN": ("SE",), "GRADIENT": ("GR",), "BOTH": ("SE", "GR")}
    sequence = tuple(w for word in words for w in short.get(word, (word,)))
    return (*sequence, "IR") if str(inversion).upper() == "YES" else sequence


def _key(header: ImageHeader) -> tuple[Any, ...]:
    def rounded(value: float, digits: int) -> float:
        return -1.0 if np.isnan(value) else round(value, digits)

    return (header.series_uid, header.image_type, rounded(header.echo_time_ms, 2), header.size,
            tuple(round(s, 4) for s in header.spacing_mm), tuple(round(o, 3) for o in header.orientation))


def _words(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(str(w).strip().upper() for w in ([value] if isinstance(value, str) else value))


def _number(value: Any, default: float = float("nan")) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return default
    return number if np.isfinite(number) else default


def _numbers(value: Any, n: int) -> tuple[float, ...] | None:
    numbers = tuple(_number(v) for v in ([] if value is None or isinstance(value, str) else value))
    return numbers if len(numbers) == n and np.isfinite(numbers).all() else None
