"""Disc measures against shapes whose volume, height and diameters are known in closed form."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from bedrest.anatomy.levels import parse_levels
from bedrest.errors import BedrestError, GeometryError
from bedrest.findings import FindingCode
from bedrest.measurement.definition import DiscMeasure
from bedrest.measurement.discs import measure_discs
from bedrest.measurement.quality import spacing_looks_permuted, unknown_labels
from bedrest.types import Grid, LabelMap, Volume
from bedrest.vocabulary import Contrast, Status
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from sentences import reason

DIXON_MM = (2.0, 1.25, 1.25)
L5 = {1: "L5-S1"}


def grid_of(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Grid:
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * spacing_mm  # world origin in the middle
    return Grid(shape, affine)


def world_of(grid: Grid) -> NDArray[np.float64]:
    index = np.indices(grid.shape).reshape(3, -1).T
    return index @ grid.affine_ras_mm[:3, :3].T + grid.affine_ras_mm[:3, 3]


def solid(kind: str, *, semi_mm: NDArray, tilt_deg: tuple[float, ...], shift_mm: NDArray, grid: Grid) -> LabelMap:
    """An ellipsoid, or an elliptic cylinder whose axis is the third semi-axis, turned about the world axes."""
    turn = Rotation.from_euler("xyz", tilt_deg, degrees=True)
    x, y, z = (turn.inv().apply(world_of(grid) - shift_mm) / semi_mm).T
    inside = x**2 + y**2 + z**2 <= 1 if kind == "ellipsoid" else (x**2 + y**2 <= 1) & (np.abs(z) <= 1)
    return LabelMap(inside.reshape(grid.shape).astype(np.int32), grid)


def box(shape: tuple[int, int, int], *slices: slice, label: int = 1, spacing_mm=(1.0, 1.0, 1.0)) -> LabelMap:
    data = np.zeros(shape, dtype=np.int32)
    data[slices] = label
    return LabelMap(data, grid_of(shape, spacing_mm))


def measure_one(discs: LabelMap, levels: dict[int, str] | None = None) -> DiscMeasure:
    return measure_discs(discs, levels or L5, {})[0]


def errors_on_solids(kind: str, spacing_mm, n: int) -> NDArray[np.float64]:
    """(n, 4) relative errors of volume, mean height, AP and transverse diameter of solids of the size of discs."""
    draw = np.random.default_rng(3)
    grid = grid_of(tuple(int(np.ceil(w / s)) for w, s in zip((64, 54, 40), spacing_mm, strict=True)), spacing_mm)
    errors = []
    for _ in range(n):
        semi_mm = np.array([draw.uniform(22, 26), draw.uniform(16, 19), draw.uniform(3.5, 5)])
        tilt = (draw.uniform(-25, 25), draw.uniform(-5, 5), draw.uniform(-3, 3))
        shift_mm = draw.uniform(-1, 1, 3)
        found = measure_one(solid(kind, semi_mm=semi_mm, tilt_deg=tilt, shift_mm=shift_mm, grid=grid))
        assert found.status == Status.OK, reason(found.findings)
        volume_mm3 = math.pi * semi_mm.prod() * (4 / 3 if kind == "ellipsoid" else 2)
        height_mm = volume_mm3 / (math.pi * semi_mm[0] * semi_mm[1])
        true = np.array([volume_mm3, height_mm, 2 * semi_mm[1], 2 * semi_mm[0]])
        got = (found["volume_mm3"], found["height_mean_mm"], found["diameter_ap_mm"], found["diameter_transverse_mm"])
        errors.append(np.array(got) / true - 1)
        assert np.linalg.norm(np.array(found.position.centre_mm) - shift_mm) < 0.15 * max(spacing_mm)
    return np.array(errors)


@pytest.mark.parametrize("kind", ["ellipsoid", "cylinder"])
@pytest.mark.parametrize(
    ("spacing_mm", "tolerance"),
    # tolerance: volume, mean height, AP, transverse. Binary masks on the Dixon grid, and with slices of 4.4 mm.
    [(DIXON_MM, (0.015, 0.04, 0.035, 0.04)), ((1.0, 1.0, 1.0), (0.01, 0.03, 0.03, 0.025)),
     ((4.4, 0.6, 0.6), (0.02, 0.10, 0.03, 0.10))],
)
def test_solids_turned_and_anisotropic(kind: str, spacing_mm, tolerance) -> None:
    errors = errors_on_solids(kind, spacing_mm, 12)
    assert np.all(np.abs(errors).max(axis=0) < tolerance), np.abs(errors).max(axis=0)
    assert abs(errors[:, 0].mean()) < 0.01  # volume: no bias beyond the grid's scatter


@pytest.mark.parametrize(("spacing_mm", "worst"), [((0.5, 0.5, 0.5), 0.01), ((0.8, 0.4, 0.4), 0.015)])
def test_ellipsoids_on_fine_grids_are_measured_to_one_per_cent(spacing_mm, worst: float) -> None:
    # What is left on coarser grids, above, is the rounding of a binary mask to voxels, not the measure.
    errors = errors_on_solids("ellipsoid", spacing_mm, 4)
    assert np.abs(errors).max() < worst, np.abs(errors).max(axis=0)
    assert np.abs(errors.mean(axis=0)).max() < 0.01


def test_height_of_a_wedge_follows_its_tilted_normal() -> None:
    # A disc tilted by 40 degrees, as L5-S1 can be: measured along z its height would be 8/cos(40) = 10.4 mm.
    grid = grid_of((32, 48, 40), DIXON_MM)
    tilted = solid("cylinder", semi_mm=np.array([24, 17, 4.0]), tilt_deg=(40, 0, 0), shift_mm=np.zeros(3), grid=grid)
    found = measure_one(tilted)
    assert found["height_mean_mm"] == pytest.approx(8, rel=0.04)
    assert found["diameter_ap_mm"] == pytest.approx(34, rel=0.04)


def test_volume_is_count_times_determinant_for_a_sheared_grid() -> None:
    discs = box((30, 30, 20), slice(5, 25), slice(5, 25), slice(6, 14))
    affine = discs.grid.affine_ras_mm.copy()
    affine[0, 2] = 0.7  # shear keeps the determinant at 1
    sheared = LabelMap(discs.data, Grid(discs.grid.shape, affine))
    assert measure_one(sheared)["volume_mm3"] == pytest.approx(20 * 20 * 8)


def test_an_absent_disc_is_failed_and_never_zero() -> None:
    discs = box((40, 40, 20), slice(5, 35), slice(5, 35), slice(6, 14))
    first, second = measure_discs(discs, {2: "L4-L5", 1: "L5-S1"}, {})
    assert (first.level, first.status) == ("L4-L5", Status.FAILED)
    assert "label 2" in reason(first.findings)
    assert math.isnan(first["n_voxels"])
    assert all(math.isnan(v) for v in (first["volume_mm3"], first["height_mean_mm"], *first.position.centre_mm))
    assert (second.level, second.status, second["n_voxels"]) == ("L5-S1", Status.OK, 30 * 30 * 8)


def test_one_voxel_is_measured_and_flagged() -> None:
    found = measure_one(box((9, 9, 9), slice(4, 5), slice(4, 5), slice(4, 5)))
    assert found["volume_mm3"] == pytest.approx(1)
    assert found.status == Status.FLAGGED
    assert "volume 1 mm3" in reason(found.findings)


def test_signals_are_means_inside_the_disc() -> None:
    discs = box((40, 40, 20), slice(5, 35), slice(5, 35), slice(6, 14))
    water = Volume(np.where(discs.data == 1, 163, 63).astype(np.float32), discs.grid)
    found = measure_discs(discs, {1: "L5-S1", 2: "L4-L5"}, {Contrast.WATER: water})
    assert found[0]["signal_water"] == 163.0 and math.isnan(found[0]["signal_t2"])
    assert math.isnan(found[1]["signal_water"])


def test_an_image_on_another_grid_is_refused_with_the_distance() -> None:
    discs = box((40, 40, 20), slice(5, 35), slice(5, 35), slice(6, 14))
    moved = discs.grid.affine_ras_mm.copy()
    moved[2, 3] += 3
    with pytest.raises(GeometryError, match=r"water image.*3\.0 mm apart"):
        measure_discs(discs, L5, {Contrast.WATER: Volume(np.ones((40, 40, 20), np.float32), Grid((40, 40, 20), moved))})
    other = grid_of((40, 40, 21), (1, 1, 1))
    with pytest.raises(GeometryError, match=r"\(40, 40, 21\)"):
        measure_discs(discs, L5, {Contrast.WATER: Volume(np.ones((40, 40, 21), np.float32), other)})


def test_each_doubt_is_said() -> None:
    edge = measure_one(box((40, 40, 20), slice(0, 30), slice(5, 35), slice(6, 14)))
    assert (edge.status, "first or last slice" in reason(edge.findings)) == (Status.FLAGGED, True)
    top = measure_one(box((40, 40, 20), slice(5, 35), slice(5, 35), slice(6, 20)))
    assert (top.status, "edge of the image" in reason(top.findings)) == (Status.FLAGGED, True)

    broken = box((60, 40, 40), slice(5, 35), slice(5, 35), slice(6, 14))
    broken.data[40:50, 5:10, 20:22] = 1  # 100 of 7300 voxels
    assert "in several pieces: 1.4 %" in reason(measure_one(broken).findings)
    broken.data[40:50, 5:8, 20:22] = 0  # 40 of 7240
    assert measure_one(broken).status == Status.OK

    huge = measure_one(box((120, 60, 60), slice(5, 115), slice(5, 55), slice(5, 50)))
    for part in ("volume 247500 mm3", "extent 110 mm", "mean height 4"):
        assert part in reason(huge.findings)
    assert "; " in reason(huge.findings)

    needle = measure_one(box((50, 20, 20), slice(5, 45), slice(6, 13), slice(8, 11)))
    assert "antero-posterior diameter" in reason(needle.findings)


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "permuted"),
    [((127, 342, 9), (4.4, 0.43, 0.43), True), ((9, 127, 342), (0.43, 4.4, 0.43), True),
     ((127, 342, 9), (0.43, 0.43, 4.4), False), ((36, 256, 256), DIXON_MM, False),
     ((16, 512, 512), (4.4, 0.43, 0.43), False), ((40, 60, 30), (1, 1, 1), False),
     ((20, 90, 60), (4.4, 0.43, 0.43), False)],
)
def test_permuted_spacing(shape, spacing_mm, permuted: bool) -> None:
    assert spacing_looks_permuted(grid_of(shape, spacing_mm)) is permuted


def test_permuted_header_keeps_volume_and_drops_shape() -> None:
    discs = box((120, 200, 9), slice(5, 100), slice(50, 80), slice(1, 8), spacing_mm=(4.4, 0.43, 0.43))
    found = measure_one(discs)
    assert found["volume_mm3"] == pytest.approx(95 * 30 * 7 * 4.4 * 0.43**2)
    assert found.status == Status.FLAGGED
    assert found.findings[-1].code == FindingCode.SPACING_PERMUTED
    assert all(map(math.isnan, (found["height_mean_mm"], found["diameter_ap_mm"], found.position.centre_mm[0])))


def test_unknown_labels_are_reported_with_their_size() -> None:
    discs = box((9, 9, 9), slice(1, 3), slice(1, 3), slice(1, 3), label=255)
    discs.data[5, 5, 5] = 7
    assert unknown_labels(discs, {255: "L1-L2"}) == {7: 1}
    assert unknown_labels(discs, {}) == {7: 1, 255: 8}


def test_seven_discs_of_a_full_scan_take_under_a_second() -> None:
    grid = grid_of((36, 256, 256), DIXON_MM)
    data = np.zeros(grid.shape, np.int32)
    for label in range(1, 8):
        data[6:30, 110:138, 30 * label : 30 * label + 7] = label
    discs = LabelMap(data, grid)
    start = time.process_time()
    found = measure_discs(discs, {n: f"level {n}" for n in range(1, 8)}, {})
    assert time.process_time() - start < 0.1 * 7
    assert {m.status for m in found} == {Status.OK}


def test_parse_levels() -> None:
    assert parse_levels("51=L5-S1, 102=L4-L5") == {51: "L5-S1", 102: "L4-L5"}


@pytest.mark.parametrize(
    ("text", "message"),
    [("51=L5S1", "Did you mean 'L5-S1'"), ("51=l4-l5", "Did you mean 'L4-L5'"), ("x=L5-S1", "whole number"),
     ("0=L5-S1", "above 0"), ("1=L5-S1,1=L4-L5", "every label once"), ("1=L5-S1,2=L5-S1", "every level once"),
     ("L5-S1", "label=level"), ("", "label=level"), ("1=L5-S1,", "label=level")],
)
def test_parse_levels_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(BedrestError, match=message):
        parse_levels(text)


def _three_discs() -> LabelMap:
    discs = box((16, 20, 24), slice(3, 12), slice(4, 15), slice(2, 6))
    discs.data[4:11, 5:16, 9:13] = 2
    discs.data[2:10, 3:18, 16:20] = 3
    return discs


THREE = {1: "L5-S1", 2: "L4-L5", 3: "L3-L4"}


@settings(max_examples=25, deadline=None)
@given(order=st.permutations([0, 1, 2]), flips=st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_axis_order_and_direction_change_nothing(order: list[int], flips: tuple[bool, bool, bool]) -> None:
    discs = _three_discs()
    axes = [i for i, flip in enumerate(flips) if flip]
    affine = discs.grid.affine_ras_mm.copy()
    for i in axes:
        affine[:3, 3] += affine[:3, i] * (discs.data.shape[i] - 1)
        affine[:3, i] *= -1
    affine[:3, :3] = affine[:3, :3][:, order]
    data = np.ascontiguousarray(np.flip(discs.data, axes).transpose(order))
    turned = LabelMap(data, Grid(data.shape, affine))
    for a, b in zip(measure_discs(discs, THREE, {}), measure_discs(turned, THREE, {}), strict=True):
        assert a["volume_mm3"] == pytest.approx(b["volume_mm3"], rel=1e-12)
        assert a.position.centre_mm == pytest.approx(b.position.centre_mm, abs=1e-9)
        assert a["height_mean_mm"] == pytest.approx(b["height_mean_mm"], rel=1e-3)
        assert a["diameter_ap_mm"] == pytest.approx(b["diameter_ap_mm"], rel=1e-3)


@settings(max_examples=25, deadline=None)
@given(labels=st.lists(st.integers(1, 70_000), min_size=3, max_size=3, unique=True))
def test_relabelling_changes_names_only(labels: list[int]) -> None:
    discs = _three_discs()
    renamed = LabelMap(np.array([0, *labels], np.int32)[discs.data], discs.grid)
    levels = dict(zip(labels, THREE.values(), strict=True))
    for a, b in zip(measure_discs(discs, THREE, {}), measure_discs(renamed, levels, {}), strict=True):
        assert (a.level, a["volume_mm3"], a["height_mean_mm"]) == (b.level, b["volume_mm3"], b["height_mean_mm"])


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.2, 5))
def test_units_scale_volume_by_the_cube(scale: float) -> None:
    discs = _three_discs()
    affine = discs.grid.affine_ras_mm * np.array([[scale], [scale], [scale], [1.0]])
    scaled = LabelMap(discs.data, Grid(discs.grid.shape, affine))
    for a, b in zip(measure_discs(discs, THREE, {}), measure_discs(scaled, THREE, {}), strict=True):
        assert b["volume_mm3"] == pytest.approx(a["volume_mm3"] * scale**3)
        assert b["height_mean_mm"] == pytest.approx(a["height_mean_mm"] * scale, rel=1e-3)
