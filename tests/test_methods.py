"""Published methods behind one interface: what every one of them must do, whatever the paper. All synthetic."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bedrest.errors import ImageError, StudyError
from bedrest.methods.method import IGNORED, MethodOptions, Trained, prepared, with_contrasts
from bedrest.methods.papers import li2018
from bedrest.methods.registry import METHODS, build_method, read_choices
from bedrest.methods.staged_training import Budget, stage_records, train_method
from bedrest.vocabulary import DIXON, Contrast
from toy_cases import SMALL, dice, toy_cases

# Enough steps for seven bright boxes, with few feature maps and one pair a step.
TOY = {"fcn-baseline": (60, 8), "msfcn": (60, 8), "msfcn-a": (40, 8), "fcn3d": (60, 8), "fcn2d": (200, 16),
       "dense-aspp2d": (32, 8), "triplanar-resnet": (50, 16),
       "unet3d": (30, 16), "two-stage-unet3d": (80, 8), "unet2d": (40, 32)}
# Networks that halve their images often need large discs.
LARGE = {"dense-aspp2d": (26, 40, 96), "triplanar-resnet": (28, 40, 104), "fcn2d": (24, 40, 104),
         "fcn3d": (24, 40, 104)}
# Learning alone; smaller parts of them learn in other tests.
SLOW = {"dense-aspp2d", "msfcn", "msfcn-a", "unet3d", "two-stage-unet3d", "triplanar-resnet"}


def toy_method(name):
    steps, width = TOY[name]
    method = build_method(name, MethodOptions(contrasts=DIXON, width=width))
    # Two pairs a step: PyTorch on the CPU takes a single image with few feature maps the slow way, ten times as long.
    return steps, replace(method, stages=tuple(replace(s, batch=2, rate=lambda step, share: 3e-3)
                                               for s in method.stages))


def toy_cases_of(name, rng):
    return toy_cases(rng, **({"shape": LARGE[name]} if name in LARGE else SMALL))


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in TOY])
def test_it_learns_two_scans_and_names_their_discs(name, rng, tmp_path, monkeypatch):
    if name == "fcn-baseline":  # a crop may be of any size where there is one scale
        monkeypatch.setattr(li2018, "INSIDE", (16, 28, 28))
    cases = toy_cases_of(name, rng)
    steps, method = toy_method(name)
    trained = train_method(method, cases, Budget(60, steps=steps), tmp_path)
    for case in cases:
        found = method.predict(trained, with_contrasts(case, method.contrasts), "cpu")
        assert found.labels.shape == found.probability.shape == case.labels.shape
        assert found.probability.min() >= 0 and found.probability.max() <= 1
        assert dice(found.labels, case.labels) > 0.8
        assert ((found.labels == case.labels)[(case.labels > 0) & (found.labels > 0)]).mean() > 0.95
    stored = train_method(method, cases, Budget(60, steps=steps), tmp_path)  # read, not trained again
    again, before = (method.predict(t, with_contrasts(cases[0], method.contrasts), "cpu") for t in (stored, trained))
    np.testing.assert_array_equal(again.labels, before.labels)
    assert [r.steps for r in stage_records(method, tmp_path)] == [steps] * len(method.stages)


@pytest.mark.parametrize("name", TOY)
def test_gradient_reaches_every_weight(name, rng):
    cases = toy_cases_of(name, rng)
    _, method = toy_method(name)
    trained = Trained({}, {"mean": np.zeros(4, np.float32), "sd": np.ones(4, np.float32), **method.learn(cases)})
    for stage in method.stages:
        torch.manual_seed(0)
        network = stage.build()
        image, target = stage.draw(cases, prepared(stage, cases, trained, "cpu"), rng)
        logits = network(torch.from_numpy(np.ascontiguousarray(image))[None])
        assert logits.shape[0] == 1 and logits.shape[2:] == target.shape
        loss = stage.loss(logits, torch.from_numpy(np.ascontiguousarray(target))[None], 0.9)
        loss.backward()
        without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert without == [], stage.name
        trained = Trained({**trained.networks, stage.name: network.eval()}, trained.learnt)


@pytest.mark.parametrize("name", TOY)
def test_a_voxel_that_is_ignored_has_no_loss(name, rng):
    _, method = toy_method(name)
    for stage in method.stages:
        logits = torch.from_numpy(rng.normal(size=(1, _logits(stage), 6, 6, 6)).astype(np.float32))
        target = torch.from_numpy(rng.integers(0, 2, (1, 6, 6, 6)).astype(np.int16))
        target[0, 0] = IGNORED
        other = logits.clone()
        other[:, :, 0] += 5
        assert stage.loss(logits, target, 0.9) == pytest.approx(float(stage.loss(other, target, 0.9)))


def _logits(stage):
    network = stage.build()
    last = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Conv3d
                                                       | torch.nn.ConvTranspose2d)][-1]
    return last.out_channels


def test_training_goes_on_where_it_stopped_and_a_finished_stage_is_kept(rng, tmp_path):
    cases = toy_cases(rng, **SMALL)
    _, method = toy_method("fcn3d")
    train_method(method, cases, Budget(60, steps=3), tmp_path)
    weights = (tmp_path / "segment.safetensors").read_bytes()
    train_method(method, cases, Budget(60, steps=30), tmp_path)
    assert (tmp_path / "segment.safetensors").read_bytes() == weights
    assert not (tmp_path / "segment.pt").exists()


def test_pairs_may_be_drawn_by_other_processes(rng, tmp_path):
    _, method = toy_method("fcn3d")
    train_method(method, toy_cases(rng, **SMALL), Budget(60, workers=2, steps=2), tmp_path)
    assert [r.steps for r in stage_records(method, tmp_path)] == [2]


def test_the_same_seed_gives_the_same_weights(rng, tmp_path):
    cases = toy_cases(rng, **SMALL)
    _, method = toy_method("fcn3d")
    for name in ("one", "two"):
        train_method(method, cases, Budget(60, steps=3), tmp_path / name)
    one, two = ((tmp_path / n / "segment.safetensors").read_bytes() for n in ("one", "two"))
    assert one == two


def test_unknown_names_and_choices_are_refused():
    with pytest.raises(StudyError, match="msfcn"):
        build_method("msfnc")
    with pytest.raises(StudyError, match="voxel_dropout"):
        build_method("fcn3d", MethodOptions(voxel_dropout=0.01))
    assert set(TOY) <= set(METHODS)


def test_choices_follow_a_methods_name():
    assert read_choices("msfcn") == ("msfcn", MethodOptions())
    assert read_choices("msfcn:voxel_dropout=0.1,gaussian_start=true") == (
        "msfcn", MethodOptions(voxel_dropout=0.1, gaussian_start=True))
    assert read_choices("unet2d:planes=x+z,contrasts=water+fat") == (
        "unet2d", MethodOptions(planes=("x", "z"), contrasts=(Contrast.WATER, Contrast.FAT)))


@pytest.mark.parametrize(("text", "told"), [
    ("msfnc", "found 'msfnc'"), ("msfnc:contrasts=fat", "found 'msfnc'"), ("fcn3d:voxel_dropout=0.1", "voxel_dropout"),
    ("msfcn:width=8", "found width"), ("msfcn:voxel_dropout=2", "voxel_dropout=2"), ("msfcn:voxel_dropout", "found v"),
    ("msfcn:contrasts=wasser", "wasser"), ("msfcn:gaussian_start=maybe", "gaussian_start=maybe"),
    ("triplanar-resnet:encoder_weights=a.pt", "found encoder_weights")])
def test_choices_that_cannot_be_read_are_refused(text, told):
    with pytest.raises(StudyError, match=told):
        read_choices(text)


def test_a_missing_contrast_is_told(rng):
    case = toy_cases(rng)[0]
    with pytest.raises(ImageError, match="no t2"):
        with_contrasts(case, (Contrast.WATER, Contrast.T2))
    swapped = with_contrasts(case, (Contrast.OPPOSED, Contrast.WATER))
    np.testing.assert_array_equal(swapped.image, case.image[[3, 0]])
