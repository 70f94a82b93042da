"""Draws the spine of a random subject from published lumbar anatomy: which discs, how large, where.

Sizes: disc heights and depths after Zhou et al., Eur Spine J 2000;9:242; vertebral heights after Panjabi et al.,
Spine 1992;17:299; lordosis after Been and Kalichman, Spine J 2014;14:87. Rounded means with spread; no real mask
of this project's test data was used. Knows nothing of voxels and intensities.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bedrest.phantom.shapes import DiscShape, Frame
from bedrest.vocabulary import LEVELS

# From the bottom up. The two lowest are the sacrum's remnant discs, then the seven named ones, then thoracic ones.
# Tilt in degrees, how far the disc's upward normal leans forward; all lengths in mm.
_ANATOMY: tuple[tuple[str, float, float, float, float, float, float], ...] = (
    # name, tilt, height, wedge, half width, half depth, height of the body above the disc
    ("S2-S3", 58, 2.5, 0.0, 14, 8.5, 24),
    ("S1-S2", 48, 3.5, 0.05, 18, 11, 29),
    ("L5-S1", 35, 10.3, 0.36, 23.5, 16.2, 27.5),
    ("L4-L5", 18, 11.3, 0.26, 24.5, 17.2, 27.5),
    ("L3-L4", 6, 10.8, 0.17, 24.2, 17.2, 27.5),
    ("L2-L3", -3, 9.8, 0.12, 23.5, 16.8, 27),
    ("L1-L2", -9, 8.6, 0.08, 22.5, 16, 26),
    ("T12-L1", -13, 7.4, 0.05, 21.5, 15.3, 24.5),
    ("T11-T12", -14, 6.4, 0.02, 20.5, 14.8, 23),
    ("T10-T11", -13, 5.6, 0.0, 19.5, 14.5, 22),
    ("T9-T10", -10, 5.0, 0.0, 18.5, 14, 21),
    ("T8-T9", -6, 4.7, 0.0, 17.5, 13.5, 20.5),
    ("T7-T8", -2, 4.5, 0.0, 16.5, 13, 20),
)
SACRAL = 2  # discs of the chain that lie inside the sacrum


@dataclass(frozen=True)
class Blob:
    """Disc tissue beyond the disc's outline: a bulge, or an end-plate defect. Not part of the analytic volume."""

    centre_mm: tuple[float, float, float]  # centre and semi-axes of an ellipsoid in the disc's frame
    half_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Disc:
    """A disc of the chain."""

    name: str
    shape: DiscShape
    tilt_deg: float  # how far its upward normal leans forward
    body_above_mm: float  # height of the vertebral body on top of it
    degenerated: bool  # darker nucleus
    nucleus: float = 0.68  # share of the disc's radius that the nucleus fills
    blobs: tuple[Blob, ...] = ()


