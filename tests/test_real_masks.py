"""Manual masks of the fMRP lumbar set against its published volumes; see its SOURCE.md."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from bedrest.anatomy.levels import parse_levels
from bedrest.measurement.discs import measure_discs
from bedrest.measurement.quality import unknown_labels
from bedrest.types import Grid, LabelMap
from bedrest.vocabulary import Status
from sentences import reason

LEVELS = parse_levels("51=L5-S1,102=L4-L5,153=L3-L4,204=L2-L3,255=L1-L2")
BROKEN_EXAM = 5


@pytest.fixture
def folder(real_data: Path) -> Path:
    found = real_data / "lumbar-disc-masks-fmrp"
    if not found.is_dir():
        pytest.skip(f"{found} is not there")
    return found


def read(folder: Path, exam: int) -> LabelMap:
    image = nib.load(folder / f"{exam}_Labels.nii.gz")
    data = np.asarray(image.dataobj, dtype=np.int32)
    return LabelMap(data, Grid(data.shape, np.asarray(image.affine, dtype=np.float64)))


def exams(folder: Path) -> list[int]:
    return sorted(int(p.name.split("_")[0]) for p in folder.glob("*_Labels.nii.gz"))


def test_every_disc_has_its_published_volume(folder: Path) -> None:
    published = pd.read_csv(folder / "volumes_cm3.csv").set_index("exam")
    found = exams(folder)
    assert len(found) == 37
    for exam in found:
        if exam == BROKEN_EXAM:
            continue
        for measure in measure_discs(read(folder, exam), LEVELS, {}):
            expected_mm3 = 1000 * published.loc[exam, measure.level.replace("-", "")]
            assert measure["volume_mm3"] == pytest.approx(expected_mm3, rel=1e-3), (exam, measure.level)
            # The header's spacing is in the wrong order, so shapes must not be believed.
            assert measure.status == Status.FLAGGED
            assert "permuted" in reason(measure.findings)
            assert math.isnan(measure["height_mean_mm"]) and math.isnan(measure["diameter_ap_mm"])


def test_the_broken_exam_is_never_accepted(folder: Path) -> None:
    discs = read(folder, BROKEN_EXAM)
    found = {m.level: m for m in measure_discs(discs, LEVELS, {})}
    assert {level for level, m in found.items() if m.status == Status.FAILED} == {"L5-S1", "L4-L5", "L3-L4", "L2-L3"}
    stray = found["L1-L2"]
    assert (stray.status, stray["n_voxels"]) == (Status.FLAGGED, 10)
    assert "volume 8 mm3 outside" in reason(stray.findings)
    assert sorted(unknown_labels(discs, LEVELS)) == [4, 7, 11, 14, 18]


def test_a_corrected_header_gives_plausible_shapes(folder: Path) -> None:
    discs = read(folder, 1)
    # Array axes are anterior-posterior, superior-inferior, slice (SOURCE.md), the slice being 4.4 mm thick.
    affine = np.zeros((4, 4))
    affine[1, 0], affine[2, 1], affine[0, 2], affine[3, 3] = -0.4296875, -0.4296875, 4.4, 1
    for m in measure_discs(LabelMap(discs.data, Grid(discs.grid.shape, affine)), LEVELS, {}):
        assert "permuted" not in reason(m.findings)
        assert 4 < m["height_mean_mm"] < 14, m
        assert 25 < m["diameter_ap_mm"] < 50, m
        assert 25 < m["diameter_transverse_mm"] < 60, m
