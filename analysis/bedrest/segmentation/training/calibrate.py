"""Fits the calibration of a trained network: probabilities that sum to true volumes.

Vector scaling (Guo et al., ICML 2017): one temperature, one offset a structure, by maximum likelihood against the true
shares of held-out voxels. At the optimum the offsets make each structure's mean probability equal its true share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from skimage.segmentation import expand_labels

from bedrest.anatomy.structures import Structure
from bedrest.segmentation.predict import BAND, shifted
from bedrest.segmentation.weights import Calibration
from bedrest.vocabulary import LEVEL_OF_LABEL


def calibrate(network: torch.nn.Module, pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]], *,
              device: str, labels: Sequence[NDArray[np.int32]] | None = None) -> Calibration:
    """Calibration of `network` on held-out pairs, in and near their discs.

    `pairs`: of image (contrasts, I, J, K) and true shares (5, I, J, K); never seen in training; one of them at least
    with a disc; `labels`: of int32 (I, J, K), one a pair; the named discs by `vocabulary.LEVEL_OF_LABEL`: they alone
    count, and each level is then set right for itself. Default: every disc, levels not looked at.
    """
    network = network.to(device).eval()
    discs = labels if labels is not None else [(target[Structure.DISC] >= 0.5).astype(np.int32) for _, target in pairs]
    scores, shares, places = [], [], []
    with torch.inference_mode():
        for (image, target), named in zip(pairs, discs, strict=True):
            near = expand_labels(named, BAND)
            inside = torch.from_numpy(near > 0)
            logits = network(torch.from_numpy(image)[None].to(device))[0].float().cpu()
            scores.append(logits[:, inside].T)
            shares.append(torch.from_numpy(target)[:, inside].T)
            places.append(near[near > 0])
    fitted = _maximum_likelihood(torch.cat(scores).clone(), torch.cat(shares).clone())
    if labels is None:
        return fitted
    disc = torch.softmax(torch.cat(scores) / fitted.temperature + torch.tensor(fitted.offsets), dim=1)
    return replace(fitted, by_level=_level_shifts(disc[:, Structure.DISC].double().numpy(),
                                                  torch.cat(shares)[:, Structure.DISC].double().numpy(),
                                                  np.concatenate(places)))


def _level_shifts(predicted: NDArray[np.float64], true: NDArray[np.float64],
                  label: NDArray[np.int32]) -> dict[str, float]:
    """Shift of the log odds at which each level's probabilities sum to its true volume."""
    shifts = {}
    for k, level in LEVEL_OF_LABEL.items():
        p, volume = predicted[label == k], true[label == k].sum()
        if volume > 0:
            shifts[level] = round(brentq(lambda d, p=p, v=volume: shifted(p, d).sum() - v, -3, 3), 6)
    return shifts


def _maximum_likelihood(scores: torch.Tensor, shares: torch.Tensor) -> Calibration:
    log_temperature = torch.zeros(1, requires_grad=True)
    offsets = torch.zeros(len(Structure), requires_grad=True)
    optimiser = torch.optim.LBFGS([log_temperature, offsets], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        logs = torch.log_softmax(scores / log_temperature.exp() + offsets, dim=1)
        loss = -(shares * logs).sum(dim=1).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    centred = (offsets - offsets[Structure.BACKGROUND]).detach()
    return Calibration(float(log_temperature.detach().exp()), tuple(round(float(v), 6) for v in centred))
