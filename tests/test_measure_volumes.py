"""Volumes from probabilities: partial volume is kept, neighbours stay apart, any grid."""

import numpy as np
import pytest
from bedrest.errors import GeometryError
from bedrest.io.images.masks import write_volume
from bedrest.io.images.nifti import read_volume
from bedrest.measurement.definition import DiscMeasure
from bedrest.measurement.discs import measure_discs
from bedrest.measurement.volumes import volumes_from_probability
from bedrest.types import Grid, LabelMap, Volume

LEVELS = {1: "L5-S1", 2: "L4-L5"}
SPACING = np.array([2.0, 1.25, 1.25])
SEMI = np.array([20.0, 15.0, 4.5])
TRUE_MM3 = 4 / 3 * np.pi * SEMI.prod()


def partial(centres_mm: list[np.ndarray], *, fine: int = 5) -> tuple[Volume, LabelMap]:
    """Ellipsoids as shares of voxels, and their mask: voxels more than half inside."""
    shape = np.array([28, 44, 52])
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = -(shape - 1) / 2 * SPACING
    steps = [(np.arange(n * fine) + 0.5) / fine * s - n * s / 2 for n, s in zip(shape, SPACING, strict=True)]
    grid = Grid(tuple(shape.tolist()), affine)
    share, labels = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    for k, centre in enumerate(centres_mm, start=1):
        x, y, z = np.meshgrid(*[(s - c) / h for s, c, h in zip(steps, centre, SEMI, strict=True)], indexing="ij",
                              sparse=True)
        inside = x**2 + y**2 + z**2 <= 1
        own = inside.reshape(shape[0], fine, shape[1], fine, shape[2], fine).mean(axis=(1, 3, 5))
        share, labels = share + own.astype(np.float32), np.where(own > 0.5, k, labels)
    return Volume(share, grid), LabelMap(labels, grid)


def soft(share: Volume, mask: LabelMap) -> list[DiscMeasure]:
    return measure_discs(mask, LEVELS, {}, volumes_mm3=volumes_from_probability(share, mask))


def test_shares_of_voxels_give_the_volume_wherever_the_disc_lies(rng):
    summed, counted = [], []
    for _ in range(8):
        share, mask = partial([rng.uniform(-1, 1, 3)])
        disc = soft(share, mask)[0]
        summed.append(disc["volume_mm3"] / TRUE_MM3)
        counted.append(disc["volume_voxels_mm3"] / TRUE_MM3)
        assert disc["volume_voxels_mm3"] == disc["n_voxels"] * SPACING.prod()
    assert np.allclose(summed, 1, atol=0.003)
    assert np.std(counted) > 4 * np.std(summed)


def test_without_probabilities_voxels_are_counted():
    _, mask = partial([np.zeros(3)])
    disc = measure_discs(mask, {1: "L5-S1"}, {})[0]
    assert disc["volume_mm3"] == disc["volume_voxels_mm3"] > 0


def test_neighbours_keep_what_is_nearer_to_them():
    share, mask = partial([np.array([0, 0, -6.0]), np.array([0, 0, 6.0])])
    for disc in soft(share, mask):
        assert disc["volume_mm3"] == pytest.approx(TRUE_MM3, rel=0.005)


def test_what_lies_far_from_any_disc_does_not_count():
    share, mask = partial([np.zeros(3)])
    before = soft(share, mask)[0]["volume_mm3"]
    share.data[:, :, :6] = 0.4  # more than 20 mm below
    assert soft(share, mask)[0]["volume_mm3"] == before


def test_turned_arrays_have_the_same_volume():
    share, mask = partial([np.array([1.0, -0.4, 0.7])])
    grid = Grid(tuple(mask.grid.shape[::-1]), mask.grid.affine_ras_mm[:, [2, 1, 0, 3]])
    turned = soft(Volume(share.data.T.copy(), grid), LabelMap(mask.data.T.copy(), grid))[0]
    assert turned["volume_mm3"] == pytest.approx(soft(share, mask)[0]["volume_mm3"], rel=1e-6)


def test_probability_of_another_grid_is_refused():
    share, mask = partial([np.zeros(3)])
    moved = Grid(share.grid.shape, share.grid.affine_ras_mm + np.array([[0, 0, 0, 5]] + [[0] * 4] * 3))
    with pytest.raises(GeometryError, match="probability and mask on one grid"):
        volumes_from_probability(Volume(share.data, moved), mask)


def test_a_small_file_keeps_the_volume(tmp_path):
    share, mask = partial([np.zeros(3)])
    write_volume(share, tmp_path / "p.nii.gz", dtype=np.int16)
    back = read_volume(tmp_path / "p.nii.gz", where="p")
    assert np.abs(back.data - share.data).max() < 1e-4
    one, two = (soft(p, mask)[0]["volume_mm3"] for p in (share, back))
    assert two == pytest.approx(one, rel=1e-5)
