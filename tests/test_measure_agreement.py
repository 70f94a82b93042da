"""Agreement of two masks against results worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from bedrest.errors import GeometryError
from bedrest.findings import Finding, FindingCode
from bedrest.measurement.comparison.agreement import (
    DiscAgreement,
    compare_masks,
    name_binary_reference,
    summarise_agreement,
)
from bedrest.types import Grid, LabelMap
from bedrest.vocabulary import LEVEL_OF_LABEL, Status
from sentences import reason

L5 = {1: "L5-S1"}


Where = tuple[slice, slice, slice]


def mask(shape: tuple[int, int, int], *regions: tuple[int, Where], spacing_mm=(1, 1, 1)) -> LabelMap:
    data = np.zeros(shape, np.int32)
    for label, where in regions:
        data[where] = label
    return LabelMap(data, Grid(shape, np.diag([*map(float, spacing_mm), 1.0])))


def cell(i: int, j: int, k: int, *, length: int = 1) -> Where:
    return slice(i, i + 1), slice(j, j + 1), slice(k, k + length)


def compare(a: LabelMap, b: LabelMap) -> DiscAgreement:
    (found,) = compare_masks(a, b, levels=L5, reference_levels=L5)
    return found


def test_identical_masks_agree_wholly() -> None:
    one = mask((8, 9, 10), (1, (slice(2, 6), slice(2, 6), slice(3, 7))), spacing_mm=(2, 1.25, 1.25))
    found = compare(one, one)
    assert (found.dice, found.status, reason(found.findings)) == (1, Status.OK, "")
    zeros = (found.centre_distance_mm, found.assd_mm, found.maad_mm, found.hausdorff_mm, found.hausdorff95_mm)
    assert zeros == (0, 0, 0, 0, 0)
    assert found.volume_predicted_mm3 == pytest.approx(64 * 2 * 1.25**2)
    assert found.volume_error_percent == 0


def test_two_voxels_three_apart() -> None:
    # Elements lie at the eight corners of each voxel: k = -0.5, 0.5 and k = 2.5, 3.5. The nearest of the other voxel
    # is 2 mm away for the facing four, 3 mm for the averted four, all of one area.
    found = compare(mask((1, 1, 6), (1, cell(0, 0, 0))), mask((1, 1, 6), (1, cell(0, 0, 3))))
    assert (found.dice, found.centre_distance_mm) == (0, 3)
    assert found.assd_mm == pytest.approx(2.5)
    assert found.maad_mm == pytest.approx(2.5)
    assert (found.hausdorff_mm, found.hausdorff95_mm) == (3, 3)


def test_one_voxel_inside_two_tells_assd_from_maad() -> None:
    # Predicted: one voxel, eight corner elements of area sqrt(3)/8, all on the other surface: distance 0. Reference:
    # two voxels in a row, eight corner elements and four edge elements of area sqrt(2)/2 between them; the far four
    # corners are 1 mm away.
    corner, edge = math.sqrt(3) / 8, math.sqrt(2) / 2
    found = compare(mask((3, 3, 4), (1, cell(1, 1, 1))), mask((3, 3, 4), (1, cell(1, 1, 1, length=2))))
    assert found.dice == pytest.approx(2 / 3)
    assert found.centre_distance_mm == pytest.approx(0.5)
    assert found.maad_mm == pytest.approx(4 * corner / (8 * corner + 4 * edge) / 2)
    assert found.assd_mm == pytest.approx(4 * corner / (16 * corner + 4 * edge))
    assert found.hausdorff_mm == 1
    assert found.hausdorff95_mm == 1  # the far corners are 19 % of the reference surface
    assert found.volume_error_percent == pytest.approx(-50)


def test_a_shifted_box_on_an_anisotropic_grid() -> None:
    # 10 x 10 x 5 voxels moved by one along i (2 mm): overlap 9/10; the largest surface distance is the shift.
    a = mask((16, 14, 9), (1, (slice(2, 12), slice(2, 12), slice(2, 7))), spacing_mm=(2, 1.25, 1.25))
    b = mask((16, 14, 9), (1, (slice(3, 13), slice(2, 12), slice(2, 7))), spacing_mm=(2, 1.25, 1.25))
    found = compare(a, b)
    assert found.dice == pytest.approx(0.9)
    assert found.centre_distance_mm == pytest.approx(2)
    assert found.hausdorff_mm == pytest.approx(2)
    assert found.volume_error_percent == 0
    assert 0 < found.assd_mm < 2
    swapped = compare(b, a)
    assert swapped.assd_mm == pytest.approx(found.assd_mm)
    assert swapped.maad_mm == pytest.approx(found.maad_mm)


def test_hausdorff95_forgives_a_small_spike() -> None:
    block = (1, (slice(5, 25), slice(5, 25), slice(5, 15)))
    a = mask((30, 30, 30), block, (1, cell(15, 15, 15, length=8)))
    b = mask((30, 30, 30), block)
    found = compare(a, b)
    assert found.hausdorff_mm == 8
    assert found.hausdorff95_mm < 1


def test_levels_meet_whatever_their_numbers() -> None:
    a = mask((9, 9, 9), (1, (slice(1, 4), slice(1, 4), slice(1, 4))), (2, (slice(1, 4), slice(1, 4), slice(5, 8))))
    b = LabelMap(np.array([0, 51, 102], np.int32)[a.data], a.grid)
    found = compare_masks(a, b, levels={1: "L5-S1", 2: "L4-L5"}, reference_levels={102: "L4-L5", 51: "L5-S1"})
    assert [(f.level, f.dice) for f in found] == [("L5-S1", 1), ("L4-L5", 1)]


def test_a_missing_level_fails_and_says_where() -> None:
    a = mask((9, 9, 9), (1, (slice(1, 4), slice(1, 4), slice(1, 4))))
    b = mask((9, 9, 9), (2, (slice(1, 4), slice(1, 4), slice(1, 4))))
    levels = {1: "L5-S1", 2: "L4-L5", 3: "L3-L4"}
    found = compare_masks(a, b, levels=levels, reference_levels={**levels, 5: "L1-L2"})
    assert [f.level for f in found] == ["L5-S1", "L4-L5", "L3-L4", "L1-L2"]
    assert {f.status for f in found} == {Status.FAILED}
    assert reason(found[0].findings) == "L5-S1 is missing in the reference mask"
    assert reason(found[1].findings) == "L4-L5 is missing in the predicted mask"
    assert reason(found[2].findings) == "L3-L4 is missing in the predicted and in the reference mask"
    assert math.isnan(found[0].dice) and math.isnan(found[0].volume_predicted_mm3)


def test_grids_must_agree() -> None:
    a = mask((9, 9, 9), (1, (slice(1, 4), slice(1, 4), slice(1, 4))))
    affine = a.grid.affine_ras_mm.copy()
    affine[0, 3] = 0.09
    assert compare(a, LabelMap(a.data, Grid(a.grid.shape, affine))).dice == 1
    affine[0, 3] = 1.5
    with pytest.raises(GeometryError, match=r"1\.5 mm apart"):
        compare(a, LabelMap(a.data, Grid(a.grid.shape, affine)))
    with pytest.raises(GeometryError, match=r"shapes \(9, 9, 9\) and \(9, 9, 10\)"):
        compare(a, mask((9, 9, 10), (1, cell(1, 1, 1))))


def _column(count: int, *, flipped: bool = False) -> LabelMap:
    regions = [(1, (slice(1, 9), slice(1, 9), slice(5 * n + 1, 5 * n + 4))) for n in range(count)]
    column = mask((10, 10, 60), *regions, (1, cell(0, 0, 59)))
    if flipped:
        column.grid.affine_ras_mm[2, 2] = -1
    return column


@pytest.mark.parametrize("flipped", [False, True])
def test_a_binary_reference_is_named_from_the_bottom_up(flipped: bool) -> None:
    named = name_binary_reference(_column(7, flipped=flipped))
    bottom_up = [int(named.data[5, 5, 5 * n + 2]) for n in range(7)]
    assert bottom_up == (list(LEVEL_OF_LABEL)[::-1] if flipped else list(LEVEL_OF_LABEL))
    assert named.data[0, 0, 59] == 101  # a speck is neither a disc nor lost
    assert np.array_equal(named.data != 0, _column(7).data != 0)


@pytest.mark.parametrize("count", [6, 8])
def test_a_binary_reference_with_another_count_is_refused(count: int) -> None:
    with pytest.raises(GeometryError, match=rf"found {count}\. .*reference_labels = .binary"):
        name_binary_reference(_column(count))


def test_summary_counts_failures_and_uses_n_minus_1() -> None:
    pairs = (("L5-S1", 0.9, 1.0), ("L4-L5", 0.8, 3.0))
    good = [DiscAgreement(level, dice=dice, centre_distance_mm=d) for level, dice, d in pairs]
    missing = Finding(FindingCode.MISSING_IN_BOTH_MASKS, {"name": "L3-L4"})
    found = summarise_agreement([*good, DiscAgreement("L3-L4", findings=(missing,))])
    assert (found.n, found.n_failed) == (2, 1)
    assert (found.mld_mm, found.sd_mm) == (2, pytest.approx(math.sqrt(2)))
    assert (found.mdoc, found.sddoc) == (pytest.approx(0.85), pytest.approx(0.1 / math.sqrt(2)))
    assert math.isnan(summarise_agreement(good[:1]).sd_mm)
    assert math.isnan(summarise_agreement([]).mdoc)
