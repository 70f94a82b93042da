"""Where one disc lies at every visit, by the images around it: rigid motions that lay all visits onto their mean.

A disc's moments (`poses`) are those of what was segmented of it: where a stack ends inside the disc they move with its
edge, by 5 mm and 10 degrees in real repeats. What surrounds a disc, mostly bone, is rigid. All visits move at once and
none is the template. Only what every visit shows is compared. Knows nothing of networks and volumes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bedrest.longitudinal.boxes import BOX, PreparedVisit, box_around, visit_in_box
from bedrest.longitudinal.poses import Pose, motion_about
from bedrest.types import Affine
from bedrest.vocabulary import Contrast

REACH_MM = (30.0, 24.0, 14.0)  # beside, before and above a disc's centre: the disc with the bone next to it
SMOOTHING_MM = (2.5, 1.25)  # coarse first
STEPS = 12  # at most, at each smoothing
SETTLED = 0.01  # steps of this share of the smoothing are the last
FEWEST_VOXELS = 500  # that every visit shows, weighed: fewer lay nothing onto each other
FARTHEST_MM, FARTHEST_DEG = 15.0, 35.0  # from the moments, once 24 degrees off: beyond that it went astray


def aligned(visits: Mapping[str, PreparedVisit], motions: Mapping[str, Affine], middle: Pose,
            axes: NDArray[np.float64], contrasts: Collection[Contrast]) -> dict[str, Affine]:
    """Rigid motions, box to visit, by session: `motions` made better, or as they were where that fails.

    Least squares between each visit and the mean of all, of images brought to one mean and SD; Gauss-Newton steps, of
    which the mean over the visits is taken away.

    Parameters
    ----------
    motions : where to begin, as `poses.rigid` gives them
    middle : mean pose of the disc, about which visits are turned
    axes : (3, 3) rotation, axes of the box that is compared
    """
    grid = box_around(middle.centre_mm, axes)
    index = np.stack(np.meshgrid(*map(np.arange, BOX), indexing="ij")).reshape(3, -1)
    offset_mm = grid.affine_ras_mm[:3, :3] @ index + (grid.affine_ras_mm[:3, 3] - middle.centre_mm)[:, None]
    away = middle.axes.T @ offset_mm / np.array(REACH_MM)[:, None]
    near = np.exp(-0.5 * (away**4).sum(axis=0))
    summed = {s: _summed(v, contrasts) for s, v in visits.items()}
    moved = dict(motions)
    for smoothing_mm in SMOOTHING_MM if len(visits) > 1 else ():
        for _ in range(STEPS):
            boxes = {s: visit_in_box(v, moved[s], grid, v.contrasts, order=1) for s, v in summed.items()}
            weight = near * np.all([b.inside.ravel() for b in boxes.values()], axis=0)
            if weight.sum() < FEWEST_VOXELS:
                return dict(motions)
            images = {s: _standardised(b.image.sum(axis=0), weight, smoothing_mm / grid.spacing_mm)
                      for s, b in boxes.items()}
            mean = np.mean(list(images.values()), axis=0)
            steps = {s: _step(image, mean, weight, offset_mm, grid.affine_ras_mm[:3, :3])
                     for s, image in images.items()}
            middle_step = np.mean(list(steps.values()), axis=0)
            for s, step in steps.items():
                moved[s] = moved[s] @ _motion(step - middle_step, middle.centre_mm)
            if max(np.abs(s - middle_step).max() for s in steps.values()) < SETTLED * smoothing_mm:
                break
    return dict(motions) if any(_astray(motions[s], moved[s], middle.centre_mm) for s in moved) else moved


def _summed(visit: PreparedVisit, contrasts: Collection[Contrast]) -> PreparedVisit:
    """The visit with the sum of these contrasts as its only one, so that each step samples one image."""
    first, *_ = Contrast
    image = visit.image[[k for k, c in enumerate(Contrast) if c in contrasts]].sum(axis=0, keepdims=True)
    outside = [o for c, o in visit.outside.items() if c in contrasts]
    return PreparedVisit(image, visit.grid, frozenset([first]), visit.poses,
                         {first: np.any(outside, axis=0)} if outside else {})


def _standardised(image: NDArray[np.float32], weight: NDArray[np.float64], smoothing: NDArray[np.float64]
                  ) -> NDArray[np.float64]:
    """Smoothed, with a weighted mean of 0 and SD of 1; (I, J, K)."""
    smooth = ndimage.gaussian_filter(image.astype(np.float64), smoothing)
    flat = smooth.ravel()
    mean = np.average(flat, weights=weight)
    sd = np.sqrt(np.average((flat - mean) ** 2, weights=weight))
    return np.asarray((smooth - mean) / max(float(sd), 1e-6))


def _step(image: NDArray[np.float64], mean: NDArray[np.float64], weight: NDArray[np.float64],
          offset_mm: NDArray[np.float64], to_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """(6,) shift in mm and rotation vector in radians x 20 mm, by which the box moves over the image towards the mean.

    Rotations are scaled to the size of a disc, so that all six are millimetres.
    """
    used = weight > 1e-3
    slope = np.linalg.inv(to_mm).T @ np.stack([*np.gradient(image)]).reshape(3, -1)[:, used]
    change = np.vstack([slope, np.cross(offset_mm[:, used].T, slope.T).T / 20])
    weighted = change * weight[used]
    normal = weighted @ change.T
    normal += np.eye(6) * (1e-6 * np.trace(normal) + 1e-12)
    return np.asarray(np.linalg.solve(normal, weighted @ (mean - image).ravel()[used]))


def _motion(step: NDArray[np.float64], centre_mm: NDArray[np.float64]) -> Affine:
    return motion_about(centre_mm, Rotation.from_rotvec(step[3:] / 20).as_matrix(), step[:3])


def _astray(before: Affine, after: Affine, centre_mm: NDArray[np.float64]) -> bool:
    if not np.isfinite(after).all():
        return True
    centre = np.append(centre_mm, 1)
    turned = Rotation.from_matrix(after[:3, :3] @ before[:3, :3].T).magnitude()
    return bool(np.linalg.norm((after @ centre - before @ centre)[:3]) > FARTHEST_MM
                or np.rad2deg(turned) > FARTHEST_DEG)
