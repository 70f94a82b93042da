"""Change of a disc from its images: two textured blocks that move apart by a known distance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from bedrest.longitudinal.deformation import DiscDeformation, NoDeformation, VisitImage, disc_deformations
from bedrest.types import Grid
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

HEIGHT_MM, HALF_MM = 10.0, np.array([22.0, 17.0])
EDGE_MM = 1.4  # about a voxel, as in a scan
NORMAL = np.array([0.0, 0.0, 1.0])
Float = NDArray[np.float64]


def _grid(shape: tuple[int, int, int] = (36, 64, 64)) -> Grid:
    spacing = np.array([2.0, 1.25, 1.25])
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array(shape) - 1) / 2
    return Grid(shape, affine)


def _world(grid: Grid) -> Float:
    return np.indices(grid.shape).reshape(3, -1).T @ grid.affine_ras_mm[:3, :3].T + grid.affine_ras_mm[:3, 3]


def _step(distance_mm: Float) -> Float:
    return 1 / (1 + np.exp(-distance_mm / EDGE_MM * 2))


def _shares(points: Float, gap_mm: float = 0.0, rim_mm: float = 0.0) -> tuple[Float, Float]:
    """Share of disc and of bone, the disc `gap_mm` higher than it is and `rim_mm` wider."""
    x, y, z = points.T
    radius = np.hypot(*(points[:, :2] / HALF_MM).T)
    length = np.hypot(x, y)
    inside = _step((1 - radius) * HALF_MM.mean())
    wide = _step((1 - radius) * HALF_MM.mean() + rim_mm * length / np.maximum(length, 1))
    between = _step((HEIGHT_MM + gap_mm) / 2 - np.abs(z))
    return wide * between, inside * (1 - between) * _step(34 - np.abs(z))


def _image(points: Float, gap_mm: float = 0.0, rim_mm: float = 0.0) -> Float:
    """Intensities; the texture of each bone moves with it."""
    disc, bone = _shares(points, gap_mm, rim_mm)
    x, y, z = points.T
    own = z - np.sign(z) * gap_mm / 2
    texture = np.cos(x / 2.1 + 0.4) * np.cos(y / 1.9) * np.cos(own / 2.3) + 0.5 * np.sin((x + y + own) / 1.7)
    return 0.5 + disc * 0.7 + bone * (-0.2 + 0.1 * texture)


def _visit(gap_mm: float = 0.0, *, rim_mm: float = 0.0, placed: NDArray[np.float64] | None = None,
           missed: NDArray[np.float64] | None = None, shape: tuple[int, int, int] = (36, 64, 64), noise: float = 0.0,
           seed: int = 0) -> VisitImage:
    """A visit; `placed`: how the subject lies; `missed`: by what rigid motion the disc's place is wrong."""
    placed = np.eye(4) if placed is None else placed
    grid = _grid(shape)
    world = _world(grid) - placed[:3, 3]
    image = _image(world @ placed[:3, :3], gap_mm, rim_mm)
    image = image + noise * np.random.default_rng(seed).standard_normal(image.shape)
    motion = placed @ (np.eye(4) if missed is None else missed)
    return VisitImage(image.reshape(1, *shape).astype(np.float32), grid, motion)


