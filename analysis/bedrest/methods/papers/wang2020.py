"""Wang et al. 2020: two-stage multi-modal 3D U-Net, the 3D U-Net that it is compared with, and a 2D U-Net by planes.

Arrays of the paper are 36 x 256 x 256 with slices of 256 x 256 along x, so x is right-left. It does not say which of y
and z is which: they are taken for front and head, our second and third axis, so that the box of 35 x 35 x 25 voxels is
70 x 44 x 31 mm to the right, front and head, which a tilted disc fits and two do not.

Otherwise than published, or chosen where the paper is silent:

- Learning rate 1e-3. The paper's 1e-5 is meant for 10,000 epochs; a budget of minutes has a small part of its steps.
- Intensities are brought to mean 0 and standard deviation 1 over all contrasts together, which is how the paper's
  remark on normalisation reads; zero padding comes after it.
- 3D U-Net, also as the localising network: trained on 32 x 64 x 64 voxels, the size that Li et al. 2018 (Table 5)
  cropped for it, half of them about a voxel of a disc; two at a time, as Dice loss has no slope where a crop without
  discs stands alone; a whole image in one pass where there is memory for it.
- Patches for training lie about the reference discs' centres, moved by the translation of the augmentation.
- Table II has one output a contrast, each a mask of disc: the loss is over all of them, the probability is their mean.
- 2D U-Net: half of the slices of a batch have a disc. The threshold, half of the maximum (127.5 of 255), is 0.5.
- Deformed are three pairs in four (6 scans became 24), each anew instead of 18 times beforehand, and only where cut
  out: turned about the middle of the patch. Numbers stand in `elastic.Deformations`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bedrest.errors import StudyError
from bedrest.methods.disc_numbering import centres, components, name_discs
from bedrest.methods.elastic import Deformations, draw_warp, sampled
from bedrest.methods.losses import constant, dice_loss, throughout
from bedrest.methods.method import (
    SPACING_MM,
    Case,
    Float,
    Method,
    MethodOptions,
    Pair,
    Prediction,
    Size,
    Stage,
    Trained,
)
from bedrest.methods.networks import disc_probability, initialised, logits_of, slicewise_probability
from bedrest.methods.papers.unets import PatchUNet, SliceUNet, UNet3D
from bedrest.segmentation.forward import forward
from bedrest.vocabulary import DIXON, Contrast

BEST = (Contrast.OPPOSED, Contrast.WATER, Contrast.FAT)  # table III
CROP: Size = (32, 64, 64)  # of the 3D U-Net
BOX: Size = (35, 35, 25)
PATCH: Size = (36, 36, 28)
PLANES = {"x": 0, "y": 1, "z": 2}
THRESHOLD = 0.5
RATE = 1e-3
LOCALISING = 0.4  # of the budget of two stages
_SOURCE = "Wang et al. 2020"
_HOW = Deformations()
_POOLED = 8  # the 2D network halves its images three times


def normalised(image: Float, trained: Trained) -> Float:
    """Less the mean over all contrasts of the training cases, over their standard deviation."""
    mean, sd = (trained.learnt[name].astype(np.float64) for name in ("mean", "sd"))
    middle = mean.mean()
    result: Float = ((image - middle) / np.sqrt((sd**2 + mean**2).mean() - middle**2)).astype(np.float32)
    return result


def box_start(centre: NDArray[np.floating]) -> tuple[int, int, int]:
    """First voxel of the box about a centre, which may lie outside the image."""
    i, j, k = (round(float(c)) - n // 2 for c, n in zip(centre, BOX, strict=True))
    return i, j, k


def padded(box: NDArray[np.generic], size: Sequence[int]) -> NDArray[Any]:
    """Zeros about the last axes until they have this size, one more behind than before where that is odd."""
    pad = [((n - m) // 2, n - m - (n - m) // 2) for m, n in zip(box.shape[-len(size):], size, strict=True)]
    return np.pad(box, [(0, 0)] * (box.ndim - len(size)) + pad)


def unpadded(padded_box: NDArray[Any], size: Sequence[int]) -> NDArray[Any]:
    """What `padded` laid zeros about."""
    start = [(n - m) // 2 for m, n in zip(size, padded_box.shape[-len(size):], strict=True)]
    inside: tuple[Any, ...] = tuple(slice(a, a + m) for a, m in zip(start, size, strict=True))
    return padded_box[(..., *inside)]


def put_back(whole: Float, box: Float, start: Sequence[int]) -> None:
    """The larger of a box and of what is there, in place; what lies outside the image is left out.

    `whole`: (I, J, K); `box`: any size; `start`: voxel of the image at the box's first voxel.
    """
    low = [max(a, 0) for a in start]
    high = [min(a + n, m) for a, n, m in zip(start, box.shape, whole.shape, strict=True)]
    there = tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
    part = box[tuple(slice(a - s, max(a, b) - s) for a, b, s in zip(low, high, start, strict=True))]
    whole[there] = np.maximum(whole[there], part)


def _cut(case: Case, trained: Trained, rng: np.random.Generator, *, middle: NDArray[np.generic], size: Size,
         edge: bool) -> Pair:
    """Image and labels of this size about a voxel, deformed or not."""
    warp = draw_warp(rng, _HOW, middle=middle, size=size)
    image, labels = sampled(case.image, case.labels, warp.coordinates(np.array(SPACING_MM)), edge=edge)
    return normalised(image, trained), labels


def _places(cases: Sequence[Case], trained: Trained, device: str) -> Mapping[str, NDArray[Any]]:
    """What draws look up: flat indices of the voxels of discs, and the discs' centres, (n, 3)."""
    spots = {c.key("spots"): np.flatnonzero(c.labels > 0) for c in cases}
    return spots | {c.key("centres"): np.array(list(centres(c.labels).values())) for c in cases}


