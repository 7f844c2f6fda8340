"""The hourglass transformer of k-diffusion ("image_transformer_v2")."""

from __future__ import annotations

import itertools
from typing import Any, final

import torch
from torch import Tensor, nn

from tangency.score.edm.unet_options import plain_options
from tangency.score.networks.kdiffusion_layers import (
    Conditioning,
    FeedForward,
    Layer,
    RMSNorm,
    TunedRMSNorm,
    attend,
    joined_heads,
    positions,
    split_heads,
)

_EPS = 1e-6


class HourglassAttention(nn.Module):
    """x + attention over all places by the cosine of queries and keys."""

    def __init__(self, width: int, head: int, told: int) -> None:
        super().__init__()
        self.heads = width // head
        self.norm = TunedRMSNorm(width, told)
        self.qkv_proj = nn.Linear(width, 3 * width, bias=False)
        self.scale = nn.Parameter(torch.full((self.heads,), 10.0))
        self.pos_emb = nn.Module()
        self.pos_emb.register_buffer("freqs", torch.ones(self.heads, head // 8))
        self.out_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, places: Tensor, told: Tensor) -> Tensor:
        """Tokens (N, L, width) at places (L, 2)."""
        q, k, v = split_heads(self.qkv_proj(self.norm(x, told)), self.heads)
        scale = self.scale.sqrt()[:, None, None]
        angles = torch.cat([places[:, axis, None] * self.pos_emb.get_buffer("freqs")[:, None] for axis in (0, 1)], -1)
        q, k = (self._turned(e * scale * (e.square().sum(-1, keepdim=True) + _EPS).rsqrt(), angles) for e in (q, k))
        total: Tensor = x + self.out_proj(joined_heads(attend(q, k, v, 1.0)))
        return total

    @staticmethod
    def _turned(x: Tensor, angles: Tensor) -> Tensor:
        """The first half of the channels, its own halves as pairs, turned by angles (heads, L, E/4)."""
        count = angles.shape[-1]
        first, second, rest = x[..., :count], x[..., count : 2 * count], x[..., 2 * count :]
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], dim=-1)


class Merge(nn.Module):
    """Squares of places to one place each."""

    def __init__(self, inputs: int, outputs: int, patch: tuple[int, int]) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Linear(inputs * patch[0] * patch[1], outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, inputs) to (N, H/high, W/wide, outputs)."""
        high, wide = self.patch
        squares = x.unflatten(2, (-1, wide)).unflatten(1, (-1, high)).transpose(2, 3)
        merged: Tensor = self.proj(squares.flatten(3))
        return merged


class Split(nn.Module):
    """Each place to a square of places, faded into what stood there before, where that is kept."""

    def __init__(self, inputs: int, outputs: int, patch: tuple[int, int], faded: bool = False) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Linear(inputs, outputs * patch[0] * patch[1], bias=False)
        self.fac = nn.Parameter(torch.full((1,), 0.5)) if faded else None

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """(N, H, W, inputs) to (N, H high, W wide, outputs)."""
        squares = self.proj(x).unflatten(3, (*self.patch, -1)).transpose(2, 3)
        split = squares.flatten(3, 4).flatten(1, 2)
        return split if self.fac is None or skip is None else torch.lerp(skip, split, self.fac)


class Level(nn.ModuleList):
    """Layers on places of one size."""

    def forward(self, x: Tensor, places: Tensor, told: Tensor) -> Tensor:
        """(N, H, W, C) at places (H, W, 2) to the same."""
        tokens, where = x.flatten(1, 2), places.flatten(0, 1)
        for layer in self:
            tokens = layer(tokens, where, told)
        return tokens.reshape(x.shape)


@final
class KDiffusionHourglass(Conditioning):
    """F(c_in u; t, y) of k-diffusion's image_transformer_v2 with attention over all places, or none, at each level.

    Args:
        channels: of an image.
        patch: (height, width) of a patch.
        widths, depths, hidden: of each level, finest first.
        heads: channels of an attention head of each level; 0 for a level without attention.
        mapping_width, mapping_depth, mapping_hidden: of the network that maps noise level and class.
        classes: number of classes and one for "no class", 0 for none.
    """

    def __init__(
        self,
        channels: int,
        patch: tuple[int, int],
        widths: tuple[int, ...],
        depths: tuple[int, ...],
        hidden: tuple[int, ...],
        heads: tuple[int, ...],
        mapping_width: int,
        mapping_depth: int,
        mapping_hidden: int,
        classes: int,
    ) -> None:
        super().__init__(mapping_width, mapping_depth, mapping_hidden, classes)

        def level(width: int, depth: int, inner: int, head: int) -> Level:
            return Level(
                Layer(
                    HourglassAttention(width, head, mapping_width) if head else None,
                    FeedForward(width, inner, mapping_width),
                )
                for _ in range(depth)
            )

        levels = list(zip(widths, depths, hidden, heads, strict=True))
        self.patch_in = Merge(channels, widths[0], patch)
        self.down_levels = nn.ModuleList(level(*each) for each in levels[:-1])
        self.mid_level = level(*levels[-1])
        self.up_levels = nn.ModuleList(level(*each) for each in levels[:-1])
        pairs = list(itertools.pairwise(widths))
        self.merges = nn.ModuleList(Merge(fine, coarse, (2, 2)) for fine, coarse in pairs)
        self.splits = nn.ModuleList(Split(coarse, fine, (2, 2), faded=True) for fine, coarse in pairs)
        self.out_norm = RMSNorm(widths[0])
        self.patch_out = Split(widths[0], channels, patch)

    def forward(self, x: Tensor, time: Tensor, y: Tensor | None = None) -> Tensor:
        """F of images (N, C, H, W) at times ¼ ln σ (N,); y (N,), None for no class."""
        told = self.told(time, y)
        x = self.patch_in(x.movedim(1, -1))
        places, kept = positions(x.shape[1], x.shape[2], 1.0, x), []
        for level, merge in zip(self.down_levels, self.merges, strict=True):
            x = level(x, places, told)
            kept.append((x, places))
            x = merge(x)
            places = places.unflatten(1, (-1, 2)).unflatten(0, (-1, 2)).mean((1, 3))
        x = self.mid_level(x, places, told)
        for level, split, (skip, there) in list(zip(self.up_levels, self.splits, kept, strict=True))[::-1]:
            x = level(split(x, skip), there, told)
        image: Tensor = self.patch_out(self.out_norm(x))
        return image.movedim(-1, 1)


def build_kdiffusion_hourglass(options: dict[str, Any]) -> nn.Module:
    """The network of a card's options."""
    return KDiffusionHourglass(**plain_options(options))
