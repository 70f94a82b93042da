"""One DICOM file: its slices with the header values that geometry and contrast need, and its pixels. Needs pydicom.

Single-frame and enhanced multi-frame objects are read, gzipped ones and those without preamble, too. Names and free
text stay in the file; identifiers and dates serve comparison alone. Knows nothing of contrasts or of other files.
"""

from __future__ import annotations

import gzip
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bedrest.errors import ImageError, StudyError, brief
from bedrest.io.contrast_rules import field_in_tesla
from bedrest.io.images.limits import MAX_VOXELS

MAX_UNPACKED_BYTES = 2 * MAX_VOXELS  # of a gzipped file: the largest image there may be, at 16 bits
ECHO_MS, REPETITION, FLIP_DEG, SPACING, ORIENTATION = 0.05, 0.01, 1.0, 1e-3, 2e-3  # equal up to; two of them relative
DICOMDIR, ARCHIVES = "DICOMDIR files, which only list others", "archives"
_PHILIPS_SCALE_SLOPE, _GE_COMPONENT = (0x2005, "Philips MR Imaging DD 001", 0x0E), (0x0043, "GEMS_PARM_01", 0x2F)
_GE_COMPONENTS = {0: "MAGNITUDE", 1: "PHASE", 2: "REAL", 3: "IMAGINARY"}
_MR_IMAGES = {f"1.2.840.10008.5.1.4.1.1.4{end}" for end in ("", ".1", ".4")}
_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "Modality", "PatientID", "StudyDate", "StudyInstanceUID", "SeriesInstanceUID",
    "FrameOfReferenceUID", "SeriesNumber", "InstanceNumber", "AcquisitionNumber", "AcquisitionTime",
    "AcquisitionDateTime", "ImagesInAcquisition", "Manufacturer", "ImageType", "ComplexImageComponent", "EchoTime",
    "EchoNumbers", "RepetitionTime", "InversionTime", "FlipAngle", "MagneticFieldStrength", "ImagingFrequency",
    "ScanningSequence", "SequenceVariant", "SequenceName", "PulseSequenceName", "EchoPulseSequence",
    "EchoPlanarPulseSequence", "MRAcquisitionType", "ScanOptions", "SpectrallySelectedSuppression",
    "TemporalPositionIdentifier", "TriggerTime", "DiffusionBValue", "Rows", "Columns", "NumberOfFrames", "PixelSpacing",
    "SliceThickness", "SpacingBetweenSlices", "ImageOrientationPatient", "ImagePositionPatient", "StackID",
    "RescaleSlope", "RescaleIntercept", "ContrastBolusAgent", "ContrastBolusAgentSequence",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    *((group << 16) + place for group, _, element in (_PHILIPS_SCALE_SLOPE, _GE_COMPONENT)
      for block in range(0x10, 0x20) for place in (block, (block << 8) + element)),
]


@dataclass(frozen=True)
class ImageHeader:
    """Header values that all slices of one image share, up to the last digits, and in which two images differ."""

    series_uid: str
    series_number: int
    image_type: tuple[str, ...]  # upper-case words of Image Type, or of Frame Type in multi-frame objects
    echo_time_ms: float  # NaN where the header does not say, as for all numbers
    repetition_time_ms: float
    flip_angle_deg: float
    field_tesla: float
    sequence: tuple[str, ...]  # words of Scanning Sequence: SE, GR, IR, EP
    options: tuple[str, ...]  # Scan Options; SUPPRESSED_FAT, EXCITED_WATER ... of multi-frame objects
    size: tuple[int, int]  # (rows, columns)
    spacing_mm: tuple[float, float]  # (between rows, between columns)
    orientation: tuple[float, ...]  # six numbers of Image Orientation (Patient)
    component: str = ""  # MAGNITUDE, PHASE, REAL, IMAGINARY, MIXED; "" where the header does not say
    inversion_time_ms: float = float("nan")
    variant: tuple[str, ...] = ()  # name, variant and 2D or 3D of the sequence: to compare, never shown
    frame_of_reference: str = ""
    acquisition: int | None = None  # Acquisition Number
    acquisition_time_s: float = float("nan")  # of the day
    images_in_acquisition: float = float("nan")
    philips: bool = False
    contrast_agent: bool = False
    thickness_mm: float = float("nan")
    between_slices_mm: float = float("nan")  # Spacing Between Slices


