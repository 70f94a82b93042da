"""Georgiev and Asenov 2018, CSI challenge: a 2D ResNet-50 for each of three planes, fused by two 3D convolutions.

The fusion learns from subjects that the planes did not learn from. Training images end above the highest labelled disc,
as in the paper: discs above T11-T12 look alike and are not labelled. The paper is silent on the rest; ours: water,
opposed and fat as "the three most useful"; cross entropy; 0.3 of the budget for each plane and 0.1 for the fusion; a
quarter of the subjects held back; 16 features between the two convolutions; every second slice through a disc; the
encoding of position. Slices keep their size: the paper's network takes 512 x 512, four times what this data set needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from bedrest.errors import StudyError
from bedrest.methods.disc_numbering import name_discs
from bedrest.methods.losses import constant, cross_entropy, throughout
from bedrest.methods.method import Case, Float, Method, MethodOptions, Pair, Prediction, Size, Stage, Trained
from bedrest.methods.networks import disc_probability, logits_of, slicewise_probability, standardised
from bedrest.methods.papers.georgiev_augment import augmented
from bedrest.methods.papers.resnet import ResNet50Encoder, ResNetUNet, fit_weights, read_weights
from bedrest.methods.tiles import draw_crop
from bedrest.vocabulary import Contrast

THRESHOLD = 0.5
HELD_BACK = 0.25
CONTRASTS = (Contrast.WATER, Contrast.OPPOSED, Contrast.FAT)
# Name of a stage by the axis that its slices lie across.
PLANES = {"x": ("sagittal", 0), "y": ("coronal", 1), "z": ("axial", 2)}
BOX: Size = (24, 32, 32)  # voxels that the fusion learns from at once; it sees two to each side
_ABOVE = 8  # voxels, 10 mm, that are seen above the highest disc: part of the vertebra, never the next disc
_FARTHEST = 2.0  # of a position, where a disc ends at 1


class Fusion(nn.Sequential):
    """Two convolutions: (B, 2 * planes, I, J, K) -> (B, 1, I, J, K)."""

    def __init__(self, planes: int, width: int) -> None:
        features = max(16 // width, 4)
        super().__init__(nn.Conv3d(2 * planes, features, 3, padding=1), nn.ReLU(),
                         nn.Conv3d(features, 1, 3, padding=1))


def relative_positions(mask: NDArray[np.bool_], axes: Sequence[int]) -> Float:
    """Where each voxel lies along the normal of each plane, relative to the nearest disc: -1 to 1 inside of it.

    A plane's network is right in the middle of a disc and less so at its ends; the paper has "some" encoding of this.

    `mask`: bool, (I, J, K), of the discs as found so far; `axes`: that the planes lie across.
    Returns float32, (n, I, J, K), from -2 to 2; 0 where nothing was found.
    """
    result = np.zeros((len(axes), *mask.shape), dtype=np.float32)
    parts, n = ndimage.label(mask)
    if n:
        nearest = ndimage.distance_transform_edt(parts == 0, return_distances=False, return_indices=True)
        of = parts[tuple(nearest)] - 1
        boxes = ndimage.find_objects(parts)
        for channel, axis in zip(result, axes, strict=True):
            low, high = (np.array([getattr(b[axis], end) for b in boxes]) for end in ("start", "stop"))
            at = np.arange(mask.shape[axis]).reshape([-1 if a == axis else 1 for a in range(3)])
            channel[:] = np.clip((2 * at - (low + high - 1)[of]) / (high - low)[of], -_FARTHEST, _FARTHEST)
    return result


def _of_planes(trained: Trained, case: Case, device: str, planes: Sequence[tuple[str, int]]) -> Float:
    """Probability of each plane, (n, I, J, K)."""
    image = standardised(case.image, trained)
    result: Float = np.stack([slicewise_probability(trained.networks[name], image, device, axis=axis)
                              for name, axis in planes])
    return result


def _channels(probabilities: Float, planes: Sequence[tuple[str, int]]) -> Float:
    positions = relative_positions(probabilities.mean(axis=0) >= THRESHOLD, [axis for _, axis in planes])
    result: Float = np.concatenate([probabilities, positions])
    return result


def learnt_height(case: Case) -> int:
    """Axial slices up to a little above the highest labelled disc; all where none is labelled."""
    with_discs = np.flatnonzero((case.labels > 0).any(axis=(0, 1)))
    height = int(case.labels.shape[2])
    return min(int(with_discs[-1]) + 1 + _ABOVE, height) if len(with_discs) else height


def _draw_slice(cases: Sequence[Case], trained: Trained, rng: np.random.Generator, *, axis: int) -> Pair:
    case = cases[int(rng.integers(len(cases)))]
    image, labels = case.image[..., : learnt_height(case)], case.labels[..., : learnt_height(case)]
    slices, discs = np.moveaxis(image, axis + 1, 0), np.moveaxis(labels, axis, 0)
    spots = np.flatnonzero(discs.any(axis=(1, 2)))
    at = int(rng.choice(spots)) if len(spots) and rng.random() < 0.5 else int(rng.integers(len(discs)))
    least = np.min([(*c.labels.shape[:2], learnt_height(c)) for c in cases], axis=0)
    height, width = (int(n) for n in np.delete(least, axis))
    return augmented(standardised(slices[at], trained), discs[at], (height, width), rng)


def _prepare(cases: Sequence[Case], trained: Trained, device: str, *,
             planes: Sequence[tuple[str, int]]) -> dict[str, Float]:
    return {case.key("planes"): _channels(_of_planes(trained, case, device, planes), planes) for case in cases}


def _draw_box(cases: Sequence[Case], trained: Trained, rng: np.random.Generator) -> Pair:
    case = cases[int(rng.integers(len(cases)))]
    height = learnt_height(case)
    channels = trained.learnt[case.key("planes")][..., :height]
    return draw_crop(replace(case, image=channels, labels=case.labels[..., :height]), rng, inside=BOX, outside=BOX)


def _predict(trained: Trained, case: Case, device: str, *, planes: Sequence[tuple[str, int]]) -> Prediction:
    probabilities = _of_planes(trained, case, device, planes)
    if len(planes) == 1:
        probability = probabilities[0]
    else:
        probability = disc_probability(logits_of(trained.networks["fuse"], _channels(probabilities, planes), device))
    return Prediction(probability, name_discs(probability, threshold=THRESHOLD))


def triplanar_resnet(choices: MethodOptions) -> Method:
    """Axial, sagittal, coronal, then the fusion; without it where one plane alone is chosen.

    Raises StudyError: a plane that there is not, or a file of weights that does not fit.
    """
    if odd := [p for p in choices.planes if p not in PLANES]:
        raise StudyError(f"planes of {', '.join(PLANES)}", ", ".join(odd), "planes", "Correct them.")
    planes = [PLANES[p] for p in ("z", "x", "y") if not choices.planes or p in choices.planes]
    contrasts = choices.contrasts or CONTRASTS
    weights = None
    if choices.encoder_weights is not None:
        weights = read_weights(choices.encoder_weights)
        fit_weights(ResNet50Encoder(len(contrasts), choices.width), weights, where=str(choices.encoder_weights))
    several = len(planes) > 1
    stages = [Stage(name, lambda: ResNetUNet(len(contrasts), choices.width, weights), partial(_draw_slice, axis=axis),
                    throughout(cross_entropy), batch=8, rate=constant(1e-4),
                    share=(0.9 if several else 1.0) / len(planes)) for name, axis in planes]
    if several:
        stages.append(Stage("fuse", lambda: Fusion(len(planes), choices.width), _draw_box,
                            throughout(cross_entropy), batch=8, rate=constant(1e-3),
                            share=0.1, held_back=HELD_BACK, prepare=partial(_prepare, planes=planes)))
    return Method("triplanar-resnet", "Georgiev and Asenov 2018", contrasts, tuple(stages),
                  partial(_predict, planes=planes))
