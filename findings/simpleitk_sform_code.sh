#!/usr/bin/env bash
# What most would guess: ITK (SimpleITK, 3D Slicer's readers, ANTs, ITK-SNAP) and nibabel place a NIfTI image alike,
#   by the sform where it is set; or, as older notes have it, ITK always takes the qform.
# What is true: SimpleITK takes the sform if its code is 1 (scanner) or the qform has none; with code 2, 3 or 4
#   (aligned, Talairach, MNI) beside a qform it takes the qform, where nibabel takes the sform. Two headers that
#   differ in that one number place the same image 10 mm apart. With neither, nibabel puts the middle of the image at
#   0, SimpleITK its corner. A sform with shear, which registration writes, is refused by SimpleITK and read by
#   nibabel.
# Version: SimpleITK 2.5.7 (ITK 5.4), nibabel 5.4.2, numpy 2.4.6.
# Who meets it: scans whose sform alone was changed by an alignment, with code 2 (what nibabel's set_sform gives where
#   none was set); masks drawn on them in a program built on ITK lie elsewhere when nibabel measures them.
# Prints where each puts the first voxel, in RAS+; ends with 1 if any of it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/pip install -q --disable-pip-version-check SimpleITK==2.5.7 nibabel==5.4.2 numpy==2.4.6
venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import nibabel as nib
import numpy as np
import SimpleITK as sitk

sform, qform = np.diag([2.0, 1, 1, 1]), np.diag([2.0, 1, 1, 1])
qform[0, 3] = 10
print("SimpleITK", version("SimpleITK"), "nibabel", version("nibabel"))
apart = {}
for codes in ((1, 1), (2, 1), (3, 1), (4, 1), (2, 0), (0, 1), (0, 0)):
    image = nib.Nifti1Image(np.zeros((6, 8, 10), np.int16), None)
    image.header.set_sform(sform, codes[0])
    image.header.set_qform(qform, codes[1])
    nib.save(image, "scan.nii")
    by_nibabel = nib.load("scan.nii").affine[:3, 3]
    by_itk = np.array(sitk.ReadImage("scan.nii").GetOrigin()) * [-1, -1, 1] + 0.0
    apart[codes] = round(float(np.linalg.norm(by_nibabel - by_itk)), 1)
    print(f"sform code {codes[0]}, qform code {codes[1]}: nibabel {by_nibabel}, SimpleITK {by_itk}: {apart[codes]} mm")
assert apart == {(1, 1): 0, (2, 1): 10, (3, 1): 10, (4, 1): 10, (2, 0): 0, (0, 1): 0, (0, 0): 7.6}, apart

sform[0, 2] = 0.2
nib.save(nib.Nifti1Image(np.zeros((6, 8, 10), np.int16), sform), "sheared.nii")
print("shear of 0.2: nibabel", nib.load("sheared.nii").affine[0].tolist())
try:
    sitk.ReadImage("sheared.nii")
except RuntimeError as error:
    print("shear of 0.2: SimpleITK:", str(error).strip().splitlines()[-1])
    assert "orthonormal" in str(error)
else:
    raise SystemExit("SimpleITK reads it now")
PYTHON
