"""Further visits of a scan: laid anew, another coil, gain and noise, discs changed by known amounts.

The visit that stands for the reference is made like the others, so that none is the template: each is the scan
resampled once. What is not new: artefacts, and the scan's own noise, which all made visits of it share. Knows nothing
of networks and files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bedrest.calibration.known_change import KnownChange
from bedrest.longitudinal.poses import motion_about
from bedrest.phantom.render import smooth_field
from bedrest.types import Affine, Grid, Scan, Volume
from bedrest.vocabulary import CANAL_LABEL, SACRUM_LABEL, UNNAMED_VERTEBRA_LABEL

# Wanted change of a disc's volume in the visits with changes, per cent. Half of the discs keep their volume beside
# others that do not, as in a study; +3 is what is to be told from none.
CHANGES_PERCENT = (3.0, 0.0, -5.0, 0.0, 8.0, 0.0, 3.0, -3.0, 0.0, 5.0, 0.0)
ROUGH_MM = 1.25  # within which noise may be smooth: no voxel of the network is smaller
_MEAN_OF_LEAST = 0.5586  # mean size of the four fifths of a standard normal that lie nearest to 0
UNCHANGED = "unchanged"  # name of the visits without any change begins so


@dataclass(frozen=True)
class Repositioning:
    """How a subject comes to lie anew: SD along each axis and about it.

    Thick slices were not sampled finely enough to be computed anywhere between: along them a visit moves by at most a
    quarter of a slice, and tilts little. Partial volume at really new slice positions is therefore missing.
    """

    shift_mm: float = 2.0
    rotation_deg: float = 1.0
    thick_mm: float = 2.5  # of slices beyond which moves are small
    share_of_slice: float = 0.25  # farthest shift along thick slices
    tilt_deg: float = 0.3  # SD of a tilt of thick slices


@dataclass(frozen=True)
class Scanner:
    """What else is new at a visit."""

    field: float = 0.15  # largest relative departure of the coil's field from 1
    ln_gain_sd: float = 0.15  # of each contrast's own scale
    noise: float = 1.0  # new noise over that of the scan


def planned_changes(labels: Sequence[int], *, subject: int, visits: int) -> dict[str, dict[int, float]]:
    """Name of each made visit after the reference -> label to wanted change, per cent.

    Every other visit has no change, beginning with the first. Each level has another change in each subject.

    `labels`: named discs. `subject`: number of the subject in the calibration, from 0.
    """
    plans: dict[str, dict[int, float]] = {}
    for v in range(visits):
        step = 2 * (subject * visits + v)
        changes = {k: CHANGES_PERCENT[(k + step) % len(CHANGES_PERCENT)] if v % 2 else 0.0 for k in labels}
        plans[f"{'changed' if v % 2 else UNCHANGED}-{v // 2 + 1}"] = changes
    return plans


def made_visit(scan: Scan, change: KnownChange, rng: np.random.Generator, *, scanner: Scanner,
               repositioning: Repositioning) -> Scan:
    """A further visit of `scan` on its own grid, after `change`.

    At the border of the image its last voxel is repeated where the subject moved in; padding (0) stays padding.
    """
    grid = scan.grid
    index = change.source_index(grid, grid, motion_of(grid, rng, repositioning))
    coil = (1 + scanner.field * smooth_field(grid.shape, rng)).astype(np.float32)
    contrasts = {}
    for contrast, volume in scan.contrasts.items():
        moved = ndimage.map_coordinates(volume.data, index, order=3, mode="nearest", output=np.float32)
        padding = ndimage.map_coordinates(volume.data == 0, index, order=0, mode="nearest")
        signal = np.maximum(moved, 0) * coil * np.float32(np.exp(rng.normal(0, scanner.ln_gain_sd)))
        sigma = np.float32(scanner.noise * noise_sd(volume))
        noisy = np.hypot(signal + sigma * _noise(grid, rng), sigma * _noise(grid, rng))
        contrasts[contrast] = Volume(np.where(padding, 0, noisy).astype(np.float32), grid)
    return Scan(contrasts)


def motion_of(grid: Grid, rng: np.random.Generator, how: Repositioning) -> Affine:
    """A rigid motion, world to world, about the middle of the grid: what `made_visit` draws first."""
    spacing = grid.spacing_mm
    axes = grid.affine_ras_mm[:3, :3] / spacing
    shift, angles = how.shift_mm * rng.standard_normal(3), how.rotation_deg * rng.standard_normal(3)
    across = int(spacing.argmax())
    if spacing[across] > how.thick_mm:
        shift[across] = spacing[across] * how.share_of_slice * rng.uniform(-1, 1)
        tilts = np.arange(3) != across
        angles[tilts] *= how.tilt_deg / how.rotation_deg
    rotation = Rotation.from_rotvec(axes @ np.deg2rad(angles)).as_matrix()
    centre = grid.affine_ras_mm[:3, :3] @ ((np.array(grid.shape) - 1) / 2) + grid.affine_ras_mm[:3, 3]
    return motion_about(centre, rotation, axes @ shift)


def noise_sd(volume: Volume) -> float:
    """SD of the noise in tissue, from what no smooth image has: second differences along both axes of a slice.

    Immerkaer, Comput Vis Image Underst 1996;64:300, over voxels `_rough` apart, of the four fifths that differ least,
    so that edges do not count.
    """
    step, (_, *plane) = _rough(volume.grid)
    rough = volume.data
    for axis in plane:
        shifted = [np.roll(rough, n * step, axis) for n in (-1, 0, 1)]
        rough = shifted[0] - 2 * shifted[1] + shifted[2]
    tissue = np.abs(rough[volume.data > volume.data.mean()])
    least = np.sort(tissue)[: int(0.8 * tissue.size)]
    return float(least.mean() / _MEAN_OF_LEAST / 6) if least.size else 0.0


def _rough(grid: Grid) -> tuple[int, tuple[int, ...]]:
    """Voxels of a slice within which noise may be smooth, since scanners interpolate; the axes, that across first."""
    spacing = grid.spacing_mm
    across = int(spacing.argmax())
    plane = tuple(a for a in range(3) if a != across)
    return max(1, round(ROUGH_MM / float(spacing[list(plane)].mean()))), (across, *plane)


def _noise(grid: Grid, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of SD 1, as smooth as `noise_sd` takes it to be."""
    step, (across, *_) = _rough(grid)
    if step == 1:
        return rng.standard_normal(grid.shape, dtype=np.float32)
    zoom = [1 if a == across else step for a in range(3)]
    coarse = rng.standard_normal([-(-n // z) for n, z in zip(grid.shape, zoom, strict=True)], dtype=np.float32)
    fine = ndimage.zoom(coarse, zoom, order=1, mode="nearest", grid_mode=True)[tuple(map(slice, grid.shape))]
    return np.asarray(fine / fine.std(), np.float32)


def bones_of(tissues: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Vertebral bodies and sacrum in a mask of all tissues, see `vocabulary.TISSUE_OF_LABEL`."""
    return np.asarray(((tissues >= SACRUM_LABEL) & (tissues < CANAL_LABEL)) | (tissues == UNNAMED_VERTEBRA_LABEL))
