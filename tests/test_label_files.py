"""Colour tables as ITK-SNAP and 3D Slicer read them: written, then read back by the documented formats."""

import re

import nibabel as nib
import numpy as np
import pytest
from bedrest.cli import main
from bedrest.figures.style import LEVEL_COLOURS
from bedrest.io.images.label_tables import ALL_LABELS, bids_label_table, write_label_files
from bedrest.io.images.masks import write_label_map, write_volume
from bedrest.types import Grid, LabelMap, Volume
from bedrest.vocabulary import LEVEL_OF_LABEL, TISSUE_OF_LABEL

# As ITK-SNAP's ColorLabelTable reads a line: index, three bytes, alpha, visible, mesh, name in quotes.
ITK_SNAP = re.compile(r'^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+([\d.]+)\s+([01])\s+([01])\s+"([^"]*)"\s*$')
Entry = tuple[str, tuple[int, int, int], float]  # name, colour, opacity from 0 to 1


def read_itk_snap(text: str) -> dict[int, Entry]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = [ITK_SNAP.match(line) for line in lines]
    assert all(found), lines
    return {int(m[1]): (m[8], (int(m[2]), int(m[3]), int(m[4])), float(m[5]) * int(m[6])) for m in found if m}


def read_slicer(text: str) -> dict[int, Entry]:
    """As vtkMRMLColorTableStorageNode: fields parted by blanks; an underscore in a name becomes a blank."""
    assert text.startswith("# Color table file\n")
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    assert {len(r) for r in rows} == {6}
    return {int(i): (name.replace("_", " "), (int(r), int(g), int(b)), int(a) / 255) for i, name, r, g, b, a in rows}


@pytest.fixture
def tables(tmp_path) -> tuple[dict[int, Entry], dict[int, Entry]]:
    write_label_files(tmp_path / "labels", ALL_LABELS)
    return (read_itk_snap((tmp_path / "labels.label").read_text()),
            read_slicer((tmp_path / "labels.ctbl").read_text()))


def test_both_programs_read_the_same_names_and_colours(tables):
    itk_snap, slicer = tables
    assert {k: v for k, v in itk_snap.items() if k} == {k: v for k, v in slicer.items() if k}
    assert itk_snap[0] == ("Clear Label", (0, 0, 0), 0) and slicer[0] == ("background", (0, 0, 0), 0)


def test_every_label_has_its_name_and_is_opaque(tables):
    itk_snap, _ = tables
    named = {label: name for label, (name, _, opacity) in itk_snap.items() if opacity == 1}
    assert named == {**TISSUE_OF_LABEL, **{101 + i: f"unnamed-{i + 1}" for i in range(7)}}


def test_colours_are_those_of_the_figures_and_differ(tables):
    _, slicer = tables
    shown = {label: "#{:02X}{:02X}{:02X}".format(*slicer[label][1]) for label in TISSUE_OF_LABEL}
    # Black is not seen on a scan, so the one level that is black in figures is yellow here.
    assert {k: shown[k] for k in range(1, 7)} == {k: LEVEL_COLOURS[LEVEL_OF_LABEL[k]] for k in range(1, 7)}
    assert shown[7] == "#F0E442" and LEVEL_COLOURS["T11-T12"] == "#000000"
    discs = [np.array(slicer[k][1]) for k in LEVEL_OF_LABEL]
    others = [np.array(slicer[k][1]) for k in TISSUE_OF_LABEL if k > 7]
    assert min(np.linalg.norm(a - b) for i, a in enumerate(discs) for b in [*discs[:i], *others]) > 50
    assert all(shown[k] != shown[k + 1] for k in range(10, 17))  # neighbouring bones


def test_the_bids_table_says_the_same(tables):
    _, slicer = tables
    rows = [line.split("\t") for line in bids_label_table(ALL_LABELS).splitlines()]
    assert rows[0] == ["index", "name", "color"]
    assert {int(i): (name, tuple(bytes.fromhex(c[1:])), 1.0) for i, name, c in rows[1:]} == {
        k: v for k, v in slicer.items() if k}


def test_tables_are_written_once(tmp_path):
    write_label_files(tmp_path / "labels", ALL_LABELS)
    before = (tmp_path / "labels.ctbl").stat().st_mtime_ns
    write_label_files(tmp_path / "labels", ALL_LABELS)
    assert (tmp_path / "labels.ctbl").stat().st_mtime_ns == before


def test_headers_say_what_a_file_holds(tmp_path):
    grid = Grid((3, 4, 5), np.diag([2.0, 1.25, 1.25, 1.0]))
    write_label_map(LabelMap(np.ones(grid.shape, np.int32), grid), tmp_path / "m.nii.gz", names={1: "L5-S1"})
    write_volume(Volume(np.ones(grid.shape, np.float32), grid), tmp_path / "p.nii.gz")
    mask, values = nib.load(tmp_path / "m.nii.gz"), nib.load(tmp_path / "p.nii.gz")
    assert int(mask.header["intent_code"]) == 1002  # NIFTI_INTENT_LABEL
    assert int(values.header["intent_code"]) == 0
    for image in (mask, values):
        assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
        assert image.header.get_xyzt_units()[0] == "mm"
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(mask.dataobj), 1)


def test_a_single_mask_has_its_tables_beside_it(tmp_path, monkeypatch):
    data = np.random.default_rng(0).normal(300, 20, (12, 40, 40)).astype(np.float32)
    nib.save(nib.Nifti1Image(data, np.diag([4.0, 2.0, 2.0, 1.0])), tmp_path / "w.nii.gz")
    monkeypatch.chdir(tmp_path)
    assert main(["segment", "--water", "w.nii.gz", "-o", "m.nii.gz"]) in (0, 3)  # noise holds no disc, and says so
    slicer = read_slicer((tmp_path / "m.ctbl").read_text())
    assert set(LEVEL_OF_LABEL.values()) <= {name for name, *_ in slicer.values()}
    assert (tmp_path / "m.label").is_file()