@dataclass(frozen=True, eq=False)
class Frame:
    """One slice: its position in the patient (LPS, mm) and the place of its pixels."""

    path: Path  # file and frame in it
    index: int
    header: ImageHeader
    position_mm: NDArray[np.float64]  # (3,) centre of the first pixel
    slope: float  # from stored numbers to those that are displayed
    intercept: float
    scale_slope: float  # Philips: displayed numbers over this and `slope` are measured ones; NaN where not given
    number: int | None  # Instance Number, or In-Stack Position Number in multi-frame objects
    marks: tuple[Any, ...]  # in which repetitions at one place differ


@dataclass(frozen=True)
class DicomFile:
    """One MR object; `frames` leaves out those without a position."""

    study: str
    patient: str
    date: str
    frames: tuple[Frame, ...]
    unplaced: int


class NoMrImage(Exception):
    """The file holds no MR image; its text says what it holds, in the plural."""


def same_sequence(a: ImageHeader, b: ImageHeader) -> bool:
    """Whether two images may come from one run of a sequence: all but echo, contrast, slices and time is the same."""
    return (a.size == b.size and a.sequence == b.sequence and a.variant == b.variant
            and a.frame_of_reference == b.frame_of_reference and same_plane(a, b)
            and close(a.field_tesla, b.field_tesla, 0.05) and close(a.flip_angle_deg, b.flip_angle_deg, FLIP_DEG)
            and close(a.repetition_time_ms, b.repetition_time_ms, REPETITION * abs(a.repetition_time_ms)))


def same_plane(a: ImageHeader, b: ImageHeader) -> bool:
    """Pixel spacing and orientation are equal up to the last digits."""
    return (all(close(x, y, SPACING * abs(x)) for x, y in zip(a.spacing_mm, b.spacing_mm, strict=True))
            and all(close(x, y, ORIENTATION) for x, y in zip(a.orientation, b.orientation, strict=True)))


def close(a: float, b: float, tolerance: float) -> bool:
    """Equal up to a tolerance; two numbers that are not given are."""
    return abs(a - b) <= tolerance or (np.isnan(a) and np.isnan(b))


def load_pydicom() -> Any:
    """Raise StudyError where pydicom is not installed."""
    try:
        import pydicom
    except ImportError as error:
        raise StudyError("pydicom, which reads DICOM", "it is not installed", "bedrest import-dicom",
                         "Install it: pip install pydicom==3.0.2, or bedrest with its extra, pip install "
                         "'bedrest[dicom]'.") from error
    return pydicom


def read_file(path: Path) -> DicomFile:
    """Slices of a file, from its header alone. Raises NoMrImage."""
    try:
        with _quiet(), _opened(path) as file:
            header = load_pydicom().dcmread(file, stop_before_pixels=True, specific_tags=_TAGS, force=True)
            _require_mr_image(header)
            frames = list(_frames(header, path))
    except OSError as error:
        raise NoMrImage("damaged gzip files" if isinstance(error, gzip.BadGzipFile) else
                        "files that cannot be read") from error
    except (NoMrImage, StudyError):
        raise
    except Exception as error:  # each way of being damaged has its own
        raise NoMrImage("damaged DICOM files") from error
    study, patient, date = (str(header.get(n) or "").strip() for n in ("StudyInstanceUID", "PatientID", "StudyDate"))
    return DicomFile(study, patient, date, tuple(f for f in frames if f is not None), frames.count(None))


def read_pixels(path: Path, at: str) -> NDArray[Any]:
    """Stored numbers of a file, (rows, columns) or (frames, rows, columns). `at`: series and file, for messages.

    Raises ImageError: pixels are no grey values, or cannot be decoded.
    """
    packed = False
    try:
        with _quiet(), _opened(path) as file:
            dataset = load_pydicom().dcmread(file, force=True)
            syntaxes = load_pydicom().uid
            if "TransferSyntaxUID" not in dataset.file_meta:  # files without preamble
                implicit, little = dataset.original_encoding
                dataset.file_meta.TransferSyntaxUID = (
                    syntaxes.ImplicitVRLittleEndian if implicit else
                    syntaxes.ExplicitVRLittleEndian if little else syntaxes.ExplicitVRBigEndian)
            packed = dataset.file_meta.TransferSyntaxUID.is_compressed
            pixels = np.asarray(dataset.pixel_array)
    except Exception as error:  # each decoder has its own errors
        raise ImageError("pixels that pydicom can decode", brief(error), at, "Export uncompressed DICOM, or decompress "
                         "it, for example with dcmdjpeg of dcmtk." if packed else "Copy or export the file again; it "
                         "may be cut off.") from error
    if (kind := str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))) != "MONOCHROME2":
        raise ImageError("grey values that grow with the signal (MONOCHROME2)",
                         "inverted ones (MONOCHROME1)" if kind == "MONOCHROME1" else "colours", at,
                         "Export the original series from the scanner.")
    return pixels


