"""Li et al. 2018, Med. Image Anal. 45:41-54: multi-scale fully convolutional network, random modality voxel dropout.

Three pathways see 36 x 60 x 60, 40 x 70 x 70 and 46 x 80 x 80 voxels about one middle; each ends at 36 x 60 x 60.
The paper's figure gives kernels of 1 x 3 x 3 and 3 x 3 x 3, one max-pooling and one deconvolution, and no numbers of
feature maps: 32, doubled below the pooling, is ours, and so is which layer shrinks what.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from bedrest.methods.disc_numbering import name_discs
from bedrest.methods.losses import falling, weighted_cross_entropy
from bedrest.methods.method import Case, Method, MethodOptions, Pair, Prediction, Size, Stage, Trained
from bedrest.methods.networks import disc_probability, initialised, overlap_tile, standardised
from bedrest.methods.tiles import draw_crop
from bedrest.vocabulary import DIXON

INSIDE: Size = (36, 60, 60)
OUTSIDE: tuple[Size, Size, Size] = ((36, 60, 60), (40, 70, 70), (46, 80, 80))
THRESHOLD = 0.9
BATCH = 10
# With this weight a voxel that is disc as often as not gets a probability of 0.9, the paper's threshold; the paper does
# not give its own.
DISC_WEIGHT = 9.0
FLAT: Size = (1, 3, 3)
CUBE: Size = (3, 3, 3)
_TRIM: Size = (0, 6, 6)  # of the padded pathway's tiles
# Kernels before the pooling, between pooling and deconvolution, and after it; pathway I pads, II and III shrink.
_KERNELS: tuple[tuple[tuple[Size, ...], ...], ...] = (
    ((CUBE, CUBE), (CUBE, CUBE), (CUBE,)),
    ((CUBE,), (FLAT,), (CUBE, FLAT)),
    ((CUBE, CUBE), (CUBE, FLAT), (CUBE, FLAT, FLAT, FLAT)))


class Pathway(nn.Sequential):
    """Convolutions, one pooling, one deconvolution: (B, C, *outside) -> (B, features, 36, 60, 60)."""

    def __init__(self, number: int, contrasts: int, features: int, *, padding: bool) -> None:
        before, below, after = _KERNELS[number]
        layers: list[nn.Module] = []
        width = contrasts

        def convolve(kernels: Sequence[Size], wide: int) -> None:
            nonlocal width
            for i, j, k in kernels:
                layers.extend((nn.Conv3d(width, wide, (i, j, k), padding=(i // 2, j // 2, k // 2) if padding else 0),
                               nn.ReLU()))
                width = wide

        convolve(before, features)
        layers.append(nn.MaxPool3d(2))
        convolve(below, 2 * features)
        layers += [nn.ConvTranspose3d(width, features, 2, stride=2), nn.ReLU()]
        width = features
        convolve(after, features)
        super().__init__(*layers)


class MsFCN(nn.Module):
    """Pathways side by side, then a convolution over all of them: (B, C, *outside) -> (B, 1, 36, 60, 60).

    `sizes`: size of the image that each pathway sees; one: pathway I alone, the paper's baseline.
    """

    def __init__(self, contrasts: int, features: int, sizes: Sequence[Size]) -> None:
        super().__init__()
        self.sizes = sizes
        self.pathways = nn.ModuleList(
            Pathway(i, contrasts, features, padding=size == INSIDE) for i, size in enumerate(sizes))
        self.fusion = nn.Sequential(nn.Conv3d(len(sizes) * features, features, 3, padding=1), nn.ReLU(),
                                    nn.Conv3d(features, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        features = [pathway(_middle(image, size)) for pathway, size in zip(self.pathways, self.sizes, strict=True)]
        result: Tensor = self.fusion(torch.cat(features, dim=1))
        return result


def _middle(image: Tensor, size: Size) -> Tensor:
    start = [(n - s) // 2 for n, s in zip(image.shape[2:], size, strict=True)]
    i, j, k = (slice(a, a + s) for a, s in zip(start, size, strict=True))
    return image[:, :, i, j, k]


def drop_voxels(image: np.ndarray, ratio: float, rng: np.random.Generator) -> None:
    """Random modality voxel dropout, in place: this share of the voxels of one contrast becomes 0.

    `image`: float32, (C, I, J, K), the mean over the data set already taken off.
    """
    if ratio > 0:
        image[int(rng.integers(len(image)))][rng.random(image.shape[1:]) < ratio] = 0


def _draw(cases: Sequence[Case], trained: Trained, rng: np.random.Generator, *, outside: Size,
          dropout: float) -> Pair:
    image, labels = draw_crop(cases[int(rng.integers(len(cases)))], rng, inside=INSIDE, outside=outside)
    image = standardised(image, trained)
    drop_voxels(image, dropout, rng)
    return image, labels


def _predict(trained: Trained, case: Case, device: str, *, outside: Size) -> Prediction:
    trim = _TRIM if outside == INSIDE else (0, 0, 0)
    logits = overlap_tile(trained.networks["segment"], standardised(case.image, trained), device, inside=INSIDE,
                          outside=outside, trim=trim)
    probability = disc_probability(torch.from_numpy(logits))
    return Prediction(probability, name_discs(probability, threshold=THRESHOLD))


def _method(name: str, sizes: Sequence[Size], choices: MethodOptions) -> Method:
    contrasts = choices.contrasts or DIXON
    outside = sizes[-1]

    def build() -> nn.Module:
        return initialised(MsFCN(len(contrasts), max(32 // choices.width, 1), sizes), gaussian=choices.gaussian_start)

    stage = Stage("segment", build, partial(_draw, outside=outside, dropout=choices.voxel_dropout),
                  lambda logits, target, share: weighted_cross_entropy(logits, target, weight=DISC_WEIGHT),
                  batch=BATCH, rate=falling(1e-3, by=5, every=3000))
    return Method(name, "Li et al. 2018", contrasts, (stage,), partial(_predict, outside=outside))


def msfcn(choices: MethodOptions) -> Method:
    """Three pathways at three scales."""
    return _method("msfcn", OUTSIDE, choices)


def msfcn_a(choices: MethodOptions) -> Method:
    """The same with 36 x 60 x 60 in every pathway, all of them padded."""
    return _method("msfcn-a", (INSIDE,) * 3, choices)


def fcn_baseline(choices: MethodOptions) -> Method:
    """Pathway I alone."""
    return _method("fcn-baseline", (INSIDE,), choices)
