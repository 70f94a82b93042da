"""U-Nets of Wang et al. 2020: that of Cicek et al. 2016 in 3D, that of Table II for patches, that of Fig. 2 in 2D.

Knows nothing of scans. Where text, tables and figures of the paper do not agree:

- Table II: the text has unpadded convolutions, the table's sizes are those of padded ones: padded. The table doubles
  feature maps in the pooling and halves them in the concatenation, which neither does: the convolution after it does
  both. The text's 2 x 2 x 2 up-convolution is one with stride 2. The layer with two outputs has a kernel of 3 x 3 x 3
  and no ReLU: behind one, two feature maps die together and nothing is learnt any more.
- Fig. 2: the text has four blocks, images of 256 x 256 padded, and 512 x 512 falling to 32 x 32. Four blocks with three
  poolings bring 256 to 32, and 128 feature maps doubled at each end with 1024.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from monai.networks.blocks import Convolution
from monai.networks.nets.basic_unet import UpCat
from torch import Tensor, nn

PATCH_FEATURES = (32, 64, 128)
SLICE_FEATURES = (128, 256, 512, 1024)
DROPOUT = 0.2


def _encode(blocks: nn.ModuleList, pool: nn.Module, image: Tensor) -> list[Tensor]:
    """Maps behind each block, from the finest to the coarsest; pooled between blocks."""
    maps = [blocks[0](image)]
    for block in blocks[1:]:
        maps.append(block(pool(maps[-1])))
    return maps


class UNet3D(nn.Module):
    """Cicek et al. 2016, padded: (B, C, I, J, K) -> (B, outputs, I, J, K), each axis of 8 voxels at least.

    Three poolings, batch norm before every ReLU, feature maps doubled before each pooling. With three contrasts, three
    outputs and width 1 it has the 19,069,955 parameters that they give, batch norm and the biases of the
    up-convolutions not counted.

    `width`: int, divides the number of feature maps.
    """

    def __init__(self, contrasts: int, outputs: int, width: int) -> None:
        super().__init__()
        convolution = partial(Convolution, 3, act="RELU", norm="BATCH")
        features = [max(n // width, 2) for n in (32, 64, 128, 256, 512)]
        self.down = nn.ModuleList()
        last = contrasts
        for few, many in pairwise(features):
            self.down.append(nn.Sequential(convolution(last, few), convolution(few, many)))
            last = many
        self.pool = nn.MaxPool3d(2)
        self.up = nn.ModuleList(UpCat(3, below, skip, skip, act="RELU", norm="BATCH", bias=True, halves=False)
                                for below, skip in zip(features[:1:-1], features[-2:0:-1], strict=True))
        self.head = nn.Conv3d(features[1], outputs, 1)

    def forward(self, image: Tensor) -> Tensor:
        kept = _encode(self.down, self.pool, image)
        maps = kept[-1]
        for block, skip in zip(self.up, kept[-2::-1], strict=True):
            maps = block(maps, skip)
        result: Tensor = self.head(maps)
        return result


class _Block(nn.Sequential):
    """Two padded 3 x 3 (x 3) convolutions, each before a ReLU, and dropout between them."""

    def __init__(self, axes: int, inputs: int, outputs: int, dropout: float) -> None:
        convolution = nn.Conv3d if axes == 3 else nn.Conv2d
        between = [nn.Dropout(dropout)] if dropout else []
        super().__init__(convolution(inputs, outputs, 3, padding=1), nn.ReLU(), *between,
                         convolution(outputs, outputs, 3, padding=1), nn.ReLU())


class _Plain(nn.Module):
    """Blocks, pooling by 2 between them, and back up with learned up-sampling and skips."""

    def __init__(self, axes: int, inputs: int, features: Sequence[int], *, up_kernel: int, dropout: float) -> None:
        super().__init__()
        up = nn.ConvTranspose3d if axes == 3 else nn.ConvTranspose2d
        self.down = nn.ModuleList(_Block(axes, a, b, dropout)
                                  for a, b in zip((inputs, *features[:-1]), features, strict=True))
        self.pool = nn.MaxPool3d(2) if axes == 3 else nn.MaxPool2d(2)
        pairs = list(zip(features[:0:-1], features[-2::-1], strict=True))
        extra = up_kernel - 2
        self.raised = nn.ModuleList(up(a, b, up_kernel, stride=2, padding=extra, output_padding=extra)
                                    for a, b in pairs)
        self.up = nn.ModuleList(_Block(axes, 2 * b, b, dropout) for _, b in pairs)

    def forward(self, image: Tensor) -> Tensor:
        kept = _encode(self.down, self.pool, image)
        maps = kept[-1]
        for raise_, block, skip in zip(self.raised, self.up, kept[-2::-1], strict=True):
            maps = block(torch.cat([skip, raise_(maps)], dim=1))
        return maps


class PatchUNet(nn.Sequential):
    """Table II: (B, C, 36, 36, 28) -> (B, C, 36, 36, 28), logits of disc once for every contrast.

    Any size that is a multiple of 4. 1.36 million parameters with three contrasts and width 1; the paper says 1.4.
    """

    def __init__(self, contrasts: int, width: int) -> None:
        features = [max(n // width, 2) for n in PATCH_FEATURES]
        super().__init__(_Plain(3, contrasts, features, up_kernel=2, dropout=DROPOUT),
                         nn.Conv3d(features[0], 2, 3, padding=1), nn.BatchNorm3d(2), nn.Conv3d(2, contrasts, 1))


class SliceUNet(nn.Sequential):
    """Fig. 2: (B, C, H, W) -> (B, 1, H, W), any size that is a multiple of 8."""

    def __init__(self, contrasts: int, width: int) -> None:
        features = [max(n // width, 2) for n in SLICE_FEATURES]
        super().__init__(_Plain(2, contrasts, features, up_kernel=3, dropout=0.0), nn.Conv2d(features[0], 1, 1))
