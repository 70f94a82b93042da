"""Tissue layers on planes -> images as a scanner makes them: k-space, coils, chemical shift, slice profiles, noise.

Of the benchmark alone. Layers may come from surfaces (`painted_spine`) or from label fields (`painted_labels`). Knows
neither. Water and fat of each echo are painted on planes finer than the image, weighted into slices, seen by several
coils, transformed, fat displaced along the readout, what lies beyond the acquired frequencies left out (so edges ring),
noise added to every coil, transformed back and combined.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from bedrest.types import Grid, Scan, Volume
from bedrest.vocabulary import Contrast
from numpy.typing import NDArray
from scipy import fft
from scipy.spatial.transform import Rotation

from pipelines.benchmarks.second_maker.tissue_signals import Sequence, Tissue, Value

FINER = 2  # in-plane points a pixel
Array = NDArray[np.float64]
Box = tuple[slice, slice]
Wave = tuple[Array, float, float]  # vector per mm, phase, size


class Layer(NamedTuple):
    """A tissue over what was painted before; `share`: how much of each point it fills, 0 to 1."""

    box: Box
    share: NDArray[np.float32]
    tissue: Tissue


@dataclass(frozen=True, eq=False)
class Plane:
    """Points of one sagittal plane in the anatomy's own frame: start + j * step_j + k * step_k, in millimetres."""

    start_mm: Array
    step_j_mm: Array
    step_k_mm: Array
    shape: tuple[int, int]

    @property
    def whole(self) -> Box:
        return slice(0, self.shape[0]), slice(0, self.shape[1])

    def near(self, centre_mm: Array, radius_mm: float) -> Box | None:
        """The part within a ball; None where the plane passes it by. Steps are at right angles."""
        away = centre_mm - self.start_mm
        box = []
        for step, n in ((self.step_j_mm, self.shape[0]), (self.step_k_mm, self.shape[1])):
            size = float(np.linalg.norm(step))
            at, reach = float(away @ step) / size**2, radius_mm / size
            away = away - at * step
            first, last = max(int(np.floor(at - reach)), 0), min(int(np.ceil(at + reach)) + 1, n)
            if first >= last:
                return None
            box.append(slice(first, last))
        return (box[0], box[1]) if np.linalg.norm(away) <= radius_mm else None

    def points(self, box: Box, origin_mm: Array | None = None, axes: Array | None = None) -> tuple[Array, Array, Array]:
        """Coordinates of the points of a box in a frame."""
        origin = np.zeros(3) if origin_mm is None else origin_mm
        turn = np.eye(3) if axes is None else axes.T
        start, dj, dk = turn @ (self.start_mm - origin), turn @ self.step_j_mm, turn @ self.step_k_mm
        j = np.arange(box[0].start, box[0].stop, dtype=np.float32)[:, None]
        k = np.arange(box[1].start, box[1].stop, dtype=np.float32)[None, :]
        u, v, w = (np.float32(start[a]) + np.float32(dj[a]) * j + np.float32(dk[a]) * k for a in range(3))
        return u, v, w

    def smooth_field(self, box: Box, waves: Iterable[Wave], stretch: float = 1.0) -> NDArray[np.float32]:
        """A smooth random field on the points of a box; `stretch`: how much longer it is from foot to head."""
        j, k = np.arange(box[0].start, box[0].stop), np.arange(box[1].start, box[1].stop)
        out = np.zeros((len(j), len(k)), np.float32)
        for vector, phase, size in waves:  # on a plane, a plane wave is a product of two lines
            a = vector / [1, 1, stretch]
            along_j = size * np.exp(1j * (a @ self.step_j_mm * j + a @ self.start_mm + phase))
            along_k = np.exp(1j * (a @ self.step_k_mm * k))
            out += np.outer(along_j, along_k).real.astype(np.float32)
        return out


