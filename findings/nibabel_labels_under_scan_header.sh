#!/usr/bin/env bash
# What most would guess: a label map saved with the header of its scan, as countless scripts do to keep the geometry,
#   holds the whole numbers that were put in.
# What is true: a floating-point array is squeezed into the data type of the header, int16 for most scans, over its
#   full range, by a scale factor that no whole number survives. With TotalSpineSeg's numbers for the lumbar discs 92,
#   95 and 100 come back as 91.9997, 94.9996 and 99.99999998, and a cast to whole numbers, as the next script does,
#   gives 91 and 94: L1-L2 becomes T12-L1, L4-L5 becomes L3-L4, L5-S1 disappears. With an 8-bit scan 92 even becomes
#   92.157, which no tolerance of 0.01 forgives. Half a scale factor is the error that one must allow for.
# Version: nibabel 5.4.2, numpy 2.4.6, Python 3.11.
# Who meets it: who edits or renumbers masks of TotalSpineSeg, SPINEPS, SPIDER in Python and measures them afterwards.
# Prints what comes back; ends with 1 if any of it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/pip install -q --disable-pip-version-check nibabel==5.4.2 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import nibabel as nib
import numpy as np

DISCS = {"T11-T12": 82, "T12-L1": 91, "L1-L2": 92, "L2-L3": 93, "L3-L4": 94, "L4-L5": 95, "L5-S1": 100}
wrong = {}
for stored in (np.int16, np.uint8):
    nib.save(nib.Nifti1Image(np.arange(240, dtype=stored).reshape(6, 8, 5), np.eye(4)), "scan.nii.gz")
    scan = nib.load("scan.nii.gz")
    labels = np.zeros(scan.shape)
    for row, number in enumerate(DISCS.values()):
        labels[0, row] = number
    nib.save(nib.Nifti1Image(labels, scan.affine, scan.header), "labels.nii.gz")
    again = nib.load("labels.nii.gz").get_fdata()
    wrong[stored.__name__] = {}
    for row, (level, number) in enumerate(DISCS.items()):
        value = float(again[0, row].max())
        print(f"{stored.__name__:6} {level:8} {number:4} comes back as {value:.8f}, cast {int(value)}")
        if int(value) != number:
            wrong[stored.__name__][number] = int(value)
    worst = np.abs(again - labels).max()
    half = labels.max() / (256 ** np.dtype(stored).itemsize - 1) / 2
    print(f"{stored.__name__:6} largest error {worst:.5f}, half a step {half:.5f}")
    if stored is np.uint8:
        assert 0.1 < worst < 0.2
assert wrong["int16"] == {92: 91, 95: 94, 100: 99}, wrong
assert wrong["uint8"].keys() >= {82, 91, 95}, wrong
PYTHON
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep -E '^(nibabel|numpy) '
