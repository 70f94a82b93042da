"""How weights begin where a paper says so. Knows nothing of networks."""

from __future__ import annotations

from torch import nn

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def gaussian_start(network: nn.Module, *, sd: float = 0.01) -> nn.Module:
    """Kernels from a normal distribution about 0, biases 0 (Li et al. 2018, Chen et al. 2016)."""
    for layer in network.modules():
        if isinstance(layer, _CONVOLUTIONS):
            nn.init.normal_(layer.weight, 0.0, sd)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def he_start(network: nn.Module) -> nn.Module:
    """Kernels by He et al. 2015 (Wang et al. 2020), biases 0."""
    for layer in network.modules():
        if isinstance(layer, _CONVOLUTIONS):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network