class Painter(Protocol):
    """An anatomy that can be scanned."""

    def backdrop(self, plane: Plane) -> Iterable[Layer]:
        """What lies far from the discs, painted first, on points as coarse as the image's."""

    def layers(self, plane: Plane) -> Iterable[Layer]:
        """The spine, each over what came before."""

    @property
    def landmarks_mm(self) -> Array:
        """(n, 3) middles of bodies and discs: where the signal is to which the noise relates."""


@dataclass(frozen=True, eq=False)
class Pose:
    """How the subject lies: turned about `centre_mm`, then shifted."""

    turn: Array  # (3, 3)
    shift_mm: Array
    centre_mm: Array

    def to_anatomy(self, world_mm: Array) -> Array:
        return np.asarray(self.turn.T @ (world_mm - self.centre_mm - self.shift_mm) + self.centre_mm)

    def to_world(self, anatomy_mm: Array) -> Array:
        return np.asarray(self.turn @ (anatomy_mm - self.centre_mm) + self.centre_mm + self.shift_mm)


@dataclass(frozen=True)
class Scanner:
    """What differs from scanner to scanner, and stays from visit to visit."""

    coils: int
    coil_reach_mm: float
    corrected: float  # share of the coils' unevenness that the scanner takes out, 0 to 1
    phase_share: float  # acquired part of the frequencies along the phase axis
    snr: float  # mean signal of bodies and discs over the noise, in the image with all of it
    gaussian_slices: bool


def draw_pose(rng: np.random.Generator, centre_mm: Array, *, shift_mm: float = 2.0, turn_deg: float = 1.0) -> Pose:
    """A visit's position: SD along and about each axis."""
    turn = Rotation.from_rotvec(rng.normal(0, turn_deg, 3), degrees=True).as_matrix()
    return Pose(turn, rng.normal(0, shift_mm, 3), centre_mm)


def acquire(painter: Painter, pose: Pose, grid: Grid, sequence: Sequence, scanner: Scanner,
            rng: np.random.Generator) -> list[NDArray[np.complex64]]:
    """One complex image an echo, shape of the grid. Slices lie along the first axis of the grid."""
    slices = _slices(painter, pose, grid, sequence, scanner)
    acquired = [_Kept(n, scanner.phase_share if axis != sequence.readout_axis else 1.0)
                for axis, n in enumerate(grid.shape) if axis]
    clean = np.empty((len(sequence.te_ms), *grid.shape), np.complex64)
    level = np.empty(grid.shape, np.float32)
    for i in range(grid.shape[0]):
        coils = _coils(grid, i, scanner, pose)
        level[i] = np.sqrt((np.abs(coils) ** 2).sum(axis=0))[::FINER, ::FINER]
        for e, te in enumerate(sequence.te_ms):
            water, oily = slices[e, 0, i], slices[e, 1, i]
            spectra = fft.fft2(water * coils) + sequence.fat_phase(te) * _displaced(fft.fft2(oily * coils), sequence)
            images = _back(spectra, acquired)
            clean[e, i] = (np.conj(coils[:, ::FINER, ::FINER]) * images).sum(axis=0) / level[i]
    sigma = _signal(np.abs(clean[-1]), painter, pose, grid) / scanner.snr
    even = level**scanner.corrected
    return [(image + _noise(acquired, grid, sigma, rng)) / even for image in clean]


def magnitudes(images: list[NDArray[np.complex64]], sequence: Sequence) -> dict[Contrast, NDArray[np.float32]]:
    """Contrasts of a Dixon scan (opposed echo first), or the one image of another sequence."""
    if sequence.name != "dixon":
        return {Contrast(sequence.name): np.abs(images[0])}
    opposed, in_phase = images
    return {Contrast.WATER: np.abs(in_phase + opposed) / 2, Contrast.FAT: np.abs(in_phase - opposed) / 2,
            Contrast.IN_PHASE: np.abs(in_phase), Contrast.OPPOSED: np.abs(opposed)}


