"""Scans whose discs' places are known: real ones with manual masks, and what cropping and degrading makes of each.

The folders are those of the project's shared data, each described by its SOURCE.md. Knows nothing of segmentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from bedrest.imaging.crop import Box, crop_grid
from bedrest.imaging.orientation import reorient_to_ras
from bedrest.imaging.resample import grid_with_spacing, resample
from bedrest.io.images.masks import read_label_map
from bedrest.io.images.nifti import read_scan
from bedrest.measurement.geometry import bounding_box, centre_of_mass_mm
from bedrest.types import LabelMap, Scan, Volume
from bedrest.vocabulary import LABEL_OF_LEVEL, LEVEL_OF_LABEL, Contrast
from numpy.typing import NDArray

from pipelines.benchmarks.engine.real import MANUAL_DISCS, VERTEBRA_DATA, VertebraData

IN_VIEW_MM = 8.0  # from a disc's centre to the ends of the scan, at least
SACRUM_MM = 12.0  # from the centre of L5-S1 to the lower end of the scan, at least: then the sacrum is in view
_BODIES = ("S1", "L5", "L4", "L3", "L2", "L1", "T12", "T11")
SIEGEN = VertebraData("lumbar-t1-repeat-siegen", Contrast.IN_PHASE, dict(enumerate(_BODIES, start=1)), "")

Point = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KnownScan:
    """A scan, and where its discs lie.

    Attributes
    ----------
    data, name, variant : str
        Where it comes from, which one it is, and what was done to it.
    scan : Scan
        Axes right, front, head.
    centre_mm : level to (3,) world RAS+
        Of every disc whose place is known, in view or not.
    """

    data: str
    name: str
    variant: str
    scan: Scan
    centre_mm: Mapping[str, Point]

    def margins_mm(self, level: str) -> tuple[float, float]:
        """From a disc's centre down and up to the ends of the scan; negative where it lies outside."""
        grid = self.scan.grid
        k = float((np.linalg.inv(grid.affine_ras_mm) @ np.append(self.centre_mm[level], 1))[2])
        return (k + 0.5) * grid.spacing_mm[2], (grid.shape[2] - 0.5 - k) * grid.spacing_mm[2]

    @property
    def in_view(self) -> list[str]:
        """Levels whose disc is in view."""
        return [level for level in self.centre_mm if min(self.margins_mm(level)) >= IN_VIEW_MM]

    @property
    def sacrum_in_view(self) -> bool:
        """Whether names can be counted from below."""
        return self.margins_mm("L5-S1")[0] >= SACRUM_MM


def real_scans(real: Path) -> Iterator[KnownScan]:
    """Every real scan with manual masks of discs or vertebrae."""
    for data in (*VERTEBRA_DATA, SIEGEN):
        ending, of_bodies = ("t1", "_t1_vertebrae") if data is SIEGEN else (data.contrast.value, "_vertebrae")
        for path in sorted((real / data.folder).glob(f"*_{ending}.nii.gz")):
            name = path.name.removesuffix(f"_{ending}.nii.gz")
            bodies = read_label_map(path.with_name(f"{name}{of_bodies}.nii.gz"), where=name)
            known = _centres(bodies, data.names)
            yield _upright(data.folder, name, read_scan({data.contrast: path}, where=name), between(known))
    for path in sorted((real / MANUAL_DISCS).glob("*_t2.nii.gz")):
        name = path.name.removesuffix("_t2.nii.gz")
        discs = read_label_map(path.with_name(f"{name}_discs.nii.gz"), where=name)
        yield _upright(MANUAL_DISCS, name, read_scan({Contrast.T2: path}, where=name),
                       _centres(discs, LEVEL_OF_LABEL))


def between(bodies: Mapping[str, Point]) -> dict[str, Point]:
    """Centres of the discs between vertebral bodies; L5-S1 along the curve through L3 to L5 where S1 is unknown."""
    discs = {f"{high}-{low}": (bodies[high] + bodies[low]) / 2 for low, high in pairwise(_BODIES)
             if low in bodies and high in bodies}
    if "S1" not in bodies:
        l5, l4, l3 = (bodies[name] for name in ("L5", "L4", "L3"))
        discs["L5-S1"] = l5 + 0.5 * (2 * (l5 - l4) - (l4 - l3))
    return discs


