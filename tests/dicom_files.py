"""Writes small synthetic DICOM series as the three makers do, with a person's data in every field that may hold one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

SECRETS = ("Doe^Jane", "MRN-4711", "19800229", "Dr^House", "St Elsewhere", "Jane Doe knee", "20260101", "SN-998877")
# right to left, top to bottom: sagittal slices, as a spine is scanned
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


@dataclass(frozen=True)
class Series:
    """One image of a series: what its header says beyond geometry."""

    number: int
    image_type: tuple[str, ...]
    echo_ms: float = 2.38
    repetition_ms: float = 6.0
    tesla: float = 1.5
    sequence: str = "GR"
    options: tuple[str, ...] = ()
    uid: str = ""
    maker: str = "SIEMENS"
    more: dict[str, Any] = field(default_factory=dict)


def pixels(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """(columns, rows, slices), whole numbers."""
    return np.random.default_rng(seed).integers(0, 900, shape).astype(np.uint16)


def write_series(folder: Path, series: Series, data: np.ndarray, *, study: str = "1.2.3",
                 orientation: tuple[float, ...] = SAGITTAL, step_mm: float = 4.0,
                 spacing: tuple[float, float] = (1.25, 1.5),
                 origin: tuple[float, float, float] = (-8.0, -70.0, 90.0), skip: tuple[int, ...] = (),
                 start: int = 0, each: Callable[[Any, int], None] | None = None) -> list[Path]:
    """One file a slice, in an order that says nothing of their place. `each` changes the header of slice k."""
    across, down = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(across, down)
    paths = []
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(data.shape[2]):
        if k in skip:
            continue
        ds = _header(series, study)
        ds.ImagePositionPatient = [float(v) for v in np.array(origin) + k * step_mm * normal]
        ds.ImageOrientationPatient = list(orientation)
        ds.PixelSpacing = list(spacing)
        ds.InstanceNumber = start + data.shape[2] - k
        _pixels(ds, data[:, :, k].T)
        if each:
            each(ds, k)
        paths.append(folder / f"{(k * 7) % 11:02d}-{series.number}-{start}-{k}.dcm")
        _save(ds, paths[-1])
    return paths


def items(**values: Any):
    """A DICOM sequence of one item."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return Sequence([item])


def write_enhanced(folder: Path, number: int, frames: Sequence[tuple[tuple[str, ...], float, np.ndarray]], *,
                   step_mm: float = 4.0, spacing: tuple[float, float] = (1.25, 1.5), maker: str = "Philips",
                   top: dict[str, Any] | None = None, timing: tuple[float, float] = (6.0, 10.0),
                   each: Callable[[Any, int, int], None] | None = None) -> Path:
    """Several images, (Frame Type, echo time, pixels), in one multi-frame object, slices mixed.

    `top`: of the whole object; `timing`: TR and flip angle; `each` changes the groups of slice k of image n.
    """
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    ds = _header(Series(number, ("DERIVED", "PRIMARY", "MIXED"), maker=maker), "1.2.3")
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    for name in ("EchoTime", "RepetitionTime", "FlipAngle", "ScanningSequence"):
        delattr(ds, name)
    ds.EchoPulseSequence = "GRADIENT"
    for name, value in (top or {}).items():
        setattr(ds, name, value)
    shared = Dataset()
    shared.PlaneOrientationSequence = items(ImageOrientationPatient=list(SAGITTAL))
    shared.PixelMeasuresSequence = items(PixelSpacing=list(spacing), SliceThickness=step_mm)
    shared.MRTimingAndRelatedParametersSequence = items(RepetitionTime=timing[0], FlipAngle=timing[1])
    groups, planes = [], []
    normal = np.cross(SAGITTAL[:3], SAGITTAL[3:])
    for k in range(frames[0][2].shape[2]):
        for n, (words, echo, data) in enumerate(frames):
            group = Dataset()
            group.PlanePositionSequence = items(ImagePositionPatient=[
                float(v) for v in np.array([-8.0, -70.0, 90.0]) + k * step_mm * normal])
            group.MREchoSequence = items(EffectiveEchoTime=echo)
            group.MRImageFrameTypeSequence = items(FrameType=list(words))
            group.PixelValueTransformationSequence = items(RescaleSlope=2.0, RescaleIntercept=5.0, RescaleType="US")
            if each:
                each(group, n, k)
            groups.append(group)
            planes.append(data[:, :, k].T)
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    ds.NumberOfFrames = len(groups)
    _pixels(ds, planes[0], np.stack(planes))
    folder.mkdir(parents=True, exist_ok=True)
    _save(ds, folder / f"enhanced-{number}")
    return folder / f"enhanced-{number}"


def change(paths: Sequence[Path], how: Callable[[Any], None]) -> None:
    """Change headers of files that are there."""
    import pydicom

    for path in paths:
        ds = pydicom.dcmread(path)
        how(ds)
        ds.save_as(path)


def _header(series: Series, study: str):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.ReferringPhysicianName, ds.InstitutionName = SECRETS[:5]
    ds.SeriesDescription, ds.StudyDate, ds.DeviceSerialNumber = SECRETS[5:]
    ds.ImageComments = ds.ProtocolName = ds.StudyDescription = SECRETS[0]
    ds.Modality, ds.Manufacturer = "MR", series.maker
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series.uid or f"1.2.3.{series.number}"
    ds.SeriesNumber, ds.ImageType = series.number, list(series.image_type)
    ds.EchoTime, ds.RepetitionTime, ds.FlipAngle = series.echo_ms, series.repetition_ms, 10.0
    ds.MagneticFieldStrength, ds.ScanningSequence = series.tesla, series.sequence
    if series.options:
        ds.ScanOptions = list(series.options)
    for name, value in series.more.items():
        setattr(ds, name, value)
    return ds


def _pixels(ds, plane: np.ndarray, stack: np.ndarray | None = None) -> None:
    ds.Rows, ds.Columns = plane.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelData = np.ascontiguousarray(plane if stack is None else stack).astype("<u2").tobytes()


def _save(ds, path: Path) -> None:
    ds.save_as(path, enforce_file_format=True)
