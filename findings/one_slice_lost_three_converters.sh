#!/usr/bin/env bash
# What most would guess: of a DICOM series that lacks one slice in the middle (a broken transfer), a converter either
#   makes an image with the right distances or says that it cannot; at least its exit status tells.
# What is true: three converters, three answers, and two images that are wrong by a slice, all with exit status 0.
#   dcm2niix warns and writes two files: the plain name has 6 slices at 4 mm, so that all beyond the gap lies 4 mm too
#   near, and the one with `_Eq_1` has 7, one of them made up. dicom2nifti writes nothing
#   (SLICE_INCREMENT_INCONSISTENT) and ends with 0. SimpleITK warns and spreads 6 slices evenly at 4.8 mm: all volumes
#   are 20 % too large.
# Version: dcm2niix v1.0.20260724, dicom2nifti 2.6.2, SimpleITK 2.5.7, nibabel 5.4.2, pydicom 3.0.2, numpy 2.4.6.
# Who meets it: who converts old or transferred MR studies in a script and takes the first NIfTI file or the exit
#   status.
# Prints what each writes; ends with 1 if any of it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/pip install -q --disable-pip-version-check dcm2niix==1.0.20260724 dicom2nifti==2.6.2 SimpleITK==2.5.7 \
    nibabel==5.4.2 pydicom==3.0.2 numpy==2.4.6
cat > lost.py <<'PYTHON'
import subprocess
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid


def slices(folder, series, *, positions, words=("ORIGINAL", "PRIMARY", "M", "ND"), value=100, start=0):
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
        image.Modality, image.Manufacturer, image.SeriesDescription = "MR", "SIEMENS", "t1"
        image.ImageType, image.ScanningSequence, image.SequenceVariant = list(words), "GR", "SP"
        image.MRAcquisitionType, image.EchoTime, image.RepetitionTime, image.EchoNumbers = "3D", 2.3, 10, 1
        image.InstanceNumber, image.AcquisitionNumber, image.FlipAngle = start + n + 1, 1, 9
        image.ImageOrientationPatient, image.ImagePositionPatient = [0, 1, 0, 0, 0, -1], [float(position), -40, 40]
        image.SliceThickness, image.SpacingBetweenSlices, image.PixelSpacing = 4, 4, [2, 2]
        image.Rows = image.Columns = 40
        image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
        pixels = np.full((40, 40), value, np.uint16)
        pixels[10:20, 10:20] = 2 * value
        image.PixelData = pixels.tobytes()
        image.save_as(folder / f"{start + n}.dcm", enforce_file_format=True)


def converted(tool, folder):
    """Exit status, what was said, and every image that was written."""
    out = Path(f"{tool}_{folder}")
    out.mkdir()
    words = {"dcm2niix": ["-z", "y", "-f", "%d", "-o", out, folder], "dicom2nifti": [folder, out]}[tool]
    run = subprocess.run([f"venv/bin/{tool}", *words], capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr, {p.name: nib.load(p) for p in sorted(out.glob("*.nii.gz"))}


def stacked(folder):
    """The one image that SimpleITK makes of a folder."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


slices(Path("lost"), generate_uid(), positions=[0, 4, 8, 16, 20, 24])  # 12 is not there
for name in ("dcm2niix", "dicom2nifti", "SimpleITK"):
    print(name, version(name))

code, said, images = converted("dcm2niix", "lost")
warned = [line for line in said.splitlines() if "nterslice" in line or "equidistant" in line]
for name, image in images.items():
    print(f"dcm2niix, exit {code}: {name} {image.shape} of {image.header.get_zooms()[2]:g} mm")
print("dcm2niix:", *warned)
assert code == 0 and len(images) == 2 and len(warned) >= 1
plain, even = images.values()
assert plain.shape[2] == 6 and even.shape[2] == 7 and plain.header.get_zooms()[2] == even.header.get_zooms()[2] == 4

code, said, images = converted("dicom2nifti", "lost")
print(f"dicom2nifti, exit {code}: {len(images)} images,", said.strip().splitlines()[-1])
assert code == 0 and not images and "SLICE_INCREMENT_INCONSISTENT" in said

image = stacked("lost")
print(f"SimpleITK: {image.GetSize()} of {image.GetSpacing()[2]:g} mm")
assert image.GetSize()[2] == 6 and abs(image.GetSpacing()[2] - 4.8) < 1e-6
PYTHON
venv/bin/python lost.py 2> warnings.log
