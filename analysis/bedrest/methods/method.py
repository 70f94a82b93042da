"""What a published method is made of, and what passes between its parts. Knows no method, no file and no protocol.

A method is one or more networks, each with its way to draw training pairs and its loss, and one way from an image to
named discs. Arrays have axes right, front, head, at `SPACING_MM` (that of IVDM3Seg and of every paper here).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
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
Size = tuple[int, int, int]  # voxels


@dataclass(frozen=True, eq=False)
class Case:
    """One visit as every method takes it."""

    subject: str
    session: str
    contrasts: tuple[Contrast, ...]  # in the order of the channels
    image: Float  # float32, (C, I, J, K); intensities as the scanner gave them
    labels: Labels  # int16, (I, J, K); 0, and 1 = L5-S1 ... 7 = T11-T12; all 0 without a reference mask
    reorientation: Reorientation  # from the grid of the files to right, front, head
    grid: Grid  # of `image`

    def key(self, name: str) -> str:
        """Key of an array that belongs to this case, for `Stage.prepare`."""
        return f"{name} {self.subject} {self.session}"


@dataclass(frozen=True, eq=False)
class Trained:
    """What training leaves: networks by stage, and what was learnt from the training cases besides."""

    networks: Mapping[str, nn.Module]  # by stage
    # `mean` and `sd`, (C,) float32, of each contrast over all training cases; a method may add more.
    learnt: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Prediction:
    """A method's result for one case."""

    probability: Float  # float32, (I, J, K), of disc
    labels: Labels  # int16, (I, J, K); 0, and discs: 1 for the lowest, which should be L5-S1, and so on upwards


# Draws one pair from the training cases, with the method's contrasts, and what earlier stages left: image float32,
# (C, ...), and target int16, (...): 0, 1 (or levels 1 to 7), or `IGNORED`.
Draw = Callable[[Sequence[Case], Trained, np.random.Generator], Pair]
# From the cases, what earlier stages left, and a device: arrays that `draw` finds in `Trained.learnt` and that are not
# stored. What is slow and the same at every draw, such as predictions of earlier stages; see `Case.key`.
Prepare = Callable[[Sequence[Case], Trained, str], Mapping[str, NDArray[Any]]]
Loss = Callable[[Tensor, Tensor, float], Tensor]  # of logits (B, S, ...), target (B, ...), share of the budget used
Rate = Callable[[int, float], float]  # learning rate at a step and a share of the budget used


@dataclass(frozen=True, eq=False)
class Stage:
    """One network and how it is trained, by Adam; the stages of a method are trained in their order."""

    name: str
    build: Callable[[], nn.Module]  # a new network, its weights from torch's generator
    draw: Draw
    loss: Loss
    batch: int  # pairs a step
    rate: Rate
    weight_decay: float = 0.0
    share: float = 1.0  # of the method's budget; those of all its stages sum to 1
    # Share of the training subjects that this stage alone learns from, as it is fitted to what earlier stages predict;
    # the others learn from the rest. 0: all learn from all.
    held_back: float = 0.0
    prepare: Prepare = field(default=lambda cases, trained, device: {})


@dataclass(frozen=True, eq=False)
class Method:
    """A published method, ready to be trained."""

    name: str  # as in `registry.METHODS`
    source: str  # the paper
    contrasts: tuple[Contrast, ...]  # what its networks take, in this order
    stages: tuple[Stage, ...]
    predict: Callable[[Trained, Case, str], Prediction]  # of a case with the method's contrasts, on a device
    # What is learnt from the training cases besides networks, beyond `mean` and `sd`.
    learn: Callable[[Sequence[Case]], Mapping[str, NDArray[Any]]] = field(default=lambda cases: {})


@dataclass(frozen=True)
class MethodOptions:
    """What may be chosen for a method; a method refuses what it does not have."""

    contrasts: tuple[Contrast, ...] = ()  # empty: what the paper used
    voxel_dropout: Annotated[float, Field(ge=0, le=1)] = 0.0  # share of voxels of one contrast set to 0
    gaussian_start: bool = False  # see `networks.initialised`
    planes: tuple[str, ...] = ()  # of those of a method that works plane by plane: x, y, z; empty: all
    encoder_weights: Path | None = None  # file with weights of a ResNet-50 to start from (Georgiev and Asenov 2018)
    width: int = 1  # divides the number of feature maps: 1 as published; more for a small machine, and for tests


def with_contrasts(case: Case, contrasts: Sequence[Contrast]) -> Case:
    """The same case with these contrasts alone, in this order.

    Raises ImageError: one is missing.
    """
    if missing := [c for c in contrasts if c not in case.contrasts]:
        raise ImageError(f"the contrasts {', '.join(contrasts)}", f"no {', '.join(missing)}",
                         f"{case.subject} {case.session}", "Choose contrasts that every visit has.")
    image = case.image[[case.contrasts.index(c) for c in contrasts]]
    return replace(case, contrasts=tuple(contrasts), image=image)


def prepared(stage: Stage, cases: Sequence[Case], trained: Trained, device: str) -> Trained:
    """What training left so far, with what a stage prepares for its draws."""
    return replace(trained, learnt={**trained.learnt, **stage.prepare(cases, trained, device)})
