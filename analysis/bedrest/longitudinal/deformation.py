"""Change of one disc straight from the visits' images: how far its two vertebrae, which are rigid, moved apart.

Bones neither bend nor swell. So each of the two vertebrae beside a disc has a rigid motion at each visit, the tissue
between them moves in between, and the rim moves outwards by a few harmonics of the angle around the disc. All that is
fitted at once, by Gauss-Newton, to the differences between each visit's image and the mean of all visits' images; what
the boundary of the disc sweeps over is its change of volume, as in the boundary shift integral (Freeborough and Fox,
IEEE Trans Med Imaging 1997;16:623). The mean is made of all visits alike, so that visits exchanged exchange the
results, and the changes among three visits add up. Knows nothing of networks, tables and files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bedrest.imaging.crop import box_around, crop_grid
from bedrest.longitudinal.poses import MAX_SPECK_VOXELS, part_at
from bedrest.types import Affine, Grid

Float = NDArray[np.floating]
Mask = NDArray[np.bool_]

SMOOTHING_MM = (1.5, 1.5, 1.5, 0.75, 0.75, 0.75, 0.75)  # SD of the Gaussian at each step, from coarse to fine
BONE_MM = 12.0  # of either bone, from the disc on, what is compared: the far end plate may be near another disc
RIM_MM = 3.0  # around the disc and those parts of the bones, what is compared
EDGE_MM = 1.5  # of the disc beside an end plate goes with the bone: there the image shows the end plate's blur
NEAR_MM = 4.0  # a bone that comes as near to the disc as this is its neighbour
HARMONICS = 2  # the rim moves out by a constant, and by this many harmonics of the angle
MIN_BONE_MM3 = 3000.0  # within BONE_MM: a quarter of what a lumbar vertebra has there
MIN_SHARE = 0.5  # of the disc that every visit has to show
MIN_CORRELATION = 0.5  # of a visit with the mean of all
MAX_LAST_STEP_MM = 0.05
MANY_SDS = 2.5  # residuals beyond count less (Huber)
BLOCKS = (4, 3, 4)  # of the jackknife, along right, front and head
FIELD_MM = 30.0  # a coil's field is linear over a distance like this


class NoDeformation(StrEnum):
    """Why a disc has no change by deformation."""

    ALONE = "fewer than two visits have the disc"
    NO_DISC = "no disc in the middle"
    CUT = "less than half of the disc is in view at every visit"
    NO_VERTEBRA = "a vertebra beside the disc is not in view at every visit"
    UNLIKE = "the images of the visits are not alike"
    UNSETTLED = "the bones' motions did not settle"


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
    ln_ratio: float  # ln of its volume over the geometric mean of the visits' volumes
    # Of the visit itself, from leaving out blocks of the image: a change has the root of the sum of two squares. (Of
    # `ln_ratio` it is less, since the mean holds the visit, too.)
    ln_ratio_se: float
    correlation: float  # of this visit's warped image with the mean of the visits, the lowest of the contrasts


@dataclass(frozen=True, eq=False)
class _Model:
    """How displacements depend on parameters: rotation vector and shift of the lower and the upper bone, then the rim.

    N: points of `grid`.
    """

    grid: Grid  # the part of the common grid that is needed
    index: NDArray[np.intp]  # (M,) of the points that are compared
    points: Float  # (N, 3) mm, from the centre of the disc
    up: Float  # (N,) 0 at the lower bone, 1 at the upper one
    rim: Float  # (N, H, 3) displacement for each parameter of the rim
    tissue: Float  # (N, 4) share of disc, lower and upper bone, and of everything
    surface: Float  # (N, 3) area of the disc's boundary, outwards, mm2
    volume_mm3: float

    def displaced(self, theta: Float) -> Float:
        """(N, 3) displacement, mm."""
        lower, upper = (self.points @ Rotation.from_rotvec(t[:3]).as_matrix().T - self.points + t[3:]
                        for t in (theta[:6], theta[6:12]))
        return np.asarray(lower + self.up[:, None] * (upper - lower) + np.tensordot(self.rim, theta[12:], (1, 0)))

    def columns(self, gradient: Float) -> Float:
        """(M, P) how an image changes with each parameter. `gradient`: (M, 3), 1/mm."""
        up = self.up[self.index, None]
        bone = np.hstack([np.cross(self.points[self.index], gradient), gradient])
        return np.hstack([(1 - up) * bone, up * bone, np.einsum("nhd,nd->nh", self.rim[self.index], gradient)])

    def swept(self) -> Float:
        """(P,) relative volume that the disc's boundary sweeps over for each parameter.

        Each half of the boundary goes with its bone: an end plate is seen through a voxel of blur, the inner half of
        which must not count as disc that is stretched.
        """
        bone = np.hstack([np.cross(self.points, self.surface), self.surface])
        upper = self.up >= 0.5
        return np.concatenate([bone[~upper].sum(axis=0), bone[upper].sum(axis=0),
                               np.einsum("nhd,nd->h", self.rim, self.surface)]) / self.volume_mm3


def disc_deformations(visits: Mapping[str, VisitImage], disc: Float, bone: Float, grid: Grid, normal: Float
                      ) -> list[DiscDeformation] | NoDeformation:
    """Change of the disc in the middle of `grid` at every visit, in the order of `visits`.

    Parameters
    ----------
    disc, bone : (I, J, K) share of disc, and of vertebra and sacrum, on `grid`; means over the visits
    normal : (3,) direction of the disc to the head, world
    """
    if len(visits) < 2:
        return NoDeformation.ALONE
    valid = np.logical_and.reduce([_in_view(v, grid) for v in visits.values()])
    model = _model(np.asarray(disc, float), np.asarray(bone, float), grid, np.asarray(normal, float), valid)
    return model if isinstance(model, NoDeformation) else _fitted(visits, model)


def _in_view(visit: VisitImage, grid: Grid) -> Mask:
    """(I, J, K) what of the common grid a visit shows."""
    there = Grid(grid.shape, visit.motion @ grid.affine_ras_mm)
    inside = ~there.outside(visit.grid)
    if visit.valid is not None:
        matrix = np.linalg.inv(visit.grid.affine_ras_mm) @ there.affine_ras_mm
        inside &= ndimage.affine_transform(visit.valid.astype(np.float32), matrix[:3, :3], matrix[:3, 3], grid.shape,
                                           order=1, mode="nearest") > 0.999
    return inside


def _model(disc: Float, bone: Float, grid: Grid, normal: Float, valid: Mask) -> _Model | NoDeformation:
    spacing, area = grid.spacing_mm, grid.affine_ras_mm[:3, :3]
    points = (np.indices(grid.shape).reshape(3, -1).T - (np.array(grid.shape) - 1) / 2) @ area.T
    parts, _ = ndimage.label(disc >= 0.5)
    nearest = part_at(parts, grid, (grid.affine_ras_mm @ [*(np.array(grid.shape) - 1) / 2, 1])[:3])
    if nearest is None:
        return NoDeformation.NO_DISC
    whole = parts == nearest
    others = (parts > 0) & ~whole & (np.bincount(parts.ravel()) > MAX_SPECK_VOXELS)[parts]
    from_disc = ndimage.distance_transform_edt(~whole, sampling=spacing)
    others = ndimage.binary_dilation(others)
    disc = np.where((from_disc <= NEAR_MM) & ~others, disc, 0)
    if disc[valid].sum() < MIN_SHARE * disc.sum():
        return NoDeformation.CUT
    points = points - np.average(points, axis=0, weights=disc.ravel())
    height = (points @ normal).reshape(grid.shape)
    bones = _neighbours((bone >= 0.5) & ~whole & (from_disc <= BONE_MM), from_disc, height)
    if min(np.count_nonzero(b & valid) for b in bones) * grid.voxel_volume_mm3 < MIN_BONE_MM3:
        return NoDeformation.NO_VERTEBRA
    # the surface of a bone lies half a voxel beyond the centre of its last one
    low, high = (np.maximum(ndimage.distance_transform_edt(~b, sampling=spacing) - spacing[2] / 2, 0) for b in bones)
    with_bone = np.minimum(EDGE_MM, (low + high) / 3)
    up = np.clip((low - with_bone) / np.maximum(low + high - 2 * with_bone, 1e-6), 0, 1)
    compared = valid & ~others & (from_disc <= BONE_MM) & (np.minimum(np.minimum(low, high), from_disc) <= RIM_MM)
    lower = low < high
    # blurred as the images are, so that a tissue that got brighter is no bone that moved
    shares = [ndimage.gaussian_filter(s, SMOOTHING_MM[-1] / spacing)
              for s in (disc, np.where(lower, bone, 0), np.where(lower, 0, bone))]
    tissue = np.stack([*shares, np.ones_like(disc)], axis=-1)
    slope = np.stack([np.gradient(disc, axis=k) for k in range(3)], axis=-1) @ np.linalg.inv(area)
    surface = np.where(valid[..., None], -slope * grid.voxel_volume_mm3, 0)
    beside = (1 - np.clip(bone, 0, 1)) * (from_disc <= 2 * NEAR_MM)
    rim = _rim(points, normal, beside.ravel(), whole.ravel())
    part = box_around(ndimage.binary_dilation(compared, iterations=2))

    def cut(field: Float, *last: int) -> Float:
        return np.asarray(field.reshape(*grid.shape, *last)[part].reshape(-1, *last))

    return _Model(crop_grid(grid, part), np.flatnonzero(compared[part]), cut(points, 3), cut(up),
                  cut(rim, *rim.shape[1:]), cut(tissue, 4), cut(surface, 3), disc[valid].sum() * grid.voxel_volume_mm3)


def _neighbours(bones: Mask, from_disc: Float, height: Float) -> tuple[Mask, Mask]:
    """The bones next to the disc, below and above."""
    parts, n = ndimage.label(bones)
    sides = []
    for side in (height < 0, height > 0):
        counts = np.bincount(parts[bones & side & (from_disc <= NEAR_MM)], minlength=n + 1)
        sides.append(parts == counts.argmax() if counts.any() else np.zeros_like(bones))
    return sides[0], sides[1]


def _rim(points: Float, normal: Float, beside: Float, whole: Mask) -> Float:
    """(N, H, 3) displacement outwards, 1 from the rim on, less further in, times 1, cos, sin of the angle, ..."""
    front = np.cross(normal, [1.0, 0, 0])
    front /= np.linalg.norm(front)
    flat = points - np.outer(points @ normal, normal)
    radius = np.linalg.norm(flat, axis=1)
    angle = np.arctan2(flat @ np.cross(normal, front), flat @ front)
    sector = np.digitize(angle, np.linspace(-np.pi, np.pi, 25)) - 1
    reach = np.array([radius[whole & (sector == s)].max(initial=1.0) for s in range(24)])
    reach = ndimage.gaussian_filter1d(reach, 1, mode="wrap")[np.clip(sector, 0, 23)]
    out = flat * (beside * np.minimum(1 / reach, 1 / np.maximum(radius, 1e-6)))[:, None]
    waves = [np.ones_like(angle)]
    for k in range(1, HARMONICS + 1):
        waves += [np.cos(k * angle), np.sin(k * angle)]
    return np.asarray(np.stack(waves, axis=1)[:, :, None] * out[:, None, :])


def _fitted(visits: Mapping[str, VisitImage], model: _Model) -> list[DiscDeformation] | NoDeformation:
    """Gauss-Newton from coarse to fine; the last step also gives the errors."""
    theta = np.zeros((len(visits), 12 + model.rim.shape[1]))
    splines: tuple[float, list[Float]] = (0.0, [])
    for sigma in SMOOTHING_MM:
        if sigma != splines[0]:
            splines = sigma, [_spline(v, sigma) for v in visits.values()]
        warped = np.array([_warped(v, s, model, t) for v, s, t in zip(visits.values(), splines[1], theta, strict=True)])
        step, left_out, correlation = _step(warped, model)
        theta = theta + step
    if correlation.min() < MIN_CORRELATION:
        return NoDeformation.UNLIKE
    swept = theta @ model.swept()
    if np.abs(step[:, [3, 4, 5, 9, 10, 11]]).max() > MAX_LAST_STEP_MM or np.abs(swept).max() > 0.5:
        return NoDeformation.UNSETTLED
    # what a block left out changes in the last step, it changes in the result
    again = left_out @ model.swept()
    n, v = again.shape
    ses = np.sqrt((n - 1) / n * ((again - again.mean(axis=0)) ** 2).sum(axis=0) * v / (v - 1))
    logs = np.log1p(swept) - np.log1p(swept).mean()
    return [DiscDeformation(s, *map(float, values)) for s, *values in zip(visits, logs, ses, correlation, strict=True)]


def _spline(visit: VisitImage, sigma_mm: float) -> Float:
    """Coefficients of the cubic spline of the smoothed image."""
    sigma = sigma_mm / visit.grid.spacing_mm
    return np.stack([ndimage.spline_filter(ndimage.gaussian_filter(c, sigma), output=np.float32) for c in visit.image])


def _warped(visit: VisitImage, spline: Float, model: _Model, theta: Float) -> Float:
    """(C, N) the visit's image at the displaced points, over its mean where it is compared."""
    affine = model.grid.affine_ras_mm
    world = affine[:3, :3] @ np.indices(model.grid.shape).reshape(3, -1) + affine[:3, 3:] + model.displaced(theta).T
    to_visit = np.linalg.inv(visit.grid.affine_ras_mm) @ visit.motion
    place = to_visit[:3, :3] @ world + to_visit[:3, 3:]
    image = np.array([ndimage.map_coordinates(c, place, order=3, mode="nearest", prefilter=False) for c in spline])
    return np.asarray(image / np.maximum(image[:, model.index].mean(axis=1, keepdims=True), 1e-6))


