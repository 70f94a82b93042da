"""The warp by which scans with a known change are made, against slabs and ellipsoids worked out by hand."""

import numpy as np
import pytest
from bedrest.calibration.known_change import known_change
from bedrest.errors import GeometryError
from bedrest.types import Grid, LabelMap, Volume
from scipy import ndimage
from scipy.spatial.transform import Rotation

AP_MM, WIDTH_MM, HEIGHT_MM, APART_MM = 34.0, 46.0, 9.0, 36.0
BONE_LABELS = (10, 11, 12)


def _grid(spacing=(1.0, 1.0, 1.0), size_mm=(64.0, 60.0, 120.0), rotation=None, order=(0, 1, 2), flip=(1, 1, 1)):
    """A grid around the origin; its axes in any order, either way round, turned."""
    directions = np.eye(3) if rotation is None else rotation.as_matrix()
    axes = (directions * spacing * flip)[:, order]
    shape = tuple(round(size_mm[a] / spacing[a]) for a in order)
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = -axes @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def _points(grid):
    index = np.indices(grid.shape).reshape(3, -1)
    return (grid.affine_ras_mm[:3, :3] @ index + grid.affine_ras_mm[:3, 3:]).T.reshape(*grid.shape, 3)


def _spine(grid, tilts_deg=(0.0, 0.0), flat=False):
    """Two discs, one 36 mm above the other, each tilted, and the three bones between and beyond them."""
    points = _points(grid)
    labels, bones = np.zeros(grid.shape, np.int32), np.zeros(grid.shape, np.int32)
    heights = []
    for k, tilt in enumerate(tilts_deg):
        local = (points - [0, 0, APART_MM * (k - 0.5)]) @ Rotation.from_euler("x", tilt, degrees=True).as_matrix()
        radius = (2 * local[..., 0] / WIDTH_MM) ** 2 + (2 * local[..., 1] / AP_MM) ** 2
        thickness = (1.0 if flat else np.sqrt(np.maximum(1 - radius, 0))) * HEIGHT_MM / 2
        labels[(radius <= 1) & (np.abs(local[..., 2]) <= thickness)] = k + 1
        heights.append((local[..., 2], radius))
    wide = (2 * points[..., 0] / WIDTH_MM) ** 2 + (2 * points[..., 1] / AP_MM) ** 2 <= 1
    (low, _), (high, _) = heights
    for bone, between in zip(BONE_LABELS, (low < -2, (low > 2) & (high < -2), high > 2), strict=True):
        bones[wide & between & (labels == 0)] = bone
    return LabelMap(labels, grid), bones


def test_no_change_is_the_identity():
    discs, bones = _spine(_grid((2, 1.25, 1.25)))
    made = known_change(discs, {1: 0.0}, bones=bones > 0)
    points = _points(discs.grid)
    assert np.array_equal(made.pull_back(points), points) and np.array_equal(made.push_forward(points), points)
    assert made.after_mm3 == made.before_mm3 and made.change_percent(1) == 0


def test_a_slab_becomes_thicker_by_the_share_worked_out_by_hand():
    """A flat disc of height h that gains 5 % gains 0.05 h everywhere: what lies above moves up by that."""
    discs, bones = _spine(_grid((1, 1, 0.5)), flat=True)
    height = 0.5 * (discs.data[32, 30] == 1).sum()
    made = known_change(discs, {1: 5.0}, bones=bones > 0)
    assert made.before_mm3[1] == pytest.approx((discs.data == 1).sum() * 0.5)
    assert made.change_percent(1) == pytest.approx(5, abs=0.05)
    moved = made.push_forward(np.array([[0.0, 0, 50], [0, 0, -50], [0, 0, -18], [5, 5, 0]]))
    assert moved[0] == pytest.approx([0, 0, 50 + 0.05 * height], abs=0.02)
    assert moved[1] == pytest.approx([0, 0, -50], abs=1e-6)
    assert moved[2, 2] == pytest.approx(-18 + 0.025 * height, abs=0.02)  # the middle of the disc: half
    assert moved[3] == pytest.approx([5, 5, 0.05 * height], abs=0.02)


@pytest.mark.parametrize("grid", [
    _grid((1, 1, 1)), _grid((4, 0.9, 0.9)), _grid((3, 1, 1), order=(1, 2, 0), flip=(1, -1, -1)),
    _grid((5, 1, 1), rotation=Rotation.from_euler("xyz", (8, -12, 5), degrees=True))],
    ids=["isotropic", "4 mm slices", "axes permuted and flipped", "oblique 5 mm slices"])
@pytest.mark.parametrize("soft", [False, True])
def test_several_discs_change_as_wanted_on_any_grid(grid, soft):
    discs, bones = _spine(grid, tilts_deg=(12, -8))
    probability = Volume(ndimage.gaussian_filter((discs.data > 0).astype(np.float32), 0.7), grid) if soft else None
    made = known_change(discs, {1: 8.0, 2: -5.0}, probability=probability, bones=bones > 0)
    assert made.change_percent(1) == pytest.approx(8, abs=0.05)
    assert made.change_percent(2) == pytest.approx(-5, abs=0.05)
    points = _points(grid)
    assert made.jacobian(points).min() > 0.5
    inner = ndimage.binary_erosion(bones > 0, iterations=1)
    assert made.jacobian(points[inner]) == pytest.approx(1, abs=0.02)
    there = made.push_forward(points[::2, ::2, ::2])
    assert np.abs(made.pull_back(there) - points[::2, ::2, ::2]).max() < 0.01


def test_bones_keep_shape_and_move_apart_by_the_change_of_height():
    discs, bones = _spine(_grid((2, 1.25, 1.25)), tilts_deg=(15, 0))
    made = known_change(discs, {1: 6.0, 2: -4.0}, bones=bones > 0)
    points = _points(discs.grid)
    for bone in BONE_LABELS:
        inside = points[ndimage.binary_erosion(bones == bone)]
        moved = made.push_forward(inside) - inside
        assert np.ptp(moved, axis=0).max() < 0.03  # all of it by one vector
    sacrum, l5, l4 = ((made.push_forward(points[bones == b]) - points[bones == b]).mean(axis=0) for b in BONE_LABELS)
    assert np.abs(sacrum).max() < 0.01
    normal = Rotation.from_euler("x", 15, degrees=True).as_matrix()[:, 2]
    assert (l5 / np.linalg.norm(l5)) @ normal > 0.999  # along the lower disc's own normal
    assert (l4 - l5)[2] < 0


def test_the_volume_of_the_image_made_is_the_one_stated():
    """A fine image of the disc, resampled by `source_index` under a motion, holds the stated volume."""
    grid = _grid((0.5, 0.5, 0.5))
    discs, bones = _spine(grid, tilts_deg=(10, 0))
    made = known_change(discs, {1: -5.0, 2: 8.0}, bones=bones > 0)
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", (3, 2, -2), degrees=True).as_matrix()
    motion[:3, 3] = 1.3, -0.7, 0.4
    index = made.source_index(grid, grid, motion)
    for label in (1, 2):
        image = ndimage.map_coordinates((discs.data == label).astype(np.float32), index, order=1)
        assert image.sum() * 0.125 == pytest.approx(made.after_mm3[label], rel=0.002)


def test_a_disc_that_is_not_there_is_named():
    discs, _ = _spine(_grid((2, 1.25, 1.25)))
    with pytest.raises(GeometryError, match="L3-L4"):
        known_change(discs, {3: 3.0})
