"""What a published method is made of, and what passes between its parts. Knows no method, no file and no protocol.

A method is one or more networks, each with its way to draw training pairs and its loss, and one way from an image to
named discs. Arrays have axes right, front, head, at `SPACING_MM` (that of IVDM3Seg and of every paper here).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bedrest.errors import ImageError
from bedrest.imaging.orientation import Reorientation
from bedrest.types import Grid
from bedrest.vocabulary import Contrast

SPACING_MM = (2.0, 1.25, 1.25)
IGNORED = -1  # of a target: a voxel without loss

Float = NDArray[np.float32]
Labels = NDArray[np.int16]
Pair = tuple[Float, Labels]


@dataclass(frozen=True, eq=False)
class Case:
    """One visit as every method takes it."""

    subject: str
    session: str
    contrasts: tuple[Contrast, ...]  # in the order of the channels
    image: Float  # float32, (C, I, J, K); intensities as the scanner gave them
    labels: Labels  # int16, (I, J, K); 0, and 1 = L5-S1 ... 7 = T11-T12; all 0 where nobody drew discs
    reorientation: Reorientation  # from the grid of the files to right, front, head
    grid: Grid  # of `image`


@dataclass(frozen=True, eq=False)
class Trained:
    """What training leaves: networks by stage, and what was learnt from the training cases besides."""

    networks: Mapping[str, nn.Module]  # mapping of a stage's name to its network
    # mapping of name to array; `mean` and `sd`, (C,) float32, of the intensities of each contrast over all training
    # cases; a method may add more
    learnt: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a method says of one case."""

    probability: Float  # float32, (I, J, K), of disc
    # int16, (I, J, K); 0, and the discs found: 1 for the lowest, which should be L5-S1, and so on upwards
    labels: Labels


Draw = Callable[[Sequence[Case], Trained, np.random.Generator], Pair]
Prepare = Callable[[Sequence[Case], Trained, str], Mapping[str, NDArray[Any]]]
Loss = Callable[[Tensor, Tensor, float], Tensor]
Rate = Callable[[int, float], float]


@dataclass(frozen=True, eq=False)
class Stage:
    """One network and how it is trained; the stages of a method are trained in their order."""

    name: str
    # function without arguments that gives a new network, its weights drawn from torch's generator
    build: Callable[[], nn.Module]
    # function of the training cases (with the method's contrasts), of what earlier stages left, of a generator; one
    # pair: image float32, (C, ...), and target int16, (...): 0, 1 (or levels 1 to 7), or `IGNORED`
    draw: Draw
    # function of logits (B, S, ...) as the network gives them, of target (B, ...), and of the share of the budget
    # that is used, 0 to 1
    loss: Loss
    batch: int  # pairs a step
    rate: Rate  # function of the step and of the share of the budget used: learning rate of Adam
    weight_decay: float = 0.0  # of Adam
    share: float = 1.0  # part of the method's budget; those of all its stages sum to 1
    # part of the training subjects that this stage learns from alone, the others learning from the rest: for what is
    # fitted to the predictions of earlier stages. 0: all learn from all
    held_back: float = 0.0
    # function of the training cases, of what earlier stages left, and of a device; arrays by name that `draw` finds
    # in `Trained.learnt` beside the others and that are not stored: what is slow and the same at every draw, such as
    # predictions of earlier stages; see `case_key`
    prepare: Prepare = field(default=lambda cases, trained, device: {})


@dataclass(frozen=True, eq=False)
class Method:
    """A published method, ready to be trained."""

    name: str  # as in `registry.METHODS`
    source: str  # the paper
    contrasts: tuple[Contrast, ...]  # what its networks take, in this order
    stages: tuple[Stage, ...]
    # function of what training left, of a case with the method's contrasts, and of a device
    predict: Callable[[Trained, Case, str], Prediction]
    # function of the training cases: what is learnt from them besides networks, beyond `mean` and `sd`
    learn: Callable[[Sequence[Case]], Mapping[str, NDArray[Any]]] = field(default=lambda cases: {})


@dataclass(frozen=True)
class MethodOptions:
    """What may be chosen for a method; a method refuses what it does not have."""

    contrasts: tuple[Contrast, ...] = ()  # empty: what the paper used
    # share of voxels of one contrast that are set to 0 in a training pair; 0: none (Li et al. 2018)
    voxel_dropout: float = 0.0
    # kernels drawn with a standard deviation of 0.01, as in Li 2018 and Chen 2016, instead of He's start: from there
    # networks of many layers without normalisation take thousands of steps to begin learning
    gaussian_start: bool = False
    planes: tuple[str, ...] = ()  # of those of a method that works plane by plane: x, y, z; empty: all
    encoder_weights: Path | None = None  # file with weights of a ResNet-50 to start from (Georgiev and Asenov 2018)
    # divides the number of feature maps: 1 as published; more for a machine that is too small, and for tests
    width: int = 1


def constant(rate: float) -> Rate:
    """The same learning rate throughout."""
    return lambda step, share: rate


def falling(rate: float, *, by: float, every: int) -> Rate:
    """Divided by `by` every so many steps."""
    return lambda step, share: rate / by ** (step // every)


def throughout(loss: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    """The same loss from the first step to the last."""
    return lambda logits, target, share: loss(logits, target)


def with_contrasts(case: Case, contrasts: Sequence[Contrast]) -> Case:
    """The same case with these contrasts alone, in this order.

    Raises ImageError: one is missing.
    """
    if missing := [c for c in contrasts if c not in case.contrasts]:
        raise ImageError(f"the contrasts {', '.join(contrasts)}", f"no {', '.join(missing)}",
                         f"{case.subject} {case.session}", "Choose contrasts that every visit has.")
    image = case.image[[case.contrasts.index(c) for c in contrasts]]
    return replace(case, contrasts=tuple(contrasts), image=image)


def case_key(name: str, case: Case) -> str:
    """Key of an array that belongs to one case, for `Stage.prepare`."""
    return f"{name} {case.subject} {case.session}"


def prepared(stage: Stage, cases: Sequence[Case], trained: Trained, device: str) -> Trained:
    """What training left so far, with what a stage prepares for its draws."""
    return replace(trained, learnt={**trained.learnt, **stage.prepare(cases, trained, device)})


def standardised(image: Float, trained: Trained) -> Float:
    """Less the mean of each contrast over the training cases, over its standard deviation there."""
    axes = (slice(None), *(None,) * (image.ndim - 1))
    result: Float = (image - trained.learnt["mean"][axes]) / trained.learnt["sd"][axes]
    return result


def logits_of(network: nn.Module, image: Float, device: str) -> Tensor:
    """Output of a network in evaluation mode for one image, (C, ...) -> (S, ...), on the CPU."""
    with torch.inference_mode():
        result: Tensor = network.to(device).eval()(torch.from_numpy(np.ascontiguousarray(image))[None].to(device))
    return result[0].float().cpu()
