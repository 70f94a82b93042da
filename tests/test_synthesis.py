"""What the network learns from: varied anatomies, random contrasts, a scanner's faults, calibration."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bedrest.anatomy.structures import Structure
from bedrest.phantom.paint import FINE, paint, paint_levels
from bedrest.phantom.random_spine import SACRAL, Blob, draw_spine
from bedrest.phantom.render import demo_grid
from bedrest.phantom.tissues import STRUCTURE_OF_TISSUE, Tissue
from bedrest.phantom.variation import draw_varied_spine, paint_anatomy
from bedrest.segmentation.network import Architecture, build_network
from bedrest.segmentation.predict import BAND, Probabilities, calibrated, disc_probability
from bedrest.segmentation.training.artefacts import scanned
from bedrest.segmentation.training.calibrate import calibrate
from bedrest.segmentation.training.sampling import Sampling, draw_patch
from bedrest.segmentation.weights import Calibration, TrainedNetwork, save_weights
from bedrest.types import Grid
from bedrest.vocabulary import LABEL_OF_LEVEL, Contrast
from skimage.segmentation import expand_labels

from pipelines.training.overview import COARSE, coarse_shares, draw_overview
from pipelines.training.shipped_weights import _copy


@pytest.fixture(scope="module")
def painting():
    return paint_anatomy(3, seed=11)


def test_anatomies_vary_as_published_and_are_the_same_by_seed():
    spines = [draw_varied_spine(np.random.default_rng([1, i])) for i in range(300)]
    usual = len(draw_spine(np.random.default_rng(0)).discs)
    counts = np.bincount([len(s.discs) - usual + 1 for s in spines], minlength=3) / 300
    assert 0.02 < counts[0] < 0.12 and 0.02 < counts[2] < 0.12  # one lumbar vertebra fewer, one more
    lumbar = [d for s in spines for d in s.discs[SACRAL : SACRAL + 5]]
    assert 0.15 < np.mean([d.degenerated for d in lumbar]) < 0.6
    assert 0.1 < np.mean([bool(d.blobs) for d in lumbar]) < 0.6
    assert min(d.shape.height_mm for d in lumbar) < 5 < 11 < max(d.shape.height_mm for d in lumbar)
    again = draw_varied_spine(np.random.default_rng([1, 7]))
    assert again.discs == spines[7].discs


def test_a_bulge_adds_its_own_volume_behind_the_disc():
    spine = draw_spine(np.random.default_rng(4))
    disc = spine.discs[SACRAL + 1]
    bulge = Blob((0, -disc.shape.half_depth_mm - 6, 0), (8, 4, 4))  # wholly outside: 4/3 pi 8 4 4 mm3
    discs = [*spine.discs[: SACRAL + 1], replace(disc, blobs=(bulge,)), *spine.discs[SACRAL + 2 :]]
    fine = Grid((80, 120, 120), np.diag([1.0, 1.0, 1.0, 1.0]))
    fine.affine_ras_mm[:3, 3] = spine.frames()[SACRAL + 1].centre_mm - 0.5 * np.array([80, 120, 120])
    k = LABEL_OF_LEVEL["L4-L5"]
    added = (paint_levels(replace(spine, discs=tuple(discs)), fine).data == k).sum() - (
        paint_levels(spine, fine).data == k).sum()
    assert added == pytest.approx(4 / 3 * np.pi * 8 * 4 * 4, rel=0.05)


def test_the_sacrum_has_wings_and_discs_a_dark_sheet():
    spine = draw_spine(np.random.default_rng(4))
    tissue = paint(spine, demo_grid(), np.random.default_rng(0)).tissue
    x = np.arange(tissue.shape[0]) - tissue.shape[0] / 2
    aside = np.abs(x) > spine.discs[SACRAL].shape.half_width_mm + 3
    assert (tissue[aside] == Tissue.SACRUM_MARROW).any()
    assert (tissue == Tissue.LIGAMENT).any() and (tissue == Tissue.ROOT).any()


def test_patches_fit_and_targets_are_shares(painting, rng):
    for _ in range(6):
        image, target = draw_patch(painting, rng, Sampling())
        assert image.shape == (len(Contrast), 24, 64, 96) and target.shape == (5, 24, 64, 96)
        assert image.dtype == np.float32 and np.isfinite(image).all() and image.min() >= 0
        np.testing.assert_allclose(target.sum(axis=0), 1, atol=1e-5)
        assert image.any(axis=(1, 2, 3)).any()  # never a patch without any contrast
        assert target[1:].sum() > 0


def test_training_goes_on_from_weights_that_lack_a_contrast(tmp_path):
    """The new channel starts as in-phase; what the other contrasts give stays the same."""
    tiny, path = Architecture((2, 2, 2, 2, 2)), tmp_path / "five.safetensors"
    five, other, six = (build_network(tiny, channels=n).eval() for n in (5, 5, 6))
    save_weights(path, TrainedNetwork(five, other, tiny, tiny, Calibration(), contrasts=tuple(Contrast)[:5]))
    _copy(path, six, "segmenter")
    image = torch.rand(1, len(Contrast), 4, 16, 16)
    t1, in_phase = (torch.zeros_like(image) for _ in range(2))
    t1[:, 5], in_phase[:, 2] = image[:, 5], image[:, 5]
    with torch.inference_mode():
        torch.testing.assert_close(six(t1), six(in_phase))
        image[:, 5] = 0
        torch.testing.assert_close(six(image), five(image))
        assert not torch.allclose(six(image), six(in_phase), atol=1e-3)


def test_every_number_of_contrasts_is_drawn(painting):
    rng = np.random.default_rng(3)
    small = Sampling(patch=(4, 16, 16))
    present = [draw_patch(painting, rng, small)[0].any(axis=(1, 2, 3)) for _ in range(150)]
    assert set(np.sum(present, axis=1)) >= {1, 2, 3, 4}
    alone = {int(np.flatnonzero(p)[0]) for p in present if p.sum() == 1}
    assert alone == set(range(len(Contrast)))  # each contrast has to serve alone


def test_coarse_shares_count_every_sub_voxel(painting):
    shares = coarse_shares(painting)
    assert (shares.sum(axis=0) == np.prod(COARSE)).all()
    block = painting.tissue[20:24, 200:204, 240:244]
    expected = [(block == t).sum() for t in Tissue]
    np.testing.assert_array_equal(shares[:, 5, 50, 60], expected)
    image, target = draw_overview(shares, np.random.default_rng(0), Sampling())
    assert image.shape == (len(Contrast), 16, 96, 96) and target.shape == (5, 16, 96, 96)
    np.testing.assert_allclose(target.sum(axis=0), 1, atol=1e-5)


def test_structures_cover_the_painting(painting):
    there = set(np.unique(STRUCTURE_OF_TISSUE[painting.tissue]))
    assert there == {int(s) for s in Structure}
    assert painting.tissue.shape == tuple(FINE * n for n in painting.grid.shape)


@pytest.mark.parametrize("acquired_mm", [1.0, 2.0, 4.4])
def test_slice_thickness_keeps_a_linear_ramp(acquired_mm):
    # A ramp along the slices, 1 mm each: thick slices and interpolation back leave it a ramp, up to its ends.
    ramp = np.broadcast_to(np.arange(48, dtype=np.float32)[:, None, None] + 50, (48, 12, 12))
    rng = np.random.default_rng(5)
    out = np.mean([scanned(ramp, np.ones((24, 12, 12), np.float32), rng, slice_mm=1.0, voxel_mm=2.0,
                           acquired_mm=acquired_mm)[4:-4] for _ in range(60)], axis=(0, 2, 3))
    position = np.arange(len(out))
    assert np.corrcoef(position, out)[0, 1] > 0.97


def test_calibration_makes_probabilities_sum_to_truth(rng):
    """Scores that are twice too sure and lean towards disc: temperature and offset are found again."""
    torch.manual_seed(0)
    truth_scores = torch.randn(2, 5, 8, 16, 16) * 2
    shares = torch.softmax(truth_scores, dim=1)
    distorted = truth_scores * 2
    distorted[:, Structure.DISC] += 1.0

    class Replay(torch.nn.Module):
        def forward(self, x):
            return distorted[[int(x[0, 0, 0, 0, 0])]]

    pairs = [(np.full((5, 8, 16, 16), i, np.float32), shares[i].numpy()) for i in range(2)]
    found = calibrate(Replay(), pairs, device="cpu")
    assert found.temperature == pytest.approx(2, rel=0.02)
    assert found.offsets[Structure.DISC] == pytest.approx(-0.5, abs=0.02)
    got = np.concatenate([calibrated(distorted[i], found) for i in range(2)], axis=1)
    for s in Structure:
        assert got[s].sum() == pytest.approx(float(shares[:, s].sum()), rel=0.01)


def test_each_level_is_calibrated_for_itself():
    """One disc too large, another too small: one offset cannot mend both, the shifts by level do."""
    lean = {"L5-S1": 0.8, "L4-L5": -0.6}
    labels = np.zeros((8, 16, 16), np.int32)
    labels[2:6, 3:13, 1:5], labels[2:6, 3:13, 11:15] = 1, 2
    torch.manual_seed(0)
    truth_scores = torch.randn(5, 8, 16, 16)
    truth_scores[Structure.DISC] += torch.from_numpy(np.where(labels > 0, 2.0, -2.0).astype(np.float32))
    shares = torch.softmax(truth_scores, dim=0)
    leaning = truth_scores.clone()
    leaning[Structure.DISC] += torch.from_numpy(
        np.where(np.arange(16) < 8, lean["L5-S1"], lean["L4-L5"]).astype(np.float32))

    class Replay(torch.nn.Module):
        def forward(self, x):
            return leaning[None]

    pair = (np.zeros((5, 8, 16, 16), np.float32), shares.numpy())
    found = calibrate(Replay(), [pair], device="cpu", labels=[labels])
    assert set(found.by_level) == set(lean)
    near = expand_labels(labels, BAND)
    probabilities = Probabilities(calibrated(leaning, found), demo_grid(), None, found.by_level)
    disc = disc_probability(probabilities, near)
    for k in (1, 2):
        assert disc[near == k].sum() == pytest.approx(float(shares[Structure.DISC][near == k].sum()), rel=1e-3)
    plain = calibrated(leaning, found)[Structure.DISC]
    assert plain[near == 1].sum() > 1.03 * disc[near == 1].sum()
