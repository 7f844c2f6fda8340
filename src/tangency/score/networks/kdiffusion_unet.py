"""The U-Net of k-diffusion ("image_v1")."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.score.edm.unet_options import plain_options
from tangency.score.networks.kdiffusion_layers import AUGMENTATIONS, FourierFeatures, attend

_GROUP, _HEAD = 32, 64  # channels of a normalisation group and of an attention head
_EPS = 1e-5
_TAPS = (1.0, 3.0, 3.0, 1.0)  # filter that halves and doubles the size, along one axis


class TunedGroupNorm(nn.Module):
    """Group normalisation whose scale and shift the conditioning decides."""

    def __init__(self, channels: int, groups: int, told: int) -> None:
        super().__init__()
        self.groups = groups
        self.mapper = nn.Linear(told, 2 * channels)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(N, C, H, W) and conditioning (N, told) to the same."""
        scale, shift = self.mapper(told)[:, :, None, None].chunk(2, dim=1)
        return shift + F.group_norm(x, self.groups, eps=_EPS) * (scale + 1)


class ResidualBlock(nn.Module):
    """Two convolutions told of the noise level, and a skip; numbers as in the files, where dropout has one too."""

    def __init__(self, before: int, width: int, after: int, told: int) -> None:
        super().__init__()
        self.main = nn.ModuleDict(
            {
                "0": TunedGroupNorm(before, max(1, before // _GROUP), told),
                "2": nn.Conv2d(before, width, 3, padding=1),
                "4": TunedGroupNorm(width, max(1, width // _GROUP), told),
                "6": nn.Conv2d(width, after, 3, padding=1),
            }
        )
        self.skip = None if before == after else nn.Conv2d(before, after, 1, bias=False)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(N, before, H, W) to (N, after, H, W)."""
        h = self.main["2"](F.gelu(self.main["0"](x, told)))
        h = self.main["6"](F.gelu(self.main["4"](h, told)))
        total: Tensor = h + (x if self.skip is None else self.skip(x))
        return total


class SelfAttention(nn.Module):
    """x + attention over the pixels of the normalised x, in heads of 64 channels."""

    def __init__(self, channels: int, told: int) -> None:
        super().__init__()
        self.heads = max(1, channels // _HEAD)
        if channels % self.heads:
            raise ValueError(f"{channels} channels make no whole heads of about {_HEAD}")
        self.norm_in = TunedGroupNorm(channels, max(1, channels // _GROUP), told)
        self.qkv_proj = nn.Conv2d(channels, 3 * channels, 1)
        self.out_proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        qkv = self.qkv_proj(self.norm_in(x, told)).reshape(len(x), 3, self.heads, -1, x[0, 0].numel())
        q, k, v = qkv.mT.unbind(1)
        found = attend(q, k, v, 1 / math.sqrt(q.shape[-1]))
        total: Tensor = x + self.out_proj(found.mT.reshape(x.shape))
        return total


class Resample(nn.Module):
    """Half or double the size by a filter of four taps; edges are reflected."""

    def __init__(self, up: bool) -> None:
        super().__init__()
        self.up = up
        line = torch.tensor(_TAPS) / sum(_TAPS) * (2 if up else 1)
        self.register_buffer("kernel", torch.outer(line, line))

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H', W')."""
        filters = self.get_buffer("kernel").to(x.dtype).expand(x.shape[1], 1, -1, -1)
        x = F.pad(x, (1, 1, 1, 1), "reflect")
        if self.up:
            return F.conv_transpose2d(x, filters, stride=2, padding=3, groups=x.shape[1])
        return F.conv2d(x, filters, stride=2, groups=x.shape[1])


def _level(widths: list[tuple[int, int, int]], told: int, attention: bool, first: int) -> dict[str, nn.Module]:
    """Blocks of (before, inside, after) channels, each with attention behind it where asked for, numbered on."""
    layers: list[nn.Module] = []
    for before, width, after in widths:
        layers.append(ResidualBlock(before, width, after, told))
        if attention:
            layers.append(SelfAttention(after, told))
    return {str(first + index): layer for index, layer in enumerate(layers)}


class Level(nn.ModuleDict):
    """Layers one after another, under numbers."""

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(N, C, H, W) through all of them."""
        for layer in self.values():
            x = layer(x, told)
        return x


class Levels(nn.Module):
    """The way down, finest level first, and the way up, coarsest first."""

    def __init__(self, down: list[Level], up: list[Level], skipped: int) -> None:
        super().__init__()
        self.d_blocks, self.u_blocks, self.skipped = nn.ModuleList(down), nn.ModuleList(reversed(up)), skipped

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(N, C, H, W) to the same, each level beside the answer of its counterpart."""
        kept = []
        for level in list(self.d_blocks)[self.skipped :]:
            x = level(x, told)
            kept.append(x)
        for index, (level, skip) in enumerate(zip(self.u_blocks, reversed(kept), strict=False)):
            x = level(torch.cat([x, skip], dim=1) if index else x, told)
        return x


@final
class KDiffusionUNet(nn.Module):
    """F(c_in u; t) of k-diffusion's image_v1, with the parameter names of its files.

    Args:
        channels: of an image.
        features: of the embedding of the noise level.
        depths, widths, attention: blocks and channels of each level, finest first, and whether it attends.
        patch: side of the squares of pixels that become channels of one position.
        skip_stages: finest levels that are left out, as in the first stages of progressive growing.
        augmented: whether it was told of augmentations, of which there are none in use.
        variance: whether a last channel of the answer predicts a variance, which is left out.
    """

    def __init__(
        self,
        channels: int,
        features: int,
        depths: tuple[int, ...],
        widths: tuple[int, ...],
        attention: tuple[bool, ...],
        patch: int = 1,
        skip_stages: int = 0,
        augmented: bool = True,
        variance: bool = False,
    ) -> None:
        super().__init__()
        self.patch, self.variance = patch, variance
        outer = widths[max(0, skip_stages - 1)]
        self.timestep_embed = FourierFeatures(1, features)
        if augmented:  # its input is zero in use
            self.mapping_cond = nn.Linear(AUGMENTATIONS, features, bias=False)
        self.mapping = nn.Sequential(nn.Linear(features, features), nn.GELU(), nn.Linear(features, features), nn.GELU())
        self.proj_in = nn.Conv2d(channels * patch**2, outer, 1)
        self.proj_out = nn.Conv2d(outer, channels * patch**2 + int(variance), 1)
        down: list[Level] = []
        up: list[Level] = []
        for index, (depth, width, attends) in enumerate(zip(depths, widths, attention, strict=True)):
            finer, resampled = widths[max(0, index - 1)], index > skip_stages
            joined = width if index == len(depths) - 1 else 2 * width
            left = _level([(finer if i == 0 else width, width, width) for i in range(depth)], features, attends, 1)
            edges = [(joined if i == 0 else width, width, finer if i == depth - 1 else width) for i in range(depth)]
            right = _level(edges, features, attends, 0)
            down.append(Level(({"0": Resample(up=False)} if resampled else {}) | left))
            up.append(Level(right | ({str(len(right)): Resample(up=True)} if resampled else {})))
        self.u_net = Levels(down, up, skip_stages)

    def forward(self, x: Tensor, time: Tensor, y: Tensor | None = None) -> Tensor:
        """F of images (N, C, H, W) at times ¼ ln σ (N,)."""
        told = self.mapping(self.timestep_embed(time[:, None]))
        x = self.proj_out(self.u_net(self.proj_in(F.pixel_unshuffle(x, self.patch)), told))
        return F.pixel_shuffle(x[:, :-1] if self.variance else x, self.patch)


def build_kdiffusion_unet(options: dict[str, Any]) -> nn.Module:
    """The network of a card's options."""
    return KDiffusionUNet(**plain_options(options))
