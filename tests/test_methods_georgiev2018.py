"""Georgiev and Asenov 2018: encoder, weights from a file, planes and their fusion, augmentation. All synthetic."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bedrest.errors import StudyError
from bedrest.methods.method import MethodOptions, Trained
from bedrest.methods.papers.georgiev2018 import Fusion, learnt_height, relative_positions
from bedrest.methods.papers.georgiev_augment import Amounts, augmented, pushed, tissue_deformation, with_intensities
from bedrest.methods.papers.resnet import ResNet50Encoder, ResNetUNet
from bedrest.methods.registry import build_method
from bedrest.methods.staged_training import Budget, stage_records, train_method
from bedrest.vocabulary import DIXON, Contrast
from safetensors.torch import save_file
from toy_cases import toy_case, toy_cases

SHAPE = (28, 40, 104)
STILL = Amounts(share=0.0)


def test_the_encoder_is_resnet_50_at_stride_8():
    encoder = ResNet50Encoder(3, 1)
    # torchvision's resnet50: 25,557,032 less 2,049,000 of its classifier and 14,964,736 of its fourth level
    assert sum(p.numel() for p in encoder.parameters()) == 8_543_296
    with torch.inference_mode():
        shapes = [tuple(maps.shape) for maps in encoder.eval()(torch.zeros(1, 3, 64, 48))]
    assert shapes == [(1, 64, 32, 24), (1, 256, 16, 12), (1, 1024, 8, 6)]


@pytest.mark.parametrize("size", [(36, 64), (37, 101)])
@pytest.mark.parametrize("width", [16, 1000])
def test_scores_have_the_size_of_the_slice(size, width):
    assert ResNetUNet(2, width)(torch.randn(2, 2, *size)).shape == (2, 1, *size)


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(1)
    return {k: v.clone() for k, v in ResNet50Encoder(3, 16).state_dict().items()}


@pytest.mark.parametrize("prefix", ["", "backbone.", "backbone.body."])
@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_weights_of_a_file_are_where_the_encoder_starts_from(weights, prefix, ending, tmp_path):
    path = tmp_path / f"resnet50{ending}"
    stored = {**{prefix + k: v for k, v in weights.items()}, "classifier.weight": torch.zeros(3)}
    save_file(stored, path) if ending == ".safetensors" else torch.save(stored, path)
    method = build_method("triplanar-resnet", MethodOptions(encoder_weights=path, width=16))
    for stage in method.stages[:-1]:
        for name, value in stage.build().encoder.state_dict().items():
            torch.testing.assert_close(value, weights[name])
    four = build_method("triplanar-resnet", MethodOptions(encoder_weights=path, width=16, contrasts=DIXON))
    first = four.stages[0].build().encoder.conv1.weight
    expected = weights["conv1.weight"].mean(dim=1) * 3 / 4
    for contrast in range(4):
        torch.testing.assert_close(first[:, contrast], expected)
    # The same grey image in every channel gives what it gave in three colours.
    torch.testing.assert_close(first.sum(dim=1), weights["conv1.weight"].sum(dim=1))


def test_a_file_that_does_not_fit_is_refused_with_what_was_expected(weights, tmp_path):
    text = tmp_path / "text.pth"
    text.write_text("no weights")
    short = tmp_path / "short.safetensors"
    save_file({k: v for k, v in weights.items() if not k.startswith("layer2.1")}, short)
    other = tmp_path / "other.safetensors"
    save_file({"stem.weight": torch.zeros(1)}, other)
    code = tmp_path / "code.pth"
    torch.save({"conv1.weight": print}, code)
    number = tmp_path / "number.pth"
    torch.save({"epoch": 3, "conv1.weight": torch.zeros(1)}, number)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(short.read_bytes()[:1000])
    fine = tmp_path / "fine.safetensors"
    save_file(weights, fine)
    for path, width, found in ((text, 16, "text"), (short, 16, "no layer2.1.conv1.weight"), (other, 16, "stem.weight"),
                               (code, 16, "print"), (number, 16, "tensors alone"), (broken, 16, "broken"),
                               (tmp_path / "none.pth", 16, "none.pth"), (tmp_path, 16, ""),
                               (fine, 8, r"conv1.weight of \(4, 3, 7, 7\), not \(8, 3, 7, 7\)")):
        with pytest.raises(StudyError, match="expected weights of a ResNet-50 as torchvision names them") as raised:
            build_method("triplanar-resnet", MethodOptions(encoder_weights=path, width=width))
        assert raised.match(found)


def test_planes_are_chosen_and_one_alone_is_not_fused():
    names = {planes: [s.name for s in build_method("triplanar-resnet", MethodOptions(planes=planes)).stages]
             for planes in ((), ("x",), ("y", "z"))}
    assert names == {(): ["axial", "sagittal", "coronal", "fuse"], ("x",): ["sagittal"],
                     ("y", "z"): ["axial", "coronal", "fuse"]}
    for planes in names:
        stages = build_method("triplanar-resnet", MethodOptions(planes=planes)).stages
        assert sum(s.share for s in stages) == pytest.approx(1)
    with pytest.raises(StudyError, match="oblique"):
        build_method("triplanar-resnet", MethodOptions(planes=("x", "oblique")))
    assert build_method("triplanar-resnet").contrasts == (Contrast.WATER, Contrast.OPPOSED, Contrast.FAT)


def test_the_fusion_is_two_cubic_convolutions_on_six_channels():
    layers = [m for m in Fusion(3, 1).modules() if isinstance(m, torch.nn.Conv3d)]
    assert [m.kernel_size for m in layers] == [(3, 3, 3), (3, 3, 3)]
    assert (layers[0].in_channels, layers[1].out_channels) == (6, 1)


def test_positions_run_from_end_to_end_of_each_disc():
    mask = np.zeros((9, 12, 24), dtype=bool)
    mask[2:7, 3:7, 2:6] = mask[2:7, 3:7, 10:14] = True
    x, z = relative_positions(mask, [0, 2])
    np.testing.assert_allclose(x[2:7, 4, 3], [-0.8, -0.4, 0, 0.4, 0.8], atol=1e-6)
    for start in (2, 10):
        np.testing.assert_allclose(z[4, 4, start : start + 4], [-0.75, -0.25, 0.25, 0.75], atol=1e-6)
    assert z[4, 4, 6] == 1.25 and z[4, 4, 9] == -1.25  # beyond a disc, of the nearest one
    assert z[4, 4, -1] == np.abs([x, z]).max() == 2  # no farther, however far away
    assert not relative_positions(mask & False, [0, 1, 2]).any()


def test_nothing_above_the_highest_disc_is_learnt_from(rng):
    case = toy_case(rng, shape=SHAPE)
    case = replace(case, labels=np.where(case.labels > 4, 0, case.labels).astype(np.int16))
    top = int(np.flatnonzero((case.labels == 4).any(axis=(0, 1)))[-1])
    assert learnt_height(case) == top + 9 < SHAPE[2]
    assert learnt_height(replace(case, labels=0 * case.labels)) == SHAPE[2]
    case.image[..., learnt_height(case) :] = 1e6  # would show in any pair
    trained = Trained({}, {"mean": np.zeros(4, np.float32), "sd": np.ones(4, np.float32),
                           "planes a ses-1": np.concatenate([case.image, case.image[:2]])})
    axial, sagittal, coronal, fuse = build_method("triplanar-resnet", MethodOptions(contrasts=DIXON)).stages
    shapes = {axial: SHAPE[:2], sagittal: (SHAPE[1], top + 9), coronal: (SHAPE[0], top + 9), fuse: (24, 32, 32)}
    for stage, shape in shapes.items():
        for _ in range(5):
            image, target = stage.draw([case], trained, rng)
            assert target.shape == image.shape[1:] == shape
            assert image.max() < 1e4


def test_the_fusion_learns_from_other_subjects_than_the_planes(rng, tmp_path):
    method = build_method("triplanar-resnet", MethodOptions(width=64))
    train_method(method, toy_cases(rng, shape=SHAPE), Budget(60, steps=1), tmp_path)
    *planes, fuse = stage_records(method, tmp_path)
    assert all(p.cases == planes[0].cases for p in planes)
    assert set(fuse.cases).isdisjoint(planes[0].cases) and fuse.cases


class Itself(torch.nn.Module):
    """Scores that are the image."""

    def forward(self, image):
        return image[:, :1]


def test_of_more_than_seven_parts_the_bottom_seven_are_discs(rng):
    case = toy_case(rng, shape=SHAPE, contrasts=(Contrast.WATER,))
    labels = np.zeros(SHAPE, dtype=np.int16)
    for n in range(9):
        labels[5:20, 5:25, 2 + 11 * n : 8 + 11 * n] = n + 1
    case = replace(case, image=np.where(labels > 0, 5.0, -5.0).astype(np.float32)[None])
    trained = Trained({"coronal": Itself()}, {"mean": np.zeros(1, np.float32), "sd": np.ones(1, np.float32)})
    method = build_method("triplanar-resnet", MethodOptions(planes=("y",), contrasts=(Contrast.WATER,)))
    found = method.predict(trained, case, "cpu")
    np.testing.assert_array_equal(found.labels, np.where(labels <= 7, labels, 0))
    case = replace(case, image=-5 * np.ones_like(case.image))
    assert not method.predict(trained, case, "cpu").labels.any()


def test_a_push_has_half_its_size_at_its_reach():
    field = pushed((21, 21), np.array([[10.0, 10.0]]), np.array([[2.0, -1.0]]), 4.0)
    np.testing.assert_allclose(field[:, 10, 10], [2, -1])
    np.testing.assert_allclose(field[:, 10, 14], [1, -0.5])
    assert np.abs(field).max() == 2


def slice_with_discs(rng):
    labels = np.zeros((60, 90), dtype=np.int16)
    labels[20:40, 10:20], labels[22:42, 40:52], labels[18:38, 65:74] = 1, 4, 7
    return rng.normal(0, 1, (3, 60, 90)).astype(np.float32), labels


def test_labels_stay_labels_and_move_with_the_image(rng):
    image, labels = slice_with_discs(rng)
    image[0] = labels > 0
    overlaps = []
    for _ in range(20):
        seen, target = augmented(image, labels, (48, 80), rng, Amounts(share=1.0, brightness=0, noise=0, gain=0,
                                                                       gamma=0))
        assert seen.shape == (3, 48, 80) and target.shape == (48, 80) and target.dtype == np.int16
        assert set(np.unique(target)) <= {0, 1, 4, 7} and np.isfinite(seen).all()
        discs = target > 0
        overlaps.append(2 * ((seen[0] > 0.5) & discs).sum() / max((seen[0] > 0.5).sum() + discs.sum(), 1))
    assert min(overlaps) > 0.95


def test_without_augmentation_a_slice_is_a_window_of_itself(rng):
    image, labels = slice_with_discs(rng)
    same, target = augmented(image, labels, (60, 90), rng, STILL)
    np.testing.assert_array_equal(same, image)
    np.testing.assert_array_equal(target, labels)
    window, target = augmented(image, labels, (60, 50), rng, STILL)
    starts = [a for a in range(41) if np.array_equal(window, image[..., a : a + 50])]
    assert len(starts) == 1
    np.testing.assert_array_equal(target, labels[:, starts[0] : starts[0] + 50])
    _, wider = augmented(image, labels, (70, 90), rng, STILL)
    assert (wider > 0).sum() == (labels > 0).sum()


def test_each_kind_of_augmentation_changes_a_slice(rng):
    image, labels = slice_with_discs(rng)
    still = replace(STILL, share=1.0, bend=0, dent=0, crop=0, tilt=0, turn_deg=0, brightness=0, noise=0, gain=0,
                    gamma=0)
    unchanged, _ = augmented(image, labels, labels.shape, rng, still)
    np.testing.assert_allclose(unchanged, image, atol=1e-5)
    usual = Amounts()
    for kind in ("bend", "dent", "crop", "tilt", "turn_deg", "brightness", "noise", "gain", "gamma"):
        changed, _ = augmented(image, labels, labels.shape, rng, replace(still, **{kind: getattr(usual, kind)}))
        assert np.abs(changed - image).max() > 0.05, kind


def test_tissue_alone_is_deformed_and_brightened(rng):
    image, labels = slice_with_discs(rng)
    field = tissue_deformation(labels, rng, replace(Amounts(), dents=1, reach=2.0))
    size = np.linalg.norm(field, axis=0)
    assert labels[np.unravel_index(size.argmax(), size.shape)] > 0
    assert size[:, -1].max() < 0.1 * size.max()
    assert not tissue_deformation(0 * labels, rng, Amounts()).any()
    how = Amounts(share=1.0, noise=0, gain=0, gamma=0)
    change = with_intensities(image, labels, rng, how) - image
    np.testing.assert_allclose(change[:, labels == 0], 0, atol=1e-5)
    inside = change[:, labels > 0]
    assert np.abs(inside).max() > 0.01 and inside.std(axis=1).max() < 1e-4  # one way for all of the tissue
