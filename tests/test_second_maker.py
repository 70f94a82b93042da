"""The benchmark's second phantom and scanner: exact volumes, rigid bones; fat, water, noise and sharp edges."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from bedrest.vocabulary import DIXON, LEVELS, Contrast

from pipelines.anatomies.real_masks import MASKS
from pipelines.benchmarks.change import makers, real_scans
from pipelines.benchmarks.second_maker import subjects
from pipelines.benchmarks.second_maker.painted_spine import SpinePainter
from pipelines.benchmarks.second_maker.scanner import (
    Layer,
    Plane,
    Pose,
    Scanner,
    acquire,
    draw_pose,
    magnitudes,
    sagittal_grid,
    scanned,
)
from pipelines.benchmarks.second_maker.shapes_of_spine import draw_plan
from pipelines.benchmarks.second_maker.subjects import draw_made_subject, draw_real_subject, held_out_series
from pipelines.benchmarks.second_maker.tissue_signals import (
    TISSUES,
    Sequence,
    at_field,
    turbo_spin_echo,
    two_point_dixon,
)

STILL = Pose(np.eye(3), np.zeros(3), np.zeros(3))
PLAIN = Scanner(coils=4, coil_reach_mm=1e4, corrected=1.0, phase_share=1.0, snr=1e6, gaussian_slices=False)
BLOCK = 20.0  # half the side of a block of tissue, mm


@dataclass(frozen=True)
class Block:
    """A block of one tissue in air, around the origin."""

    tissue: object
    landmarks_mm = np.zeros((1, 3))

    def backdrop(self, plane: Plane):
        return ()

    def layers(self, plane: Plane):
        _, y, z = plane.points(plane.whole)
        yield Layer(plane.whole, ((np.abs(y) < BLOCK) & (np.abs(z) < BLOCK)).astype(np.float32), self.tissue)


def images_of(tissue, sequence, scanner=PLAIN, seed=0):
    grid = sagittal_grid((5, 64, 64), (2.0, 1.25, 1.25), np.zeros(3))
    return magnitudes(acquire(Block(tissue), STILL, grid, sequence, scanner, np.random.default_rng(seed)), sequence)


@pytest.fixture(scope="module")
def plan():
    return draw_plan(np.random.default_rng(3))


def test_discs_grow_as_asked_and_bones_stay_rigid(plan):
    before, after = plan.built(), plan.built({"L5-S1": -0.05, "L3-L4": 0.08})
    grown = {k: 100 * (v / before.volumes_mm3()[k] - 1) for k, v in after.volumes_mm3().items()}
    assert set(grown) == set(LEVELS)
    assert grown["L5-S1"] == pytest.approx(-5, abs=0.01) and grown["L3-L4"] == pytest.approx(8, abs=0.01)
    assert max(abs(v) for k, v in grown.items() if k not in ("L5-S1", "L3-L4")) < 1e-9
    for one, other in zip(before.bodies, after.bodies, strict=True):
        np.testing.assert_allclose(one.frame.axes, other.frame.axes)  # moved, never turned or stretched
    # L5 sinks along the axis of L5-S1 by what the disc lost in height; the bodies above move with it.
    shift = [b.frame.origin_mm - a.frame.origin_mm for a, b in zip(before.bodies, after.bodies, strict=True)]
    np.testing.assert_allclose(shift[0], before.discs[0].frame.axes[:, 2] * after.discs[0].growth_mm)
    assert after.discs[0].growth_mm < 0 and np.allclose(shift[0], shift[1]) and not np.allclose(shift[1], shift[2])


def test_what_is_painted_adds_up_to_the_volume_in_any_position():
    subject = draw_made_subject(1, 5)
    spine = subject.plan.built({"L4-L5": 0.03})
    painter, disc = SpinePainter(spine, subject.appearance), spine.discs[1]
    for seed in range(2):
        pose, total = draw_pose(np.random.default_rng(seed), disc.frame.origin_mm, turn_deg=5), 0.0
        for x in np.arange(-40, 40, 2 / 3):
            start = pose.to_anatomy(disc.frame.origin_mm + np.array([x, -50, -50]))
            plane = Plane(start, pose.turn.T @ [0, 0.625, 0], pose.turn.T @ [0, 0, 0.625], (160, 160))
            layers = list(painter._disc(plane, disc))
            total += float(layers[1].share.sum()) * 0.625**2 * 2 / 3 if layers else 0.0
        assert total == pytest.approx(disc.volume_mm3(), rel=0.002)


def test_water_and_fat_part_in_a_dixon_scan(rng):
    sequence = two_point_dixon(1.5, rng)
    assert sequence.te_ms == pytest.approx((2.3, 4.6), abs=0.1)
    middle = np.s_[2, 28:36, 28:36]
    wet = images_of(TISSUES["muscle"][0], replace(sequence, fat_shift_px=0))
    oily = images_of(replace(TISSUES["fat"][0], fat=1.0), replace(sequence, fat_shift_px=0))
    assert set(wet) == set(DIXON)
    assert wet[Contrast.FAT][middle].mean() < 0.15 * wet[Contrast.WATER][middle].mean()
    # Fat has six peaks, which never are all opposed: some of it stays in the water image.
    assert oily[Contrast.WATER][middle].mean() < 0.15 * oily[Contrast.FAT][middle].mean()
    half = replace(TISSUES["fat"][0], fat=0.5, t1=370, t2_star=45)
    mixed = images_of(half, replace(sequence, fat_shift_px=0))
    assert mixed[Contrast.OPPOSED][middle].mean() < 0.3 * mixed[Contrast.IN_PHASE][middle].mean()


def test_fat_is_displaced_along_the_readout_and_water_is_not(rng):
    for axis in (1, 2):
        sequence = replace(turbo_spin_echo(Contrast.T2, 1.5, rng), fat_shift_px=2.0, readout_axis=axis)
        fat = images_of(replace(TISSUES["fat"][0], fat=1.0), sequence)[Contrast.T2][2]
        water = images_of(TISSUES["fluid"][0], sequence)[Contrast.T2][2]
        middles = [np.array([(image.sum(axis=1 - a) * np.arange(64)).sum() / image.sum() for a in (0, 1)])
                   for image in (fat, water)]
        np.testing.assert_allclose(middles[0] - middles[1], [2 * (axis == 1), 2 * (axis == 2)], atol=0.1)


def test_t2_weighting_and_t1_weighting_are_opposite(rng):
    t2, t1 = (turbo_spin_echo(c, 1.5, rng) for c in (Contrast.T2, Contrast.T1))
    (fluid2, *_), _ = t2.signals(TISSUES["fluid"][0])
    (muscle2, *_), _ = t2.signals(TISSUES["muscle"][0])
    (fluid1, *_), _ = t1.signals(TISSUES["fluid"][0])
    (muscle1, *_), _ = t1.signals(TISSUES["muscle"][0])
    assert fluid2 > 3 * muscle2 and fluid1 < muscle1
    assert at_field("muscle", 3.0).t1 == pytest.approx(1.35 * TISSUES["muscle"][0].t1)
    spoiled = Sequence("dixon", 1.5, 10.0, (5.0,), 90.0)  # at 90 degrees: 1 - exp(-TR/T1)
    (steady, *_), _ = spoiled.signals(replace(TISSUES["fluid"][0], t1=1000.0, t2_star=1e9))
    assert steady == pytest.approx(1 - np.exp(-0.01), rel=1e-4)


def test_noise_is_what_the_scanner_says_and_edges_ring(rng):
    sequence = replace(turbo_spin_echo(Contrast.T2, 1.5, rng), fat_shift_px=0)
    clean = images_of(TISSUES["nerve"][0], sequence)[Contrast.T2][2]
    noisy = images_of(TISSUES["nerve"][0], sequence, replace(PLAIN, snr=20.0))[Contrast.T2][2]
    inside = np.s_[20:44, 20:44]
    assert (noisy - clean)[inside].std() == pytest.approx(clean[32, 32] / 20, rel=0.15)
    assert clean.max() > 1.03 * clean[32, 32]  # Gibbs: no image of a sharp edge has only its two values


def test_a_scan_is_whole_numbers_and_another_visit_is_another_scan():
    subject = draw_made_subject(0, 5)
    grid = sagittal_grid((3, 48, 48), (4.0, 4.0, 4.0), subjects._middle(subject.plan))
    painter = SpinePainter(subject.plan.built(), subject.appearance)
    how = painter, STILL, grid, subject.sequences["t1"], subject.scanner
    one, again, other = (scanned(*how, np.random.default_rng(k)) for k in (1, 1, 2))
    image = one.contrasts[Contrast.T1].data
    assert (image == np.round(image)).all() and 200 < image.max() < 5000 and np.isfinite(image).all()
    np.testing.assert_array_equal(image, again.contrasts[Contrast.T1].data)
    assert not np.array_equal(image, other.contrasts[Contrast.T1].data)


@pytest.mark.skipif(not MASKS.is_dir(), reason="SPIDER's masks are not beside the checkout")
def test_real_anatomy_changes_as_asked():
    from pipelines.benchmarks.second_maker.painted_masks import real_visit

    assert len(held_out_series()) == 10
    # The uppermost disc of the first patient lies at the end of its masks: it might leave the field of view.
    assert draw_real_subject(0, makers.REAL_SEED).levels == ("L5-S1", "L4-L5", "L3-L4", "L2-L3", "L1-L2", "T12-L1")
    subject = draw_real_subject(4, makers.REAL_SEED)
    before, after = (real_visit(subject.spine, percent, subject.appearance, subject.traits).volumes_mm3
                     for percent in ({}, {1: 3.0, 2: -5.0, 3: 8.0}))
    wanted = {"L5-S1": 3.0, "L4-L5": -5.0, "L3-L4": 8.0}
    for level in before:
        assert 100 * (after[level] / before[level] - 1) == pytest.approx(wanted.get(level, 0.0), abs=0.25)
    manual = real_scans.manual_volumes()
    manual = manual[manual["case"] == subject.spine.series].set_index("level_if_normal")["manual_mm3"]
    assert before["L3-L4"] == pytest.approx(manual["L3-L4"], rel=0.05)