def scanned(painter: Painter, pose: Pose, grid: Grid, sequence: Sequence, scanner: Scanner,
            rng: np.random.Generator) -> Scan:
    """A scan as it would be exported: whole numbers, all contrasts by one factor, which differs from visit to visit."""
    images = magnitudes(acquire(painter, pose, grid, sequence, scanner, rng), sequence)
    gain = rng.uniform(400, 1400) / max(np.quantile(image, 0.98) for image in images.values())
    return Scan({c: Volume(np.round(gain * image).astype(np.float32), grid) for c, image in images.items()})


def _slices(painter: Painter, pose: Pose, grid: Grid, sequence: Sequence, scanner: Scanner) -> NDArray[np.float32]:
    """Water and fat of every echo in every slice on the finer grid: (echo, 2, I, FINER J, FINER K)."""
    n, (fj, fk) = grid.shape[0], (FINER * grid.shape[1], FINER * grid.shape[2])
    made = np.zeros((len(sequence.te_ms), 2, n, fj, fk), np.float32)
    per_slice = 3 if grid.spacing_mm[0] < 3 else 5
    reach = 2 if sequence.three_d else 1
    for p in range(-reach * per_slice, (n - 1 + reach) * per_slice + 1):
        at = p / per_slice
        weights = {i: w for i in range(n) if abs(w := _profile(at - i, sequence, scanner) / per_slice) > 1e-3}
        if weights:
            painted = _painted(painter, _plane(grid, at, pose, (fj, fk)), sequence)
            for i, weight in weights.items():
                made[:, :, i] += weight * painted
    return made


def _profile(x: float, sequence: Sequence, scanner: Scanner) -> float:
    """How much of a place `x` slices away a slice sees."""
    if sequence.three_d:  # truncated in Fourier space, with a mild filter
        return float(np.sinc(x) * np.cos(np.pi * x / 5) ** 2) if abs(x) < 2.5 else 0.0
    if scanner.gaussian_slices:
        return float(np.exp(-0.5 * (x / 0.4) ** 2) / (0.4 * np.sqrt(2 * np.pi)))
    return float(np.clip(5.5 - 10 * abs(x), 0, 1))  # a box with slopes


def _plane(grid: Grid, at: float, pose: Pose, shape: tuple[int, int]) -> Plane:
    a = grid.affine_ras_mm
    turn = pose.turn.T
    return Plane(pose.to_anatomy(a[:3, 3] + at * a[:3, 0]), turn @ a[:3, 1] / FINER, turn @ a[:3, 2] / FINER, shape)


