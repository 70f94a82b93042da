"""Change of one disc straight from the visits' images: how far its two vertebrae, which are rigid, moved apart.

Bones neither bend nor swell. So each of the two vertebrae beside a disc gets a rigid motion at each visit, the tissue
between them moves in between, and the rim moves to the side by a few harmonics of the angle around the disc. All that is
fitted at once, by Gauss-Newton, to the differences between each visit's image and the mean of all visits' images; what
the boundary of the disc sweeps over is its change of volume, as in the boundary shift integral (Freeborough and Fox,
IEEE Trans Med Imaging 1997;16:623). The mean is made of all visits alike, so that visits exchanged exchange the results,
and the changes among three visits add up. Knows nothing of networks, tables and files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bedrest.imaging.crop import box_around, crop_grid
from bedrest.types import Affine, Grid

Float = NDArray[np.floating]
Mask = NDArray[np.bool_]

SMOOTHING_MM = (1.5, 1.5, 1.5, 0.75, 0.75, 0.75, 0.75)  # SD of the Gaussian of each step, from coarse to fine
BONE_RIM_MM = 2.0  # around the bones and the disc, what is compared
DISC_RIM_MM = 3.0
BONE_MM = 10.0  # of either bone, from the disc on, what is compared
NEAR_MM = 4.0  # a bone that comes as near to the disc as this is its neighbour
RIM_HARMONICS = 2  # the rim moves out by a constant, and by this many harmonics of the angle
MIN_BONE_MM3 = 3000.0  # a fifth of the smallest lumbar body
MIN_SHARE = 0.5  # of the disc that every visit has to show
BLOCKS = (4, 3, 4)  # of the jackknife, along right, front and head


@dataclass(frozen=True, eq=False)
class VisitImage:
    """The image of one visit and how a disc gets there."""

    image: NDArray[np.float32]  # (C, I, J, K); the same contrasts at every visit
    grid: Grid
    motion: Affine  # (4, 4) rigid, from the common place of the disc to its place at this visit
    valid: Mask | None = None  # (I, J, K) voxels that were measured; default: all


@dataclass(frozen=True)
class DiscDeformation:
    """Change of one disc at one visit against the mean of all visits."""

    session: str
    log_ratio: float  # ln of its volume over the geometric mean of the visits' volumes
    se: float  # standard error of `log_ratio`, from leaving out parts of the image
    end_plates: float  # the share of `log_ratio` that comes from the bones, to first order
    correlation: float  # of this visit's warped image with the mean of the visits, the lowest of the contrasts
    step_mm: float  # how far the bones still moved in the last step


@dataclass(frozen=True, eq=False)
class _Model:
    """How displacements depend on parameters, at the points of the common grid that are compared."""

    grid: Grid  # the part of the common grid that holds the points
    index: NDArray[np.intp]  # of the points in the flattened grid
    points: Float  # (N, 3) mm, from the centre of the disc
    up: Float  # (N,) 0 at the lower bone, 1 at the upper one
    rim: Float  # (N, H, 3) displacement for each parameter of the rim, mm
    tissue: Float  # (N, K) membership of lower bone, upper bone, disc, and what is around
    surface: Float  # (N, 3) minus the gradient of the disc's share times the volume of a voxel: outward area, mm2
    volume_mm3: float

    def displaced(self, theta: Float) -> Float:
        """(N, 3) displacement, mm. `theta`: rotation vector and shift of the lower and the upper bone, then the rim."""
        lower, upper = (self.points @ Rotation.from_rotvec(t[:3]).as_matrix().T - self.points + t[3:6]
                        for t in (theta[:6], theta[6:12]))
        return np.asarray(lower + self.up[:, None] * (upper - lower) + np.tensordot(self.rim, theta[12:], (1, 0)))

    def columns(self, gradient: Float) -> Float:
        """(M, P) how the image changes with each parameter. `gradient`: (M, 3) of the image at `index`, 1/mm."""
        up = self.up[self.index, None]
        bone = np.hstack([np.cross(self.points[self.index], gradient), gradient])
        return np.hstack([(1 - up) * bone, up * bone, np.einsum("nhd,nd->nh", self.rim[self.index], gradient)])

    def swept(self) -> Float:
        """(P,) relative volume that the disc's boundary sweeps over for each parameter.

        Half of the boundary goes with either bone. At an end plate that is seen through half a voxel of blur, what lies
        in the disc must count for what lies in the bone.
        """
        bone = np.hstack([np.cross(self.points, self.surface), self.surface])
        upper = self.up >= 0.5
        return np.concatenate([bone[~upper].sum(axis=0), bone[upper].sum(axis=0),
                               np.einsum("nhd,nd->h", self.rim, self.surface)]) / self.volume_mm3


def disc_deformations(visits: Mapping[str, VisitImage], disc: Float, bone: Float, grid: Grid, normal: Float
                      ) -> list[DiscDeformation] | str:
    """Change of the disc in the middle of `grid` at every visit, or the reason why there is none.

    Parameters
    ----------
    disc, bone : (I, J, K) share of disc, and of vertebra and sacrum, on `grid`; means over the visits
    normal : (3,) direction of the disc to the head, world
    """
    valid = np.logical_and.reduce([_sampled_valid(v, grid) for v in visits.values()])
    model = _model(disc, bone, grid, np.asarray(normal, float), valid)
    return model if isinstance(model, str) else _fitted(visits, model)


def _sampled_valid(visit: VisitImage, grid: Grid) -> Mask:
    inside = ~grid_moved(grid, visit.motion).outside(visit.grid)
    if visit.valid is None:
        return np.asarray(inside)
    matrix = np.linalg.inv(visit.grid.affine_ras_mm) @ visit.motion @ grid.affine_ras_mm
    share = ndimage.affine_transform(visit.valid.astype(np.float32), matrix[:3, :3], matrix[:3, 3], grid.shape,
                                     order=1, mode="nearest")
    return np.asarray(inside & (share > 0.999))


def grid_moved(grid: Grid, motion: Affine) -> Grid:
    """The grid after a rigid motion of the world."""
    return Grid(grid.shape, motion @ grid.affine_ras_mm)


def _model(disc: Float, bone: Float, grid: Grid, normal: Float, valid: Mask) -> _Model | str:
    spacing = grid.spacing_mm
    middle = (np.array(grid.shape) - 1) / 2
    points = (np.indices(grid.shape).reshape(3, -1).T - middle) @ grid.affine_ras_mm[:3, :3].T
    whole, others = _nearest_part(disc >= 0.5, grid)
    if not whole.any():
        return "no disc in the middle"
    outside = ndimage.distance_transform_edt(~whole, sampling=spacing)
    disc = np.where((outside <= NEAR_MM) & ~ndimage.binary_dilation(others), disc, 0)
    if disc[valid].sum() < MIN_SHARE * disc.sum():
        return "not shown by every visit"
    centre = np.average(points, axis=0, weights=disc.ravel())
    points = points - centre
    height = (points @ normal).reshape(grid.shape)
    bones = _neighbours((bone >= 0.5) & ~whole, outside, height)
    if min(np.count_nonzero(b & valid) for b in bones) * grid.voxel_volume_mm3 < MIN_BONE_MM3:
        return "a vertebra beside it is not in view"
    # from the surface of either bone, half a voxel beyond the centre of its last one
    lower, upper = (np.maximum(ndimage.distance_transform_edt(~b, sampling=spacing) - spacing[2] / 2, 0) for b in bones)
    up = np.where(bones[0], 0, np.where(bones[1], 1, lower / np.maximum(lower + upper, 1e-6)))
    near = valid & ((np.minimum(lower, upper) <= BONE_RIM_MM) | (outside <= DISC_RIM_MM))
    near &= ~ndimage.binary_dilation(others, iterations=1) & (outside <= BONE_MM)
    part = box_around(ndimage.binary_dilation(near, iterations=2))
    soft = [ndimage.gaussian_filter(b.astype(np.float32), 0.5) for b in (*bones, whole)]
    tissue = np.stack([*soft, np.maximum(1 - sum(soft), 0)], axis=-1)
    slope = np.stack(np.gradient(disc), axis=-1) @ np.linalg.inv(grid.affine_ras_mm[:3, :3])
    surface = np.where(near[..., None], -slope * grid.voxel_volume_mm3, 0)
    rim = _rim(points, normal, (1 - np.clip(bone, 0, 1)).ravel() * (outside.ravel() < 2 * NEAR_MM), whole)
    return _Model(crop_grid(grid, part), np.flatnonzero(near[part]), *(field.reshape(*grid.shape, *field.shape[k:])[part].reshape(-1, *field.shape[k:]) for field, k in ((points, 1), (up, 3), (rim, 1), (tissue, 3), (surface, 3))),
                  float(disc[valid].sum()) * grid.voxel_volume_mm3)


def _nearest_part(mask: Mask, grid: Grid) -> tuple[Mask, Mask]:
    """The connected part nearest to the middle of the grid, and the others."""
    parts, n = ndimage.label(mask)
    middle = (np.array(grid.shape) - 1) / 2
    gaps = [np.linalg.norm((np.argwhere(parts == k).mean(axis=0) - middle) * grid.spacing_mm)
            if np.count_nonzero(parts == k) > 20 else np.inf for k in range(1, n + 1)]
    nearest = 1 + int(np.argmin(gaps)) if gaps else 0
    return parts == nearest if gaps else np.zeros_like(mask), (parts > 0) & (parts != nearest)


def _neighbours(bones: Mask, from_disc: Float, height: Float) -> tuple[Mask, Mask]:
    """The bones next to the disc, below and above."""
    parts, n = ndimage.label(bones)
    touching = (from_disc <= NEAR_MM) & bones
    found = []
    for side in (height < 0, height > 0):
        counts = np.bincount(parts[touching & side], minlength=n + 1)
        counts[0] = 0
        found.append(parts == counts.argmax() if counts.any() else np.zeros_like(bones))
    return found[0], found[1]


def _rim(points: Float, normal: Float, share: Float, whole: Mask) -> Float:
    """(N, H, 3): displacement outwards, 1 mm at the mean radius of the disc, times 1, cos and sin of the angle, ..."""
    flat = points - np.outer(points @ normal, normal)
    first = np.cross(normal, [1.0, 0, 0])
    first /= np.linalg.norm(first)
    angle = np.arctan2(flat @ np.cross(normal, first), flat @ first)
    radius = np.linalg.norm(flat, axis=1)
    outer = float(np.quantile(radius[whole.ravel()], 0.9))
    out = flat * (share * np.minimum(1 / outer, 1 / np.maximum(radius, 1e-6)))[:, None]
    waves = [np.ones_like(angle)]
    for k in range(1, RIM_HARMONICS + 1):
        waves += [np.cos(k * angle), np.sin(k * angle)]
    return np.asarray(np.stack(waves, axis=1)[:, :, None] * out[:, None, :])


def _fitted(visits: Mapping[str, VisitImage], model: _Model) -> list[DiscDeformation]:
    """Gauss-Newton from coarse to fine; the last step also gives the errors."""
    theta = np.zeros((len(visits), 12 + model.rim.shape[1]))
    splines: dict[float, list[NDArray[np.float32]]] = {}
    for sigma in SMOOTHING_MM:
        if sigma not in splines:
            splines = {sigma: [_spline(v, sigma) for v in visits.values()]}
        warped = np.array([_warped(v, s, model, t)
                           for v, s, t in zip(visits.values(), splines[sigma], theta, strict=True)])
        step, left_out, correlation = _step(warped, model)
        theta -= step
    swept = theta @ model.swept()
    # one block of the image left out changes the last step, and so the result, by as much
    again = (step[None] - left_out) @ model.swept()
    n = len(again)
    se = np.sqrt((n - 1) / n * ((again - again.mean(axis=0)) ** 2).sum(axis=0))
    logs = np.log1p(swept) - np.log1p(swept).mean()
    plates = theta[:, :12] @ model.swept()[:12]
    last = np.linalg.norm(step[:, 9:12] - step[:, 3:6], axis=1)
    return [DiscDeformation(s, *(float(x) for x in values)) for s, *values in
            zip(visits, logs, se, plates, correlation, last, strict=True)]


def _spline(visit: VisitImage, sigma_mm: float) -> NDArray[np.float32]:
    """Coefficients of the cubic spline of the smoothed image."""
    sigma = sigma_mm / visit.grid.spacing_mm
    return np.stack([ndimage.spline_filter(ndimage.gaussian_filter(c, sigma), output=np.float32) for c in visit.image])


def _warped(visit: VisitImage, spline: NDArray[np.float32], model: _Model, theta: Float) -> Float:
    """(C, N) the visit's image at the displaced points and their neighbours, over its mean there."""
    grid = model.grid
    to_visit = np.linalg.inv(visit.grid.affine_ras_mm) @ visit.motion
    at = np.indices(grid.shape).reshape(3, -1)
    world = grid.affine_ras_mm[:3, :3] @ at + grid.affine_ras_mm[:3, 3:] + model.displaced(theta).T
    place = to_visit[:3, :3] @ world + to_visit[:3, 3:]
    image = np.array([ndimage.map_coordinates(c, place, order=3, mode="nearest", prefilter=False) for c in spline])
    return np.asarray(image / np.maximum(image[:, model.index].mean(axis=1, keepdims=True), 1e-6))


