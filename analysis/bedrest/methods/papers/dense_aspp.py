"""Networks of Gao 2018: dense atrous spatial pyramid on SE-DenseNet paths, and a V-Net of any width.

The paper gives the rates of dilation, the number of down-samplings and that there are three paths; its figure is not in
its text. Ours: 4 layers a dense block, growth 16, 32 features at the start, 64 of each dilated layer.
"""

from __future__ import annotations

import torch
from monai.networks.blocks.squeeze_and_excitation import ChannelSELayer
from monai.networks.nets.densenet import _DenseBlock, _Transition
from monai.networks.nets.vnet import DownTransition, InputTransition, OutputTransition, UpTransition, VNet
from torch import Tensor, nn
from torch.nn import functional

from bedrest.methods.networks import at_multiple

RATES = (3, 6, 12, 18, 24)
DOWN_SAMPLINGS = 2
_LAYERS, _GROWTH, _START, _DILATED, _BOTTLENECK = 4, 16, 32, 64, 4


def _before(features: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(features), nn.ReLU()]


class DenseASPP(nn.Module):
    """Dilated convolutions, each of which sees the input and all before it: (B, C, H, W) -> (B, outputs, H, W).

    One output voxel sees 3 + 6 + 12 + 18 + 24 = 63 voxels to each side.
    """

    def __init__(self, inputs: int, features: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for rate in RATES:
            self.layers.append(nn.Sequential(
                *_before(inputs), nn.Conv2d(inputs, 2 * features, 1, bias=False), *_before(2 * features),
                nn.Conv2d(2 * features, features, 3, padding=rate, dilation=rate, bias=False)))
            inputs += features
        self.outputs = inputs

    def forward(self, features: Tensor) -> Tensor:
        for layer in self.layers:
            features = torch.cat([features, layer(features)], dim=1)
        return features


class SEDensePath(nn.Module):
    """SE-DenseNet with so many down-samplings, and a classifier of its own: (B, C, H, W) -> (B, 1, H, W).

    Squeeze-and-excitation follows each dense block. The dense pyramid stands at the end of the path that is
    down-sampled most. Logits come back to full size by linear interpolation. H and W are multiples of 2**downs.
    """

    def __init__(self, contrasts: int, downs: int, width: int) -> None:
        super().__init__()
        features, growth = max(_START // width, 4), max(_GROWTH // width, 2)
        layers: list[nn.Module] = [nn.Conv2d(contrasts, features, 3, padding=1, bias=False)]
        for level in range(downs + 1):
            if level:
                layers.append(_Transition(2, features, features // 2))
                features //= 2
            layers.append(_DenseBlock(2, _LAYERS, features, _BOTTLENECK, growth, 0.0))
            features += _LAYERS * growth
            layers.append(ChannelSELayer(2, features, r=min(16, features // 4)))
        if downs == DOWN_SAMPLINGS:
            pyramid = DenseASPP(features, max(_DILATED // width, 2))
            layers.append(pyramid)
            features = pyramid.outputs
        self.layers = nn.Sequential(*layers, *_before(features), nn.Conv2d(features, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layers(image)
        if logits.shape[2:] == image.shape[2:]:
            return logits
        return functional.interpolate(logits, size=image.shape[2:], mode="bilinear", align_corners=False)


class DenseASPP2D(nn.Module):
    """One path at full, one at half and one at quarter resolution: (B, C, H, W) -> (B, 1, H, W), any size.

    The paper separates its paths so that gradients of one resolution do not disturb those of another. Here they share
    no weight, and their logits are added: each path gets the gradient of the loss as it is, whatever the others do.
    Adding, rather than a loss for each, is ours: the path at full resolution sees too little to tell discs by itself.
    """

    def __init__(self, contrasts: int, width: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList(SEDensePath(contrasts, downs, width) for downs in range(DOWN_SAMPLINGS + 1))

    def forward(self, image: Tensor) -> Tensor:
        return at_multiple(lambda wide: torch.stack([path(wide) for path in self.paths]).sum(dim=0), image,
                           2**DOWN_SAMPLINGS)


class AnyWidthVNet(VNet):
    """V-Net (Milletari et al. 2016) without drop-out, as published: (B, C, I, J, K) -> (B, classes, I, J, K), any size.

    MONAI's has 16 features at the start and takes 1, 2, 4, 8 or 16 contrasts; this one takes any number of either, the
    features rounded up to a multiple of the contrasts.
    """

    def __init__(self, contrasts: int, classes: int, features: int) -> None:
        nn.Module.__init__(self)
        start = -(-max(features, 2) // contrasts) * contrasts
        act, none = ("elu", {"inplace": True}), (None, 0.0)
        self.in_tr = InputTransition(3, contrasts, start, act)
        self.down_tr32 = DownTransition(3, start, 1, act)
        self.down_tr64 = DownTransition(3, 2 * start, 2, act)
        self.down_tr128 = DownTransition(3, 4 * start, 3, act)
        self.down_tr256 = DownTransition(3, 8 * start, 2, act)
        self.up_tr256 = UpTransition(3, 16 * start, 16 * start, 2, act, dropout_prob=none)
        self.up_tr128 = UpTransition(3, 16 * start, 8 * start, 2, act, dropout_prob=none)
        self.up_tr64 = UpTransition(3, 8 * start, 4 * start, 1, act, dropout_prob=none)
        self.up_tr32 = UpTransition(3, 4 * start, 2 * start, 1, act, dropout_prob=none)
        self.out_tr = OutputTransition(3, 2 * start, classes, act)

    def forward(self, image: Tensor) -> Tensor:
        return at_multiple(super().forward, image, 16)
