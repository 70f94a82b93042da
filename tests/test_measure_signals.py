"""Normalised signals and fat fractions against mixtures and gain fields worked out by hand, and on phantoms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from bedrest.anatomy.structures import Structure
from bedrest.errors import GeometryError
from bedrest.io.images.masks import read_label_map, write_label_map
from bedrest.io.images.nifti import read_volume
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import validated
from bedrest.measurement.definition import DiscMeasure, Undefined
from bedrest.measurement.discs import measure_discs
from bedrest.measurement.quality import checked
from bedrest.measurement.reference_tissue import REACH_MM
from bedrest.measurement.signals import NORMALISED, SIGNALS, fat_fraction
from bedrest.phantom.paint import paint, paint_levels
from bedrest.phantom.random_spine import draw_spine
from bedrest.phantom.render import block_mean
from bedrest.phantom.tissues import FAT, STRUCTURE_OF_TISSUE, WATER
from bedrest.phantom.tissues import T2 as T2_SIGNAL
from bedrest.schemas import MEASURES
from bedrest.segmentation.neighbour_naming import name_neighbours
from bedrest.segmentation.training.artefacts import shared_gain
from bedrest.stages.corrected_masks import MeasuredMask
from bedrest.stages.measure import _tissues_of
from bedrest.stages.stage import Job
from bedrest.stages.visits import Visit
from bedrest.tables.measures import VisitKey, measures_frame
from bedrest.types import Grid, LabelMap, Volume
from bedrest.vocabulary import LEVEL_OF_LABEL, Contrast, Status
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion
from scipy.spatial.transform import Rotation
from sentences import reason, signals_reason

SHAPE = (24, 48, 64)
SPACING_MM = (2.0, 1.25, 1.25)
W, F, IP, T2 = Contrast.WATER, Contrast.FAT, Contrast.IN_PHASE, Contrast.T2
# water, fat and T2 of each tissue of the block spine
TISSUES = {1: (160, 16, 90), 2: (150, 15, 80), 10: (45, 63, 100), 11: (52, 48, 95), 12: (60, 52, 95), 20: (85, 4, 230)}
AFFINE = np.diag([*SPACING_MM, 1.0])


def block_spine() -> LabelMap:
    """Sacrum, L5-S1, L5, L4-L5, L4 on top of each other, the canal behind them."""
    data = np.zeros(SHAPE, np.int32)
    for label, (low, high) in {10: (0, 16), 1: (16, 23), 11: (23, 39), 2: (39, 46), 12: (46, 62)}.items():
        data[2:22, 16:46, low:high] = label
    data[7:17, 3:13] = 20
    return LabelMap(data, Grid(SHAPE, AFFINE))


def images_of(tissues: LabelMap, gain: np.ndarray | float = 1.0) -> dict[Contrast, Volume]:
    values = np.zeros((3, max(TISSUES) + 1), np.float32)
    for label, signals in TISSUES.items():
        values[:, label] = signals
    water, fat, t2 = ((values[n][tissues.data] * gain).astype(np.float32) for n in range(3))
    return {c: Volume(a, tissues.grid) for c, a in ((W, water), (F, fat), (IP, water + fat), (T2, t2))}


def discs_of(tissues: LabelMap) -> LabelMap:
    return LabelMap(np.where(tissues.data < 10, tissues.data, 0).astype(np.int32), tissues.grid)


TWO = {1: "L5-S1", 2: "L4-L5"}


def measured(tissues: LabelMap, images: dict[Contrast, Volume], levels: dict[int, str] = TWO) -> list[DiscMeasure]:
    return measure_discs(discs_of(tissues), levels, images, tissues=tissues)


def relative(measure: DiscMeasure) -> dict[Contrast, float]:
    """Normalised signals that there are."""
    return {c: measure[m.name] for c, m in NORMALISED.items() if not math.isnan(measure[m.name])}


def test_signals_are_divided_by_their_reference_tissue() -> None:
    spine = block_spine()
    low, high = measured(spine, images_of(spine))
    sacrum_and_l5, l5_and_l4 = (108 + 100) / 2, (100 + 112) / 2
    assert relative(low) == pytest.approx({W: 160 / sacrum_and_l5, F: 16 / sacrum_and_l5, IP: 176 / sacrum_and_l5,
                                           T2: 90 / 230})
    assert relative(high) == pytest.approx({W: 150 / l5_and_l4, F: 15 / l5_and_l4, IP: 165 / l5_and_l4, T2: 80 / 230})
    assert low[SIGNALS[W].name] == 160  # the raw mean stays
    assert (signals_reason(low.findings), signals_reason(high.findings)) == ("", "")


def test_in_phase_stands_in_for_water_and_fat() -> None:
    spine = block_spine()
    images = images_of(spine)
    both, alone = measured(spine, images)[1], measured(spine, {IP: images[IP], W: images[W]})[1]
    assert relative(alone) == pytest.approx({c: relative(both)[c] for c in (IP, W)})
    assert math.isnan(alone["fat_fraction"]) and signals_reason(alone.findings) == ""


def test_the_surface_of_the_reference_is_not_asked() -> None:
    spine = block_spine()
    spine.data[:, :, 23:36][spine.data[:, :, 23:36] == 11] = 0  # of both bodies a plate of three voxels stays
    spine.data[:, :, 49:62][spine.data[:, :, 49:62] == 12] = 0
    images = images_of(spine)
    clean = relative(measured(spine, images)[1])
    for label in (11, 12):
        plate = spine.data == label
        surface = plate & ~binary_erosion(plate)
        assert surface.sum() > 0.7 * plate.sum()  # a median would follow it
        for image in images.values():
            image.data[surface] = 999
    assert relative(measured(spine, images)[1]) == pytest.approx(clean)


def test_a_far_part_of_the_reference_is_not_asked() -> None:
    spine = block_spine()
    spine.data[:, :, :13][spine.data[:, :, :13] == 10] = 0  # of the sacrum a plate of three voxels stays
    clean = relative(measured(spine, images_of(spine))[0])
    spine.data[:, :7, 44:51] = 10  # more of it than in the plate, above and behind
    images = images_of(spine)
    for image in images.values():
        image.data[:, :7, 44:51] = 999
    assert math.hypot((30.5 - 6) * SPACING_MM[1], (44 - 19) * SPACING_MM[2]) > REACH_MM  # either way alone is less
    assert relative(measured(spine, images)[0]) == pytest.approx(clean)


def test_scaling_cancels_and_a_field_along_the_spine_to_a_per_cent() -> None:
    spine = block_spine()
    clean = measured(spine, images_of(spine))[1]
    slope = 1 + 0.02 * (np.arange(SHAPE[2]) - 20)  # from 1.08 at the foot of L5 to 1.82 at the head of L4
    seen = measured(spine, images_of(spine, 3.7 * slope))[1]
    assert seen[SIGNALS[W].name] == pytest.approx(150 * 3.7 * 1.44)
    for c in (W, F, IP):
        # The medians stand for the bodies' middles, 11.5 voxels on either side; L4 is 12 % brighter than L5.
        ratio = seen[NORMALISED[c].name] / clean[NORMALISED[c].name]
        assert ratio == pytest.approx(1.44 / ((100 * 1.21 + 112 * 1.67) / 212), 1e-5)
        assert seen[NORMALISED[c].name] == pytest.approx(clean[NORMALISED[c].name], rel=0.01)
    assert seen["fat_fraction"] == pytest.approx(clean["fat_fraction"], rel=1e-5)


def test_the_canal_is_carried_to_the_disc_along_the_slope_of_the_field() -> None:
    spine = block_spine()
    spine.data[:, 31:][spine.data[:, 31:] == 2] = 0  # a disc that does not lie in the middle of its neighbours
    clean = measured(spine, images_of(spine))[1][NORMALISED[T2].name]
    coil = 2.5 * np.exp(-0.01 * 1.25 * np.arange(SHAPE[1]))[:, None]  # an e-fold in 100 mm; the canal is 20 behind
    seen = measured(spine, images_of(spine, coil))[1]
    assert seen[NORMALISED[T2].name] == pytest.approx(clean, rel=0.01)
    whiter = images_of(spine)  # marrow that gains fat is no field: neither where both bodies do nor one
    for labels in ([11, 12], [11]):
        whiter[T2].data[np.isin(spine.data, labels)] *= 1.3
        assert measured(spine, whiter)[1][NORMALISED[T2].name] == pytest.approx(clean, rel=1e-3)


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.3, 1.0])
def test_fat_fraction_of_a_mixture_whatever_its_surface_holds(fraction: float) -> None:
    disc = np.zeros((12, 20, 9), bool)
    disc[1:-1, 1:-1, 1:-1] = True
    water = np.where(binary_erosion(disc), 200 * (1 - fraction), 50).astype(np.float32)
    fat = np.where(binary_erosion(disc), 200 * fraction, 150).astype(np.float32)
    assert fat_fraction(disc, water=water, fat=fat) == pytest.approx(fraction, abs=1e-6)


def test_fat_fraction_is_a_ratio_of_means() -> None:
    disc = np.ones((10, 10, 10), bool)
    water, fat = np.full((2, 10, 10, 10), 0, np.float32)
    water[:5], fat[5:] = 300, 100
    assert fat_fraction(disc, water=water, fat=fat) == pytest.approx(0.25)  # a mean of ratios would say 0.5


def test_a_disc_without_a_core_or_signal_has_no_fat_fraction() -> None:
    thin = np.ones((20, 20, 2), bool)
    with pytest.raises(Undefined, match=r"0 voxels left.*20"):
        fat_fraction(thin, water=np.ones(thin.shape, np.float32), fat=np.ones(thin.shape, np.float32))
    thick = np.ones((9, 9, 9), bool)
    dark = np.zeros(thick.shape, np.float32)
    with pytest.raises(Undefined, match="no signal"):
        fat_fraction(thick, water=dark, fat=dark)


def row_of(measure: DiscMeasure) -> dict:
    frame = measures_frame([measure], visit=VisitKey("01", "g", "ses-1", 1.0, "baseline"), source="automatic")
    validated(frame, MEASURES)
    return frame.to_dict("records")[0]


def test_without_a_tissue_mask_the_volume_is_not_in_doubt() -> None:
    spine = block_spine()
    row = row_of(measure_discs(discs_of(spine), {2: "L4-L5"}, images_of(spine))[0])
    assert (row["status"], row["reason"]) == (Status.OK, "")
    assert row["signals_reason"] == "no tissue mask to normalise signals by"
    assert math.isnan(row["signal_water_normalised"]) and math.isnan(row["signal_t2_normalised"])
    assert row["signal_water"] == 150
    assert row["fat_fraction"] == pytest.approx(15 / 165)  # needs no reference


def test_what_is_missing_is_said_and_nothing_else_is_lost() -> None:
    spine = block_spine()
    spine.data[spine.data == 12] = 0
    low, high = measured(spine, images_of(spine))
    assert signals_reason(low.findings) == ""
    assert math.isnan(high[NORMALISED[W].name]) and high[NORMALISED[T2].name] == pytest.approx(80 / 230)
    assert signals_reason(high.findings) == "L4, the reference tissue, has 0 voxels beside the disc, fewer than 20"

    spine.data[np.isin(spine.data, [10, 11])] = 0
    assert signals_reason(measured(spine, images_of(spine))[1].findings).endswith("the slope of the field from")

    spine = block_spine()
    spine.data[spine.data == 20] = 0
    found = measured(spine, images_of(spine))[1]
    assert math.isnan(found[NORMALISED[T2].name]) and math.isfinite(found[NORMALISED[W].name])
    assert signals_reason(found.findings).startswith("spinal canal, the reference tissue")

    spine = block_spine()
    water_alone = measured(spine, {W: images_of(spine)[W]})[1]
    assert math.isnan(water_alone[NORMALISED[W].name]) and "whole signal needs" in signals_reason(water_alone.findings)
    nameless = measured(spine, images_of(spine), {2: "unnamed-1"})[0]
    assert math.isnan(nameless[NORMALISED[T2].name]) and "without a level" in signals_reason(nameless.findings)
    assert signals_reason(measured(spine, {})[1].findings) == ""  # no image: nothing was asked

    absent = row_of(measured(spine, images_of(spine), {5: "L1-L2"})[0])
    assert absent["status"] == Status.FAILED and absent["reason"]
    assert math.isnan(absent["fat_fraction"]) and math.isnan(absent["signal_water"])


def test_a_tissue_mask_on_another_grid_is_refused() -> None:
    spine = block_spine()
    other = LabelMap(spine.data, Grid(SHAPE, np.diag([2.1, 1.25, 1.25, 1.0])))
    with pytest.raises(GeometryError, match="tissue map"):
        measure_discs(discs_of(spine), TWO, images_of(spine), tissues=other)


@settings(max_examples=8, deadline=None)
@given(order=st.permutations([0, 1, 2]), flips=st.tuples(st.booleans(), st.booleans(), st.booleans()),
       turn=st.tuples(*[st.floats(-30, 30)] * 3))
def test_axes_and_obliquity_change_nothing(order, flips, turn) -> None:
    spine = block_spine()
    gain = 1 + 0.01 * np.indices(SHAPE).sum(axis=0)
    images = images_of(spine, gain)
    affine = AFFINE.copy()
    axes = [i for i, flip in enumerate(flips) if flip]
    for i in axes:
        affine[:3, 3] += affine[:3, i] * (SHAPE[i] - 1)
        affine[:3, i] *= -1
    affine[:3, :3] = affine[:3, :3][:, order]
    world = np.eye(4)
    world[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    world[:3, 3] = (5, -7, 11)

    def turned(data: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.flip(data, axes).transpose(order))

    grid = Grid(turned(spine.data).shape, world @ affine)
    moved = {c: Volume(turned(v.data), grid) for c, v in images.items()}
    for a, b in zip(measured(spine, images), measured(LabelMap(turned(spine.data), grid), moved), strict=True):
        assert relative(b) == pytest.approx(relative(a), rel=0.01)  # the 40 mm sphere may take other voxels
        assert b["fat_fraction"] == pytest.approx(a["fat_fraction"])


def test_strong_fields_cancel_on_a_phantom() -> None:
    """Fields of the training's artefacts, two visits' worth: the change they feign, RMS over the discs."""
    shape, affine = (36, 76, 168), np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -np.array(shape) + 1.0
    grid = Grid(shape, affine)
    spine = draw_spine(np.random.default_rng(6))
    painting = paint(spine, grid, np.random.default_rng(1))
    structure = STRUCTURE_OF_TISSUE[painting.tissue]
    shares = np.stack([block_mean(structure == s) for s in range(len(Structure))])
    discs = paint_levels(spine, grid)
    tissues = LabelMap(name_neighbours(shares.argmax(axis=0).astype(np.uint8), discs.data, grid), grid)
    clean = {W: block_mean(WATER[painting.tissue]), F: block_mean(FAT[painting.tissue]),
             T2: block_mean(T2_SIGNAL[painting.tissue])}
    seen = []
    for seed in range(6):
        gain = shared_gain(shape, np.random.default_rng([2, seed]))
        images = {c: Volume((a * gain).astype(np.float32), grid) for c, a in clean.items()}
        seen.append(measure_discs(discs, LEVEL_OF_LABEL, images, tissues=tissues))
    assert {signals_reason(m.findings) for visit in seen for m in visit} == {""}

    def feigned_percent(value: Callable[[DiscMeasure], float]) -> float:
        values = np.array([[value(m) for m in visit] for visit in seen])
        return float(100 * np.sqrt(np.mean((values[1:] / values[:-1] - 1) ** 2)))

    assert feigned_percent(lambda m: m[SIGNALS[W].name]) > 15
    assert feigned_percent(lambda m: m[NORMALISED[W].name]) < 2.5
    assert feigned_percent(lambda m: m[NORMALISED[F].name]) < 2.5
    assert feigned_percent(lambda m: m[NORMALISED[T2].name]) < 6  # 13 with the canal as it lies
    assert feigned_percent(lambda m: m["fat_fraction"]) < 1


def test_the_stage_takes_a_tissue_mask_only_on_the_masks_grid(tmp_path: Path) -> None:
    spine = block_spine()
    study = SimpleNamespace(tissues="all")
    job = Job(study=study, results=StudyResults(tmp_path), subject="01", device="cpu", threads=1)  # type: ignore[arg-type]
    visit, none = Visit("01", "ses-1", {}), pd.DataFrame()
    chosen = MeasuredMask(spine, "automatic", none, none)
    assert _tissues_of(job, visit, chosen) is None
    path = job.results.tissue_mask("01", "ses-1")
    path.parent.mkdir()
    write_label_map(spine, path, names={})
    found = _tissues_of(job, visit, chosen)
    assert found is not None and np.array_equal(found.data, spine.data)
    moved = AFFINE.copy()
    moved[2, 3] = 4
    assert _tissues_of(job, visit, replace(chosen, mask=LabelMap(spine.data, Grid(SHAPE, moved)))) is None
    assert _tissues_of(job, visit, replace(chosen, matched=True)) is None  # numbers no longer tell neighbours
    path.write_bytes(b"no image")
    assert _tissues_of(job, visit, chosen) is None


@pytest.mark.parametrize("exam", [11, 20, 25])
def test_real_t2_exams_have_signals_and_no_doubts(real_data: Path, exam: int) -> None:
    folder = real_data / "lumbar-t2-ivd-fmrp"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    discs = read_label_map(folder / f"vol-{exam}_discs.nii.gz", where="mask")
    image = read_volume(folder / f"vol-{exam}_t2.nii.gz", where="image")
    levels = {k: LEVEL_OF_LABEL[k] for k in range(1, 6)}
    found = checked(measure_discs(discs, levels, {T2: image}), discs)
    assert [(m.status, reason(m.findings)) for m in found] == [(Status.OK, "")] * 5
    for m in found:
        assert m[SIGNALS[T2].name] == pytest.approx(float(image.data[discs.data == m.label].mean(dtype=np.float64)))
        assert math.isnan(m[NORMALISED[T2].name]) and "no tissue mask" in signals_reason(m.findings)
