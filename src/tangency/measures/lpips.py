"""LPIPS-Alex v0.1 (Zhang et al., CVPR 2018) over shipped weights, as a distance between embeddings.

A picture becomes one vector whose squared Euclidean distance to another picture's vector is their LPIPS: the
channel-normalised features of the five convolutions, scaled by √(linear weight / positions). Controls then cost no
further pass of the network.

Deviations: pictures under 64 pixels a side are upsampled bilinearly to 64 on the shorter side (below that the last
three feature maps shrink to one position; the linear layers were fitted on 64×64 patches), and one channel is repeated
to three. Weights are stored in half precision, which changes the published example values by under 2e-5.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.errors import ModelError, NumericsError
from tangency.numerics import flat, per_example

SMALLEST_SIDE = 64
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_STRIDES = {
    0: (4, 2),
    3: (1, 2),
    6: (1, 1),
    8: (1, 1),
    10: (1, 1),
}  # index in torchvision's AlexNet: stride, padding
_POOLED = (3, 6)  # max pooling stands before these


def max_normalised(signal: Tensor) -> Tensor:
    """g / max|g| of each image, in [−1, 1], (N, C, H, W); NaN for a zero image. The paper's normalisation."""
    return signal / per_example(flat(signal).abs().amax(1), signal)


@final
class LPIPS(nn.Module):
    """The learned perceptual distance between pictures in [−1, 1].

    Args:
        path: safetensors with `features.{0,3,6,8,10}.{weight,bias}` and `linear.{0..4}`; the shipped file by
            default.

    Example:
        >>> pictures = torch.rand(2, 1, 28, 28) * 2 - 1
        >>> LPIPS()(pictures, pictures).tolist()
        [0.0, 0.0]
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, path: Path | None = None) -> None:
        super().__init__()
        weights = _read(path)
        for index in _STRIDES:
            self.register_buffer(f"weight{index}", weights[f"features.{index}.weight"].float())
            self.register_buffer(f"bias{index}", weights[f"features.{index}.bias"].float())
        for layer in range(len(_STRIDES)):
            self.register_buffer(f"linear{layer}", weights[f"linear.{layer}"].float().clamp(min=0).sqrt())
        self.register_buffer("shift", torch.tensor(_SHIFT).reshape(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).reshape(1, 3, 1, 1))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """LPIPS of each pair, (N, C, H, W) × (N, C, H, W) in [−1, 1] to (N,)."""
        return embedding_distance(self.embed(a), self.embed(b))

    @torch.no_grad()
    def embed(self, pictures: Tensor, batch: int = 64) -> Tensor:
        """Vectors whose squared distance is LPIPS, (N, C, H, W) in [−1, 1] to (N, F); NaN pictures give NaN."""
        if pictures.dim() != 4 or pictures.shape[1] not in (1, 3):
            raise NumericsError(
                f"LPIPS: got shape {tuple(pictures.shape)}, expected (N, 1 or 3, H, W); use MeasureConfig(lpips=False) "
                "for other numbers of channels."
            )
        return torch.cat([self._embed(part) for part in pictures.float().split(batch)])

    @torch.no_grad()
    def pooled(self, pictures: Tensor, batch: int = 64) -> Tensor:
        """Mean over positions of the five normalised layers, (N, C, H, W) in [−1, 1] to (N, 1152): KID's features."""
        parts = [
            torch.cat([layer.mean((2, 3)) for layer in self._layers(part)], 1) for part in pictures.float().split(batch)
        ]
        return torch.cat(parts)

    def _embed(self, x: Tensor) -> Tensor:
        parts = []
        for number, layer in enumerate(self._layers(x)):
            linear = getattr(self, f"linear{number}").reshape(1, -1, 1, 1)
            parts.append((layer * linear / (layer.shape[2] * layer.shape[3]) ** 0.5).flatten(1))
        return torch.cat(parts, 1)

    def _layers(self, x: Tensor) -> Iterator[Tensor]:
        """Features of each convolution, of unit length at every position."""
        short = min(x.shape[2:])
        if short < SMALLEST_SIDE:
            size = [round(side * SMALLEST_SIDE / short) for side in x.shape[2:]]
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        x = (x.expand(-1, 3, -1, -1) - self.shift) / self.scale
        x = x.contiguous(memory_format=torch.channels_last)
        for index, (stride, padding) in _STRIDES.items():
            if index in _POOLED:
                x = F.max_pool2d(x, 3, 2)
            weight, bias = getattr(self, f"weight{index}"), getattr(self, f"bias{index}")
            x = F.conv2d(x, weight, bias, stride, padding if index != 3 else 2).relu()
            yield x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)


def embedding_distance(a: Tensor, b: Tensor) -> Tensor:
    """‖a − b‖² of each pair of embeddings, (N, F) × (N, F) to (N,): their LPIPS."""
    return (a - b).square().sum(1)


def _read(path: Path | None) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load, load_file

    try:
        if path is not None:
            return load_file(path)
        shipped = resources.files("tangency.measures") / "weights" / "lpips_alex.safetensors"
        return load(shipped.read_bytes())
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise ModelError(
            f"LPIPS weights '{path or 'shipped with the package'}': unreadable ({error}). Reinstall tangency, or give "
            "path= to a file made by scripts/convert_lpips.py."
        ) from None
