"""Masks of other programs: their discs are named right, or it is said why they cannot be and what to do."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import bedrest
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from bedrest.anatomy.label_schemes import NAMES, NUMBERINGS, fitting
from bedrest.anatomy.levels import parse_levels, structure_of_name
from bedrest.cli import main
from bedrest.errors import BedrestError, GeometryError
from bedrest.findings import FindingCode
from bedrest.io.images.masks import read_label_map
from bedrest.measurement.numbering.recognise import NamedMask, name_discs
from bedrest.types import Grid, LabelMap
from bedrest.vocabulary import LEVEL_OF_LABEL
from sentences import codes
from spine_masks import AFFINE, BONES, DISC_VOXELS, LEVELS, SHAPE, numbered, spine, volumes

VERTEBRAE = BONES[1:]
TOTALSPINESEG = dict(zip(LEVELS, (100, 95, 94, 93, 92, 91, 82), strict=True))
MASKS = {  # of each program, as it numbers a whole lumbar spine
    "bedrest": spine(numbered(1), numbered(10, names=BONES), 20),
    "totalspineseg": spine(TOTALSPINESEG, dict(zip(BONES, (50, 45, 44, 43, 42, 41, 32, 31), strict=True)), 2),
    "totalspineseg earlier": spine(numbered(202), {**numbered(18, names=VERTEBRAE), "sacrum": 92}, 201),
    "spineps": spine(numbered(124, -1), {**numbered(24, -1, VERTEBRAE), "sacrum": 26}),
    "spider": spine(numbered(201), numbered(1, names=VERTEBRAE), 100),
    "spider falling": spine(numbered(224, -1), numbered(24, -1, VERTEBRAE), 100),
    "sct": spine(numbered(25, -1)),
    "mrspineseg": spine(numbered(11), numbered(1, names=BONES)),
    "spineps semantic": spine(dict.fromkeys(LEVELS, 100), dict.fromkeys(VERTEBRAE, 49) | {"sacrum": 26}, 61),
    "totalsegmentator": spine(dict.fromkeys(LEVELS, 20), dict.fromkeys(VERTEBRAE, 19) | {"sacrum": 18}, 21),
}


def named(mask: LabelMap, labels: str | None = None) -> NamedMask:
    return name_discs(mask, labels, where="m.nii.gz")


@pytest.mark.parametrize("program", MASKS)
def test_the_numbers_of_every_program_are_known_by_name_and_by_themselves(program: str) -> None:
    for labels in (None, program.split()[0]):
        result = named(MASKS[program], labels)
        assert result.problem is None
        assert volumes(result.mask, result.levels) == DISC_VOXELS
        assert volumes(result.in_ours(), LEVEL_OF_LABEL) == DISC_VOXELS


@pytest.mark.parametrize(("program", "code"), [
    ("bedrest", None), ("totalspineseg", FindingCode.NUMBERING_TAKEN), ("spineps", FindingCode.NUMBERING_TAKEN),
    ("spider", FindingCode.NUMBERING_SHARED), ("sct", FindingCode.NUMBERING_SHARED)])
def test_a_numbering_that_was_not_named_is_said_and_doubted_where_others_share_it(program, code) -> None:
    assert codes(named(MASKS[program]).remarks) == ([] if code is None else [code])
    assert named(MASKS[program], program).remarks == ()


def test_discs_alone_that_two_programs_number_differently_must_be_named() -> None:
    """202 to 207: L4-L5 upwards in SPIDER, L5-S1 upwards in old masks of TotalSpineSeg."""
    mask = spine(numbered(202, names=LEVELS[:6]))
    problem = named(mask).problem
    assert problem is not None
    assert "--labels spider" in problem.remedy and "--labels totalspineseg" in problem.remedy
    assert min(k for k, v in named(mask, "spider").levels.items() if v == "L4-L5") == 202
    assert named(mask, "totalspineseg").levels[202] == "L5-S1"
    assert named(spine(numbered(201))).problem is None  # 201 is flat, so it is no canal


def test_a_conversion_for_nnunet_is_not_taken_for_vertebrae_or_another_data_set() -> None:
    """Vertebrae 1 to 7, canal 8, discs 9 to 15: no numbering of ours, and MRSpineSeg would misname its discs."""
    mask = spine(numbered(9), numbered(1, names=VERTEBRAE), 8)
    problem = named(mask).problem
    assert problem is not None and "as thick as vertebrae" in problem.actual
    pairs = re.search(r"--labels (\S+)\.", problem.remedy)
    assert pairs is not None
    repaired = named(mask, pairs[1])
    assert repaired.problem is None and volumes(mask, repaired.levels) == DISC_VOXELS


def exchanged() -> LabelMap:
    return spine({**numbered(1), "L4-L5": 3, "L3-L4": 2})


@pytest.mark.parametrize(("mask", "said"), [
    (spine(numbered(7, -1)), "numbered from the top"), (exchanged(), "L3-L4 and L4-L5 are exchanged"),
    (spine(numbered(1), numbered(11, names=BONES)), "named 1 level too"),
    (spine({k: v for k, v in zip(LEVELS[1:], range(1, 7), strict=True)}, numbered(10, names=BONES)), "1 level too low"),
], ids=["from the top", "exchanged", "bones one level off", "discs one level off"])
def test_names_out_of_order_are_refused_and_the_remedy_works(mask: LabelMap, said: str) -> None:
    result = named(mask)
    assert result.problem is not None and said in result.problem.actual
    with pytest.raises(GeometryError, match=re.escape(said)):
        result.in_ours()
    pairs = re.search(r"--labels (\S+)\.", result.problem.remedy)
    assert pairs is not None and named(mask, pairs[1]).problem is None
    for label, level in parse_levels(pairs[1]).items():  # as the discs lie in the world
        height = np.argwhere(mask.data == label)[:, 2].mean()
        if "one level off" not in said and said.startswith(("numbered", "L3")):
            assert round((height - 18) / 16) == LEVELS.index(level)


def test_an_order_is_one_in_the_world_whatever_the_axes() -> None:
    flipped = AFFINE @ np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, SHAPE[2] - 1], [0, 0, 0, 1]])
    mask = spine(numbered(1))
    assert named(LabelMap(mask.data[:, :, ::-1].copy(), Grid(SHAPE, flipped))).problem is None
    left_right = AFFINE * [[-1], [1], [1], [1]]
    assert named(spine(numbered(1), affine=left_right)).problem is None
    upside_down = named(spine(numbered(1), affine=flipped)).problem  # head and foot exchanged in the header
    assert upside_down is not None and "head and foot" in upside_down.actual


def test_discs_along_another_axis_are_doubted_not_refused() -> None:
    lying = AFFINE[[0, 2, 1, 3]]
    result = named(spine(numbered(7, -1), affine=lying))
    assert result.problem is None
    assert {codes(f)[0] for f in result.doubts.values()} == {FindingCode.NOT_UPRIGHT}


def points() -> LabelMap:
    data = np.zeros(SHAPE, np.int32)
    for i in range(7):
        data[12, 20, 18 + 16 * i] = 25 - i
    return LabelMap(data, Grid(SHAPE, AFFINE))


def cord() -> LabelMap:
    data = np.zeros(SHAPE, np.int32)
    for i in range(7):
        data[11:15, 10:14, 12 + 16 * i:27 + 16 * i] = 25 - i
    return LabelMap(data, Grid(SHAPE, AFFINE))


@pytest.mark.parametrize(("mask", "labels", "said"), [
    (points(), None, "points or specks"), (cord(), None, "along the spine"),
    (spine({}, numbered(1, names=VERTEBRAE)), None, "as thick as vertebrae"),
    (spine({}, numbered(7, -1, VERTEBRAE)), None, "as thick as vertebrae"),
    (spine(dict.fromkeys(LEVELS, 1)), None, "7 parts one above the other under label 1"),
    (spine({}, numbered(1, names=BONES)), "totalsegmentator", "the labels 1, 2, 3"),
    (spine(dict.fromkeys(LEVELS, 20), dict.fromkeys(VERTEBRAE, 19)), "totalsegmentator", "no sacrum"),
    (spine(numbered(51, 51, LEVELS[:5])), None, "the labels 51, 102, 153, 204, 255"),
], ids=["points", "cord by level", "vertebrae", "vertebrae from the top", "binary", "no discs", "no sacrum", "fmrp"])
def test_what_cannot_be_discs_is_refused(mask: LabelMap, labels: str | None, said: str) -> None:
    problem = named(mask, labels).problem
    assert problem is not None and said in problem.actual


def test_background_with_a_number_is_named_as_such() -> None:
    mask = spine(numbered(2))
    filled = LabelMap(np.where(mask.data == 0, 1, mask.data).astype(np.int32), mask.grid)
    problem = named(filled).problem
    assert problem is not None and problem.expected == "0 as background"


def test_a_binary_mask_is_named_from_the_bottom_up_on_request() -> None:
    result = named(spine(dict.fromkeys(LEVELS[:5], 1)), "binary")
    assert result.problem is None
    assert volumes(result.mask, result.levels) == {k: v for k, v in DISC_VOXELS.items() if k in LEVELS[:5]}


def test_a_disc_left_out_is_doubted_at_its_neighbours() -> None:
    one_too_few = dict(zip([*LEVELS[:2], *LEVELS[3:]], range(1, 7), strict=True))  # L3-L4 has no label, names go on
    result = named(spine(one_too_few))
    assert result.problem is None
    assert sorted(result.doubts) == ["L3-L4", "L4-L5"]
    assert all(codes(f) == [FindingCode.DISC_DISTANCE] for f in result.doubts.values())
    with_its_name = {k: v for k, v in numbered(1).items() if k != "L3-L4"}
    assert named(spine(with_its_name)).doubts == {}


def test_a_sixth_lumbar_vertebra_is_doubted() -> None:
    mask = MASKS["spineps"]
    with_l6 = LabelMap(np.where(mask.data == 124, 125, mask.data).astype(np.int32), mask.grid)
    assert FindingCode.TRANSITIONAL_LABEL in codes(named(with_l6).remarks)


def test_unknown_names_are_answered_with_the_nearest(capsys, tmp_path: Path) -> None:
    with pytest.raises(BedrestError, match="Did you mean 'totalspineseg'"):
        named(spine(numbered(1)), "TotalSpineSeq")
    with pytest.raises(BedrestError, match="51=L5-S1"):
        named(spine(numbered(1)), "own")
    assert [n.name for n in fitting({91, 92, 100})] == ["totalspineseg"]
    path = saved(tmp_path / "m.nii.gz", spine(numbered(1)))
    assert main(["measure", str(path), "-o", str(tmp_path / "m.csv"), "--labels", "spinebs"]) == 1
    assert "Did you mean 'spineps'?" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "number"), [
    ("L5-S1", 1), ("disc_L5_S", 1), ("IVD L4/L5", 2), ("T12–L1", 6), ("vertebrae_L1", 15), ("Sacrum", 10),
    ("spinal canal", 20), ("Segment_12", None), ("C2-C3", None), ("L4-S1", None)])
def test_names_of_segments(name: str, number: int | None) -> None:
    assert structure_of_name(name) == number


def saved(path: Path, mask: LabelMap) -> Path:
    nib.save(nib.Nifti1Image(mask.data.astype(np.int16), mask.grid.affine_ras_mm), path)
    return path


# Measure and evaluate.

def test_measure_flags_every_row_of_a_mask_that_cannot_be(tmp_path: Path, capsys) -> None:
    path = saved(tmp_path / "m.nii.gz", spine(numbered(7, -1)))
    assert main(["measure", str(path), "-o", str(tmp_path / "m.csv")]) == 3
    assert "numbered from the top" in capsys.readouterr().err
    rows = pd.read_csv(tmp_path / "m.csv")
    assert set(rows["status"]) == {"flagged"} and rows["reason"].str.contains("numbered from the top").all()


def test_measure_takes_the_numbers_of_a_program(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.nii.gz", MASKS["spineps"])
    with warnings.catch_warnings(action="error", category=UserWarning):
        rows = bedrest.measure(path, labels="spineps")
    assert dict(zip(rows["level"], rows["n_voxels"], strict=True)) == DISC_VOXELS
    with pytest.raises(BedrestError, match="levels or labels"):
        bedrest.measure(path, labels="spineps", levels="124=L5-S1")


def test_evaluate_compares_two_numberings_and_says_one_level_off(tmp_path: Path, capsys) -> None:
    ours, theirs = (saved(tmp_path / f"{n}.nii.gz", MASKS[n]) for n in ("bedrest", "totalspineseg"))
    frame = bedrest.evaluate(ours, theirs)
    assert frame["dice"].tolist() == [1.0] * 7
    off = saved(tmp_path / "off.nii.gz", spine(numbered(1, names=LEVELS[1:])))  # 1 is L4-L5
    command = ["evaluate", str(off), str(theirs), "--reference-labels", "totalspineseg", "-o", str(tmp_path / "e.csv")]
    assert main(command) == 3
    assert "one level off" in capsys.readouterr().err
    rows = pd.read_csv(tmp_path / "e.csv").set_index("level")
    assert set(rows["status"]) == {"failed"} and rows["dice"].isna().all()
    assert rows.loc["L5-S1", "reason"] == ("L5-S1 of the predicted mask is L4-L5 of the reference mask (Dice 1.00), "
                                           "one level off: correct the names of one of them")
    assert "is missing in the predicted mask" in rows.loc["T11-T12", "reason"]


def test_evaluate_names_exchanged_neighbours_and_leaves_true_misses_alone() -> None:
    with warnings.catch_warnings(action="ignore"):
        rows = bedrest.evaluate(exchanged(), spine(numbered(1))).set_index("level")
    assert "L3-L4 of the reference mask (Dice 1.00)" in rows.loc["L4-L5", "reason"]
    assert rows.loc["L5-S1", "dice"] == 1
    beside = LabelMap(np.roll(spine(numbered(1)).data, 8, axis=2), Grid(SHAPE, AFFINE))  # half a level up: no disc
    rows = bedrest.evaluate(beside, spine(numbered(1)))
    assert rows["dice"].max() < 0.1 and not rows["reason"].str.contains("level off").any()


def test_evaluate_puts_a_cropped_mask_in_its_place() -> None:
    mask = spine(numbered(1))
    affine = AFFINE.copy()
    affine[:3, 3] += AFFINE[:3, :3] @ [1, 10, 5]
    cropped = LabelMap(mask.data[1:25, 10:36, 5:125].copy(), Grid((24, 26, 120), affine))
    assert bedrest.evaluate(mask, cropped)["dice"].tolist() == [1.0] * 7
    half = affine.copy()
    half[2, 3] += 1  # half a voxel: another grid
    with pytest.raises(GeometryError, match="one grid"):
        bedrest.evaluate(mask, LabelMap(cropped.data, Grid((24, 26, 120), half)))


# The page and the real masks.

def test_the_page_shows_every_number() -> None:
    page = (Path(__file__).parents[1] / "docs" / "label_schemes.md").read_text()
    rows = {tuple(cell.strip().strip("`") for cell in line.split("|")[1:3]): line for line in page.splitlines()
            if line.startswith("| `")}
    assert {n.name for n in NUMBERINGS} == {name for name, _ in rows} == set(NAMES)
    for n in NUMBERINGS:
        line = rows[n.name, n.kind]
        shown = " ".join(f"{label}" for label in n.discs) or str(n.all_discs or "none")
        assert f"| {shown} |" in line, n.kind


def spider(folder: Path) -> list[Path]:
    masks = sorted((folder / "spider-disc-masks").glob("*.mha"))
    if not masks:
        pytest.skip(f"no masks in {folder / 'spider-disc-masks'}")
    return masks


def test_masks_of_spider_have_the_right_names_and_volumes_in_both_numberings(real_data: Path) -> None:
    table = pd.read_csv(real_data / "spider-disc-masks" / "disc_volumes.csv")
    for path in spider(real_data):
        mask = read_label_map(path, where=path.name)
        counts = np.bincount(mask.data.ravel("K"))
        scheme = table.loc[table["case"] == path.stem, "scheme"].iloc[0]
        (numbering,) = [n for n in fitting(np.flatnonzero(counts[1:]) + 1) if n.name == "spider"]
        assert numbering.kind.startswith(scheme.replace("=", " = "))
        ours = {level: counts[label] * mask.grid.voxel_volume_mm3 for label, level in numbering.discs.items()
                if label < len(counts)}
        for row in table[table["case"] == path.stem].itertuples():
            if row.level_if_normal in LEVELS:
                assert ours[row.level_if_normal] == pytest.approx(row.volume_mm3, rel=1e-3), (path.name, row.label)


@pytest.mark.parametrize("name", ["18_t2_SPACE.mha", "67_t2.mha", "83_t1.mha"])  # both directions, PIR, no canal edge
def test_real_masks_in_order_raise_no_alarm(real_data: Path, name: str) -> None:
    path = next(p for p in spider(real_data) if p.name == name)
    result = named(read_label_map(path, where=name))
    assert result.problem is None and result.doubts == {}
    assert codes(result.remarks) == [FindingCode.NUMBERING_SHARED]


@pytest.mark.parametrize("folder", ["lumbar-dixon-water-tum", "lower-spine-t2-berlin", "lumbar-t1-repeat-siegen"])
def test_real_vertebrae_are_refused_as_discs(real_data: Path, folder: str) -> None:
    masks = sorted((real_data / folder).glob("*vertebrae.nii.gz"))
    if not masks:
        pytest.skip(f"no masks in {real_data / folder}")
    for path in masks[:2]:
        problem = named(read_label_map(path, where=path.name)).problem
        assert problem is not None and "as thick as vertebrae" in problem.actual


@pytest.mark.parametrize("number", [1, 20, 100, 255])
def test_one_number_for_all_discs_is_counted_from_the_lowest_as_the_message_says(number: int) -> None:
    mask = spine(dict.fromkeys(LEVELS, number))
    problem = named(mask).problem
    assert problem is not None and "--labels binary" in problem.remedy
    result = named(mask, "binary")
    assert result.problem is None and volumes(result.mask, result.levels) == DISC_VOXELS


def test_binary_leaves_no_numbered_disc_unmeasured() -> None:
    problem = named(spine(numbered(1)), "binary").problem
    assert problem is not None and "discs under the labels 1, 2, 3, 4, 5, 6, 7" in problem.actual
    pairs = re.search(r"--labels (\S+)\.", problem.remedy)
    assert pairs is not None and named(spine(numbered(1)), pairs[1]).problem is None


def test_a_program_that_holds_no_discs_is_not_answered_with_a_numbering_of_discs() -> None:
    """vertebrae_mr without a sacrum: 2 to 6, as ours from L4-L5 up, but vertebrae."""
    mask = spine({}, numbered(2, names=VERTEBRAE[:5]))
    problem = named(mask, "totalsegmentator").problem
    assert problem is not None and "--labels" not in problem.remedy and "give the mask of the discs" in problem.remedy
    assert named(mask).problem is not None


def test_vertebrae_and_discs_numbered_in_turn_are_told_with_all_flat_labels() -> None:
    mask = spine(numbered(2, 2), numbered(1, 2, BONES))
    problem = named(mask).problem
    assert problem is not None and "2, 4, 6, 8, 10, 12, 14" in problem.remedy
    pairs = re.search(r"--labels (\S+)\.", problem.remedy)
    assert pairs is not None and volumes(mask, named(mask, pairs[1]).levels) == DISC_VOXELS


def test_probabilities_as_whole_numbers_and_linear_resampling_are_said_to_be_that() -> None:
    from scipy.ndimage import gaussian_filter, zoom

    discs = spine(numbered(1))
    shown = gaussian_filter((discs.data > 0).astype(np.float64), 1.0)
    problem = named(LabelMap(np.round(255 * shown).astype(np.int32), discs.grid)).problem
    assert problem is not None and "Probabilities" in problem.remedy
    finer = np.round(zoom(discs.data.astype(np.float64), 1.25, order=1)).astype(np.int32)
    affine = AFFINE @ np.diag([0.8, 0.8, 0.8, 1])
    problem = named(LabelMap(finer, Grid(finer.shape, affine))).problem
    assert problem is not None and "nearest neighbour" in problem.remedy and "binary" not in problem.remedy


def test_two_discs_under_one_number_are_flagged_and_measured(tmp_path: Path) -> None:
    merged = spine(dict(zip(LEVELS, (1, 2, 2, 4, 5, 6, 7), strict=True)))
    with pytest.warns(UserWarning, match="2 parts one above the other under label 2"):
        measures = bedrest.measure(merged)
    row = measures.set_index("level").loc["L4-L5"]
    assert row["status"] == "flagged" and row["volume_mm3"] == pytest.approx(2 * DISC_VOXELS["L4-L5"] * 8)
    assert np.isnan(row["wedge_deg"])


def test_many_labels_without_a_meaning_are_counted() -> None:
    data = spine(numbered(1)).data.copy()
    data[0, 0, :30] = np.arange(300, 330)
    with pytest.warns(UserWarning) as caught:
        bedrest.measure(LabelMap(data, Grid(SHAPE, AFFINE)))
    said = [str(w.message) for w in caught]
    assert len(said) == 11 and said[-1] == "nor are 20 other labels"


@pytest.mark.parametrize(("name", "label"), [
    ("L4/5", 2), ("L45", 2), ("Disc L3-4", 3), ("Th12/L1", 6), ("D11-D12", 7), ("T11/12", 7), ("unnamed-2", 102),
    ("L4 inferior endplate", None), ("disc L5", None), ("L5-L6", None), ("L1_2", 15), ("Th12", 16)])
def test_names_of_segments_as_clinics_write_them(name: str, label: int | None) -> None:
    assert structure_of_name(name) == label