def variants(known: KnownScan) -> Iterator[KnownScan]:
    """The scan itself; degraded; narrow; ending at other heights, with and without the sacrum."""
    yield known
    rng = np.random.default_rng([6, *known.name.encode()])
    yield replace(known, variant="noise", scan=_noisy(known.scan, rng))
    yield replace(known, variant="coarse", scan=_coarse(known.scan))
    across = int(np.ceil(known.scan.grid.shape[0] / 2 - 16 / known.scan.grid.spacing_mm[0]))
    yield _cropped(known, "32 mm wide", 0, max(across, 0), known.scan.grid.shape[0] - max(across, 0))
    for variant, level, below_mm in (("half of S1 in view", "L5-S1", 16.0), ("ends at mid L5", "L4-L5", 18.0),
                                     ("ends at mid L4", "L3-L4", 18.0)):
        yield _cropped(known, variant, 2, _slice_of(known, level, -below_mm), known.scan.grid.shape[2])
    for variant, level in (("begins at mid L2", "L2-L3"), ("begins at mid L3", "L3-L4")):
        yield _cropped(known, variant, 2, 0, _slice_of(known, level, 18.0))


def _slice_of(known: KnownScan, level: str, up_mm: float) -> int:
    k = (np.linalg.inv(known.scan.grid.affine_ras_mm) @ np.append(known.centre_mm[level], 1))[2]
    return int(np.clip(round(k + up_mm / known.scan.grid.spacing_mm[2]), 0, known.scan.grid.shape[2]))


def _cropped(known: KnownScan, variant: str, axis: int, first: int, last: int) -> KnownScan:
    spans = [slice(0, n) for n in known.scan.grid.shape]
    spans[axis] = slice(first, last)
    box: Box = (spans[0], spans[1], spans[2])
    grid = crop_grid(known.scan.grid, box)
    scan = Scan({c: Volume(np.ascontiguousarray(v.data[box]), grid) for c, v in known.scan.contrasts.items()})
    return replace(known, variant=variant, scan=scan)


def _noisy(scan: Scan, rng: np.random.Generator) -> Scan:
    """Rician noise of 8 % of the brightest tissue."""
    out = {}
    for contrast, v in scan.contrasts.items():
        sd = 0.08 * float(np.quantile(v.data, 0.98))
        out[contrast] = Volume(np.hypot(v.data + rng.normal(0, sd, v.data.shape),
                                        rng.normal(0, sd, v.data.shape)).astype(np.float32), v.grid)
    return Scan(out)


def _coarse(scan: Scan) -> Scan:
    """In voxels of 4 x 1.8 x 1.8 mm, or as they are where larger."""
    x, y, z = np.maximum(scan.grid.spacing_mm, (4.0, 1.8, 1.8))
    grid = grid_with_spacing(scan.grid, (float(x), float(y), float(z)))
    return Scan({c: Volume(resample(v.data, scan.grid, grid, order=1), grid) for c, v in scan.contrasts.items()})


def _upright(data: str, name: str, scan: Scan, centre_mm: Mapping[str, Point]) -> KnownScan:
    turn = reorient_to_ras(scan.grid)
    return KnownScan(data, name, "as it is", Scan({
        c: Volume(np.ascontiguousarray(turn.apply(v.data)), turn.ras) for c, v in scan.contrasts.items()}), centre_mm)


def _centres(labels: LabelMap, names: Mapping[int, str]) -> dict[str, Point]:
    """World centres of mass of the labels that are there."""
    out = {}
    for label, name in names.items():
        mask = labels.data == label
        if box := bounding_box(mask):
            out[name] = centre_of_mass_mm(mask[box], box, labels.grid.affine_ras_mm)
    return out


def disc_centres(discs: LabelMap) -> dict[str, Point]:
    """World centres of mass of named discs."""
    return {level: c for level, c in _centres(discs, LEVEL_OF_LABEL).items() if level in LABEL_OF_LEVEL}