@dataclass(frozen=True, eq=False)
class Spine:
    """The spine of one subject and its pose at one visit."""

    discs: tuple[Disc, ...]  # from the bottom up
    scoliosis_mm: float  # sideways deviation half way up
    l5s1_mm: NDArray[np.float64]  # (3,) world position of L5-S1's centre
    canal_half_width_mm: float
    canal_half_depth_mm: float
    back_fat_mm: float  # depth of subcutaneous fat behind the muscles
    belly_mm: float  # distance from the bodies' front to the skin of the belly
    pose: NDArray[np.float64]  # (4, 4) rigid repositioning in the scanner

    def frames(self) -> tuple[Frame, ...]:
        """Frames of the discs, stacked from L5-S1 up and down along the local normals, then posed."""
        n = len(self.discs)
        normals = np.array([_axes(d.tilt_deg)[:, 2] for d in self.discs])
        centres = np.zeros((n, 3))
        for i in range(1, n):
            low, high = self.discs[i - 1], self.discs[i]
            step = low.shape.height_mm / 2 + low.body_above_mm + high.shape.height_mm / 2
            direction = normals[i - 1] + normals[i]
            centres[i] = centres[i - 1] + step * direction / np.linalg.norm(direction)
        centres += self.l5s1_mm - centres[SACRAL]
        height = (centres[:, 2] - centres[SACRAL, 2]) / max(float(np.ptp(centres[:, 2])), 1.0)
        centres[:, 0] += self.scoliosis_mm * np.sin(np.pi * np.clip(height, 0, 1))
        # The column leans sideways where it runs sideways: discs stay square to it.
        lean = np.arctan(np.gradient(centres[:, 0]) / np.maximum(np.gradient(centres[:, 2]), 5.0))
        rotation, shift = self.pose[:3, :3], self.pose[:3, 3]
        return tuple(
            Frame(rotation @ c + shift, rotation @ _rotation(1, a) @ _axes(d.tilt_deg))
            for c, a, d in zip(centres, lean, self.discs, strict=True)
        )

    def volumes_mm3(self) -> dict[str, float]:
        """Analytic volume of each of the seven named discs."""
        return {d.name: d.shape.volume_mm3 for d in self.discs if d.name in LEVELS}

    def swollen(self, relative: dict[str, float]) -> Spine:
        """The same spine with the volume of named discs changed by `relative` (0.05 = 5 % more), in height alone."""
        discs = tuple(
            replace(d, shape=replace(d.shape, height_mm=d.shape.height_mm * (1 + relative.get(d.name, 0.0))))
            for d in self.discs
        )
        return replace(self, discs=discs)

    def posed(self, rng: np.random.Generator, *, shift_mm: float, rotation_deg: float) -> Spine:
        """The same spine, repositioned: standard deviations of shift and rotation along and about each axis."""
        angles = np.deg2rad(rng.normal(0, rotation_deg, 3))
        pose = np.eye(4)
        pose[:3, :3] = _rotation(0, angles[0]) @ _rotation(1, angles[1]) @ _rotation(2, angles[2])
        pose[:3, 3] = rng.normal(0, shift_mm, 3)
        return replace(self, pose=pose)


def draw_spine(rng: np.random.Generator, *, variation: float = 1.0) -> Spine:
    """Draw the spine of a random subject.

    `variation`: 1 = healthy volunteers of a bed-rest study; 2 = the wider range used for training.
    """
    size = 1 + 0.05 * variation * rng.normal()
    lordosis = 1 + 0.15 * variation * rng.normal()
    flat = 1 + 0.10 * variation * rng.normal()
    discs = []
    for i, (name, tilt, height, wedge, half_width, half_depth, body) in enumerate(_ANATOMY):
        degenerated = bool(rng.random() < (0.08 if i < 5 else 0.04) * variation)
        thin = rng.uniform(0.55, 0.85) if degenerated else 1.0
        jitter = np.clip(rng.normal(0, 1, 6), -2.5, 2.5)
        shape = DiscShape(
            half_width_mm=half_width * size * (1 + 0.03 * variation * jitter[0]),
            half_depth_mm=half_depth * size * (1 + 0.03 * variation * jitter[1]),
            height_mm=height * size * float(np.clip(flat, 0.65, 1.4)) * thin * (1 + 0.05 * variation * jitter[2]),
            wedge=float(np.clip(wedge * (1 + 0.2 * variation * jitter[3]), 0, 0.6)),
            dome=float(rng.uniform(0.15, 0.40)),
            kidney_mm=float(rng.uniform(1.0, 4.0)),
            outline_power=float(rng.uniform(2.1, 2.8)),
            dome_power=float(rng.uniform(2.0, 4.0)),
        )
        tilt_deg = tilt * lordosis + 1.5 * variation * jitter[4]
        discs.append(Disc(name, shape, float(tilt_deg), body * size * (1 + 0.03 * variation * jitter[5]), degenerated))
    return Spine(
        discs=tuple(discs),
        scoliosis_mm=float(rng.normal(0, 2.0 * variation)),
        l5s1_mm=np.array([rng.normal(0, 1.5), rng.normal(-5, 5 * variation), rng.normal(-105, 7 * variation)]),
        canal_half_width_mm=float(rng.uniform(9.5, 12.5)),
        canal_half_depth_mm=float(rng.uniform(6.5, 9.0)),
        back_fat_mm=float(rng.uniform(6, 10 + 12 * variation)),
        belly_mm=float(rng.uniform(60, 110)),
        pose=np.eye(4),
    )


def _axes(tilt_deg: float) -> NDArray[np.float64]:
    # Leaning forward takes z towards +y: a negative rotation about x.
    return _rotation(0, -np.deg2rad(tilt_deg))


def _rotation(axis: int, angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    r = np.eye(3)
    r[i, i], r[i, j], r[j, i], r[j, j] = c, -s, s, c
    return r
