"""Fits the calibration of a trained network: probabilities that sum to true volumes.

Vector scaling (Guo et al., ICML 2017): one temperature, one offset a structure, by maximum likelihood against the true
shares of held-out voxels. At the optimum the offsets make each structure's mean probability equal its true share.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from analysis.phantom.tissues import Structure
from analysis.segmentation.weights import Calibration

BAND = 3  # voxels around discs: there volumes are decided; a doubt elsewhere must not be balanced there


def calibrate(network: torch.nn.Module, pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]], *,
              device: str, discs: Sequence[NDArray[np.bool_]] | None = None) -> Calibration:
    """Calibration of `network` on held-out pairs, in and near their discs.

    Parameters
    ----------
    pairs : of image (5, I, J, K) and true shares (5, I, J, K)
        Never seen in training; one of them at least with a disc.
    discs : of bool (I, J, K), one a pair, optional
        The discs that will be measured, where others are in view too. Default: all.
    """
    wanted = discs if discs is not None else [target[Structure.DISC] >= 0.5 for _, target in pairs]
    network = network.to(device).eval()
    scores, shares = [], []
    with torch.inference_mode():
        for (image, target), disc in zip(pairs, wanted, strict=True):
            near = torch.from_numpy(ndimage.binary_dilation(disc, iterations=BAND))
            found = network(torch.from_numpy(image)[None].to(device))[0].float().cpu()
            scores.append(found[:, near].T)
            shares.append(torch.from_numpy(target)[:, near].T)
    return _maximum_likelihood(torch.cat(scores).clone(), torch.cat(shares).clone())


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
