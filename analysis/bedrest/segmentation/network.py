"""The network: MONAI's DynUNet in the size and with the strides used here.

Batch norm on purpose: its statistics do not depend on the field of view, so that one dense pass over a whole volume
gives the same as patches in training. Knows nothing of scans and files.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bedrest.anatomy.structures import Structure
from bedrest.vocabulary import Contrast

if TYPE_CHECKING:
    import torch

# Slices are thicker than pixels, so they are pooled twice only: multiples each axis of the input must have.
STRIDES: tuple[tuple[int, int, int], ...] = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
MULTIPLES: tuple[int, int, int] = (4, 16, 16)
WORKING_SPACING_MM: tuple[float, float, float] = (2.0, 1.25, 1.25)
LOCATOR_SPACING_MM: tuple[float, float, float] = (4.0, 2.5, 2.5)


@dataclass(frozen=True)
class Architecture:
    """The sizes needed to rebuild the network."""

    filters: tuple[int, ...]  # channels at each of the five depths


SEGMENTER = Architecture((12, 24, 48, 64, 96))
LOCATOR = Architecture((8, 16, 24, 32, 48))


def build_network(architecture: Architecture, *, channels: int = len(Contrast)) -> torch.nn.Module:
    """Network from (B, contrasts, I, J, K) intensities to (B, 5 structures, I, J, K) logits.

    `channels`: how many contrasts it looks at, the first ones; it takes all of them and leaves the others aside.
    Missing contrasts are channels of zeros. I, J, K must be multiples of `MULTIPLES`; axes right, front, head.
    """
    # monai imports jsonschema, which would build a grammar of web addresses, a second for every process: none has any.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    from monai.networks.nets import DynUNet

    network = DynUNet(
        spatial_dims=3,
        in_channels=channels,
        out_channels=len(Structure),
        kernel_size=[(3, 3, 3)] * len(STRIDES),
        strides=STRIDES,
        upsample_kernel_size=STRIDES[1:],
        filters=architecture.filters,
        norm_name="batch",
    )
    if channels < len(Contrast):
        network.register_forward_pre_hook(partial(_first, channels))
    return network


def _first(channels: int, _network: torch.nn.Module, given: tuple[torch.Tensor]) -> torch.Tensor:
    import torch

    image = given[0]
    last = image.ndim == 5 and image.is_contiguous(memory_format=torch.channels_last_3d)
    return image[:, :channels].contiguous(memory_format=torch.channels_last_3d if last else torch.contiguous_format)
