"""LPIPS v0.1 (Zhang et al., CVPR 2018) as a distance between embeddings.

A picture becomes one vector whose squared Euclidean distance to another picture's vector is their LPIPS: the
channel-normalised features of the compared layers, scaled by √(linear weight / positions). Controls then cost no
further pass of the network. The weights of AlexNet are shipped; those of VGG-16 and SqueezeNet 1.1 must be fetched.

Deviations: pictures under 64 pixels a side are upsampled bilinearly to 64 on the shorter side (AlexNet's last three
feature maps shrink to one position below that; the linear layers were fitted on 64×64 patches), and one channel is
repeated to three; `upsample=False` takes pictures as they are, as the paper's published code does, which gives other
values below 64 pixels, and another order. AlexNet's weights are stored in half precision, which changes the published
example values by under 2e-5.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from tangency.errors import NumericsError, unknown_name
from tangency.perceptual.backbones import BACKBONES
from tangency.perceptual.pictures import at_least
from tangency.perceptual.weights_files import read_weights

SMALLEST_SIDE = 64
NATIVE_SIDE = 31  # below which AlexNet's last layers have no position left
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


@final
class LPIPS(nn.Module):
    """The learned perceptual distance between pictures in [−1, 1].

    Args:
        path: safetensors with torchvision's `features.*` up to the last compared layer, and `linear.0`, `linear.1`, …
            (C,); by default the shipped file for "alex", and for the others the one in $TANGENCY_WEIGHTS or
            $TANGENCY_DATA/weights.
        network: "alex", "vgg" or "squeeze".
        upsample: whether pictures under 64 pixels a side are; without, only AlexNet, and 31 pixels at least.

    Raises:
        ModelError: where the weights are absent (it says what to fetch), unreadable or incomplete.

    Example:
        >>> pictures = torch.rand(2, 1, 28, 28) * 2 - 1
        >>> LPIPS()(pictures, pictures).tolist()
        [0.0, 0.0]
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, path: Path | None = None, network: str = "alex", upsample: bool = True) -> None:
        super().__init__()
        if network not in BACKBONES:
            raise NumericsError(unknown_name("network of LPIPS", network, BACKBONES))
        if not upsample and network != "alex":
            raise NumericsError(f"LPIPS: got upsample=False with network '{network}', expected it with 'alex' only.")
        self.upsample = upsample
        self.network, self._backbone = network, BACKBONES[network]
        keys = [f"linear.{layer}" for layer in range(len(self._backbone.compared))]
        weights = read_weights(f"lpips_{network}.safetensors", path, self._backbone.parameter_names() | frozenset(keys))
        self.layers = self._backbone.filled(weights)
        self._linear = [key.replace(".", "") for key in keys]
        for key, name in zip(keys, self._linear, strict=True):
            self.register_buffer(name, weights[key].clamp(min=0).sqrt())
        self.register_buffer("shift", torch.tensor(_SHIFT).reshape(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).reshape(1, 3, 1, 1))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """LPIPS of each pair, (N, C, H, W) × (N, C, H, W) in [−1, 1] to (N,)."""
        return embedding_distance(self.embed(a), self.embed(b))

    @torch.no_grad()
    def embed(self, pictures: Tensor, batch: int = 64) -> Tensor:
        """Vectors whose squared distance is LPIPS, (N, C, H, W) in [−1, 1] to (N, F); NaN pictures give NaN."""
        check_channels("LPIPS", pictures)
        return torch.cat([self._embed(part) for part in torch.split(pictures.float(), batch)])

    @torch.no_grad()
    def pooled(self, pictures: Tensor, batch: int = 64) -> Tensor:
        """Mean over positions of the normalised layers, (N, C, H, W) in [−1, 1] to (N, F): KID's features."""
        parts = torch.split(pictures.float(), batch)
        return torch.cat([torch.cat([layer.mean((2, 3)) for layer in self._layers(part)], 1) for part in parts])

    def _embed(self, x: Tensor) -> Tensor:
        parts = []
        for name, layer in zip(self._linear, self._layers(x), strict=True):
            linear = getattr(self, name).reshape(1, -1, 1, 1)
            parts.append((layer * linear / (layer.shape[2] * layer.shape[3]) ** 0.5).flatten(1))
        return torch.cat(parts, 1)

    def _layers(self, x: Tensor) -> Iterator[Tensor]:
        """Features of each compared layer, of unit length at every position."""
        if not self.upsample and min(x.shape[2:]) < NATIVE_SIDE:
            raise NumericsError(
                f"LPIPS: got pictures of {x.shape[2]}×{x.shape[3]} that are not to be upsampled, expected at least "
                f"{NATIVE_SIDE} pixels a side."
            )
        x = (at_least(x, SMALLEST_SIDE if self.upsample else 0) - self.shift) / self.scale
        for layer in self._backbone.compared_layers(self.layers, x):
            yield layer / (layer.square().sum(1, keepdim=True).sqrt() + 1e-10)


def embedding_distance(a: Tensor, b: Tensor) -> Tensor:
    """‖a − b‖² of each pair of embeddings, (N, F) × (N, F) to (N,): their LPIPS."""
    return (a - b).square().sum(1)


def check_channels(what: str, pictures: Tensor) -> None:
    """Raise unless pictures are (N, 1 or 3, H, W)."""
    if pictures.dim() != 4 or pictures.shape[1] not in (1, 3):
        raise NumericsError(
            f"{what}: got shape {tuple(pictures.shape)}, expected (N, 1 or 3, H, W); for other numbers of channels "
            "choose metrics without a network: MeasureConfig(metrics=('cosine', 'band', 'spearman', 'ssim'))."
        )