def _any_disc_voxel(case: Case, trained: Trained, rng: np.random.Generator) -> NDArray[np.int_] | None:
    """A voxel of a disc in every second call, where there are discs."""
    spots = trained.learnt[case.key("spots")]
    if rng.random() >= 0.5 or not len(spots):
        return None
    return np.array(np.unravel_index(rng.choice(spots), case.labels.shape))


def _draw_crop(cases: Sequence[Case], trained: Trained, rng: np.random.Generator) -> Pair:
    case = cases[int(rng.integers(len(cases)))]
    near = _any_disc_voxel(case, trained, rng)
    shape, crop = np.array(case.labels.shape), np.array(CROP)
    middle = rng.integers(shape) if near is None else near
    low, high = np.minimum(crop // 2, shape // 2), np.maximum(shape - crop + crop // 2, shape // 2)
    return _cut(case, trained, rng, middle=np.clip(middle, low, high), size=CROP, edge=True)


def _whole(trained: Trained, stage: str, case: Case, device: str) -> Float:
    return disc_probability(forward(trained.networks[stage].eval(), normalised(case.image, trained), device).data)


def _unet_stage(name: str, contrasts: int, choices: MethodOptions, share: float) -> Stage:
    return Stage(name, lambda: initialised(UNet3D(contrasts, 1, choices.width)), _draw_crop,
                 throughout(dice_loss), batch=2, rate=constant(RATE), share=share, prepare=_places)


def _predict_whole(trained: Trained, case: Case, device: str) -> Prediction:
    probability = _whole(trained, "segment", case, device)
    return Prediction(probability, name_discs(probability, threshold=THRESHOLD))


def unet3d(choices: MethodOptions) -> Method:
    """The 3D U-Net of Cicek et al. 2016, on all four Dixon contrasts unless chosen otherwise."""
    contrasts = choices.contrasts or DIXON
    return Method("unet3d", "Cicek et al. 2016", contrasts, (_unet_stage("segment", len(contrasts), choices, 1.0),),
                  _predict_whole)


def _draw_patch(cases: Sequence[Case], trained: Trained, rng: np.random.Generator) -> Pair:
    """A box about a disc; a case without discs gives one about any voxel."""
    case = cases[int(rng.integers(len(cases)))]
    there = trained.learnt[case.key("centres")]
    middle = there[int(rng.integers(len(there)))] if len(there) else rng.uniform(0, case.labels.shape)
    start = np.array(box_start(middle)) + np.array(BOX) // 2
    image, labels = _cut(case, trained, rng, middle=start, size=BOX, edge=False)
    return padded(image, PATCH), padded(labels, PATCH)


def mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Dice loss of masks of disc, one an output, over all of them together: (B, S, ...) against (B, ...)."""
    return dice_loss(logits.flatten(0, 1)[:, None], target.repeat_interleave(logits.shape[1], dim=0))


def boxes_about(localised: Float) -> list[tuple[int, int, int]]:
    """First voxels of the boxes about all parts of a probability map that are not small, from the bottom up."""
    return [box_start(c) for c in centres(components(localised >= THRESHOLD)).values()]


def _predict_two_stages(trained: Trained, case: Case, device: str) -> Prediction:
    image = normalised(case.image, trained)
    whole = np.zeros(case.labels.shape, dtype=np.float32)
    for start in boxes_about(_whole(trained, "localise", case, device)):
        at = np.indices(BOX) + np.array(start)[:, None, None, None]
        box, _ = sampled(image, case.labels, at, edge=False)
        logits = logits_of(trained.networks["segment"], padded(box, PATCH), device)
        put_back(whole, unpadded(torch.sigmoid(logits).mean(dim=0).numpy(), BOX), start)
    return Prediction(whole, name_discs(whole, threshold=THRESHOLD))


def two_stage_unet3d(choices: MethodOptions) -> Method:
    """A 3D U-Net finds the discs, the network of Table II draws each of them in its box."""
    contrasts = choices.contrasts or BEST
    segment = Stage("segment", lambda: initialised(PatchUNet(len(contrasts), choices.width)), _draw_patch,
                    throughout(mask_loss), batch=1, rate=constant(RATE), share=1 - LOCALISING, prepare=_places)
    return Method("two-stage-unet3d", _SOURCE, contrasts,
                  (_unet_stage("localise", len(contrasts), choices, LOCALISING), segment), _predict_two_stages)


def side_of(cases: Sequence[Case]) -> int:
    """Side of the square that every slice is padded to: that of the longest axis of all images, 256 as published."""
    longest: int = max(n for case in cases for n in case.labels.shape)
    return longest + (-longest) % _POOLED


def _learn_side(cases: Sequence[Case]) -> Mapping[str, NDArray[Any]]:
    return {"side": np.array([side_of(cases)])}


def _draw_slice(cases: Sequence[Case], trained: Trained, rng: np.random.Generator, *, axis: int) -> Pair:
    case = cases[int(rng.integers(len(cases)))]
    near, shape = _any_disc_voxel(case, trained, rng), case.labels.shape
    middle = np.array(shape) // 2
    middle[axis] = rng.integers(shape[axis]) if near is None else near[axis]
    i, j, k = (1 if a == axis else n for a, n in enumerate(shape))
    image, labels = _cut(case, trained, rng, middle=middle, size=(i, j, k), edge=False)
    square = (int(trained.learnt["side"][0]),) * 2
    return padded(image.squeeze(axis + 1), square), padded(labels.squeeze(axis), square)


def _predict_planes(trained: Trained, case: Case, device: str, *, planes: Sequence[str]) -> Prediction:
    image, side = normalised(case.image, trained), max(int(trained.learnt["side"][0]), side_of([case]))
    probabilities = []
    for plane in planes:
        axis, shape = PLANES[plane], case.labels.shape
        squares = padded(image, [n if a == axis else side for a, n in enumerate(shape)])
        of_plane = slicewise_probability(trained.networks[plane], squares, device, axis=axis)
        probabilities.append(unpadded(of_plane, shape))
    probability: Float = np.mean(probabilities, axis=0, dtype=np.float32)
    return Prediction(probability, name_discs(probability, threshold=THRESHOLD))


def unet2d(choices: MethodOptions) -> Method:
    """A 2D U-Net for each plane, and the mean of their probabilities (Table V).

    Raises StudyError: a plane is none of x, y, z, or stands there twice.
    """
    contrasts, planes = choices.contrasts or BEST, choices.planes or tuple(PLANES)
    if set(planes) - set(PLANES) or len(set(planes)) < len(planes):
        raise StudyError("planes out of x, y and z, each once", ", ".join(planes), "method unet2d", "Correct them.")
    stages = tuple(
        Stage(plane, lambda: initialised(SliceUNet(len(contrasts), choices.width)),
              partial(_draw_slice, axis=PLANES[plane]), throughout(dice_loss), batch=16, rate=constant(RATE),
              share=1 / len(planes), prepare=_places)
        for plane in planes)
    return Method("unet2d", _SOURCE, contrasts, stages, partial(_predict_planes, planes=planes), _learn_side)
