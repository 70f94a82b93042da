"""Network of Georgiev and Asenov 2018: ResNet-50 at stride 8, decoded as in a U-Net; weights from a file of one's own.

The paper's features are 1024 maps at stride 8, which is what ResNet-50 has before its last level where that level's
stride is replaced by dilation, as in the networks that torchvision trained on COCO. The numbers of maps in the decoder
and the drop-out of 0.1 there are ours, and so is joining the image itself at full size.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from monai.networks.nets.basic_unet import UpCat
from monai.networks.nets.resnet import ResNet
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from bedrest.errors import StudyError
from bedrest.methods.networks import at_multiple

STRIDE = 8
_BLOCKS, _MAPS, _COLOURS = [3, 4, 6, 3], (64, 128, 256, 512), 3
_EXPANSION = 4
_PREFIXES = ("", "backbone.", "backbone.body.")  # of torchvision's classifier, its segmenters, its detectors
_EXPECTED = "weights of a ResNet-50 as torchvision names them (conv1.weight, bn1.weight, layer1.0.conv1.weight ...)"
_REMEDY = "Save the state_dict of torchvision's resnet50 or fcn_resnet50 there, or leave encoder_weights out."


class ResNet50Encoder(nn.Module):
    """Levels 1 to 3 of ResNet-50: maps at strides 2, 4 and 8, named as torchvision's."""

    def __init__(self, contrasts: int, width: int) -> None:
        super().__init__()
        maps = [max(n // width, 2) for n in _MAPS]
        whole = ResNet("bottleneck", _BLOCKS, maps, spatial_dims=2, n_input_channels=contrasts, conv1_t_stride=2,
                       feed_forward=False, bias_downsample=False)
        self.conv1, self.bn1, self.act, self.maxpool = whole.conv1, whole.bn1, whole.act, whole.maxpool
        self.layer1, self.layer2, self.layer3 = whole.layer1, whole.layer2, whole.layer3
        self.maps = (maps[0], maps[0] * _EXPANSION, maps[2] * _EXPANSION)
        _dilate(self.layer3)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        at2 = self.act(self.bn1(self.conv1(image)))
        at4 = self.layer1(self.maxpool(at2))
        return at2, at4, self.layer3(self.layer2(at4))


def _dilate(level: nn.Sequential) -> None:
    """Stride 2 becomes dilation 2, from the second block on."""
    for name, layer in level.named_modules():
        if isinstance(layer, nn.Conv2d):
            layer.stride = (1, 1)
            if name.endswith("conv2") and not name.startswith("0."):
                layer.dilation = layer.padding = (2, 2)


class ResNetUNet(nn.Module):
    """(B, C, H, W) -> (B, 1, H, W), any size: three up-convolutions, each joined with the maps of its own size."""

    def __init__(self, contrasts: int, width: int, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.encoder = ResNet50Encoder(contrasts, width)
        if weights is not None:
            fit_weights(self.encoder, weights, where="encoder_weights")
        at2, at4, at8 = self.encoder.maps
        act, last = ("relu", {"inplace": True}), max(64 // width, 4)
        sizes = ((at8, at4, max(256 // width, 4)), (max(256 // width, 4), at2, max(128 // width, 4)),
                 (max(128 // width, 4), contrasts, last))
        self.decoder = nn.ModuleList(UpCat(2, *size, act, "batch", bias=False, dropout=0.1) for size in sizes)
        self.head = nn.Conv2d(last, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        return at_multiple(self._logits, image, STRIDE)

    def _logits(self, image: Tensor) -> Tensor:
        at2, at4, maps = self.encoder(image)
        for up, kept in zip(self.decoder, (at4, at2, image), strict=True):
            maps = up(maps, kept)
        logits: Tensor = self.head(maps)
        return logits


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, or of a file that torch.save wrote; no code in it is run.

    Raises StudyError: there is no such file, or it is neither.
    """
    try:
        stored = (load_file(path) if path.suffix == ".safetensors"
                 else torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise StudyError(_EXPECTED, str(error) or type(error).__name__, str(path), _REMEDY) from error
    if not isinstance(stored, dict) or not all(isinstance(v, Tensor) for v in stored.values()):
        raise StudyError(_EXPECTED, f"a {type(stored).__name__} that does not hold tensors alone", str(path), _REMEDY)
    return stored


def fit_weights(encoder: ResNet50Encoder, weights: Mapping[str, Tensor], *, where: str) -> None:
    """Take over what the encoder has of a ResNet-50's weights; the first convolution's colours are averaged where the
    image has another number of contrasts, and scaled so that its answer keeps its size.

    Raises StudyError: names are missing, or shapes differ.
    """
    prefix = next((p for p in reversed(_PREFIXES) if f"{p}conv1.weight" in weights), None)
    if prefix is None:
        raise StudyError(_EXPECTED, f"no conv1.weight among {', '.join(list(weights)[:5]) or 'none'}", where, _REMEDY)
    wanted = encoder.state_dict()
    taken = {name: weights[prefix + name] for name in wanted if prefix + name in weights}
    contrasts = wanted["conv1.weight"].shape[1]
    first = taken["conv1.weight"]
    if first.ndim == 4 and first.shape[1] == _COLOURS != contrasts:
        taken["conv1.weight"] = first.mean(dim=1, keepdim=True).repeat(1, contrasts, 1, 1) * (_COLOURS / contrasts)
    # Detectors keep no count of the batches that their norms saw.
    missing = [n for n in wanted if n not in taken and not n.endswith("num_batches_tracked")]
    odd = [f"{n} of {tuple(v.shape)}, not {tuple(wanted[n].shape)}" for n, v in taken.items()
           if v.shape != wanted[n].shape]
    if missing or odd:
        problems = [*(f"no {n}" for n in missing[:3]), *odd[:3]]
        raise StudyError(f"{_EXPECTED}, at width 1", "; ".join(problems), where, _REMEDY)
    encoder.load_state_dict(taken, strict=False)