@contextmanager
def _quiet() -> Iterator[None]:
    """pydicom warns of every deviation from the standard, which scanners have; what matters is checked here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file that begins as DICOM does, unpacked where they are gzipped. Raises NoMrImage, OSError."""
    with path.open("rb") as file:
        start = file.read(132)
        file.seek(0)
        if start[:2] != b"\x1f\x8b":
            _require_dicom(start, path)
            yield file
            return
        with gzip.GzipFile(fileobj=file) as unpacked:
            try:
                start = unpacked.read(132)
                _require_dicom(start, path)
                content = start + unpacked.read(MAX_UNPACKED_BYTES - len(start) + 1)
            except EOFError as error:
                raise NoMrImage("damaged gzip files") from error
        if len(content) > MAX_UNPACKED_BYTES:
            raise NoMrImage(f"gzipped files of more than {MAX_UNPACKED_BYTES:,} bytes")
        yield io.BytesIO(content)


def _require_dicom(start: bytes, path: Path) -> None:
    """With preamble, or without: then the first element is of group 2 or 8 and has a type or a small length."""
    begins = start[:2] in (b"\x08\0", b"\x02\0", b"\0\x08") and len(start) > 8 and (
        (start[4:6].isalpha() and start[4:6].isupper()) or int.from_bytes(start[4:8], "little") < 2**16)
    if start[128:132] != b"DICM" and not begins:
        archive = start[:4] == b"PK\3\4" or path.suffix.lower() in (".zip", ".tar", ".tgz", ".7z", ".rar")
        raise NoMrImage("empty files" if not start else ARCHIVES if archive else "files that are no DICOM")


def _require_mr_image(header: Any) -> None:
    modality, kind = str(header.get("Modality") or ""), str(header.get("SOPClassUID") or "")
    if header.file_meta.get("MediaStorageSOPClassUID") == "1.2.840.10008.1.3.10":
        raise NoMrImage(DICOMDIR)
    if not modality and not kind:
        raise NoMrImage("damaged DICOM files")
    if modality != "MR" and kind not in _MR_IMAGES:
        known = modality in ("CT", "PT", "US", "CR", "DX", "XA", "SR", "PR", "SEG", "KO", "OT", "SC", "NM")
        raise NoMrImage(f"DICOM objects of modality {modality}" if known else "other DICOM objects")
    if not header.get("Rows") or kind == "1.2.840.10008.5.1.4.1.1.4.2":
        raise NoMrImage("MR objects that are no images")


