"""The four real inputs through the program as a user runs it. Skipped, with the reason, where the data are absent."""

import csv
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

STANDARD = "51=L5-S1,102=L4-L5,153=L3-L4,204=L2-L3,255=L1-L2"


def bedrest(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bedrest", *map(str, words)], cwd=cwd, capture_output=True,
                          text=True, timeout=900)


def study(folder: Path, name: str, contrast: str, scans: dict[str, Path], masks: dict[str, Path]) -> Path:
    """A one-visit study over files that stay where they are."""
    rows = [(s, "ses-1", contrast, p) for s, p in scans.items()]
    rows += [(s, "ses-1", "reference_mask", p) for s, p in masks.items()]
    with (folder / "scans.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("subject", "session", "contrast", "path"), *rows])
    with (folder / "subjects.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("subject", "group"), *((s, "volunteers") for s in scans)])
    (folder / "study.toml").write_text(
        f'name = "{name}"\ngroups = ["volunteers"]\nreference_session = "ses-1"\noutput = "out"\n'
        '[images]\nlayout = "csv"\nroot = "."\nsubjects_csv = "subjects.csv"\nscans_csv = "scans.csv"\n'
        '[[sessions]]\nid = "ses-1"\nstudy_day = -1\nphase = "baseline"\n')
    return folder / "study.toml"


def read(out: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(out / "tables" / f"{name}.csv", dtype={"subject": str})


def test_manual_masks_with_a_known_header_fault(real_data, tmp_path):
    """One mask through the command line; all 37 are in test_real_masks.py."""
    masks = real_data / "lumbar-disc-masks-fmrp"
    published = pd.read_csv(masks / "volumes_cm3.csv").set_index("exam").loc[1]
    done = bedrest("measure", masks / "1_Labels.nii.gz", "--levels", STANDARD, "-o", "m.csv", cwd=tmp_path)
    rows = pd.read_csv(tmp_path / "m.csv").set_index("level")
    for level in ("L5-S1", "L4-L5", "L3-L4", "L2-L3", "L1-L2"):
        assert rows.loc[level, "volume_mm3"] / 1000 == pytest.approx(published[level.replace("-", "")], rel=1e-3)
    assert done.returncode == 3 and "permuted" in done.stderr


def test_the_broken_exam_is_never_silently_accepted(real_data, tmp_path):
    mask = real_data / "lumbar-disc-masks-fmrp" / "5_Labels.nii.gz"
    done = bedrest("measure", mask, "--levels", STANDARD, "-o", "m.csv", cwd=tmp_path)
    rows = pd.read_csv(tmp_path / "m.csv")
    assert done.returncode == 3 and not (rows["status"] == "ok").any()
    assert "label 18" in done.stderr


def test_real_t2_with_manual_discs_as_a_one_visit_study(real_data, tmp_path):
    data = real_data / "lumbar-t2-ivd-fmrp"
    exams = ("11", "20", "25")
    toml = study(tmp_path, "real-t2", "t2", {f"vol-{n}": data / f"vol-{n}_t2.nii.gz" for n in exams},
                 {f"vol-{n}": data / f"vol-{n}_discs.nii.gz" for n in exams})
    ran = bedrest("run", toml, cwd=tmp_path)
    assert ran.returncode in (0, 3) and "Traceback" not in ran.stderr, ran.stderr
    out = tmp_path / "out"
    for n in exams:
        scan, mask = nib.load(data / f"vol-{n}_t2.nii.gz"), nib.load(out / f"masks/vol-{n}_ses-1_discs.nii.gz")
        assert mask.shape == scan.shape
        np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-4)
        assert "Traceback" not in (out / f"subjects/vol-{n}.html").read_text()
    accuracy = read(out, "accuracy")
    assert len(accuracy) == 15  # five manual discs in each of three exams, found or not
    print(accuracy[["subject", "level", "dice", "centre_distance_mm", "volume_error_percent"]].to_string(index=False))
    print(f"mean Dice {accuracy['dice'].mean():.2f}")
    # Whatever the agreement is, it is stated, and a disc without a figure says why.
    said = accuracy["dice"].notna() | accuracy["reason"].notna()
    assert said.all()


def test_a_published_method_on_real_t2_with_manual_discs(real_data, tmp_path):
    """Chen, Dou et al. 2016 on its own contrast. Half a minute on two people: what it finds is printed, not judged."""
    data, exams = real_data / "lumbar-t2-ivd-fmrp", ("11", "20", "25")
    toml = study(tmp_path, "real-t2", "t2", {f"vol-{n}": data / f"vol-{n}_t2.nii.gz" for n in exams},
                 {f"vol-{n}": data / f"vol-{n}_discs.nii.gz" for n in exams})
    done = bedrest("benchmark", toml, "--protocol", "chen2016", "--methods", "fcn2d", "--budget", 0.5, "--width", 8,
                   "--device", "cpu", "-o", "bench", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "bench" / "chen2016.md").read_text()
    assert "ynthetic" not in page
    discs = pd.read_csv(tmp_path / "bench" / "chen2016" / "discs.csv")
    assert len(discs) == 5 and discs["subject"].nunique() == 1  # one of three people is held out, five discs are drawn
    trainings = pd.read_csv(tmp_path / "bench" / "chen2016" / "trainings.csv")
    assert trainings["contrasts"].tolist() == ["t2"]
    print(discs[["subject", "level", "dice", "dice_any_name", "volume_error_percent"]].to_string(index=False))


def test_real_water_images_as_a_one_visit_study(real_data, tmp_path):
    data = real_data / "lumbar-dixon-water-tum"
    exams = ("01", "22", "40")
    toml = study(tmp_path, "real-water", "water", {n: data / f"vol-{n}_water.nii.gz" for n in exams}, {})
    ran = bedrest("run", toml, cwd=tmp_path)
    assert ran.returncode in (0, 3) and "Traceback" not in ran.stderr, ran.stderr
    measures = read(tmp_path / "out", "measures")
    assert set(measures["subject"]) == set(exams)  # 01 stays 01
    failed = measures["status"] == "failed"
    assert measures.loc[failed, "volume_mm3"].isna().all() and measures.loc[failed, "reason"].notna().all()
    for n in exams:
        scan = nib.load(data / f"vol-{n}_water.nii.gz")
        mask = nib.load(tmp_path / f"out/masks/{n}_ses-1_discs.nii.gz")
        assert mask.shape == scan.shape
        np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-4)


def test_foreign_abdomen_gets_an_honest_answer(real_data, tmp_path):
    image = real_data / "abdomen-mr-totalsegmentator" / "example_mr_sm.nii.gz"
    done = bedrest("segment", "--t2", image, "-o", "mask.nii.gz", cwd=tmp_path)
    assert done.returncode in (0, 3) and "Traceback" not in done.stderr, done.stderr
    # The field of view is 6 cm high: at most two or three discs can be in it, and every level has its line.
    lines = [line.split()[:2] for line in done.stdout.splitlines()]
    assert len(lines) >= 7
    assert sum(status == "ok" for _, status in lines) <= 3
    assert nib.load(tmp_path / "mask.nii.gz").shape == nib.load(image).shape
