"""The U-Net of k-diffusion ("image_v1")."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.score.networks.kdiffusion_layers import AUGMENTATIONS, FourierFeatures, attend

_GROUP, _HEAD = 32, 64  # channels of a normalisation group and of an attention head
_EPS = 1e-5
_TAPS = (1.0, 3.0, 3.0, 1.0)  # filter that halves and doubles the size, along one axis


class TunedGroupNorm(nn.Module):
    """Group normalisation with scale and shift computed from the conditioning."""

    def __init__(self, channels: int, groups: int, features: int) -> None:
        super().__init__()
        self.groups = groups
        self.mapper = nn.Linear(features, 2 * channels)

    def forward(self, x: Tensor, conditioning: Tensor) -> Tensor:
        """(N, C, H, W) and conditioning (N, features) to the same."""
        scale, shift = torch.chunk(self.mapper(conditioning)[:, :, None, None], 2, dim=1)
        return shift + F.group_norm(x, self.groups, eps=_EPS) * (scale + 1)


class ConditionedBlock(nn.Module):
    """Two convolutions conditioned on the noise level, and a skip; numbered as in the files, which count dropout."""

    def __init__(self, before: int, width: int, after: int, features: int) -> None:
        super().__init__()
        self.main = nn.ModuleDict(
            {
                "0": TunedGroupNorm(before, max(1, before // _GROUP), features),
                "2": nn.Conv2d(before, width, 3, padding=1),
                "4": TunedGroupNorm(width, max(1, width // _GROUP), features),
                "6": nn.Conv2d(width, after, 3, padding=1),
            }
        )
        self.skip = None if before == after else nn.Conv2d(before, after, 1, bias=False)

    def forward(self, x: Tensor, conditioning: Tensor) -> Tensor:
        """(N, before, H, W) to (N, after, H, W)."""
        h = self.main["2"](F.gelu(self.main["0"](x, conditioning)))
        h = self.main["6"](F.gelu(self.main["4"](h, conditioning)))
        total: Tensor = h + (x if self.skip is None else self.skip(x))
        return total


class SelfAttention(nn.Module):
    """x + attention over the pixels of the normalised x, in heads of 64 channels."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.heads = max(1, channels // _HEAD)
        if channels % self.heads:
            raise ValueError(f"{channels} channels make no whole heads of about {_HEAD}")
        self.norm_in = TunedGroupNorm(channels, max(1, channels // _GROUP), features)
        self.qkv_proj = nn.Conv2d(channels, 3 * channels, 1)
        self.out_proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, conditioning: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        qkv = self.qkv_proj(self.norm_in(x, conditioning)).reshape(len(x), 3, self.heads, -1, x[0, 0].numel())
        q, k, v = qkv.mT.unbind(1)
        joined = attend(q, k, v, 1 / math.sqrt(q.shape[-1]))
        total: Tensor = x + self.out_proj(joined.mT.reshape(x.shape))
        return total


class Resample(nn.Module):
    """Half or double the size by a filter of four taps; edges are reflected."""

    def __init__(self, up: bool) -> None:
        super().__init__()
        self.up = up
        line = torch.tensor(_TAPS) / sum(_TAPS) * (2 if up else 1)
        self.register_buffer("kernel", torch.outer(line, line))

    def forward(self, x: Tensor, conditioning: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H', W')."""
        filters = self.get_buffer("kernel").to(x.dtype).expand(x.shape[1], 1, -1, -1)
        x = F.pad(x, (1, 1, 1, 1), "reflect")
        if self.up:
            return F.conv_transpose2d(x, filters, stride=2, padding=3, groups=x.shape[1])
        return F.conv2d(x, filters, stride=2, groups=x.shape[1])


def _blocks(channels: list[tuple[int, int, int]], features: int, attention: bool) -> Iterator[nn.Module]:
    """Blocks of (before, inside, after) channels, each followed by attention if `attention`."""
    for before, width, after in channels:
        yield ConditionedBlock(before, width, after, features)
        if attention:
            yield SelfAttention(after, features)


@dataclass(frozen=True)
class KDiffusionUNetOptions:
    """What shapes a `KDiffusionUNet`.

    Args:
        channels: of an image.
        features: of the embedding of the noise level.
        depths, widths, attention: blocks and channels of each level, finest first, and whether it attends.
        patch: side of the squares of pixels that become channels of one position.
        skip_stages: finest levels that are left out, as in the first stages of progressive growing.
        augmented: whether it was conditioned on augmentations in training; in use there are none.
        variance: whether a last channel of the output predicts a variance, which is left out.
    """

    channels: int
    features: int
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    attention: tuple[bool, ...]
    patch: int = 1
    skip_stages: int = 0
    augmented: bool = True
    variance: bool = False

    @property
    def multiples(self) -> tuple[int, int]:
        """What height and width of an image must be multiples of."""
        multiple = self.patch * 2 ** (len(self.depths) - 1 - self.skip_stages)
        return multiple, multiple


class NumberedLayers(nn.ModuleDict):
    """Layers one after another, under numbers."""

    def __init__(self, layers: list[nn.Module], first: int) -> None:
        super().__init__({str(first + index): layer for index, layer in enumerate(layers)})

    def forward(self, x: Tensor, conditioning: Tensor) -> Tensor:
        """(N, C, H, W) through all of them."""
        for layer in self.values():
            x = layer(x, conditioning)
        return x


class Levels(nn.Module):
    """The way down, finest level first, and the way up, coarsest first."""

    def __init__(self, options: KDiffusionUNetOptions) -> None:
        super().__init__()
        self.skipped, down, up = options.skip_stages, list[NumberedLayers](), list[NumberedLayers]()
        levels = zip(options.depths, options.widths, options.attention, strict=True)
        for index, (depth, width, attends) in enumerate(levels):
            finer, resampled = options.widths[max(0, index - 1)], index > options.skip_stages
            joined = width if index == len(options.depths) - 1 else 2 * width
            left = [(finer if i == 0 else width, width, width) for i in range(depth)]
            right = [(joined if i == 0 else width, width, finer if i == depth - 1 else width) for i in range(depth)]
            halved, doubled = ([Resample(up)] if resampled else [] for up in (False, True))
            down.append(NumberedLayers([*halved, *_blocks(left, options.features, attends)], 0 if resampled else 1))
            up.append(NumberedLayers([*_blocks(right, options.features, attends), *doubled], 0))
        self.d_blocks, self.u_blocks = nn.ModuleList(down), nn.ModuleList(reversed(up))

    def forward(self, x: Tensor, conditioning: Tensor) -> Tensor:
        """(N, C, H, W) to the same, each level joined with the features of its counterpart."""
        kept = []
        for level in list(self.d_blocks)[self.skipped :]:
            x = level(x, conditioning)
            kept.append(x)
        for index, (level, skip) in enumerate(zip(self.u_blocks, reversed(kept), strict=False)):
            x = level(torch.cat([x, skip], dim=1) if index else x, conditioning)
        return x


@final
class KDiffusionUNet(nn.Module):
    """F(c_in u; t) of k-diffusion's image_v1, with the parameter names of its files."""

    def __init__(self, options: KDiffusionUNetOptions) -> None:
        super().__init__()
        self.patch, self.variance = options.patch, options.variance
        features, pixels = options.features, options.channels * options.patch**2
        outer = options.widths[max(0, options.skip_stages - 1)]
        self.timestep_embed = FourierFeatures(1, features)
        if options.augmented:  # its input is zero in use
            self.mapping_cond = nn.Linear(AUGMENTATIONS, features, bias=False)
        self.mapping = nn.Sequential(nn.Linear(features, features), nn.GELU(), nn.Linear(features, features), nn.GELU())
        self.proj_in = nn.Conv2d(pixels, outer, 1)
        self.proj_out = nn.Conv2d(outer, pixels + int(options.variance), 1)
        self.u_net = Levels(options)

    def forward(self, x: Tensor, time: Tensor, y: Tensor | None = None) -> Tensor:
        """F of images (N, C, H, W) at times ¼ ln σ (N,)."""
        conditioning = self.mapping(self.timestep_embed(time[:, None]))
        x = self.proj_out(self.u_net(self.proj_in(F.pixel_unshuffle(x, self.patch)), conditioning))
        return F.pixel_shuffle(x[:, :-1] if self.variance else x, self.patch)
