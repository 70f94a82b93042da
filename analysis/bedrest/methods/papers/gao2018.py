"""Gao 2018, CSI challenge: region of the spine, 2D dense ASPP network inside it, V-Net and a reference for the names.

The region is the convex hull of the dilated discs, predicted by a 2D U-Net; beyond it there is neither loss nor disc.
The paper is silent on the rest; ours: four dilations; cross entropy for a third of the budget of `segment`, then focal
loss; shares of the budget 0.15, 0.55, 0.3; crops of at most 192 x 192; amounts of augmentation; V-Net on every second
voxel along front and head, which comes near the grid that it was published for, with cross entropy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from monai.networks.nets import BasicUNet
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import convex_hull_image
from torch import Tensor

from bedrest.methods.disc_numbering import bottom_seven, components
from bedrest.methods.losses import constant, cross_entropy, focal, throughout
from bedrest.methods.method import IGNORED, Case, Float, Labels, Method, MethodOptions, Pair, Prediction, Stage, Trained
from bedrest.methods.networks import logits_of, slicewise_probability, standardised
from bedrest.methods.papers.centre_line import centre_line, parts_on, positions, register
from bedrest.methods.papers.dense_aspp import AnyWidthVNet, DenseASPP2D
from bedrest.phantom.render import smooth_field
from bedrest.vocabulary import DIXON, LEVEL_OF_LABEL

THRESHOLD = 0.5
DILATIONS = 4
CROSS_ENTROPY_SHARE = 1 / 3
LARGEST_CROP = 192
STEP = (1, 2, 2)  # of the voxels that the V-Net sees
_BEND, _SCALE, _NOISE = 4.0, 0.1, 0.1  # voxels, part of the size, of an intensity's standard deviation
_FEATURES = (32, 32, 64, 128, 256, 32)  # of the U-Net: MONAI's own
Mask = NDArray[np.bool_]


def spine_region(labels: Labels) -> Mask:
    """Convex hull of the discs after several dilations; empty where there are none.

    `labels`: int16, (I, J, K).
    """
    region = np.zeros(labels.shape, dtype=bool)
    boxes = ndimage.find_objects((labels > 0).astype(np.int8))
    if boxes:
        # of the box alone: the hull of a whole image takes ten seconds.
        box = tuple(slice(max(s.start - DILATIONS, 0), s.stop + DILATIONS) for s in boxes[0])
        wide = ndimage.binary_dilation(labels[box] > 0, iterations=DILATIONS)
        region[box] = convex_hull_image(wide, offset_coordinates=False) | wide
    return region


def _reference_regions(cases: Sequence[Case], trained: Trained, device: str) -> dict[str, Mask]:
    return {case.key("region"): spine_region(case.labels) for case in cases}


def _predicted_regions(cases: Sequence[Case], trained: Trained, device: str) -> dict[str, Mask]:
    """As predicted; the whole image where nothing is, or there would be nothing to learn from."""
    predicted = {case.key("region"): _region(trained, case, device) for case in cases}
    return {key: region if region.any() else np.ones_like(region) for key, region in predicted.items()}


def _region(trained: Trained, case: Case, device: str) -> Mask:
    image = standardised(case.image, trained)
    result: Mask = slicewise_probability(trained.networks["region"], image, device) >= THRESHOLD
    return result


def _warped(shape: Sequence[int], rng: np.random.Generator, middle: NDArray[np.float64],
            step: Sequence[int] = (1, 1, 1)) -> NDArray[np.float64]:
    """Coordinates, (3, *shape), about a middle: every so many voxels, at a random scale, bent."""
    scale = 1 + rng.uniform(-_SCALE, _SCALE)
    steps = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, step, strict=True)), indexing="ij")
    bend = np.stack([rng.uniform(0, _BEND) * smooth_field(tuple(shape), rng) for _ in range(3)])
    result: NDArray[np.float64] = middle[:, None, None, None] + scale * np.stack(steps) + bend
    return result


def _intensities_at(image: Float, at: NDArray[np.float64], trained: Trained, rng: np.random.Generator) -> Float:
    """Intensities at coordinates, standardised, with noise."""
    sampled = np.stack([ndimage.map_coordinates(c, at, order=1, mode="nearest", output=np.float32) for c in image])
    noise = rng.standard_normal(sampled.shape, dtype=np.float32)
    return standardised(sampled, trained) + np.float32(rng.uniform(0, _NOISE)) * noise


def _nearest(labels: NDArray[Any], at: NDArray[np.float64]) -> NDArray[Any]:
    """Labels at coordinates; 0 outside."""
    index = np.rint(at).astype(int)
    size = np.array(labels.shape)[:, None, None, None]
    inside = ((index >= 0) & (index < size)).all(axis=0)
    result: NDArray[Any] = np.where(inside, labels[tuple(np.clip(index, 0, size - 1))], 0)
    return result


def _draw_slice(cases: Sequence[Case], trained: Trained, rng: np.random.Generator, *, whole_region: bool) -> Pair:
    """A sagittal slice of a volume that is scaled and bent in three dimensions, cropped; every second with discs."""
    case = cases[int(rng.integers(len(cases)))]
    region = trained.learnt[case.key("region")]
    size = np.array(case.labels.shape)
    crop = np.minimum(np.min([c.labels.shape for c in cases], axis=0), LARGEST_CROP)
    spots = np.flatnonzero(region.any(axis=(1, 2)))
    sagittal = rng.choice(spots) if len(spots) and rng.random() < 0.5 else rng.integers(size[0])
    low = rng.integers(0, size - crop + 1)
    middle = np.array([sagittal, *(low + (crop - 1) / 2)[1:]], dtype=float)
    at = _warped((1, int(crop[1]), int(crop[2])), rng, middle)
    image = _intensities_at(case.image, at, trained, rng)[:, 0]
    if whole_region:
        return image, _nearest(region, at)[0].astype(np.int16)
    target = np.where(_nearest(region, at), _nearest(case.labels > 0, at), IGNORED)[0]
    return image, target.astype(np.int16)


def _draw_volume(cases: Sequence[Case], trained: Trained, rng: np.random.Generator) -> Pair:
    """The whole volume, scaled and bent: a crop would take away what is counted from."""
    case = cases[int(rng.integers(len(cases)))]
    shape = [-(-n // s) for n, s in zip(case.labels.shape, STEP, strict=True)]
    at = _warped(shape, rng, (np.array(case.labels.shape) - 1) / 2, STEP)
    return _intensities_at(case.image, at, trained, rng), _nearest(case.labels, at).astype(np.int16)


def entropy_then_focal(logits: Tensor, target: Tensor, share: float) -> Tensor:
    """Cross entropy for the first part of the budget, since focal loss from the start is unstable."""
    return cross_entropy(logits, target) if share < CROSS_ENTROPY_SHARE else focal(logits, target)


def reference_of(cases: Sequence[Case]) -> Mapping[str, NDArray[Any]]:
    """Labels of the first training case with the most discs, cut to them: what is laid over every prediction."""
    best = max(cases, key=lambda c: len(np.unique(c.labels))).labels
    boxes = ndimage.find_objects((best > 0).astype(np.int8))
    return {"reference": best[boxes[0]] if boxes else best[:1, :1, :1]}


def name_by_reference(mask: Mask, levels: Labels, reference: Labels) -> Labels:
    """Parts of a predicted mask on the spine's centre line, numbered from the bottom up.

    `mask`: bool, (I, J, K), of the segmentation; `levels`: int16, (I, J, K), of the localiser: 0, and 1 to 7;
    `reference`: int16, any shape.
    Returns int16, (I, J, K); zeros where the mask has no part of a disc's size, all parts where the reference has no
    disc.
    """
    parts = components(mask)
    if not parts.any() or not reference.any():
        return bottom_seven(parts)
    named: Labels = np.where(parts > 0, levels, 0).astype(np.int16)
    # Without a word of the localiser the segmentation stands for itself.
    moved = register(reference, named > 0 if named.any() else parts > 0, named)
    discs = {level: moved(at[None])[0] for level, at in positions(reference).items()}
    return bottom_seven(parts_on(centre_line(discs), parts))


def _predict(trained: Trained, case: Case, device: str) -> Prediction:
    image = standardised(case.image, trained)
    probability = slicewise_probability(trained.networks["segment"], image, device) * _region(trained, case, device)
    i, j, k = case.labels.shape
    coarse = image[:, :, :: STEP[1], :: STEP[2]]
    levels = logits_of(trained.networks["localise"], coarse, device).argmax(dim=0).numpy().astype(np.int16)
    levels = levels.repeat(STEP[1], axis=1).repeat(STEP[2], axis=2)[:i, :j, :k]
    labels = name_by_reference(probability >= THRESHOLD, levels, trained.learnt["reference"])
    return Prediction(probability.astype(np.float32), labels)


def dense_aspp2d(choices: MethodOptions) -> Method:
    """The whole way of the paper; four Dixon contrasts."""
    contrasts = choices.contrasts or DIXON
    n, width = len(contrasts), choices.width
    features = [max(f // width, 2) for f in _FEATURES]
    stages = (
        Stage("region", lambda: BasicUNet(2, n, 1, features, norm="batch", bias=False),
              partial(_draw_slice, whole_region=True),
              throughout(cross_entropy), batch=8, rate=constant(1e-3), share=0.15, prepare=_reference_regions),
        Stage("segment", lambda: DenseASPP2D(n, width), partial(_draw_slice, whole_region=False), entropy_then_focal,
              batch=8, rate=constant(1e-3), share=0.55, prepare=_predicted_regions),
        Stage("localise", lambda: AnyWidthVNet(n, len(LEVEL_OF_LABEL) + 1, 16 // width), _draw_volume,
              throughout(cross_entropy), batch=1, rate=constant(1e-3), share=0.3),
    )
    return Method("dense-aspp2d", "Gao 2018", contrasts, stages, _predict, reference_of)
