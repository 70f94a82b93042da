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
from torch.nn import functional

from bedrest.methods.disc_numbering import disk_filtered, name_discs
from bedrest.methods.losses import cross_entropy, probability_of_disc
from bedrest.methods.method import (
    Case,
    Float,
    Method,
    MethodOptions,
    Pair,
    Prediction,
    Stage,
    Trained,
    constant,
    logits_of,
    standardised,
    throughout,
)
from bedrest.methods.start import gaussian_start, he_start
from bedrest.vocabulary import Contrast

THRESHOLD = 0.5
WEIGHT_DECAY = 5e-4
NEIGHBOURS = 3  # slices that fcn2d sees; the middle one is segmented
_SOURCE = "Chen, Dou et al. 2016"
_VGG = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # features and convolutions of each level


class FCN3D(nn.Module):
    """(B, C, I, J, K) -> (B, 2, I, J, K), any size; (1, 3, 3) kernels and pooling where there are few slices are not
    used: every layer is cubic, as in the paper."""

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
        shape = image.shape[2:]
        pad = [(-n) % 4 for n in shape]
        wide = functional.pad(image, (0, pad[2], 0, pad[1], 0, pad[0]), mode="replicate")
        result: Tensor = self.layers(wide)[:, :, : shape[0], : shape[1], : shape[2]]
        return result


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
        height, width = image.shape[2:]
        features = functional.pad(image, (0, (-width) % 32, 0, (-height) % 32), mode="replicate")
        kept = []
        for level in self.levels:
            features = level(features)
            kept.append(features)
        at8, at16, at32 = (head(at) for head, at in zip(self.head, kept[2:], strict=True))
        at16 = at16 + self.doubled[0](at32)
        result: Tensor = self.eightfold(at8 + self.doubled[1](at16))
        return result[:, :, :height, :width]


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
    return _outcome(probability_of_disc(logits[None])[0].numpy())


def _predict_slices(trained: Trained, case: Case, device: str) -> Prediction:
    image, network = standardised(case.image, trained), trained.networks["segment"]
    logits = torch.stack([logits_of(network, slices_around(image, i), device) for i in range(image.shape[1])])
    return _outcome(probability_of_disc(logits).numpy())


def _build(network: nn.Module, choices: MethodOptions) -> nn.Module:
    return gaussian_start(network) if choices.gaussian_start else he_start(network)


def fcn3d(choices: MethodOptions) -> Method:
    """The whole volume in one pass."""
    contrasts = choices.contrasts or (Contrast.T2,)
    stage = Stage("segment", lambda: _build(FCN3D(len(contrasts), max(32 // choices.width, 1)), choices), _draw_volume,
                  throughout(cross_entropy), batch=1, rate=constant(1e-3),
                  weight_decay=WEIGHT_DECAY)
    return Method("fcn3d", _SOURCE, contrasts, (stage,), _predict_volume)


def fcn2d(choices: MethodOptions) -> Method:
    """Slice by slice, each with its two neighbours."""
    contrasts = choices.contrasts or (Contrast.T2,)
    stage = Stage("segment", lambda: _build(FCN8s(NEIGHBOURS * len(contrasts), choices.width), choices), _draw_slice,
                  throughout(cross_entropy), batch=8, rate=constant(1e-4),
                  weight_decay=WEIGHT_DECAY)
    return Method("fcn2d", _SOURCE, contrasts, (stage,), _predict_slices)
