"""Masks that users put into a study, given, reference or edited: what is in order is taken, what is not is told."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from bedrest.cli import main
from bedrest.io.images.masks import read_label_map
from bedrest.io.manifest.corrections import find_corrections
from bedrest.io.manifest.edited_masks import read_edited
from bedrest.io.manifest.resolve import build_manifest
from bedrest.settings import load_study
from bedrest.stages.segment import _read_visit
from bedrest.stages.visits import Visit
from given_study import SPINE, saved, spine, write_study

FLIPPED = SPINE @ np.array([[-1.0, 0, 0, 15], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
NAME = "A_ses-2_discs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_study(tmp_path)


def check(folder: Path, capsys: pytest.CaptureFixture[str], status: int) -> str:
    assert main(["check", str(folder / "study.toml")]) == status
    return capsys.readouterr().out


def with_reference(folder: Path, data: np.ndarray, affine: np.ndarray = SPINE) -> None:
    saved(folder / "reference.nii.gz", data, affine)
    with (folder / "scans.csv").open("a") as file:
        file.write("A,ses-1,reference_mask,reference.nii.gz\n")


def test_a_given_mask_in_another_order_of_axes_is_measured_on_its_images_grid(folder: Path, capsys) -> None:
    path = folder / "A_ses-1_mask.nii.gz"
    before = read_label_map(path, where="s")
    saved(path, spine(1.0)[::-1], FLIPPED)
    assert "no problems" in check(folder, capsys, 0)
    visit = Visit("A", "ses-1", {"mask": path, "water": folder / "A_ses-1_water.nii.gz"})
    named = _read_visit(visit, study=load_study(folder / "study.toml"))
    assert np.array_equal(named.mask.data, before.data)


@pytest.mark.parametrize("how", ["flipped", "cropped"])
def test_a_reference_mask_in_another_order_or_cropped_is_no_problem(folder: Path, capsys, how: str) -> None:
    data = np.roll(spine(1.0), 1, axis=2).astype(np.uint8)
    crop = SPINE.copy()
    crop[1, 3] = 2 * SPINE[1, 1]
    with_reference(folder, *((data[::-1], FLIPPED) if how == "flipped" else (data[:, 2:], crop)))
    assert "no problems" in check(folder, capsys, 0)


@pytest.mark.parametrize(("number", "discs"), [(1, 5), (255, 7)])
def test_a_binary_reference_mask_is_told_by_check_and_the_remedy_works(folder: Path, capsys, number: int,
                                                                      discs: int) -> None:
    labels = np.roll(spine(1.0), 1, axis=2)
    with_reference(folder, (number * ((labels > 0) & (labels <= discs))).astype(np.uint8))
    key = 'reference_labels = "binary"'
    assert key in check(folder, capsys, 1)
    toml = folder / "study.toml"
    toml.write_text(toml.read_text().replace("[images]\n", f"[images]\n{key}\n"))
    assert "no problems" in check(folder, capsys, 0)


def test_labels_that_no_disc_is_measured_from_are_told(folder: Path, capsys) -> None:
    data = spine(1.0)
    data[0, 0, :3] = 99
    saved(folder / "A_ses-1_mask.nii.gz", data, SPINE)
    assert "labels that stand for something, found 99, which do not" in check(folder, capsys, 0)


# Edited masks


def edited(folder: Path, name: str = NAME + ".nii.gz") -> Path:
    path = folder / "out/masks/edited" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def automatic(folder: Path, session: str = "ses-2") -> Path:
    return saved(folder / f"out/masks/A_{session}_discs.nii.gz", spine(1.0 if session == "ses-1" else 1.1), SPINE)


@pytest.mark.parametrize("ending", [".nrrd", ".seg.nrrd", ".mha", ".mgz", ".NII.GZ"])
def test_an_edited_mask_may_have_any_format_that_is_read(folder: Path, capsys, ending: str) -> None:
    before, path = automatic(folder), edited(folder, NAME + ending)
    if ending == ".mgz":
        nib.save(nib.MGHImage(spine(1.1).astype(np.int32), SPINE), path)
    elif ending == ".NII.GZ":
        path.write_bytes(before.read_bytes())
    else:
        sitk.WriteImage(sitk.ReadImage(str(before)), str(path), True)
    assert "1 edited masks" in check(folder, capsys, 0)
    mask = read_label_map(before, where="s")
    assert np.array_equal(read_edited(path, before=mask, grid=None, where="s").data, mask.data)


def test_an_edited_mask_in_another_order_of_axes_is_the_same(folder: Path) -> None:
    mask = read_label_map(automatic(folder), where="s")
    path = saved(edited(folder), spine(1.1)[::-1], FLIPPED)
    assert np.array_equal(read_edited(path, before=mask, grid=None, where="s").data, mask.data)


def test_the_mask_of_another_visit_saved_as_a_correction_is_doubted(folder: Path) -> None:
    automatic(folder)
    copied = automatic(folder, "ses-1").read_bytes()
    study = load_study(folder / "study.toml")
    edited(folder).write_bytes(copied)
    (found,) = {str(p.problem) for p in find_corrections(study, build_manifest(study)).problems if p.doubt}
    assert "a mask of its own for every visit" in found and "masks/A_ses-1_discs.nii.gz" in found
    edited(folder).write_bytes(automatic(folder).read_bytes())  # saved as it was
    assert find_corrections(study, build_manifest(study)).problems == ()


def test_renumbered_discs_of_an_edited_mask_are_told_before_the_run(folder: Path, capsys) -> None:
    automatic(folder)
    data = spine(1.1)
    saved(edited(folder), np.where(data > 0, 8 - data, 0).astype(np.uint8), SPINE)
    printed = check(folder, capsys, 0)
    assert "A ses-2 L5-S1, edited mask" in printed and "was T11-T12" in printed


def test_a_second_file_for_a_visit_is_not_offered_another_visits_name(folder: Path, capsys) -> None:
    for name in (NAME + ".nii.gz", NAME + "_old.nii.gz"):
        saved(edited(folder, name), spine(1.1), SPINE)
    assert "Move it elsewhere." in check(folder, capsys, 1)
