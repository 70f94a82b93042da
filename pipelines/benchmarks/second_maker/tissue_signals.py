"""Proton density, relaxation times and fat of tissues -> the signal that a sequence gives, water and fat apart.

Of the benchmark alone. Knows nothing of where tissues lie.

Times are of the order of those published: Stanisz et al. 2005, de Bazelaire et al. 2004, Gold et al. 2004; discs:
Stelzeneder et al. 2012, Hoppe et al. 2012; cartilage of end plates: Wang et al. 2021. Spectrum of fat: Hamilton et al.
2011.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from bedrest.vocabulary import Contrast
from numpy.typing import NDArray

Value = float | NDArray[np.floating]
FAT_PPM = np.array([-3.80, -3.40, -2.60, -1.94, -0.39, 0.60])
FAT_SHARE = np.array([0.087, 0.693, 0.128, 0.004, 0.039, 0.049])
MHZ_PER_TESLA = 42.577
MAIN_PPM = -3.40


@dataclass(frozen=True)
class Tissue:
    """What a voxel of it holds. Times are of its water, in milliseconds; each may be an array over its voxels."""

    density: Value  # of protons that can be seen, relative to water
    fat: Value  # share of them in fat
    t1: Value
    t2: Value
    t2_star: Value


FAT_ITSELF = {1.5: Tissue(1.0, 1.0, 290.0, 110.0, 45.0), 3.0: Tissue(1.0, 1.0, 370.0, 100.0, 32.0)}
# At 1.5 tesla: density, fat, T1, T2, T2*; at 3 tesla T1 is longer by the share that follows, T2* shorter.
TISSUES: dict[str, tuple[Tissue, float]] = {
    "air": (Tissue(0.0, 0.0, 300, 1, 0.5), 0.0),
    "muscle": (Tissue(0.80, 0.05, 1010, 42, 28), 0.35),
    "fat": (Tissue(0.90, 0.93, 900, 45, 25), 0.2),
    "marrow": (Tissue(0.72, 0.4, 720, 62, 15), 0.2),
    "cortex": (Tissue(0.12, 0.0, 300, 4, 0.6), 0.0),
    "ligament": (Tissue(0.40, 0.02, 700, 16, 5), 0.15),
    "cartilage": (Tissue(0.70, 0.0, 850, 34, 20), 0.2),
    "annulus": (Tissue(0.72, 0.0, 900, 50, 27), 0.2),
    "nucleus": (Tissue(0.92, 0.0, 1250, 135, 62), 0.15),
    "fluid": (Tissue(1.0, 0.0, 4200, 900, 300), 0.0),
    "nerve": (Tissue(0.80, 0.02, 950, 82, 52), 0.2),
    "vein": (Tissue(0.90, 0.05, 1400, 130, 55), 0.2),
    "vessel": (Tissue(0.35, 0.0, 1400, 30, 40), 0.2),  # flow takes most of what is there
    "bowel": (Tissue(0.75, 0.15, 1000, 60, 20), 0.2),
}


@dataclass(frozen=True)
class Sequence:
    """How an image is acquired."""

    name: str
    tesla: float
    tr_ms: float
    te_ms: tuple[float, ...]
    flip_deg: float | None = None  # of a spoiled gradient echo; none: a turbo spin echo
    fat_shift_px: float = 0.0  # of the main fat peak along the readout
    readout_axis: int = 2  # 1: front, 2: head
    three_d: bool = False  # slices by Fourier encoding, not by a pulse

    def signals(self, tissue: Tissue) -> tuple[list[Value], list[Value]]:
        """Magnitudes of water and of fat at each echo, before fat's phase."""
        fat = FAT_ITSELF[self.tesla]
        water = [tissue.density * (1 - tissue.fat) * self._weight(tissue.t1, tissue.t2, tissue.t2_star, te)
                 for te in self.te_ms]
        oily = [tissue.density * tissue.fat * self._weight(fat.t1, fat.t2, np.minimum(fat.t2_star, tissue.t2_star * 2),
                                                           te) for te in self.te_ms]
        return water, oily

    def _weight(self, t1: Value, t2: Value, t2_star: Value, te: float) -> Value:
        e1 = np.exp(-self.tr_ms / np.asarray(t1, np.float32))
        if self.flip_deg is None:
            return np.asarray((1 - e1) * np.exp(-te / np.asarray(t2, np.float32)))
        flip = np.radians(self.flip_deg)
        steady = np.sin(flip) * (1 - e1) / (1 - np.cos(flip) * e1)
        return np.asarray(steady * np.exp(-te / np.asarray(t2_star, np.float32)))

    def fat_phase(self, te: float) -> complex:
        """Sum of fat's peaks at an echo, relative to water; a turbo spin echo brings them together again."""
        if self.flip_deg is None:
            return 1.0
        hertz = FAT_PPM * self.tesla * MHZ_PER_TESLA
        return complex((FAT_SHARE * np.exp(2j * np.pi * hertz * te / 1000)).sum())


def at_field(name: str, tesla: float) -> Tissue:
    """A tissue at 1.5 or 3 tesla."""
    tissue, longer = TISSUES[name]
    if tesla < 2:
        return tissue
    return replace(tissue, t1=np.asarray(tissue.t1) * (1 + longer), t2_star=np.asarray(tissue.t2_star) * 0.65)


def two_point_dixon(tesla: float, rng: np.random.Generator) -> Sequence:
    """Opposed and in-phase echo of a spoiled gradient echo; at 1.5 tesla about 2.4 and 4.8 ms, half of that at 3."""
    period = 1000 / (abs(MAIN_PPM) * tesla * MHZ_PER_TESLA)
    return Sequence("dixon", tesla, rng.uniform(6.5, 11), (period / 2, period), rng.uniform(9, 13),
                    rng.uniform(0.3, 0.9), int(rng.integers(1, 3)), three_d=True)


def turbo_spin_echo(contrast: Contrast, tesla: float, rng: np.random.Generator) -> Sequence:
    """T2 or T1 weighted, sagittal, in two dimensions."""
    axis, shift_px = int(rng.integers(1, 3)), rng.uniform(0.6, 1.5)
    tr_ms, te_ms = ((3200, 5200), (88, 112)) if contrast == Contrast.T2 else ((480, 680), (9, 13))
    return Sequence(contrast.value, tesla, rng.uniform(*tr_ms), (rng.uniform(*te_ms),), None, shift_px, axis)
