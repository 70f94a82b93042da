#!/usr/bin/env bash
# What most would guess: three converters that apply the rescale slope of Philips DICOM files give the same numbers.
# What is true: dcm2niix divides by the rescale slope times the private scale slope (2005,100E), its "precise" values,
#   by default: with slopes of 2.5 and 0.004 every value is 100 times that of dicom2nifti and SimpleITK, which know
#   (0028,1053) alone; `-p n` gives theirs. Since both slopes differ from scan to scan, signals of two visits
#   converted by two programs differ by a factor of which neither file speaks, and stored values are scaled 16-bit
#   numbers.
# Version: dcm2niix v1.0.20260724, dicom2nifti 2.6.2, SimpleITK 2.5.7, nibabel 5.4.2, pydicom 3.0.2, numpy 2.4.6.
# Who meets it: Philips studies that compare or threshold signals, or were converted by more than one program.
# Prints the largest value of each; ends with 1 if any of it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/pip install -q --disable-pip-version-check dcm2niix==1.0.20260724 dicom2nifti==2.6.2 SimpleITK==2.5.7 \
    nibabel==5.4.2 pydicom==3.0.2 numpy==2.4.6
cat > scaled.py <<'PYTHON'
import subprocess
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid


def slices(folder, series, *, positions, words=("ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"), value=250, start=0):
    """Sagittal slices of one value each, 2 mm in plane."""
    folder.mkdir(exist_ok=True)
    study = generate_uid(entropy_srcs=[series])
    for n, position in enumerate(positions):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, generate_uid()
        image.StudyInstanceUID, image.SeriesInstanceUID, image.SeriesNumber = study, series, 1
        image.PatientID, image.PatientName, image.StudyDate, image.StudyTime = "x", "x", "20240101", "100000"
        image.Modality, image.Manufacturer, image.SeriesDescription = "MR", "Philips Medical Systems", "t1"
        image.ImageType, image.ScanningSequence, image.SequenceVariant = list(words), "GR", "SP"
        image.MRAcquisitionType, image.EchoTime, image.RepetitionTime, image.EchoNumbers = "3D", 2.3, 10, 1
        image.InstanceNumber, image.AcquisitionNumber, image.FlipAngle = start + n + 1, 1, 9
        image.ImageOrientationPatient, image.ImagePositionPatient = [0, 1, 0, 0, 0, -1], [float(position), -40, 40]
        image.RescaleSlope, image.RescaleIntercept = "2.5", "0"
        image.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.004)
        image.SliceThickness, image.SpacingBetweenSlices, image.PixelSpacing = 4, 4, [2, 2]
        image.Rows = image.Columns = 40
        image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
        pixels = np.full((40, 40), value, np.uint16)
        pixels[10:20, 10:20] = 2 * value
        image.PixelData = pixels.tobytes()
        image.save_as(folder / f"{start + n}.dcm", enforce_file_format=True)


def largest(*command):
    """The largest value of the one image that a converter writes into `out`."""
    out = Path("out" + "".join(command))
    out.mkdir()
    words = ["-z", "y", *command[1:], "-o", out, "scan"] if command[0] == "dcm2niix" else ["scan", out]
    subprocess.run([f"venv/bin/{command[0]}", *words], capture_output=True, check=True)
    (path,) = out.glob("*.nii.gz")
    return float(np.asanyarray(nib.load(path).dataobj).max())


def stacked(folder):
    """The one image that SimpleITK makes of a folder."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


slices(Path("scan"), generate_uid(), positions=[4 * n for n in range(5)])  # stored values 250 and 500
for name in ("dcm2niix", "dicom2nifti", "SimpleITK"):
    print(name, version(name))
values = {"dcm2niix": largest("dcm2niix"), "dcm2niix -p n": largest("dcm2niix", "-p", "n"),
          "dicom2nifti": largest("dicom2nifti"), "SimpleITK": float(sitk.GetArrayFromImage(stacked("scan")).max())}
for name, value in values.items():
    print(f"{name:14} {value:.0f}")
assert abs(values.pop("dcm2niix") / 125000 - 1) < 1e-4
assert set(values.values()) == {1250.0}, values
PYTHON
venv/bin/python scaled.py 2> warnings.log