def _frames(header: Any, path: Path) -> Iterator[Frame | None]:
    """The slices of a file; None for one without a position."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        several = int(header.get("NumberOfFrames") or 1)
        yield from [_frame(header, [header], path, 0, enhanced=False)] if several == 1 else [None] * several
        return
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])
    for index, groups in enumerate(per_frame):
        nested = [element for group in (groups, *shared) for element in group if element.VR == "SQ"]
        inner = [item for element in sorted(nested, key=lambda e: e.tag.is_private) for item in element.value]
        yield _frame(header, [*inner, header], path, index, enhanced=True)


def _frame(header: Any, places: list[Any], path: Path, index: int, *, enhanced: bool) -> Frame | None:
    """One slice; `places` are the data sets that may hold a value, the nearest first."""
    def first(*names: str) -> Any:
        return next((p.get(n) for n in names for p in places if p.get(n) not in (None, "")), None)

    def private(group: int, creator: str, element: int) -> Any:
        return next((p.private_block(group, creator)[element].value for p in places
                     if any(e.value == creator for e in p.group_dataset(group) if e.tag.is_private_creator)
                     and element in p.private_block(group, creator)), None)

    def number(*names: str) -> float:
        return _number(first(*names))

    spacing, orientation = _numbers(first("PixelSpacing"), 2), _numbers(first("ImageOrientationPatient"), 6)
    position = _numbers(first("ImagePositionPatient"), 3)
    if spacing is None or orientation is None or position is None:
        return None
    acquisition = number("AcquisitionNumber")
    shared = ImageHeader(
        series_uid=str(header.get("SeriesInstanceUID", "")),
        series_number=int(_number(header.get("SeriesNumber"), 0.0)),
        image_type=_words(first("FrameType", "ImageType")),
        component=_component(first("ComplexImageComponent"), private(*_GE_COMPONENT)),
        echo_time_ms=number("EffectiveEchoTime", "EchoTime"),
        repetition_time_ms=number("RepetitionTime"),
        inversion_time_ms=number("InversionTime", "InversionTimes"),
        flip_angle_deg=number("FlipAngle"),
        field_tesla=field_in_tesla(number("MagneticFieldStrength"),
                                   number("ImagingFrequency", "TransmitterFrequency")),
        sequence=_sequence(_words(first("ScanningSequence", "EchoPulseSequence")), first("InversionRecovery"),
                           first("EchoPlanarPulseSequence")),
        variant=(str(first("SequenceName", "PulseSequenceName") or ""), str(first("MRAcquisitionType") or ""),
                 *sorted(_words(first("SequenceVariant")))),
        options=(*_words(first("ScanOptions")), *_selected("SUPPRESSED", first("SpectrallySelectedSuppression")),
                 *_selected("EXCITED", first("SpectrallySelectedExcitation"))),
        frame_of_reference=str(header.get("FrameOfReferenceUID") or ""),
        acquisition=None if np.isnan(acquisition) else int(acquisition),
        acquisition_time_s=_seconds(first("FrameAcquisitionDateTime", "AcquisitionDateTime", "AcquisitionTime")),
        images_in_acquisition=_number(header.get("ImagesInAcquisition")),
        contrast_agent=bool(header.get("ContrastBolusAgentSequence")) or str(
            header.get("ContrastBolusAgent") or "").strip().upper() not in ("", "NONE", "NO", "N/A"),
        philips="philips" in str(header.get("Manufacturer") or "").lower(),
        size=(int(header.get("Rows", 0)), int(header.get("Columns", 0))),
        spacing_mm=(spacing[0], spacing[1]), orientation=orientation,
        thickness_mm=number("SliceThickness"), between_slices_mm=number("SpacingBetweenSlices"),
    )
    marks = (shared.image_type, str(first("EchoNumbers")), str(first("StackID")),
             shared.frame_of_reference,
             str(first("TemporalPositionIndex", "TemporalPositionIdentifier")), str(first("DiffusionBValue")),
             str(first("NominalCardiacTriggerDelayTime", "TriggerTime")), shared.inversion_time_ms,
             shared.repetition_time_ms, shared.acquisition, shared.acquisition_time_s)
    scale_slope = _number(private(*_PHILIPS_SCALE_SLOPE))
    count = number("InStackPositionNumber") if enhanced else number("InstanceNumber")
    return Frame(path, index, shared, np.array(position), _number(first("RescaleSlope"), 1.0),
                 _number(first("RescaleIntercept"), 0.0), scale_slope if scale_slope > 0 else float("nan"),
                 None if np.isnan(count) else int(count), marks)


def _sequence(words: tuple[str, ...], inversion: Any, planar: Any) -> tuple[str, ...]:
    """Scanning Sequence; multi-frame objects spell it SPIN, GRADIENT, BOTH, and hold the rest separately."""
    short = {"SPIN": ("SE",), "GRADIENT": ("GR",), "BOTH": ("SE", "GR")}
    sequence = tuple(w for word in words for w in short.get(word, (word,)))
    more = ("IR", inversion), ("EP", planar)
    return (*sequence, *(w for w, given in more if str(given).upper() == "YES"))


def _selected(what: str, value: Any) -> tuple[str, ...]:
    return tuple(f"{what}_{word}" for word in _words(value) if word not in ("NONE", ""))


def _component(word: Any, ge: Any) -> str:
    return str(word).strip().upper() if word else _GE_COMPONENTS.get(int(_number(ge, -1)), "")


def _seconds(value: Any) -> float:
    """Time of the day of a DICOM time or date with time."""
    digits = str(value or "").replace(":", "").split("+")[0].split("-")[0]
    digits = digits[8:] if len(digits.split(".")[0]) > 8 else digits
    if len(digits) < 6 or not digits[:6].isdigit():
        return float("nan")
    return int(digits[:2]) * 3600 + int(digits[2:4]) * 60 + _number(digits[4:], 0.0)


def _words(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(str(w).strip().upper() for w in ([value] if isinstance(value, str) else value))


def _number(value: Any, default: float = float("nan")) -> float:
    """A number; four bytes are a private FL whose type was not written."""
    if isinstance(value, bytes):
        value = np.frombuffer(value, "<f4")[0] if len(value) == 4 else None
    try:
        number = float(value[0] if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else value)
    except (TypeError, ValueError, IndexError):
        return default
    return number if np.isfinite(number) else default


def _numbers(value: Any, n: int) -> tuple[float, ...] | None:
    numbers = tuple(_number(v) for v in ([] if value is None or isinstance(value, str) else value))
    return numbers if len(numbers) == n and np.isfinite(numbers).all() else None