def _step(warped: Float, model: _Model) -> tuple[Float, Float, Float]:
    """Step of each visit (V, P); the same with one block of the image left out (B, V, P); correlations (V,).

    `warped`: (V, C, I*J*K).
    """
    n_theta = 12 + model.rim.shape[1]
    mean = warped.mean(axis=0)
    blocks = _blocks(model.points[model.index])
    correlations, matrices, sides = [], [], []
    bend = model.points[model.index] / 30.0
    inverse = np.linalg.inv(model.grid.affine_ras_mm[:3, :3])
    for c, template in enumerate(mean):
        slope = np.stack(np.gradient(template.reshape(model.grid.shape)), axis=-1).reshape(-1, 3)[model.index] @ inverse
        here = template[model.index]
        gains = np.hstack([model.tissue[model.index], bend]) * here[:, None]
        design = np.hstack([model.columns(slope), gains])
        residual = warped[:, c, model.index] - here
        fitted = np.linalg.lstsq(design, residual.T, rcond=None)[0]
        noise = float(np.median(np.abs(residual.T - design @ fitted))) * 1.4826 + 1e-9
        correlations.append([np.corrcoef(here, w[model.index])[0, 1] for w in warped[:, c]])
        matrices.append(np.array([design[b].T @ design[b] for b in blocks]) / noise**2)
        sides.append(np.array([design[b].T @ residual[:, b].T for b in blocks]) / noise**2)
    def solve(left_out: int | None) -> Float:
        total, right = np.zeros((n_theta, n_theta)), np.zeros((n_theta, len(warped)))
        for a_blocks, b_blocks in zip(matrices, sides, strict=True):
            a = a_blocks.sum(axis=0) - (0 if left_out is None else a_blocks[left_out])
            b = b_blocks.sum(axis=0) - (0 if left_out is None else b_blocks[left_out])
            # the gains of this contrast are eliminated
            k = np.linalg.solve(a[n_theta:, n_theta:] + 1e-9 * np.eye(len(a) - n_theta), a[n_theta:, :n_theta]).T
            total += a[:n_theta, :n_theta] - k @ a[n_theta:, :n_theta]
            right += b[:n_theta] - k @ b[n_theta:]
        return np.linalg.solve(total + 1e-9 * np.trace(total) / n_theta * np.eye(n_theta), right).T
    return solve(None), np.array([solve(b) for b in range(len(blocks))]), np.min(correlations, axis=0)


def _blocks(points: Float) -> list[NDArray[np.intp]]:
    """Points of each block of a coarse lattice, blocks of equal counts along each axis."""
    number = np.zeros(len(points), int)
    for axis, n in enumerate(BLOCKS):
        edges = np.quantile(points[:, axis], np.linspace(0, 1, n + 1)[1:-1])
        number = number * n + np.searchsorted(edges, points[:, axis])
    return [np.flatnonzero(number == b) for b in range(int(np.prod(BLOCKS))) if (number == b).any()]
