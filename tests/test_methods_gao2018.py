"""Gao 2018: dense ASPP, spine region, reference and centre line, names from the bottom. All synthetic."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bedrest.methods.disc_numbering import components
from bedrest.methods.losses import cross_entropy, focal
from bedrest.methods.method import IGNORED, SPACING_MM, MethodOptions, Trained, prepared
from bedrest.methods.papers import gao2018
from bedrest.methods.papers.centre_line import centre_line, parts_on, positions, register
from bedrest.methods.papers.dense_aspp import RATES, AnyWidthVNet, DenseASPP, DenseASPP2D
from bedrest.methods.papers.gao2018 import entropy_then_focal, name_by_reference, reference_of, spine_region
from bedrest.methods.registry import build_method
from bedrest.methods.staged_training import Budget, train_method
from toy_cases import dice, toy_case, toy_cases

SHAPE = (26, 40, 96)
NONE = np.zeros((30, 50, 200), dtype=np.int16)


def spine(*, discs=7, scale=1.0, shift=(0, 0, 0), shape=(30, 50, 200), bow=5.0):
    """Ellipsoid discs 20 mm apart on a bow, 1 at the bottom, scaled about the first and shifted; mm."""
    at = np.stack(np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, SPACING_MM, strict=True)), indexing="ij"), -1)
    labels = np.zeros(shape, dtype=np.int16)
    for level in range(1, discs + 1):
        up = (level - 1) * 20.0
        centre = np.array([26.0, 28.0, 20.0]) + scale * np.array([0, bow * np.sin(up / 40), up]) + shift
        radii = scale * np.array([14.0, 12.0, 4.5])
        labels[(np.square((at - centre) / radii).sum(axis=-1)) < 1] = level
    return labels


def test_the_pyramid_has_the_papers_rates_and_sees_exactly_so_far():
    pyramid = DenseASPP(2, 2).eval()
    rates = [m.dilation[0] for m in pyramid.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)]
    assert tuple(rates) == RATES == (3, 6, 12, 18, 24)
    for weight in pyramid.parameters():
        torch.nn.init.constant_(weight, 0.1)  # positive throughout, so that no path to an input is closed
    image = torch.ones(1, 2, 135, 135, requires_grad=True)
    pyramid(image)[0, -1, 67, 67].backward()
    for axis in (0, 1):
        reached = np.flatnonzero(image.grad[0, 0].abs().sum(dim=axis).numpy())
        assert (reached.min(), reached.max()) == (67 - 63, 67 + 63)


@pytest.mark.parametrize("size", [(64, 64), (61, 90)])
def test_three_paths_end_at_full_half_and_quarter_resolution(size, rng):
    network = DenseASPP2D(4, 8).eval()
    seen = []
    for path in network.paths:
        path.layers[-1].register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape[2:])))
    assert network(torch.zeros(1, 4, *size)).shape == (1, 1, *size)
    wide = [n + -n % 4 for n in size]
    assert seen == [tuple(n // by for n in wide) for by in (1, 2, 4)]
    assert sum(isinstance(m, torch.nn.AvgPool2d | torch.nn.MaxPool2d) for m in network.paths[2].modules()) == 2
    strides = {m.stride for m in network.modules() if isinstance(m, torch.nn.Conv2d)}
    assert strides == {(1, 1)}  # nothing else makes an image smaller


def test_the_localiser_has_eight_channels_and_takes_any_number_of_contrasts():
    network = AnyWidthVNet(3, 8, 2)
    assert network(torch.zeros(1, 3, 20, 33, 18)).shape == (1, 8, 20, 33, 18)
    _, _, localise = build_method("dense-aspp2d", MethodOptions(width=8)).stages
    assert localise.build()(torch.zeros(1, 4, 16, 16, 32)).shape[1] == 8


def test_the_region_holds_every_disc_and_what_lies_between_them():
    labels = spine()
    region = spine_region(labels)
    assert region[labels > 0].all()
    low, high = (positions(labels)[n] / SPACING_MM for n in (3, 4))
    between = np.round((low + high) / 2).astype(int)
    assert labels[tuple(between)] == 0 and region[tuple(between)]
    assert region.mean() < 0.5
    assert not spine_region(NONE).any()
    dot = NONE.copy()
    dot[0, 0, 0] = 1
    assert spine_region(dot)[0, 0, 0]


def test_there_is_no_loss_outside_the_predicted_region(rng, monkeypatch):
    for amount in ("_BEND", "_SCALE", "_NOISE"):
        monkeypatch.setattr(gao2018, amount, 0.0)
    case = toy_case(rng, shape=SHAPE)
    region = np.zeros(SHAPE, dtype=bool)
    region[:, 5:30, 20:70] = True
    learnt = {"mean": np.zeros(4, np.float32), "sd": np.ones(4, np.float32)}
    trained = Trained({}, {**learnt, case.key("region"): region})
    segment = build_method("dense-aspp2d").stages[1]
    image, target = segment.draw([case], trained, rng)
    assert image.shape == (4, *SHAPE[1:])
    sagittal = int(np.abs(case.image - image[:, None]).sum(axis=(0, 2, 3)).argmin())
    np.testing.assert_array_equal(target, np.where(region, case.labels > 0, IGNORED)[sagittal])


def test_a_region_that_was_not_found_takes_no_loss_away(rng):
    case = toy_case(rng, shape=SHAPE)
    segment = build_method("dense-aspp2d").stages[1]
    learnt = {"mean": np.zeros(4, np.float32), "sd": np.ones(4, np.float32)}
    ready = prepared(segment, [case], Trained({"region": Constant(-5.0)}, learnt), "cpu")
    assert ready.learnt[case.key("region")].all()


def test_cross_entropy_comes_first_and_focal_loss_after_it(rng):
    scores = torch.from_numpy(rng.normal(size=(1, 1, 8, 8)))
    target = torch.from_numpy(rng.integers(0, 2, (1, 8, 8)))
    assert entropy_then_focal(scores, target, 0.3) == cross_entropy(scores, target)
    assert entropy_then_focal(scores, target, 0.4) == focal(scores, target) < cross_entropy(scores, target)


@pytest.mark.parametrize("scale, shift", [(1.0, (0, 0, 0)), (1.15, (-4, 10, 14)), (0.9, (3, -6, 30))])
def test_registration_recovers_scale_and_shift(scale, shift):
    truth = spine(scale=scale, shift=shift)
    moved = register(spine(), truth > 0, NONE)
    assert moved.scale == pytest.approx(scale, rel=0.02)
    for level, at in positions(spine()).items():
        np.testing.assert_allclose(moved(at[None])[0], positions(truth)[level], atol=1.5)
    np.testing.assert_allclose(moved.undo(moved(np.eye(3))), np.eye(3), atol=1e-9)


def test_the_centre_line_goes_through_the_discs_and_ends_half_a_disc_distance_beyond_them():
    discs = {n: np.array([30.0, 20 + 0.01 * (20.0 * n) ** 2, 20.0 * n]) for n in range(1, 8)}
    line = centre_line(discs)
    for at in discs.values():
        assert np.abs(line - at).max(axis=1).min() < 0.5
    assert (line[0, 2], line[-1, 2]) == (10.0, pytest.approx(149.5))
    assert len(centre_line({3: np.zeros(3)})) == 60


def test_a_false_part_beside_the_line_and_a_disc_above_the_seven_are_dropped():
    discs = spine(discs=8, shape=(30, 60, 200))
    mask = discs > 0
    mask[2:16, 50:58, 60:70] = True
    assert components(mask).max() == 9
    levels = np.where(discs <= 3, discs, 0).astype(np.int16)
    levels[discs > 3] = 7  # the localiser is right at the bottom, wrong at the top
    found = name_by_reference(mask, levels, spine())
    np.testing.assert_array_equal(found, np.where(discs <= 7, discs, 0))


def test_names_count_from_the_bottom_whatever_the_localiser_says():
    discs = spine()
    for levels in (discs, 8 - discs * (discs > 0), np.where(discs == 1, 1, 0)):
        np.testing.assert_array_equal(name_by_reference(discs > 0, levels.astype(np.int16), spine()), discs)


def test_what_is_missing_or_false_does_not_raise():
    discs, reference = spine(), spine()
    gap = name_by_reference((discs > 0) & (discs != 4), NONE, reference)
    np.testing.assert_array_equal(np.unique(gap[discs > 0]), range(7))
    assert (gap[discs == 3] == 3).all() and (gap[discs == 4] == 0).all()
    assert not name_by_reference(NONE > 0, NONE, reference).any()
    assert not name_by_reference(NONE > 0, discs, reference).any()
    one = name_by_reference(discs == 1, NONE, reference)
    np.testing.assert_array_equal(one, discs == 1)
    np.testing.assert_array_equal(name_by_reference(discs > 0, discs, NONE), discs)


def test_parts_keep_their_order_and_a_line_outside_of_the_image_meets_none():
    parts = spine()
    line = np.array([[26.0, 28.0, z] for z in np.arange(55.0, 200.0, 0.5)])
    assert set(np.unique(parts_on(line, parts)[parts > 2])) == {1, 2, 3, 4, 5}
    assert not parts_on(line + 1000, parts).any()


def test_the_reference_is_the_case_with_the_most_discs(rng):
    few, many = (toy_case(rng, shape=SHAPE) for _ in range(2))
    few = replace(few, labels=np.where(few.labels > 4, 0, few.labels).astype(np.int16))
    reference = reference_of([few, many])["reference"]
    assert np.bincount(reference.ravel())[1:].tolist() == np.bincount(many.labels.ravel())[1:].tolist()
    nobody = replace(few, labels=np.zeros(SHAPE, dtype=np.int16))
    assert not reference_of([nobody])["reference"].any()


class Constant(torch.nn.Module):
    """The same score everywhere, but in the part of a slice where another is given."""

    def __init__(self, score, channels=1, beyond=None):
        super().__init__()
        self.score, self.channels, self.beyond = score, channels, beyond

    def forward(self, image):
        scores = torch.full((image.shape[0], self.channels, *image.shape[2:]), self.score)
        if self.beyond is not None:
            scores[..., self.beyond :] = -self.score
        return scores


@pytest.mark.parametrize("segment", [5.0, -5.0])
def test_everything_outside_the_predicted_region_is_background(segment, rng):
    case = toy_case(rng, shape=SHAPE)
    learnt = {"mean": np.zeros(4, np.float32), "sd": np.ones(4, np.float32), "reference": case.labels}
    networks = {"region": Constant(5.0, beyond=50), "segment": Constant(segment), "localise": Constant(0.0, 8)}
    found = build_method("dense-aspp2d").predict(Trained(networks, learnt), case, "cpu")
    assert not found.probability[..., 50:].any() and not found.labels[..., 50:].any()
    assert (found.probability[..., :50] > 0.5).all() == (segment > 0)


def test_segmentation_learns_and_names_without_a_trained_localiser(rng, tmp_path):
    cases = toy_cases(rng, shape=SHAPE)
    method = build_method("dense-aspp2d", MethodOptions(width=8))
    quick = tuple(replace(s, batch=1, rate=lambda step, share: 3e-3) for s in method.stages[:2])
    trained = train_method(replace(method, stages=quick), cases, Budget(60, steps=32), tmp_path)
    trained = Trained({**trained.networks, "localise": Constant(0.0, 8)}, trained.learnt)
    for case in cases:
        found = method.predict(trained, case, "cpu").labels
        assert dice(found, case.labels) > 0.8
        assert (found == case.labels)[(found > 0) & (case.labels > 0)].mean() > 0.95