def _step(warped: Float, model: _Model) -> tuple[Float, Float, Float]:
    """Step of each visit (V, P); the same with a block of the image left out (B, V, P); correlations (V,).

    The signal of each tissue and a linear field are fitted along, of each visit and contrast. `warped`: (V, C, N).
    """
    blocks = _blocks(model.points[model.index])
    inverse = np.linalg.inv(model.grid.affine_ras_mm[:3, :3])
    tissue, field = model.tissue[model.index], np.insert(model.points[model.index] / FIELD_MM, 0, 1, axis=1)
    correlations, matrices, sides = [], [], []
    for c, template in enumerate(warped.mean(axis=0)):
        here = template[model.index]
        slope = np.stack(np.gradient(template.reshape(model.grid.shape)), axis=-1).reshape(-1, 3)[model.index] @ inverse
        design = np.hstack([model.columns(slope), tissue, field * here[:, None]])
        missing = (here - warped[:, c, model.index]).T
        left = missing - design @ _solved(design.T @ design, design.T @ missing)
        noise = 1.4826 * float(np.median(np.abs(left))) + 1e-9
        # of all visits together, so that they stay alike
        far = np.sqrt((left**2).mean(axis=1)) / noise
        weighted = design * (np.minimum(1, MANY_SDS / np.maximum(far, 1e-9)) / noise**2)[:, None]
        matrices.append(np.array([weighted[b].T @ design[b] for b in blocks]))
        sides.append(np.array([weighted[b].T @ missing[b] for b in blocks]))
        correlations.append([np.corrcoef(here, w)[0, 1] for w in warped[:, c, model.index]])
    n = 12 + model.rim.shape[1]
    a, b = (np.array(x) for x in (matrices, sides))  # (C, B, P+G, P+G), (C, B, P+G, V)
    whole = _steps(a.sum(axis=1), b.sum(axis=1), n)
    left_out = [_steps(a.sum(axis=1) - a[:, k], b.sum(axis=1) - b[:, k], n) for k in range(len(blocks))]
    return whole, np.array(left_out), np.min(correlations, axis=0)


