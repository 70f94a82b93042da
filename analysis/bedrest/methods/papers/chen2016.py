"""Chen, Dou et al. 2016, LNCS 9402:375-382: a 3D fully convolutional network on the whole volume, and a 2D one.

The paper gives kinds of layers, not their numbers. `fcn3d`: two levels of pooling by 2, doubled features, learned
up-sampling by 2 back to full size, no skips. `fcn2d`: the FCN-8s of Long et al. 2015, which it cites, on three
neighbouring sagittal slices. Both are trained on negative log likelihood with a penalty on the weights (eq. 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from bedrest.methods.disc_numbering import disk_filtered, name_discs
from bedrest.methods.losses import constant, cross_entropy, probability_of_disc, throughout
from bedrest.methods.method import Case, Float, Method, MethodOptions, Pair, Prediction, Stage, Trained
from bedrest.methods.networks import at_multiple, disc_probability, initialised, logits_of, standardised
from bedrest.vocabulary import Contrast

THRESHOLD = 0.5
WEIGHT_DECAY = 5e-4
NEIGHBOURS = 3  # slices that fcn2d sees; the middle one is segmented
_SOURCE = "Chen, Dou et al. 2016"
_VGG = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # features and convolutions of each level


class FCN3D(nn.Module):
    """(B, C, I, J, K) -> (B, 2, I, J, K), any size; every layer is cubic, as in the paper, however few the slices."""

    def __init__(self, contrasts: int, features: int) -> None:
        super().__init__()

        def block(inputs: int, outputs: int) -> list[nn.Module]:
            return [nn.Conv3d(inputs, outputs, 3, padding=1), nn.ReLU(),
                    nn.Conv3d(outputs, outputs, 3, padding=1), nn.ReLU()]

        one, two, four = features, 2 * features, 4 * features
        self.layers = nn.Sequential(
            *block(contrasts, one), nn.MaxPool3d(2), *block(one, two), nn.MaxPool3d(2), *block(two, four),
            nn.ConvTranspose3d(four, two, 2, stride=2), nn.ReLU(), nn.ConvTranspose3d(two, one, 2, stride=2), nn.ReLU(),
            nn.Conv3d(one, 2, 1))

    def forward(self, image: Tensor) -> Tensor:
        return at_multiple(self.layers, image, 4)


class FCN8s(nn.Module):
    """(B, C, H, W) -> (B, 2, H, W), any size: logits at strides 8, 16 and 32, each up-sampled by learned kernels."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList()
        last = inputs
        for features, n in _VGG:
            layers: list[nn.Module] = []
            for _ in range(n):
                layers += [nn.Conv2d(last, max(features // width, 2), 3, padding=1), nn.ReLU()]
                last = max(features // width, 2)
            self.levels.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        self.head = nn.ModuleList(nn.Conv2d(max(f // width, 2), 2, 1) for f, _ in _VGG[2:])
        self.doubled = nn.ModuleList(nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1) for _ in range(2))
        self.eightfold = nn.ConvTranspose2d(2, 2, 16, stride=8, padding=4)

    def forward(self, image: Tensor) -> Tensor:
        return at_multiple(self._logits, image, 32)

    def _logits(self, features: Tensor) -> Tensor:
        kept = []
        for level in self.levels:
            features = level(features)
            kept.append(features)
        at8, at16, at32 = (head(at) for head, at in zip(self.head, kept[2:], strict=True))
        at16 = at16 + self.doubled[0](at32)
        logits: Tensor = self.eightfold(at8 + self.doubled[1](at16))
        return logits


def slices_around(image: Float, at: int, neighbours: int = NEIGHBOURS) -> Float:
    """Sagittal slices about one, the outermost repeated: (C, I, J, K) -> (C * neighbours, J, K)."""
    wanted = np.clip(np.arange(neighbours) - neighbours // 2 + at, 0, image.shape[1] - 1)
    result: Float = image[:, wanted].reshape(-1, *image.shape[2:])
    return result


def _draw_volume(cases: Sequence[Case], trained: Trained, rng: np.random.Generator) -> Pair:
    case = cases[int(rng.integers(len(cases)))]
    return standardised(case.image, trained), case.labels


def _draw_slice(cases: Sequence[Case], trained: Trained, rng: np.random.Generator) -> Pair:
    case = cases[int(rng.integers(len(cases)))]
    at = int(rng.integers(len(case.labels)))
    return slices_around(standardised(case.image, trained), at), case.labels[at]


def _outcome(probability: Float) -> Prediction:
    smooth = disk_filtered(probability)
    return Prediction(smooth, name_discs(smooth, threshold=THRESHOLD))


def _predict_volume(trained: Trained, case: Case, device: str) -> Prediction:
    logits = logits_of(trained.networks["segment"], standardised(case.image, trained), device)
    return _outcome(disc_probability(logits))


def _predict_slices(trained: Trained, case: Case, device: str) -> Prediction:
    image, network = standardised(case.image, trained), trained.networks["segment"]
    logits = torch.stack([logits_of(network, slices_around(image, i), device) for i in range(image.shape[1])])
    return _outcome(probability_of_disc(logits).numpy())


def fcn3d(choices: MethodOptions) -> Method:
    """The whole volume in one pass."""
    contrasts, gaussian = choices.contrasts or (Contrast.T2,), choices.gaussian_start
    stage = Stage("segment", lambda: initialised(FCN3D(len(contrasts), max(32 // choices.width, 1)), gaussian=gaussian),
                  _draw_volume, throughout(cross_entropy), batch=1, rate=constant(1e-3), weight_decay=WEIGHT_DECAY)
    return Method("fcn3d", _SOURCE, contrasts, (stage,), _predict_volume)


def fcn2d(choices: MethodOptions) -> Method:
    """Slice by slice, each with its two neighbours."""
    contrasts, gaussian = choices.contrasts or (Contrast.T2,), choices.gaussian_start
    stage = Stage("segment", lambda: initialised(FCN8s(NEIGHBOURS * len(contrasts), choices.width), gaussian=gaussian),
                  _draw_slice, throughout(cross_entropy), batch=8, rate=constant(1e-4), weight_decay=WEIGHT_DECAY)
    return Method("fcn2d", _SOURCE, contrasts, (stage,), _predict_slices)
