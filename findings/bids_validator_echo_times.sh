#!/usr/bin/env bash
# What most would guess: a dataset that the BIDS validator passes without an error has echoes in the order of their
#   numbers, and reconstructions that are what their names say.
# What is true: the validator looks at each sidecar alone. It passes, without a warning about it, echo-1 with the
#   longer echo time (and EchoNumber 2 in the sidecar), two echoes of the same time, and a rec-water image whose
#   ImageType says FAT. It does refuse an echo without EchoTime, and warns of times in milliseconds. Which of two
#   Dixon echoes is in-phase, and which image is fat, is decided by what it does not look at.
# Version: bids-validator-deno 3.0.2 from PyPI, nibabel 5.4.2, numpy 2.4.6.
# Who meets it: who takes a green validator for proof that a Dixon study is labelled rightly.
# Prints its answers; ends with 1 if any of it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/pip install -q --disable-pip-version-check bids-validator-deno==3.0.2 nibabel==5.4.2 numpy==2.4.6
export NO_COLOR=1
cat > validate.py <<'PYTHON'
import json
import subprocess
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np

LONG, SHORT = 0.0046, 0.0023  # seconds: in-phase and opposed-phase at 1.5 T
WATER = {"EchoTime": SHORT, "ImageType": ["DERIVED", "PRIMARY", "DIXON", "FAT"]}
SETS = {
    "in order": {"echo-1_MEGRE": {"EchoTime": SHORT}, "echo-2_MEGRE": {"EchoTime": LONG}},
    "longer echo first": {"echo-1_MEGRE": {"EchoTime": LONG, "EchoNumber": 2},
                          "echo-2_MEGRE": {"EchoTime": SHORT, "EchoNumber": 1}},
    "the same time": {"echo-1_MEGRE": {"EchoTime": SHORT}, "echo-2_MEGRE": {"EchoTime": SHORT}},
    "water that says FAT": {"rec-water_T1w": WATER},
    "no echo time": {"echo-1_MEGRE": {}, "echo-2_MEGRE": {}},
    "milliseconds": {"echo-1_MEGRE": {"EchoTime": 1000 * SHORT}, "echo-2_MEGRE": {"EchoTime": 1000 * LONG}},
}
print("bids-validator-deno", version("bids-validator-deno"))
answers = {}
for number, (name, images) in enumerate(SETS.items()):
    root = Path(f"set{number}")
    (root / "sub-01/anat").mkdir(parents=True)
    (root / "README").write_text("Synthetic images to see what the validator looks at.\n" * 5)
    (root / "dataset_description.json").write_text(json.dumps(
        {"Name": "synthetic", "BIDSVersion": "1.10.0", "License": "CC0", "Authors": ["A", "B"]}))
    for ending, sidecar in images.items():
        image = nib.Nifti1Image(np.arange(720, dtype=np.int16).reshape(8, 9, 10), np.diag([2.0, 2, 2, 1]))
        image.header.set_xyzt_units("mm", "sec")
        nib.save(image, root / f"sub-01/anat/sub-01_{ending}.nii.gz")
        (root / f"sub-01/anat/sub-01_{ending}.json").write_text(json.dumps({"MagneticFieldStrength": 1.5, **sidecar}))
    run = subprocess.run(["venv/bin/bids-validator-deno", root, "--json"], capture_output=True, text=True)
    issues = json.loads(run.stdout)["issues"]["issues"]
    answers[name] = sorted({f"{i['severity']} {i['code']}" for i in issues if "RECOMMENDED" not in i["code"]})
    print(f"{name:20} exit {run.returncode}: {', '.join(answers[name]) or 'nothing beyond recommended keys'}")
assert answers == {"in order": [], "longer echo first": [], "the same time": [], "water that says FAT": [],
                   "no echo time": ["error SIDECAR_KEY_REQUIRED"],
                   "milliseconds": ["warning ECHO_TIME_GREATER_THAN"]}, answers
PYTHON
venv/bin/python validate.py