def _rigid(rotation_deg: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
    motion[:3, 3] = shift_mm
    return motion


def _fitted(*visits: VisitImage, gap_mm: float = 0.0) -> list[DiscDeformation]:
    """`gap_mm`: mean over the visits."""
    grid = _grid()
    disc, bone = (s.reshape(grid.shape) for s in _shares(_world(grid), gap_mm))
    found = disc_deformations({f"ses-{k}": v for k, v in enumerate(visits)}, disc, bone, grid, NORMAL)
    assert not isinstance(found, NoDeformation), found
    return found


def _change_percent(*visits: VisitImage, gap_mm: float = 0.0) -> float:
    first, *_, last = _fitted(*visits, gap_mm=gap_mm)
    return 100 * math.expm1(last.ln_ratio - first.ln_ratio)


@pytest.mark.parametrize("gap_mm", [0.0, 0.3, 0.8, -0.5])
def test_bones_moved_apart(gap_mm: float) -> None:
    change = _change_percent(_visit(), _visit(gap_mm), gap_mm=gap_mm / 2)
    assert change == pytest.approx(100 * gap_mm / HEIGHT_MM, abs=0.15)


def test_subject_laid_anew_and_a_place_that_is_a_little_wrong() -> None:
    placed, missed = _rigid((4, -3, 2), (1.3, -0.7, 2.2)), _rigid((0.6, -0.5, 0.7), (0.4, -0.3, 0.5))
    assert _change_percent(_visit(), _visit(0.3, placed=placed, missed=missed)) == pytest.approx(3, abs=0.2)


def test_rim_moved_out() -> None:
    """1 mm of a rim of 19.5 mm mean radius; the area of an ellipse grows by its perimeter times that."""
    wider = 100 * ((HALF_MM[0] + 0.3) * (HALF_MM[1] + 0.3) / HALF_MM.prod() - 1)
    assert _change_percent(_visit(), _visit(rim_mm=0.3)) == pytest.approx(wider, abs=0.5)


def test_visits_exchanged_exchange_the_result() -> None:
    one, two = _visit(noise=0.05), _visit(0.4, noise=0.05, seed=1, placed=_rigid((1, 0, 2), (0.3, 0.4, 0.7)))
    forth, back = _fitted(one, two), _fitted(two, one)
    assert [d.ln_ratio for d in forth] == pytest.approx([d.ln_ratio for d in reversed(back)], abs=1e-6)
    assert forth[0].ln_ratio == pytest.approx(-forth[1].ln_ratio, abs=1e-12)


def test_changes_among_three_visits_add_up() -> None:
    visits = [_visit(g, noise=0.03, seed=k) for k, g in enumerate((0.0, 0.3, -0.2))]
    together = _fitted(*visits)
    assert sum(d.ln_ratio for d in together) == pytest.approx(0, abs=1e-12)
    for a, b in ((0, 1), (1, 2), (0, 2)):
        alone = _fitted(visits[a], visits[b])
        of_pair = alone[1].ln_ratio - alone[0].ln_ratio
        assert together[b].ln_ratio - together[a].ln_ratio == pytest.approx(of_pair, abs=2e-3)


def test_gain_and_coil_leave_change_alone() -> None:
    visit = _visit(0.3)
    field = (1 + _world(visit.grid) @ [0.002, -0.003, 0.003]).reshape(visit.grid.shape)
    brighter = VisitImage((1.7 * field * visit.image).astype(np.float32), visit.grid, visit.motion)
    assert _change_percent(_visit(), brighter) == pytest.approx(3, abs=0.25)


def test_brighter_disc_leaves_change_alone() -> None:
    visit = _visit(0.3)
    disc = _shares(_world(visit.grid), 0.3)[0].reshape(visit.grid.shape)
    brighter = VisitImage((visit.image + 0.15 * 1.2 * disc).astype(np.float32), visit.grid, visit.motion)
    assert _change_percent(_visit(), brighter) == pytest.approx(3, abs=0.3)


def test_standard_error_is_that_of_noise() -> None:
    errors, ses = [], []
    for seed in range(6):
        found = _fitted(_visit(noise=0.1, seed=2 * seed), _visit(0.3, noise=0.1, seed=2 * seed + 1))
        errors.append(found[1].ln_ratio - found[0].ln_ratio - math.log(1.03))
        ses.append(math.hypot(found[0].ln_ratio_se, found[1].ln_ratio_se))
    assert 0.3 < np.sqrt(np.mean(np.square(errors))) / np.mean(ses) < 2


def test_narrow_stack_measures_what_both_show() -> None:
    assert _change_percent(_visit(), _visit(0.3, shape=(14, 64, 64)), gap_mm=0.15) == pytest.approx(3, abs=0.3)


def test_a_visit_alone_has_nothing_to_be_compared_with() -> None:
    grid = _grid()
    disc, bone = (s.reshape(grid.shape) for s in _shares(_world(grid)))
    assert disc_deformations({"a": _visit()}, disc, bone, grid, NORMAL) == NoDeformation.ALONE


def test_no_vertebra_no_change() -> None:
    grid = _grid()
    disc, bone = (s.reshape(grid.shape) for s in _shares(_world(grid)))
    above = bone * (np.arange(grid.shape[2]) >= 32)
    assert disc_deformations({"a": _visit(), "b": _visit()}, disc, above, grid, NORMAL) == \
        NoDeformation.NO_VERTEBRA
    low = _visit(shape=(36, 64, 40))
    cut = VisitImage(low.image, low.grid, _rigid((0, 0, 0), (0, 0, 19.0)))
    assert disc_deformations({"a": _visit(), "b": cut}, disc, bone, grid, NORMAL) == \
        NoDeformation.NO_VERTEBRA
