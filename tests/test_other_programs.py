"""What docs/other_programs.md says of bedrest where no other test has it; that it and findings/ name each other.

The scripts of findings/ are not run here: they install packages.
"""

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from command_line import bedrest
from dicom_files import Series, pixels, write_series

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/other_programs.md").read_text(encoding="utf-8")


def test_every_script_that_the_page_names_is_there_and_the_other_way_round():
    named = set(re.findall(r"`(\w+\.sh)`", PAGE))
    assert named == {p.name for p in ROOT.glob("findings/*.sh")} - {"snakemake_touched_scan.sh"}


@pytest.mark.parametrize("script", sorted(ROOT.glob("findings/*.sh")), ids=lambda p: p.stem)
def test_a_finding_says_what_it_is_and_pins_what_it_runs(script):
    text = script.read_text(encoding="utf-8")
    assert [words for words in ("What most would guess", "What is true", "Version", "Who meets it", "Prints")
            if not re.search(rf"^# {words}", text, re.MULTILINE)] == []
    assert "set -euo pipefail" in text and "mktemp -d" in text and "bedrest" not in text
    packages = re.findall(r"pip install -q --disable-pip-version-check ((?:\\\n|.)*)", text)
    assert all("==" in name for line in packages for name in line.replace("\\\n", " ").split())


@pytest.mark.parametrize("numbers_run_on", [True, False], ids=["run on", "begin anew"])
def test_water_and_fat_in_one_series_are_two_images(tmp_path, numbers_run_on):
    shape = (12, 10, 6)
    images = {"water": pixels(shape, 1), "fat": pixels(shape, 2)}
    for n, (name, data) in enumerate(images.items()):
        series = Series(4, ("DERIVED", "PRIMARY", "DIXON", name.upper()), uid="1.2.9")
        write_series(tmp_path / "dicom" / name, series, data, start=n * shape[2] * numbers_run_on)
    done = bedrest("import-dicom", "dicom", "-o", "bids", "--subject", "sub-1", "--session", "ses-1", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for name, data in images.items():
        stored = nib.load(tmp_path / f"bids/sub-1/ses-1/anat/sub-1_ses-1_rec-{name}_T1w.nii.gz")
        assert stored.shape == shape
        for n in range(shape[2]):  # each slice is one of this image, not of the other
            values = np.sort(np.asarray(stored.dataobj)[:, :, n], axis=None)
            assert any(np.array_equal(values, np.sort(data[:, :, k], axis=None)) for k in range(shape[2])), (name, n)
