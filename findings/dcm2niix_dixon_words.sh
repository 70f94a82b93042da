#!/usr/bin/env bash
# What most would guess: the sidecar repeats Image Type (0008,0008) of the DICOM files, and `_ph` ends the names of
#   phase images alone.
# What is true: dcm2niix cuts the values at underscores too, so that IN_PHASE becomes "IN", "PHASE" and OUT_PHASE
#   "OUT", "PHASE", and takes the word that it has made for a phase image: it appends another "PHASE" and ends the
#   name with `_ph`, for a magnitude that has an M besides with `_phMag`. Water beside it, and Philips' IP and OP, are
#   left alone. Who sorts by ImageType finds no IN_PHASE; who drops `_ph` files drops both echoes of a Dixon scan.
# Version: dcm2niix v1.0.20260724, pydicom 3.0.2, numpy 2.4.6.
# Who meets it: studies with Siemens or GE Dixon scans (VIBE Dixon, LAVA-Flex) in BIDS.
# Prints file names and words; ends with 1 if any of it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/pip install -q --disable-pip-version-check dcm2niix==1.0.20260724 pydicom==3.0.2 numpy==2.4.6
cat > write.py <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

folder, vendor, words = Path(sys.argv[1]), sys.argv[2], sys.argv[3].split(",")
folder.mkdir()
series, study = generate_uid(), generate_uid()
for n in range(4):
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID, image.SeriesNumber = study, series, 1
    image.PatientID, image.PatientName, image.StudyDate, image.StudyTime = "x", "x", "20240101", "100000"
    image.Modality, image.Manufacturer, image.SeriesDescription = "MR", vendor, "dixon"
    image.ImageType, image.ScanningSequence, image.SequenceVariant, image.MRAcquisitionType = words, "GR", "SP", "3D"
    image.EchoTime, image.RepetitionTime, image.EchoNumbers, image.MagneticFieldStrength = 4.6, 10, 1, 1.5
    image.InstanceNumber, image.AcquisitionNumber, image.FlipAngle = n + 1, 1, 9
    image.ImageOrientationPatient, image.ImagePositionPatient = [0, 1, 0, 0, 0, -1], [4.0 * n, -40, 40]
    image.SliceThickness, image.SpacingBetweenSlices, image.PixelSpacing = 4, 4, [2, 2]
    image.Rows = image.Columns = 16
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelData = np.arange(256, dtype=np.uint16).tobytes()
    image.save_as(folder / f"{n}.dcm", enforce_file_format=True)
PYTHON

converted() {  # NAME VENDOR WORDS -> "file: words of the sidecar"
    venv/bin/python write.py "$1" "$2" "$3"
    mkdir "out_$1"
    venv/bin/dcm2niix -f '%d' -o "out_$1" "$1" > "$1.log"
    venv/bin/python - "out_$1" <<'PYTHON'
import json, pathlib, sys
(path,) = pathlib.Path(sys.argv[1]).glob("*.json")
print(f"{path.stem}: {' '.join(json.loads(path.read_text())['ImageType'])}")
PYTHON
}
ge_in=$(converted ge_in 'GE MEDICAL SYSTEMS' DERIVED,PRIMARY,DIXON,IN_PHASE)
ge_out=$(converted ge_out 'GE MEDICAL SYSTEMS' DERIVED,PRIMARY,DIXON,OUT_PHASE)
ge_water=$(converted ge_water 'GE MEDICAL SYSTEMS' DERIVED,PRIMARY,DIXON,WATER)
siemens_in=$(converted siemens_in SIEMENS ORIGINAL,PRIMARY,M,IN_PHASE)
philips_in=$(converted philips_in 'Philips Medical Systems' DERIVED,PRIMARY,IP,IP,DERIVED)

grep -o 'version v[0-9.]*' ge_in.log
printf '%s\n' "GE in-phase        $ge_in" "GE out-of-phase    $ge_out" "GE water           $ge_water" \
    "Siemens in-phase   $siemens_in" "Philips in-phase   $philips_in"
[ "$ge_in" = "dixon_ph: DERIVED PRIMARY DIXON IN PHASE PHASE" ]
[ "$ge_out" = "dixon_ph: DERIVED PRIMARY DIXON OUT PHASE PHASE" ]
[ "$ge_water" = "dixon: DERIVED PRIMARY DIXON WATER" ]
[ "$siemens_in" = "dixon_phMag: ORIGINAL PRIMARY M IN PHASE MAGNITUDE PHASE" ]
[ "$philips_in" = "dixon: DERIVED PRIMARY IP IP DERIVED" ]
