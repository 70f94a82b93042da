"""The phantom's truth: painted volumes meet the closed form; the cohort is deterministic and carries its effect."""

from dataclasses import replace

import numpy as np
import pytest
from bedrest.phantom.demo_cohort import DemoPlan, PlannedVisit, expected_change_percent, plan_visits, spines_of
from bedrest.phantom.paint import paint, paint_levels
from bedrest.phantom.random_spine import draw_spine
from bedrest.phantom.render import Artefacts, demo_grid, render_dixon
from bedrest.phantom.shapes import DiscShape
from bedrest.vocabulary import LABEL_OF_LEVEL, LEVELS, Contrast, Phase


@pytest.fixture(scope="module")
def spine():
    rng = np.random.default_rng(5)
    return draw_spine(rng).posed(rng, shift_mm=2, rotation_deg=1.5)


@pytest.fixture(scope="module")
def painting(spine):
    return paint(spine, demo_grid(), np.random.default_rng(6))


@pytest.fixture(scope="module")
def scan(painting):
    return render_dixon(painting, np.random.default_rng(7), Artefacts())


def test_closed_form_of_an_elliptic_slab_worked_out_by_hand():
    # outline power 2 is an ellipse; without dome and wedge the disc is a cylinder: pi * 25 * 18 * 10
    slab = DiscShape(25, 18, 10, wedge=0, dome=0, kidney_mm=0, outline_power=2)
    assert slab.volume_mm3 == pytest.approx(np.pi * 25 * 18 * 10)
    # a dome that loses all height at the rim with power 2 halves it: integral of (1 - r^2) 2r dr = 1/2
    assert replace(slab, dome=1.0, dome_power=2).volume_mm3 == pytest.approx(np.pi * 25 * 18 * 5)


@pytest.mark.parametrize("change", [{"wedge": 0.5}, {"kidney_mm": 4.0}])
def test_wedge_and_kidney_keep_the_volume_numerically(change):
    shape = replace(DiscShape(25, 18, 10, wedge=0, dome=0.3, kidney_mm=0), **change)
    axis = np.arange(-32, 32, 0.1, dtype=np.float32)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    radius, v = shape.outline(x, y)
    height = np.where(radius <= 1, 2 * shape.half_thickness_mm(radius, v), 0)
    assert height.sum() * 0.01 == pytest.approx(shape.volume_mm3, rel=2e-3)


def test_reference_masks_are_unbiased(spine):
    mask = paint_levels(spine, demo_grid())
    error = [(mask.data == LABEL_OF_LEVEL[level]).sum() * 3.125 / volume - 1
             for level, volume in spine.volumes_mm3().items()]
    # The grid alone scatters a single disc by about 1 %.
    assert np.abs(error).max() < 0.025
    assert abs(np.mean(error)) < 0.008


def test_every_visit_is_one_person(spine):
    swollen = spine.swollen({"L4-L5": 0.05})
    before, after = spine.volumes_mm3(), swollen.volumes_mm3()
    assert after["L4-L5"] / before["L4-L5"] == pytest.approx(1.05)
    assert all(after[level] == before[level] for level in LEVELS if level != "L4-L5")


def test_intensities_are_near_the_published_table(painting, scan):
    # Wang et al. 2020, Table I: disc fat 16, in-phase 172, opposed 155, water 163, each with a wide spread
    disc = paint_levels_of(painting)
    published = {Contrast.FAT: 16, Contrast.IN_PHASE: 172, Contrast.OPPOSED: 155, Contrast.WATER: 163}
    for contrast, value in published.items():
        assert scan.contrasts[contrast].data[disc].mean() == pytest.approx(value, abs=20), contrast


def paint_levels_of(painting):
    from bedrest.anatomy.structures import Structure
    from bedrest.phantom.render import block_mean
    from bedrest.phantom.tissues import STRUCTURE_OF_TISSUE

    return block_mean(STRUCTURE_OF_TISSUE[painting.tissue] == Structure.DISC) > 0.99


def test_in_phase_is_water_plus_fat_and_opposed_their_difference(painting):
    clean = render_dixon(painting, np.random.default_rng(0), Artefacts(snr=1e6)).contrasts
    water, fat = clean[Contrast.WATER].data, clean[Contrast.FAT].data
    np.testing.assert_allclose(clean[Contrast.IN_PHASE].data, water + fat, atol=0.01)
    np.testing.assert_allclose(clean[Contrast.OPPOSED].data, np.abs(water - fat), atol=0.01)


def test_the_scan_is_deterministic_by_seed(painting, scan):
    again = render_dixon(painting, np.random.default_rng(7), Artefacts())
    for contrast, volume in scan.contrasts.items():
        np.testing.assert_array_equal(volume.data, again.contrasts[contrast].data)
    assert scan.grid.shape == (36, 256, 256)
    np.testing.assert_allclose(scan.grid.spacing_mm, [2, 1.25, 1.25])


@pytest.mark.parametrize(("n", "phases"), [
    (1, ["baseline"]), (2, ["baseline", "bed_rest"]), (3, ["baseline", "bed_rest", "recovery"]),
    (5, ["baseline", "bed_rest", "bed_rest", "bed_rest", "recovery"]),
])
def test_visits_rise_in_bed_and_fall_in_recovery(n, phases):
    visits = plan_visits(n)
    assert [v.phase.value for v in visits] == phases
    days = [v.study_day for v in visits]
    assert days == sorted(days)


def test_groups_swell_as_planned_and_differ():
    end = PlannedVisit("ses-2", 60, Phase.BED_REST, 1.0)
    assert expected_change_percent("bed rest", "L4-L5", end) == pytest.approx(8)
    assert expected_change_percent("bed rest + exercise", "L4-L5", end) == pytest.approx(4)
    plan = DemoPlan(subjects=40)
    got = []
    for i in range(0, 40, 2):
        before, after, _ = (s.volumes_mm3()["L4-L5"] for s in spines_of(i, plan))
        got.append(100 * (after / before - 1))
    # 20 subjects with an SD of 1.1 %: the mean lies within 3 standard errors
    assert np.mean(got) == pytest.approx(8, abs=3 * 1.12 / 20**0.5)
