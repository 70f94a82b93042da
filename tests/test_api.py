"""The Python interface: quick to import, the same numbers as the commands, examples that run."""

import doctest
import subprocess
import sys
import time
import warnings
from pathlib import Path

import bedrest
import numpy as np
import pandas as pd
import pytest
from bedrest import schemas
from bedrest.api import opened_study, single_scan
from bedrest.cli import main
from bedrest.errors import GeometryError, ManifestError, OutputError, StudyError
from bedrest.findings import render
from bedrest.io.images.masks import read_label_map, write_label_map
from bedrest.io.images.nifti import read_scan
from bedrest.io.tables.typed_csv import read_table
from bedrest.vocabulary import LEVEL_OF_LABEL, Contrast


def python(code: str, cwd: Path) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True).stdout


def by_level(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of their levels: files are sorted from the head down."""
    return frame.sort_values("level").reset_index(drop=True)


@pytest.fixture
def masks(tmp_path, rng):
    """A mask of three discs and of one further label, the same shifted by a voxel, and an image."""
    data = np.zeros((60, 50, 90), np.int32)
    for label in (1, 2, 3):
        data[10:50, 10:40, 25 * label - 15:25 * label - 5] = label
    shifted = np.roll(data, 1, axis=2)
    data[2, 2, 2:5] = 44
    grid = bedrest.Grid(data.shape, np.diag([1.0, 1.0, 1.5, 1.0]))
    for name, array in (("mask", data), ("shifted", shifted)):
        write_label_map(bedrest.LabelMap(array, grid), tmp_path / f"{name}.nii.gz", names=LEVEL_OF_LABEL)
    image = bedrest.Volume(rng.normal(100, 5, data.shape).astype(np.float32), grid)
    single_scan.write_volume(image, tmp_path / "image.nii.gz")
    return tmp_path


def test_import_is_quick_and_loads_nothing_heavy(tmp_path):
    times = []
    for _ in range(3):
        start = time.monotonic()
        loaded = python("import bedrest, sys; bedrest.__version__; print(*sorted(m.split('.')[0] for m in "
                        "sys.modules))", tmp_path)
        times.append(time.monotonic() - start)
    assert min(times) < 0.3
    assert not {"torch", "numpy", "pandas", "nibabel", "scipy", "matplotlib", "pydantic", "tyro"} & set(loaded.split())


def test_every_name_is_there_and_shown(tmp_path):
    assert set(bedrest.__all__) <= set(dir(bedrest))
    assert all(getattr(bedrest, name) is not None for name in bedrest.__all__)
    with pytest.raises(AttributeError, match="no attribute 'segmnt'"):
        _ = bedrest.segmnt
    for first in ("import bedrest", "import bedrest.measurement.discs", "import bedrest; bedrest.evaluate"):
        shown = python(f"{first}; print(callable(bedrest.measure)); import bedrest.measurement.volumes as module; "
                       "print(module.__name__)", tmp_path)
        assert shown == "True\nbedrest.measurement.volumes\n"


@pytest.mark.parametrize("function", [single_scan.measure, single_scan.evaluate, opened_study.open_study, bedrest])
def test_examples_run(function, stored):
    examples = doctest.DocTestFinder(recurse=False).find(function, globs={"demo": stored[0].path.parent})
    assert any(e.examples for e in examples)
    for example in examples:
        assert doctest.DocTestRunner().run(example).failed == 0, example.name


def test_measures_are_those_of_the_command(masks, capsys):
    command = ["measure", str(masks / "mask.nii.gz"), "--image", str(masks / "image.nii.gz"), "-o",
               str(masks / "m.csv"), "--levels", "1=L5-S1,2=L4-L5,3=L3-L4,4=L2-L3"]
    assert main(command) == 3  # L2-L3 is not there
    shown = capsys.readouterr().err
    assert "warning: label 44 (3 voxels)" in shown and "failed: L2-L3" in shown
    written = read_table(masks / "m.csv", schemas.MASK_MEASURES)
    levels = {1: "L5-S1", 2: "L4-L5", 3: "L3-L4", 4: "L2-L3"}
    with pytest.warns(UserWarning, match="label 44"):
        measures = bedrest.measure(masks / "mask.nii.gz", levels=levels, image=str(masks / "image.nii.gz"))
    pd.testing.assert_frame_equal(by_level(measures), by_level(written))
    assert measures["volume_mm3"].tolist()[:3] == [18_000.0] * 3
    mask = read_label_map(masks / "mask.nii.gz", where="mask")
    with warnings.catch_warnings(action="ignore"):
        from_memory = bedrest.measure(mask, levels="1=L5-S1,2=L4-L5,3=L3-L4,4=L2-L3")
    assert set(from_memory["mask"]) == {"mask"} and from_memory["signal"].isna().all()
    pd.testing.assert_series_equal(by_level(from_memory)["volume_mm3"], by_level(written)["volume_mm3"])


def test_an_image_on_another_grid_is_refused(masks):
    other = bedrest.Volume(np.zeros((4, 4, 4), np.float32), bedrest.Grid((4, 4, 4), np.eye(4)))
    with pytest.raises(GeometryError, match="on one grid"):
        bedrest.measure(masks / "shifted.nii.gz", image=other)


def test_agreement_is_that_of_the_command(masks, capsys):
    predicted, reference = masks / "shifted.nii.gz", masks / "mask.nii.gz"
    assert main(["evaluate", str(predicted), str(reference), "-o", str(masks / "e.csv")]) == 3
    agreement = bedrest.evaluate(str(predicted), read_label_map(reference, where="reference"))
    pd.testing.assert_frame_equal(by_level(agreement), by_level(read_table(masks / "e.csv", schemas.MASK_ACCURACY)))
    assert agreement["dice"].tolist()[:3] == [0.9] * 3 and (agreement["status"] == "failed").sum() == 4


def test_a_segmentation_is_that_of_the_command(tmp_path, rng, capsys):
    grid = bedrest.Grid((12, 40, 40), np.diag([4.0, 2.0, 2.0, 1.0]))
    water = tmp_path / "w.nii.gz"
    single_scan.write_volume(bedrest.Volume(rng.normal(300, 20, grid.shape).astype(np.float32), grid), water)
    status = main(["segment", "--water", str(water), "-o", str(tmp_path / "m.nii.gz"), "--device", "cpu",
                   "--probabilities", str(tmp_path / "p.nii.gz")])
    scan = read_scan({Contrast.WATER: water}, where="scan")
    result = bedrest.segment(scan=scan, device="cpu")
    assert status == (0 if any(d.status != "failed" for d in result.segmented) else 3)
    np.testing.assert_array_equal(result.discs.data, read_label_map(tmp_path / "m.nii.gz", where="mask").data)
    shown = capsys.readouterr()
    assert all(d.name in shown.out for d in result.segmented)
    assert all(render(w) in shown.err for w in result.warnings)
    with pytest.raises(StudyError, match="at least one contrast"):
        bedrest.segment()
    with pytest.raises(StudyError, match="found both"):
        bedrest.segment(water, scan=scan)


def test_a_study_gives_its_tables(stored):
    study, results = stored
    opened = bedrest.open_study(study.path)
    assert opened == bedrest.open_study(str(study.path.parent)) and opened.results == results
    assert opened.settings.name == study.name
    assert {p.stem for f in ("tables", "manifest") for p in (results.output_dir / f).glob("*.csv")} == set(
        dir(opened.tables))
    pd.testing.assert_frame_equal(opened.tables.measures, results.read(schemas.MEASURES))
    pd.testing.assert_frame_equal(opened.tables.subjects, results.read_manifest(schemas.SUBJECTS))
    for folder in ("tables", "manifest"):
        for path in (results.output_dir / folder).glob("*.csv"):
            assert isinstance(getattr(opened.tables, path.stem), pd.DataFrame)
    results.table(schemas.CHANGE).unlink()
    with pytest.raises(OutputError, match=r"the table change.*Run `bedrest run .*study.toml`"):
        _ = opened.tables.change
    with pytest.raises(AttributeError, match="no table 'measure'"):
        _ = opened.tables.measure
    elsewhere = bedrest.open_study("nowhere.toml", results.output_dir)
    assert len(elsewhere.tables.measures) == len(opened.tables.measures)


def test_a_study_gives_its_masks_scans_and_figures(given):
    study, results = given
    opened = bedrest.open_study(study.path, results.output_dir)
    sessions = opened.tables.sessions
    subject, session = next((s, v) for s, v in zip(sessions["subject"], sessions["session"], strict=True)
                            if results.mask(s, v).is_file())
    assert opened.mask(subject, session).data.max() > 0
    assert opened.scan(subject, session).grid.shape == opened.mask(subject, session).grid.shape
    assert set(opened.figures) == {p.stem for p in results.figures.glob("*.png")}
    with pytest.raises(ManifestError, match="a subject of the study"):
        opened.mask("sub-nobody", session)
    with pytest.raises(ManifestError, match="a session of the study"):
        opened.scan(subject, "ses-none")


def test_a_mask_that_ends_before_a_level_is_no_failure_but_a_gap_is(tmp_path, rng):
    """Five discs of an image that shows more, with L3-L4 forgotten; a level that is asked for has to be there."""
    data = np.zeros((60, 50, 150), np.int32)
    for label in (1, 2, 4, 5):
        data[10:50, 10:40, 25 * label - 15:25 * label - 5] = label
    mask = bedrest.LabelMap(data, bedrest.Grid(data.shape, np.diag([1.0, 1.0, 1.4, 1.0])))
    status = bedrest.measure(mask).set_index("level")["status"]
    assert status[["T11-T12", "T12-L1", "L3-L4"]].tolist() == ["not in view", "not in view", "failed"]
    asked = bedrest.measure(mask, levels={**LEVEL_OF_LABEL}).set_index("level")["status"]
    assert asked["T11-T12"] == "failed"


def test_masks_of_two_scans_share_no_disc_and_that_is_told(masks):
    mask = read_label_map(masks / "mask.nii.gz", where="m")
    discs = bedrest.LabelMap(np.where(mask.data == 44, 0, mask.data), mask.grid)
    other = bedrest.LabelMap(np.roll(discs.data, 12, axis=2), mask.grid)
    levels = {1: "L5-S1", 2: "L4-L5", 3: "L3-L4"}
    found = bedrest.evaluate(discs, other, levels=levels, reference_levels=levels)
    assert found["dice"].tolist() == [0, 0, 0] and (found["status"] == "flagged").all()
    assert found["reason"].str.contains("are they of one scan").all()
