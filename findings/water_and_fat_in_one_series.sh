#!/usr/bin/env bash
# What most would guess: the water and fat images of a Dixon scan that lie in one DICOM series become two NIfTI files,
#   as two echoes of one series do.
# What is true: dcm2niix makes them two "time points" of one 4D file, since only Image Type differs, and nothing in
#   the file says which is which. Where instance numbers begin anew with fat, both volumes hold slices of water and of
#   fat in an order that differs from run to run, without a warning. dicom2nifti writes the same 4D file where
#   instance numbers run on; where they begin anew it writes nothing (NOT_A_VOLUME) and still ends with 0. SimpleITK
#   stacks 6 water and 6 fat slices over each other as one image of 12 slices, thinner than any was, with a warning
#   about spacing.
# Version: dcm2niix v1.0.20260724, dicom2nifti 2.6.2, SimpleITK 2.5.7, nibabel 5.4.2, pydicom 3.0.2, numpy 2.4.6.
# Who meets it: Dixon studies whose scanner or archive keeps all reconstructions in one series.
# Prints what each writes; ends with 1 if any of it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/pip install -q --disable-pip-version-check dcm2niix==1.0.20260724 dicom2nifti==2.6.2 SimpleITK==2.5.7 \
    nibabel==5.4.2 pydicom==3.0.2 numpy==2.4.6
cat > dixon.py <<'PYTHON'
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


def pure(volume):
    """What an image has slices of."""
    axis = volume.shape.index(6)
    values = {int(np.median(s)) for s in np.moveaxis(np.asarray(volume), axis, 0)}
    return " and ".join(word for word, value in (("water", 300), ("fat", 100)) if value in values)


def stacked(folder):
    """The one image that SimpleITK makes of a folder."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


for folder, second in (("numbered_on", 6), ("numbered_anew", 0)):  # instance numbers 1 to 12, or 1 to 6 twice
    series = generate_uid()
    for part, start, word, value in (("water", 0, "WATER", 300), ("fat", second, "FAT", 100)):
        slices(Path(folder + part), series, positions=[4 * n for n in range(6)], value=value, start=start,
               words=("DERIVED", "PRIMARY", "DIXON", word))
    Path(folder).mkdir()
    for n in range(6):  # in the order in which an archive may have them: water, fat, fat, water, water, fat ...
        for part, start in (("water", 0), ("fat", second))[::1 if n % 2 else -1]:
            Path(folder + part, f"{start + n}.dcm").rename(Path(folder, f"{part}{n}.dcm"))
for name in ("dcm2niix", "dicom2nifti", "SimpleITK"):
    print(name, version(name))

written, kept = {}, True
for folder in ("numbered_on", "numbered_anew"):
    for tool in ("dcm2niix", "dicom2nifti"):
        code, said, images = converted(tool, folder)
        written[tool, folder] = [i.shape for i in images.values()]
        volumes = [pure(i.dataobj[..., n]) for i in images.values() for n in range(i.shape[3])]
        why = "NOT_A_VOLUME" if "NOT_A_VOLUME" in said else ""
        print(f"{folder:13} {tool:11} exit {code}: {written[tool, folder]} {volumes} {why}")
        assert code == 0 and (images or why)
        kept = kept and (sorted(volumes) == ["fat", "water"]) == (folder == "numbered_on" or tool == "dicom2nifti") \
            if images else kept
assert written == {("dcm2niix", "numbered_on"): [(40, 40, 6, 2)], ("dcm2niix", "numbered_anew"): [(40, 40, 6, 2)],
                   ("dicom2nifti", "numbered_on"): [(6, 40, 40, 2)], ("dicom2nifti", "numbered_anew"): []}, written
assert kept

image = stacked("numbered_on")
medians = [int(np.median(s)) for s in sitk.GetArrayFromImage(image)]
print(f"numbered_on   SimpleITK   {image.GetSize()} of {image.GetSpacing()[2]:.3f} mm, medians of slices {medians}")
assert image.GetSize()[2] == 12 and image.GetSpacing()[2] < 2 and set(medians) == {100, 300}
PYTHON
venv/bin/python dixon.py 2> warnings.log
