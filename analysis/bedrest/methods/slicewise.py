"""A 2D network on every slice of a volume. Knows no method."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from bedrest.methods.losses import probability_of_disc
from bedrest.methods.method import Float

AT_ONCE = 8  # slices that go through a network together


def slicewise_probability(network: nn.Module, image: Float, device: str, *, axis: int = 0) -> Float:
    """Probability of disc, each slice across `axis` for itself.

    `network`: takes (B, C, H, W), gives logits (B, S, H, W); `image`: float32, (C, I, J, K); `axis`: 0, 1 or 2: slices
    are sagittal, coronal or axial.
    Returns float32, (I, J, K).
    """
    slices = np.moveaxis(image, axis + 1, 0)
    network = network.to(device).eval()
    parts = []
    with torch.inference_mode():
        for at in range(0, len(slices), AT_ONCE):
            batch = torch.from_numpy(np.ascontiguousarray(slices[at : at + AT_ONCE])).to(device)
            parts.append(probability_of_disc(network(batch).float()).cpu().numpy())
    result: Float = np.ascontiguousarray(np.moveaxis(np.concatenate(parts), 0, axis))
    return result
