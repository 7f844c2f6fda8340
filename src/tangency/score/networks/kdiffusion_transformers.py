"""The transformers of k-diffusion: on one level of patches ("image_transformer_v1"), and the hourglass ("…_v2")."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.score.networks.kdiffusion_layers import (
    Attention,
    Conditioning,
    FeedForward,
    Layer,
    RMSNorm,
    positions,
    rms_normed,
)

_HEAD = 64  # channels of a head of the flat transformer
_LOUDEST = math.log(100.0)  # upper bound of learnt scales
_BLOCKS_OF_MAPPING = 2
_EPS = 1e-6


class AxialRotations(nn.Module):
    """Rotations of pairs of neighbouring channels by learnt frequencies of row and column."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.freqs_h = nn.Parameter(torch.zeros(heads, _HEAD // 4))
        self.freqs_w = nn.Parameter(torch.zeros(heads, _HEAD // 4))

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        """Queries or keys (N, heads, L, 64) at places (L, 2)."""
        parts = [places[:, axis, None] * f.exp()[:, None] for axis, f in enumerate((self.freqs_h, self.freqs_w))]
        angles = torch.cat(parts, dim=-1)
        even, odd = x[..., 0::2], x[..., 1::2]
        turned = (even * angles.cos() - odd * angles.sin(), odd * angles.cos() + even * angles.sin())
        return torch.stack(turned, dim=-1).flatten(-2)


class LearntScale(nn.Module):
    """Queries and keys of learnt length, one for each head."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((heads,), math.log(10.0)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, heads, L, E) to the same."""
        scale = (self.scale.clamp(max=_LOUDEST) / 2 - math.log(x.shape[-1]) / 4).exp()
        return rms_normed(x, scale[:, None, None])


class FlatAttention(Attention):
    """Attention with learnt frequencies and lengths of queries and keys."""

    factor = 1 / math.sqrt(_HEAD)

    def add_placing(self, head: int) -> None:
        """A length and frequencies for each head."""
        self.qk_norm, self.pos_emb = LearntScale(self.heads), AxialRotations(self.heads)

    def placed(self, x: Tensor, places: Tensor) -> Tensor:
        """Queries or keys (N, heads, L, 64), turned and scaled by their places (L, 2)."""
        turned: Tensor = self.pos_emb(self.qk_norm(x), places)
        return turned


@dataclass(frozen=True)
class TransformerOptions:
    """What shapes a `KDiffusionTransformer`.

    Args:
        channels: of an image.
        patch: (height, width) of a patch.
        width: of a token, a multiple of 64.
        depth: number of layers.
        hidden: of the feed-forward blocks.
        classes: number of classes and one for "no class", 0 for none.
    """

    channels: int
    patch: tuple[int, int]
    width: int
    depth: int
    hidden: int
    classes: int

    @property
    def multiples(self) -> tuple[int, int]:
        """What height and width of an image must be multiples of."""
        return self.patch


@final
class KDiffusionTransformer(Conditioning):
    """F(c_in u; t, y) of k-diffusion's image_transformer_v1, with the parameter names of its files."""

    def __init__(self, options: TransformerOptions) -> None:
        width, hidden = options.width, options.hidden
        super().__init__(width, _BLOCKS_OF_MAPPING, hidden, options.classes)
        self.patch, pixels = options.patch, options.channels * math.prod(options.patch)
        self.in_proj = nn.Linear(pixels, width, bias=False)
        self.blocks = nn.ModuleList(
            Layer(FlatAttention(width, _HEAD, width), FeedForward(width, hidden, width)) for _ in range(options.depth)
        )
        self.out_norm = RMSNorm(width)
        self.out_proj = nn.Linear(width, pixels, bias=False)

    def forward(self, x: Tensor, time: Tensor, y: Tensor | None = None) -> Tensor:
        """F of images (N, C, H, W) at times ¼ ln σ (N,); y (N,), None for no class."""
        conditioning, size, (high, wide) = self.conditioning(time, y), x.shape[2:], self.patch
        rows, columns = size[0] // high, size[1] // wide
        places = positions(rows, columns, high / wide, x).flatten(0, 1)
        x = self.in_proj(F.unfold(x, self.patch, stride=self.patch).mT)
        for block in self.blocks:
            x = block(x, places, conditioning)
        return F.fold(self.out_proj(self.out_norm(x)).mT, size, self.patch, stride=self.patch)


class HourglassAttention(Attention):
    """Attention by the cosine of queries and keys."""

    def add_placing(self, head: int) -> None:
        """A scale and fixed frequencies for each head."""
        self.scale = nn.Parameter(torch.full((self.heads,), 10.0))
        self.pos_emb = nn.Module()
        self.pos_emb.register_buffer("freqs", torch.ones(self.heads, head // 8))

    def placed(self, x: Tensor, places: Tensor) -> Tensor:
        """Queries or keys (N, heads, L, E): scaled, and half of the channels turned, their halves as pairs."""
        x = x * self.scale.sqrt()[:, None, None] * (x.square().sum(-1, keepdim=True) + _EPS).rsqrt()
        angles = torch.cat([places[:, axis, None] * self.pos_emb.get_buffer("freqs")[:, None] for axis in (0, 1)], -1)
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
        squares = x.reshape(len(x), x.shape[1] // high, high, x.shape[2] // wide, wide, -1).transpose(2, 3)
        merged: Tensor = self.proj(squares.flatten(3))
        return merged


class Split(nn.Module):
    """Each place to a square of places, blended with the features before the merge if `faded`."""

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


class PlacedLayers(nn.ModuleList):
    """Layers on places of one size."""

    def forward(self, x: Tensor, places: Tensor, conditioning: Tensor) -> Tensor:
        """(N, H, W, C) at places (H, W, 2) to the same."""
        tokens, where = x.flatten(1, 2), places.flatten(0, 1)
        for layer in self:
            tokens = layer(tokens, where, conditioning)
        return tokens.reshape(x.shape)


@dataclass(frozen=True)
class HourglassOptions:
    """What shapes a `KDiffusionHourglass`.

    Args:
        channels: of an image.
        patch: (height, width) of a patch.
        widths, depths, hidden: of each level, finest first.
        heads: channels of an attention head of each level; 0 for a level without attention.
        mapping_width, mapping_depth, mapping_hidden: of the network that maps noise level and class.
        classes: number of classes and one for "no class", 0 for none.
    """

    channels: int
    patch: tuple[int, int]
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    hidden: tuple[int, ...]
    heads: tuple[int, ...]
    mapping_width: int
    mapping_depth: int
    mapping_hidden: int
    classes: int

    @property
    def multiples(self) -> tuple[int, int]:
        """What height and width of an image must be multiples of."""
        coarsest = 2 ** (len(self.widths) - 1)
        return self.patch[0] * coarsest, self.patch[1] * coarsest


@final
class KDiffusionHourglass(Conditioning):
    """F(c_in u; t, y) of k-diffusion's image_transformer_v2 with attention over all places, or none, at each level."""

    def __init__(self, options: HourglassOptions) -> None:
        features, widths = options.mapping_width, options.widths
        super().__init__(features, options.mapping_depth, options.mapping_hidden, options.classes)

        def level(width: int, depth: int, inner: int, head: int) -> PlacedLayers:
            return PlacedLayers(
                Layer(HourglassAttention(width, head, features) if head else None, FeedForward(width, inner, features))
                for _ in range(depth)
            )

        levels = list(zip(widths, options.depths, options.hidden, options.heads, strict=True))
        self.patch_in = Merge(options.channels, widths[0], options.patch)
        self.down_levels = nn.ModuleList(level(*each) for each in levels[:-1])
        self.mid_level = level(*levels[-1])
        self.up_levels = nn.ModuleList(level(*each) for each in levels[:-1])
        pairs = list(itertools.pairwise(widths))
        self.merges = nn.ModuleList(Merge(fine, coarse, (2, 2)) for fine, coarse in pairs)
        self.splits = nn.ModuleList(Split(coarse, fine, (2, 2), faded=True) for fine, coarse in pairs)
        self.out_norm = RMSNorm(widths[0])
        self.patch_out = Split(widths[0], options.channels, options.patch)

    def forward(self, x: Tensor, time: Tensor, y: Tensor | None = None) -> Tensor:
        """F of images (N, C, H, W) at times ¼ ln σ (N,); y (N,), None for no class."""
        conditioning = self.conditioning(time, y)
        x = self.patch_in(x.movedim(1, -1))
        places, kept = positions(x.shape[1], x.shape[2], 1.0, x), []
        for level, merge in zip(self.down_levels, self.merges, strict=True):
            x = level(x, places, conditioning)
            kept.append((x, places))
            x = merge(x)
            places = places.reshape(places.shape[0] // 2, 2, places.shape[1] // 2, 2, 2).mean((1, 3))
        x = self.mid_level(x, places, conditioning)
        for level, split, (skip, there) in list(zip(self.up_levels, self.splits, kept, strict=True))[::-1]:
            x = level(split(x, skip), there, conditioning)
        image: Tensor = self.patch_out(self.out_norm(x))
        return image.movedim(-1, 1)
