"""Discs stretched or thinned by a known amount, with rigid bones: where every point goes, and the volumes afterwards.

Each disc is stretched along its own normal; all that lies above it is carried along, so that bones keep shape and
size. Beside the disc the stretch goes on, ever wider. The displacement is exact and invertible point by point, so an
image is resampled once, together with the motion of the visit. Knows nothing of networks and files.

A disc's map is x + t F(x) n: n its normal, F rising from 0 below to 1 above the disc, over what is disc in the column
of x along n. Its Jacobian is 1 + t dF/dn. Those of several discs are applied from the top down, each where the disc
lay at first: a disc moves none below it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import expand_labels

from bedrest.errors import GeometryError
from bedrest.longitudinal.poses import Pose, pose_of
from bedrest.types import Affine, Grid, LabelMap, Volume
from bedrest.vocabulary import LEVEL_OF_LABEL

Points = NDArray[np.float64]  # (..., 3), world RAS+, mm

STEP_MM = np.array([1.0, 1.0, 0.25])  # of a disc's table of F: to the side, to the front, along its normal
AROUND_MM = np.array([15.0, 15.0, 12.0])  # beyond the disc; further out F goes on as there
SMOOTHING_MM = 1.5  # of the disc across its normal, so that neighbouring columns stretch nearly alike
BESIDE = 0.15  # thickness that takes part in every column beside what is disc there, over the disc's mean height
WIDENING = 0.15  # SD of that thickness: mm a mm from the disc
TOLERANCE_PERCENT = 0.01  # by which the volume change may miss the one wanted
MAX_ITERATIONS = 20


@dataclass(frozen=True, eq=False)
class _Stretch:
    """One disc's map."""

    pose: Pose
    start_mm: NDArray[np.float64]  # (3,) first entry of the tables in the disc's frame
    carried: NDArray[np.float64]  # (X, Y, Z) F: 0 below the disc, 1 above it
    density: NDArray[np.float64]  # (X, Y, Z) dF/dn, 1/mm
    thickening_mm: float = 0.0  # t

    def _index(self, points: Points) -> NDArray[np.float64]:
        return np.asarray((((points - self.pose.centre_mm) @ self.pose.axes - self.start_mm) / STEP_MM).T)

    def forward(self, points: Points) -> Points:
        """(N, 3) points of the reference -> where they go."""
        moved_mm = self.thickening_mm * self._read(self.carried, self._index(points))
        return np.asarray(points + moved_mm[:, None] * self._normal)

    def jacobian(self, points: Points) -> NDArray[np.float64]:
        """(N,) of `forward`, at points of the reference."""
        return 1 + self.thickening_mm * self._read(self.density, self._index(points))

    def back(self, points: Points) -> Points:
        """(N, 3) points after the change -> where they came from. Off the table all moved alike."""
        height = self._index(points)[2]
        share = (height > 0).astype(np.float64)
        top = self.carried.shape[2] - 1
        near = np.flatnonzero((height > 0) & (height < top + max(self.thickening_mm, 0) / STEP_MM[2]))
        index = self._index(points[near])
        for _ in range(MAX_ITERATIONS):  # a fixed point: F rises slowly enough, see `_require_unfolded`
            moved = index.copy()
            moved[2] -= self.thickening_mm * share[near] / STEP_MM[2]
            new = self._read(self.carried, moved)
            done = np.abs(new - share[near]).max(initial=0) < 1e-5
            share[near] = new
            if done:
                break
        return np.asarray(points - self.thickening_mm * share[:, None] * self._normal)

    @property
    def _normal(self) -> NDArray[np.float64]:
        return self.pose.axes[:, 2]

    @staticmethod
    def _read(table: NDArray[np.float64], index: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(ndimage.map_coordinates(table, index, order=1, mode="nearest"))


@dataclass(frozen=True, eq=False)
class KnownChange:
    """Discs changed by known amounts."""

    before_mm3: Mapping[int, float]  # label to volume of the disc as given: the sum of its shares of voxels
    after_mm3: Mapping[int, float]  # the same after the change: integral of the Jacobian over the disc
    stretches: tuple[_Stretch, ...]  # from the bottom up

    def change_percent(self, label: int) -> float:
        """True change of a disc's volume."""
        return 100 * (self.after_mm3[label] / self.before_mm3[label] - 1)

    def push_forward(self, points_mm: Points) -> Points:
        """Points of the reference, world mm, last axis x, y, z -> where they go."""
        points = np.asarray(points_mm, np.float64).reshape(-1, 3)
        for stretch in reversed(self.stretches):
            points = stretch.forward(points)
        return points.reshape(np.shape(points_mm))

    def pull_back(self, points_mm: Points) -> Points:
        """Points after the change, world mm, last axis x, y, z -> where they came from in the reference."""
        points = np.asarray(points_mm, np.float64).reshape(-1, 3)
        for stretch in self.stretches:
            if stretch.thickening_mm:
                points = stretch.back(points)
        return points.reshape(np.shape(points_mm))

    def jacobian(self, points_mm: Points) -> NDArray[np.float64]:
        """Volume after over volume before, at points of the reference."""
        points = np.asarray(points_mm, np.float64).reshape(-1, 3)
        product = np.ones(len(points))
        for stretch in reversed(self.stretches):
            product *= stretch.jacobian(points)
            points = stretch.forward(points)
        return product.reshape(np.shape(points_mm)[:-1])

    def source_index(self, source: Grid, target: Grid, motion: Affine | None = None) -> NDArray[np.float64]:
        """(3, I, J, K) index in `source` of what is seen at each voxel of `target`, for `ndimage.map_coordinates`.

        `source`: grid of the reference's image. `target`: of the image to be made. `motion`: (4, 4), world to world,
        how the changed subject lies in the new image; default: as in the reference.
        """
        voxels = np.indices(target.shape).reshape(3, -1)
        to_reference = (np.eye(4) if motion is None else np.linalg.inv(motion)) @ target.affine_ras_mm
        points = self.pull_back((to_reference[:3, :3] @ voxels + to_reference[:3, 3:]).T)
        from_world = np.linalg.inv(source.affine_ras_mm)
        return (from_world[:3, :3] @ points.T + from_world[:3, 3:]).reshape(3, *target.shape)


def known_change(discs: LabelMap, change_percent: Mapping[int, float], *, probability: Volume | None = None,
                 bones: NDArray[np.bool_] | None = None) -> KnownChange:
    """Discs changed by `change_percent` of their volumes, met to `TOLERANCE_PERCENT`.

    Parameters
    ----------
    discs : labels from 1, from the bottom up; any axes and spacing
    change_percent : label to change of volume; labels of `discs` not in it keep their volume
    probability : of disc, on the grid of `discs`, for soft edges; a disc is then what lies within 2 voxels of its label
    bones : (I, J, K), on the same grid: where no stretching happens. Without it bones end where the disc does, nearly

    Raises GeometryError: a disc is not in the mask, or so thin somewhere that the change would fold it.
    """
    shares = {label: (box, share) for label, box, share in _shares(discs, probability) if label < 100}
    if missing := sorted(set(change_percent) - set(shares)):
        raise GeometryError("discs to change in the mask", f"no {', '.join(_name(k) for k in missing)}",
                               "known change", f"Change some of {', '.join(_name(k) for k in shares) or 'none'}.")
    samples = {k: _samples(share, box, discs.grid) for k, (box, share) in shares.items()}
    before = {k: float(weights.sum()) for k, (_, weights) in samples.items()}
    wanted = {k: v / 100 for k, v in change_percent.items() if v}
    stretches = {k: _stretch(shares[k][1], shares[k][0], discs.grid, bones) for k in sorted(wanted)}
    after = dict(before)
    for _ in range(MAX_ITERATIONS):  # linear in t for one disc, nearly so for several
        for k, stretch in stretches.items():
            points, weights = samples[k]
            gain = float(weights @ stretch._read(stretch.density, stretch._index(points)))
            missed = before[k] * (1 + wanted[k]) - after[k]
            stretches[k] = replace(stretch, thickening_mm=stretch.thickening_mm + missed / gain)
            _require_unfolded(k, stretches[k])
        made = KnownChange(before, after, tuple(stretches.values()))
        after |= {k: float(w @ made.jacobian(p)) for k, (p, w) in samples.items()}
        if all(abs(after[k] / before[k] - 1 - v) < TOLERANCE_PERCENT / 100 for k, v in wanted.items()):
            break
    return KnownChange(before, after, tuple(stretches.values()))


def _name(label: int) -> str:
    return LEVEL_OF_LABEL.get(label, str(label))


def _require_unfolded(label: int, stretch: _Stretch) -> None:
    steepest = abs(stretch.thickening_mm) * stretch.density.max()
    if steepest > 0.8:
        raise GeometryError("a change that every part of the disc can take", f"a part {steepest:.0%} thinner or "
                               "thicker", _name(label), "Use a smaller change, or look at the disc's mask.")


def _shares(discs: LabelMap, probability: Volume | None) -> list[tuple[int, tuple[slice, ...], NDArray[np.float64]]]:
    """Label, index box and share of each voxel in it that is disc."""
    shares = []
    for label, box in enumerate(ndimage.find_objects(discs.data), start=1):
        if box is None:
            continue
        wide = tuple(slice(max(s.start - 2, 0), s.stop + 2) for s in box)
        inside = discs.data[wide] == label
        if probability is None:
            share = inside.astype(np.float64)
        else:
            near = expand_labels(discs.data[wide], 2) == label
            share = np.where(near, probability.data[wide], 0).astype(np.float64)
        shares.append((label, wide, share))
    return shares


def _samples(share: NDArray[np.float64], box: tuple[slice, ...], grid: Grid) -> tuple[Points, NDArray[np.float64]]:
    """Points that fill the voxels with disc, 1 mm apart at most, world mm, and the volume of disc at each, mm3."""
    parts = np.ceil(grid.spacing_mm).astype(int)
    offsets = np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / n - 0.5 for n in parts], indexing="ij"), -1).reshape(-1, 3)
    voxels = np.argwhere(share > 0)
    index = (voxels + [s.start for s in box])[:, None] + offsets
    points = index.reshape(-1, 3) @ grid.affine_ras_mm[:3, :3].T + grid.affine_ras_mm[:3, 3]
    weights = share[tuple(voxels.T)] * grid.voxel_volume_mm3 / len(offsets)
    return points, np.repeat(weights, len(offsets))