def _steps(matrices: Float, sides: Float, n: int) -> Float:
    """(V, P) solution of the contrasts' normal equations, whose first `n` unknowns they share."""
    total, right = 0.0, 0.0
    for a, b in zip(matrices, sides, strict=True):
        k = _solved(a[n:, n:], a[n:, :n]).T
        total, right = total + a[:n, :n] - k @ a[n:, :n], right + b[:n] - k @ b[n:]
    return _solved(np.asarray(total), np.asarray(right)).T


def _solved(a: Float, b: Float) -> Float:
    """Solution of a x = b, 0 where `a` says nothing."""
    scale = 1 / np.sqrt(np.maximum(np.diag(a), 1e-12))
    scaled = a * np.outer(scale, scale) + 1e-9 * np.eye(len(a))
    return np.asarray(scale[:, None] * np.linalg.solve(scaled, scale[:, None] * b))


def _blocks(points: Float) -> list[NDArray[np.intp]]:
    """Points of each block of a coarse lattice, cut so that each slab along an axis holds as many."""
    number = np.zeros(len(points), int)
    for axis, n in enumerate(BLOCKS):
        edges = np.quantile(points[:, axis], np.linspace(0, 1, n + 1)[1:-1])
        number = number * n + np.searchsorted(edges, points[:, axis])
    return [np.flatnonzero(number == b) for b in np.unique(number)]
