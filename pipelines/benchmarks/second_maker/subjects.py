"""Subjects of the second maker: drawn from a seed, scanned at several visits with known changes.

Of the benchmark alone: training never sees them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from bedrest.types import Grid, Scan
from bedrest.vocabulary import LABEL_OF_LEVEL, LEVEL_OF_LABEL, Contrast

from pipelines.anatomies.real_masks import HELD_OUT_PATIENTS, RealSpine, read_real_spine, series_of
from pipelines.benchmarks.second_maker.painted_masks import Traits, draw_traits, real_visit
from pipelines.benchmarks.second_maker.painted_spine import SpinePainter
from pipelines.benchmarks.second_maker.painted_tissues import Appearance, draw_appearance
from pipelines.benchmarks.second_maker.scanner import Array, Scanner, draw_pose, sagittal_grid, scanned
from pipelines.benchmarks.second_maker.shapes_of_spine import NAMED, SpinePlan, draw_plan
from pipelines.benchmarks.second_maker.tissue_signals import Sequence, turbo_spin_echo, two_point_dixon

GridName = Literal["bed-rest", "clinical"]
ROOM_ABOVE_MM = 8.0  # what repositioning and 8 % more of every disc below may take
CLINICAL = (384, 0.75, 4.0)  # pixels of a side, their size and that of a slice in mm


class MadeVisit(NamedTuple):
    """True volumes and middles of the discs, by level, and what the scanner made of them."""

    volumes_mm3: dict[str, float]
    centres_mm: dict[str, Array]
    scan: Scan


@dataclass(frozen=True, eq=False)
class MadeSubject:
    """One subject with the scanner that scans it at every visit."""

    plan: SpinePlan
    appearance: Appearance
    scanner: Scanner
    sequences: Mapping[str, Sequence]
    seed: tuple[int, ...]

    def visit(self, number: int, growth: Mapping[str, float], sequence: str, grid: GridName = "bed-rest") -> MadeVisit:
        """Visit `number`, whose position, noise and gain are its own, with discs grown by a share of their volumes."""
        rng = np.random.default_rng([*self.seed, 7, number])
        spine, middle = self.plan.built(growth), _middle(self.plan)
        pose = draw_pose(rng, middle)
        scan = scanned(SpinePainter(spine, self.appearance), pose, _grid(grid, middle, self.seed),
                       self.sequences[sequence], self.scanner, rng)
        centres = {d.name: pose.to_world(d.frame.origin_mm) for d in spine.discs if d.name in NAMED}
        return MadeVisit(spine.volumes_mm3(), centres, scan)


def draw_made_subject(index: int, seed: int) -> MadeSubject:
    """Anatomy, tissues, field strength, sequences and scanner of one subject."""
    rng = np.random.default_rng([seed, index])
    plan, tesla = draw_plan(rng), float(rng.choice([1.5, 3.0]))
    return MadeSubject(plan, draw_appearance(rng, tesla), draw_scanner(rng), draw_sequences(rng, tesla), (seed, index))


def draw_sequences(rng: np.random.Generator, tesla: float) -> dict[str, Sequence]:
    """A Dixon, a T2 and a T1 sequence of one scanner."""
    return {"dixon": two_point_dixon(tesla, rng), "t2": turbo_spin_echo(Contrast.T2, tesla, rng),
            "t1": turbo_spin_echo(Contrast.T1, tesla, rng)}


def draw_scanner(rng: np.random.Generator) -> Scanner:
    """Coils, filters and noise."""
    return Scanner(int(rng.choice([4, 6, 8])), rng.uniform(90, 170), rng.uniform(0.5, 0.95), rng.uniform(0.75, 1.0),
                   rng.uniform(12, 20), bool(rng.random() < 0.5))


def _middle(plan: SpinePlan) -> Array:
    """Middle of the field of view: that of the lumbar spine, whatever a disc has done since."""
    return np.asarray(plan.built().discs[3].frame.origin_mm + np.array([0, -8, 2]))


def _grid(name: GridName, middle: Array, seed: tuple[int, ...]) -> Grid:
    if name == "bed-rest":
        return sagittal_grid((36, 256, 256), (2.0, 1.25, 1.25), middle)
    slices = int(np.random.default_rng([*seed, 5]).integers(15, 20))
    n, pixel_mm, slice_mm = CLINICAL
    return sagittal_grid((slices, n, n), (slice_mm, pixel_mm, pixel_mm), middle)


@dataclass(frozen=True, eq=False)
class RealSubject:
    """A real anatomy with tissues and a scanner of the second maker."""

    spine: RealSpine
    appearance: Appearance
    traits: Traits
    scanner: Scanner
    sequences: Mapping[str, Sequence]
    seed: tuple[int, ...]

    @property
    def levels(self) -> tuple[str, ...]:
        """Of the discs that have a bone above them and stay in the field of view, however the subject lies."""
        discs = self.spine.discs[:min(len(self.spine.vertebrae), len(LEVEL_OF_LABEL))]
        return tuple(LEVEL_OF_LABEL[i + 1] for i, disc in enumerate(discs)
                     if disc.points()[:, 2].max() < self._top_mm - ROOM_ABOVE_MM)

    @property
    def _top_mm(self) -> float:
        """Where the masks end."""
        return min(self.spine.top_mm, float(self.spine.vertebrae[-1].points()[:, 2].max())) - 4

    def visit(self, number: int, growth: Mapping[str, float], sequence: str, grid: GridName = "bed-rest") -> MadeVisit:
        """As `MadeSubject.visit`. The field of view ends where the masks do."""
        rng = np.random.default_rng([*self.seed, 7, number])
        percent = {LABEL_OF_LEVEL[level]: 100 * share for level, share in growth.items()}
        real = real_visit(self.spine, percent, self.appearance, self.traits)
        where = self._grid(grid)
        pose = draw_pose(rng, grid_middle(where))
        scan = scanned(real, pose, where, self.sequences[sequence], self.scanner, rng)
        inside = {level: pose.to_world(middle) for level, middle in real.centres_mm.items() if level in self.levels}
        return MadeVisit({k: v for k, v in real.volumes_mm3.items() if k in self.levels}, inside, scan)

    def _grid(self, name: GridName) -> Grid:
        """The spine in the middle; from 60 mm below L5-S1 up to where the masks end."""
        middle = np.mean([d.points().mean(axis=0) for d in self.spine.discs], axis=0)
        low = float(self.spine.discs[0].points()[:, 2].mean()) - 60
        high = self._top_mm
        shape, spacing = ((36, 256), (2.0, 1.25, 1.25))
        if name == "clinical":
            n, pixel_mm, slice_mm = CLINICAL
            shape, spacing = ((int(np.random.default_rng([*self.seed, 5]).integers(15, 20)), n),
                              (slice_mm, pixel_mm, pixel_mm))
        rows = min(int((high - low) / spacing[2]) // 2 * 2, shape[1])
        return sagittal_grid((*shape, rows), spacing, np.array([middle[0], middle[1] - 8, (low + high) / 2]))


def grid_middle(grid: Grid) -> Array:
    """World point of the middle of a grid."""
    return np.asarray((grid.affine_ras_mm @ [*((np.array(grid.shape) - 1) / 2), 1])[:3])


def draw_real_subject(index: int, seed: int) -> RealSubject:
    """The first series of a patient whom training never saw, by the patient's number among those."""
    rng = np.random.default_rng([seed, index])
    tesla = float(rng.choice([1.5, 3.0]))
    return RealSubject(read_real_spine(held_out_series()[index]), draw_appearance(rng, tesla), draw_traits(rng),
                       draw_scanner(rng), draw_sequences(rng, tesla), (seed, index))


def held_out_series() -> list[str]:
    """One series of each patient held out of training; none where the masks are not there."""
    by_patient = {name.split("_")[0]: name for name in reversed(series_of(held_out=True))}
    return [by_patient[str(n)] for n in HELD_OUT_PATIENTS if str(n) in by_patient]