def _painted(painter: Painter, plane: Plane, sequence: Sequence) -> NDArray[np.float32]:
    coarse = Plane(plane.start_mm, FINER * plane.step_j_mm, FINER * plane.step_k_mm,
                   (plane.shape[0] // FINER, plane.shape[1] // FINER))
    out = np.zeros((len(sequence.te_ms), 2, *coarse.shape), np.float32)
    _paint(out, painter.backdrop(coarse), sequence)
    out = out.repeat(FINER, axis=2).repeat(FINER, axis=3)
    _paint(out, painter.layers(plane), sequence)
    return out


def _paint(out: NDArray[np.float32], layers: Iterable[Layer], sequence: Sequence) -> None:
    for layer in layers:
        water, oily = sequence.signals(layer.tissue)
        for e in range(len(sequence.te_ms)):
            for c, signal in enumerate((water[e], oily[e])):
                over(out[e, c], layer, signal)


def over(image: NDArray[np.float32], layer: Layer, signal: Value) -> None:
    """Paint a layer over an image, in place."""
    part = image[layer.box]
    part += layer.share * (signal - part)


def _coils(grid: Grid, i: int, scanner: Scanner, pose: Pose) -> NDArray[np.complex64]:
    """Sensitivities on a slice's finer points. Coils lie in the table, whatever the subject does."""
    a = grid.affine_ras_mm
    j, k = np.arange(FINER * grid.shape[1])[:, None] / FINER, np.arange(FINER * grid.shape[2])[None, :] / FINER
    x, y, z = (a[r, 3] + a[r, 0] * i + a[r, 1] * j + a[r, 2] * k for r in range(3))
    middle, made = pose.centre_mm, []
    for c in range(scanner.coils):
        side, row = (-1) ** c, c // 2 - (scanner.coils // 2 - 1) / 2
        front = 125.0 if c >= scanner.coils - 2 else -95.0
        place = middle + np.array([55 * side, front, 95 * row if front < 0 else 0.0])
        square = (x - place[0]) ** 2 + (y - place[1]) ** 2 + (z - place[2]) ** 2
        phase = 0.7 * c + (x * side + z) / 260
        made.append(np.exp(1j * phase) / (1 + square / scanner.coil_reach_mm**2))
    return np.asarray(made, np.complex64)


def _displaced(spectrum: NDArray[np.complex64], sequence: Sequence) -> NDArray[np.complex64]:
    """Fat moved along the readout, by a phase over its frequencies."""
    axis = sequence.readout_axis
    cycles = fft.fftfreq(spectrum.shape[axis], d=1 / FINER)  # a pixel of the image
    ramp = np.exp(-2j * np.pi * cycles * sequence.fat_shift_px).astype(np.complex64)
    return np.asarray(spectrum * (ramp[:, None] if axis == 1 else ramp[None, :]))


@dataclass(frozen=True)
class _Kept:
    """Frequencies along an axis: those that the image has, and those of them that were acquired."""

    n: int
    share: float

    @property
    def filter(self) -> NDArray[np.float32]:
        """(n,) 1 where acquired, with a short slope at the end; 0 beyond; in the order of an FFT."""
        place = np.abs(fft.fftfreq(self.n)) * 2 / self.share
        return np.where(place <= 1, np.clip((1.06 - place) / 0.16, 0, 1), 0).astype(np.float32)

    @property
    def places(self) -> NDArray[np.intp]:
        """Where they lie in a spectrum that is `FINER` times as long."""
        return np.asarray((fft.fftfreq(self.n) * self.n).round().astype(int) % (FINER * self.n))


def _back(spectrum: NDArray[np.complex64], kept: list[_Kept]) -> NDArray[np.complex64]:
    cut = spectrum[:, kept[0].places][:, :, kept[1].places] * kept[0].filter[:, None] * kept[1].filter[None, :]
    return np.asarray(fft.ifft2(cut) / FINER**2, np.complex64)


def _noise(kept: list[_Kept], grid: Grid, sigma: float, rng: np.random.Generator) -> NDArray[np.complex64]:
    """Noise of the combined image. Equal, independent coils combined by their own sensitivities leave that of one."""
    white = rng.normal(size=(2, *grid.shape)).astype(np.float32)
    spectrum = fft.fft2(white[0] + 1j * white[1]) * kept[0].filter[:, None] * kept[1].filter[None, :]
    made = fft.ifft2(spectrum)
    return np.asarray(made * sigma / np.sqrt((np.abs(made) ** 2).mean() / 2), np.complex64)


def _signal(image: NDArray[np.float32], painter: Painter, pose: Pose, grid: Grid) -> float:
    """Mean of an image around the landmarks within it."""
    to_voxel = np.linalg.inv(grid.affine_ras_mm)
    values = []
    for mark in painter.landmarks_mm:
        at = np.round((to_voxel @ np.append(pose.to_world(mark), 1))[:3]).astype(int)
        if (at >= 0).all() and (at < np.array(grid.shape)).all():
            values.append(image[tuple(slice(max(int(a) - 1, 0), int(a) + 2) for a in at)].mean())
    return float(np.mean(values or [image.mean()]))


def sagittal_grid(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], centre_mm: Array) -> Grid:
    """Slices from right to left, rows to the front, columns to the head."""
    affine = np.diag([-spacing_mm[0], spacing_mm[1], spacing_mm[2], 1.0])
    affine[:3, 3] = centre_mm - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def textures(rng: np.random.Generator, *, scale_mm: float, waves: int = 6) -> Iterator[Wave]:
    """Wave vector, phase and size of a smooth random field of unit SD."""
    for _ in range(waves):
        yield rng.normal(0, 1 / scale_mm, 3), float(rng.uniform(0, 2 * np.pi)), float(np.sqrt(2 / waves))
