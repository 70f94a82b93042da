"""Losses and learning rates of the papers; logits are before softmax or sigmoid, a target of `IGNORED` has no loss.

Where a network has one score it is that of disc; where it has two, of background and disc; where more, of each level.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from bedrest.methods.method import IGNORED, Loss, Rate


def probability_of_disc(logits: Tensor) -> Tensor:
    """(B, S, ...) -> (B, ...)."""
    return torch.sigmoid(logits[:, 0]) if logits.shape[1] == 1 else 1 - torch.softmax(logits, dim=1)[:, 0]


def weighted_cross_entropy(logits: Tensor, target: Tensor, *, weight: float) -> Tensor:
    """Li et al. 2018, eq. 1: the term of disc voxels times `weight`, the mean over all voxels.

    `logits`: (B, 1, ...) or (B, 2, ...); `target`: (B, ...).
    """
    logit = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
    counted = target != IGNORED
    each = functional.binary_cross_entropy_with_logits(
        logit, (target > 0).to(logit.dtype), reduction="none", pos_weight=torch.tensor(weight, device=logit.device))
    return (each * counted).sum() / counted.sum().clamp(min=1)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean negative log likelihood of the right class: disc or not with one or two logits, else the level."""
    if logits.shape[1] <= 2:
        return weighted_cross_entropy(logits, target, weight=1.0)
    counted = target != IGNORED
    each = functional.cross_entropy(logits, target.long(), ignore_index=IGNORED, reduction="none")
    return each.sum() / counted.sum().clamp(min=1)


def focal(logits: Tensor, target: Tensor, *, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    """Gao 2018, eq. 1: -alpha (1 - p)^gamma log p, p that of the right class; alpha for disc, 1 - alpha else."""
    counted = target != IGNORED
    disc = target > 0
    logit = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
    log_p = functional.logsigmoid(torch.where(disc, logit, -logit))
    weight = torch.where(disc, alpha, 1 - alpha)
    return -(weight * (1 - log_p.exp()) ** gamma * log_p * counted).sum() / counted.sum().clamp(min=1)


def dice_loss(logits: Tensor, target: Tensor, *, smooth: float = 1.0) -> Tensor:
    """Wang et al. 2020: 1 - (2 overlap + smooth) / (sizes + smooth), over all voxels of the batch together."""
    counted = (target != IGNORED).to(logits.dtype)
    p, t = probability_of_disc(logits) * counted, (target > 0).to(logits.dtype)
    return 1 - (2 * (p * t).sum() + smooth) / (p.sum() + t.sum() + smooth)


def throughout(loss: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    """The same loss from the first step to the last."""
    return lambda logits, target, share: loss(logits, target)


def constant(rate: float) -> Rate:
    """The same learning rate throughout."""
    return lambda step, share: rate


def falling(rate: float, *, by: float, every: int) -> Rate:
    """Divided by `by` every so many steps."""
    return lambda step, share: rate / by ** (step // every)
