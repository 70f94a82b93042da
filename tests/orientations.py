"""One synthetic visit on many grids: every order and direction of the axes, turned grids, and files of every kind."""

from dataclasses import dataclass, replace
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
from bedrest.phantom.paint import paint, paint_levels
from bedrest.phantom.random_spine import Spine, draw_spine
from bedrest.phantom.render import Artefacts, demo_grid, render_dixon
from bedrest.types import Grid, LabelMap, Scan, Volume
from scipy.spatial.transform import Rotation

SEED = 424242  # training never uses it


@dataclass(frozen=True)
class Order:
    """Which axis is stored where, and which of them run backwards after that."""

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @property
    def name(self) -> str:
        return "".join(f"{'-' if f else '+'}{a}" for a, f in zip(self.axes, self.flips, strict=True))

    def data(self, data: np.ndarray) -> np.ndarray:
        backwards = tuple(slice(None, None, -1 if f else 1) for f in self.flips)
        return np.ascontiguousarray(data.transpose(self.axes)[backwards])

    def grid(self, grid: Grid) -> Grid:
        """The same voxels at the same places in the world."""
        shape = tuple(grid.shape[a] for a in self.axes)
        to_old = np.zeros((4, 4))
        to_old[3, 3] = 1
        for new, (old, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            to_old[old, new] = -1 if flip else 1
            to_old[old, 3] = shape[new] - 1 if flip else 0
        return Grid(shape, grid.affine_ras_mm @ to_old)


ORDERS = [Order(axes, flips) for axes in permutations(range(3)) for flips in product((False, True), repeat=3)]


def spine() -> Spine:
    return draw_spine(np.random.default_rng(SEED))


def turn_of(degrees: tuple[float, float, float]) -> np.ndarray:
    """(4, 4) rotation about x, then y, then z of the world."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    return turn


def turned(grid: Grid, degrees: tuple[float, float, float]) -> Grid:
    """The grid turned in the world, about its centre."""
    return Grid(grid.shape, turn_of(degrees) @ grid.affine_ras_mm)


def rendered(grid_turn: tuple[float, float, float] = (0, 0, 0)) -> tuple[Scan, LabelMap]:
    """The spine at one place of the world, scanned on the demo grid as it is turned: Dixon scan and true mask.

    Turning the grid one way is painting the spine turned the other way and turning both back.
    """
    rng, flat = np.random.default_rng(SEED), demo_grid()
    back = np.linalg.inv(turn_of(grid_turn))
    person = spine()
    person = replace(person, pose=back @ person.pose)
    grid = turned(flat, grid_turn)
    scan = render_dixon(paint(person, flat, rng), rng, Artefacts())
    return (Scan({c: Volume(v.data, grid) for c, v in scan.contrasts.items()}),
            LabelMap(paint_levels(person, flat).data, grid))


def reordered(scan: Scan, order: Order) -> Scan:
    return Scan({c: Volume(order.data(v.data), order.grid(v.grid)) for c, v in scan.contrasts.items()})


def write(path: Path, data: np.ndarray, affine: np.ndarray, *, dtype: type | None = None) -> Path:
    """A NIfTI file as a scanner's converter leaves it; with whole numbers of a float image, scaled."""
    image = nib.Nifti1Image(data if dtype is None or np.issubdtype(data.dtype, np.floating) else data.astype(dtype),
                            affine)
    image.header.set_xyzt_units("mm")
    if dtype is not None:
        image.set_data_dtype(dtype)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path