def _stretch(share: NDArray[np.float64], box: tuple[slice, ...], grid: Grid, bones: NDArray[np.bool_] | None
             ) -> _Stretch:
    """The map of one disc, not yet thickened: F and its slope in the disc's own frame."""
    to_world = grid.affine_ras_mm.copy()
    to_world[:3, 3] = (grid.affine_ras_mm @ [*(s.start for s in box), 1])[:3]
    pose = pose_of(share, to_world)
    points = np.argwhere(share > 0.5 * share.max()) @ to_world[:3, :3].T + to_world[:3, 3]
    local = (points - pose.centre_mm) @ pose.axes
    start = local.min(axis=0) - AROUND_MM
    shape = np.ceil((local.max(axis=0) + AROUND_MM - start) / STEP_MM).astype(int) + 1
    z = start[2] + STEP_MM[2] * np.arange(shape[2])
    inverse = np.linalg.inv(grid.affine_ras_mm)
    matrix = inverse[:3, :3] @ pose.axes * STEP_MM
    offset = inverse[:3, :3] @ (pose.centre_mm + pose.axes @ start) + inverse[:3, 3]
    disc = ndimage.affine_transform(share, matrix, offset - [s.start for s in box], tuple(shape), order=1)
    disc = ndimage.gaussian_filter(disc, [*(SMOOTHING_MM / STEP_MM[:2]), 0])
    height = disc.sum(axis=2) * STEP_MM[2]
    mean_height = float((height**2).sum() / height.sum())  # each column weighed by how much disc it has
    away = ndimage.distance_transform_edt(height < 0.5 * mean_height, sampling=STEP_MM[:2])
    sd = (mean_height / 4 + WIDENING * away)[..., None]
    beside = BESIDE * mean_height * np.exp(-0.5 * (z / sd) ** 2) / (sd * np.sqrt(2 * np.pi))
    if bones is not None:
        solid = ndimage.affine_transform(bones.astype(np.uint8), matrix, offset, tuple(shape), order=0) > 0
        disc, beside = np.where(solid, 0, disc), np.where(solid, 1e-3 * beside, beside)
    taking_part = disc + beside
    carried = np.cumsum((taking_part[..., 1:] + taking_part[..., :-1]) / 2, axis=2) * STEP_MM[2]
    carried = np.concatenate([np.zeros((*carried.shape[:2], 1)), carried], axis=2)
    total = carried[..., -1:]
    return _Stretch(pose, start, carried / total, taking_part / total)
