"""DISTS (Ding et al., TPAMI 2022): structure and texture of VGG features, after one pass for each picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.perceptual.backbones import BACKBONES
from tangency.perceptual.lpips import check_channels
from tangency.perceptual.weights_files import read_weights

CHANNELS = (3, 64, 128, 256, 512, 512)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_C = 1e-6
_VGG = BACKBONES["vgg"]


class L2Pool(nn.Module):
    """√ of Hann-weighted 3 × 3 means of x², at every second position: DISTS's pooling."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H/2, W/2)."""
        line = torch.tensor([0.25, 0.5, 0.25]).to(x)
        kernel = (line[:, None] * line).expand(x.shape[1], 1, 3, 3)
        return (F.conv2d(x.square(), kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


@final
class DISTS(nn.Module):
    """1 − Σ_c (α_c l_c + β_c s_c), l and s comparing means and covariances of each channel of 6 layers.

    Args:
        path: safetensors with torchvision's VGG-16 `features.*` up to 28, `alpha` and `beta` (1,475 each); by default
            dists.safetensors in $TANGENCY_WEIGHTS or $TANGENCY_DATA/weights.

    Raises:
        ModelError: where the weights are absent (it says what to fetch), unreadable or incomplete.

    Deviation: none; pictures are compared in their own size, as the authors' network does (their command line alone
    shrinks large files to 256). Grey pictures are repeated to three channels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, path: Path | None = None) -> None:
        super().__init__()
        weights = read_weights("dists.safetensors", path, _VGG.parameter_names() | {"alpha", "beta"})
        layers = _VGG.filled(weights)
        self.layers = nn.Sequential(*(L2Pool() if isinstance(each, nn.MaxPool2d) else each for each in layers))
        total = weights["alpha"].sum() + weights["beta"].sum()
        for name in ("alpha", "beta"):
            self.register_buffer(name, weights[name].flatten() / total)
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(_STD).reshape(1, 3, 1, 1))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """DISTS of each pair, (N, C, H, W) × (N, C, H, W) in [−1, 1] to (N,)."""
        return 1 - self.similarity(self.embed(a), self.embed(b), (a.shape[2], a.shape[3]))

    @torch.no_grad()
    def embed(self, pictures: Tensor, batch: int = 64) -> Tensor:
        """The features of all layers, (N, C, H, W) in [−1, 1] to (N, F); NaN pictures give NaN."""
        check_channels("DISTS", pictures)
        parts = [
            torch.cat([f.flatten(1) for f in self._layers(part)], 1) for part in torch.split(pictures.float(), batch)
        ]
        return torch.cat(parts)

    @torch.no_grad()
    def similarity(self, a: Tensor, b: Tensor, size: tuple[int, int]) -> Tensor:
        """1 − DISTS of pairs of embedded pictures of that (H, W), (N, F) × (N, F) to (N,) in [−1, 1]."""
        total, height, width = a.new_zeros(len(a)), *size
        start = channel = 0
        for number, channels in enumerate(CHANNELS):
            if number > 1:
                height, width = (height + 1) // 2, (width + 1) // 2
            end = start + channels * height * width
            alpha, beta = (getattr(self, name)[channel : channel + channels] for name in ("alpha", "beta"))
            x, y = (v[:, start:end].reshape(len(v), channels, height * width) for v in (a, b))
            luminance, structure = _compared(x, y)
            total = total + luminance @ alpha + structure @ beta
            start, channel = end, channel + channels
        return total

    def _layers(self, pictures: Tensor) -> Iterator[Tensor]:
        x = ((pictures + 1) / 2).expand(-1, 3, -1, -1)
        yield x
        yield from _VGG.compared_layers(self.layers, (x - self.mean) / self.std)


def _compared(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """l and s of each channel, (N, C, P) × (N, C, P) to (N, C) each."""
    mean_x, mean_y = x.mean(2), y.mean(2)
    luminance = (2 * mean_x * mean_y + _C) / (mean_x.square() + mean_y.square() + _C)
    dx, dy = x - mean_x[..., None], y - mean_y[..., None]
    covariance = (dx * dy).mean(2)
    structure = (2 * covariance + _C) / (dx.square().mean(2) + dy.square().mean(2) + _C)
    return luminance, structure
