"""The transformer of k-diffusion on one level of patches ("image_transformer_v1")."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
    rms_normed,
    split_heads,
)

_HEAD = 64  # channels of a head
_LOUDEST = math.log(100.0)  # learnt scales are cut off there
_BLOCKS_OF_MAPPING = 2


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


class FlatAttention(nn.Module):
    """x + attention over all patches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // _HEAD
        self.norm = TunedRMSNorm(width, width)
        self.qkv_proj = nn.Linear(width, 3 * width, bias=False)
        self.qk_norm, self.pos_emb = LearntScale(self.heads), AxialRotations(self.heads)
        self.out_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, places: Tensor, told: Tensor) -> Tensor:
        """Tokens (N, L, width) at places (L, 2)."""
        q, k, v = split_heads(self.qkv_proj(self.norm(x, told)), self.heads)
        q, k = (self.pos_emb(self.qk_norm(each), places) for each in (q, k))
        total: Tensor = x + self.out_proj(joined_heads(attend(q, k, v, 1 / math.sqrt(_HEAD))))
        return total


@final
class KDiffusionTransformer(Conditioning):
    """F(c_in u; t, y) of k-diffusion's image_transformer_v1, with the parameter names of its files.

    Args:
        channels: of an image.
        patch: (height, width) of a patch.
        width: of a token, a multiple of 64.
        depth: number of layers.
        hidden: of the feed-forward blocks.
        classes: number of classes and one for "no class", 0 for none.
    """

    def __init__(
        self, channels: int, patch: tuple[int, int], width: int, depth: int, hidden: int, classes: int
    ) -> None:
        super().__init__(width, _BLOCKS_OF_MAPPING, hidden, classes)
        self.patch, pixels = patch, channels * patch[0] * patch[1]
        self.in_proj = nn.Linear(pixels, width, bias=False)
        self.blocks = nn.ModuleList(
            Layer(FlatAttention(width), FeedForward(width, hidden, width)) for _ in range(depth)
        )
        self.out_norm = RMSNorm(width)
        self.out_proj = nn.Linear(width, pixels, bias=False)

    def forward(self, x: Tensor, time: Tensor, y: Tensor | None = None) -> Tensor:
        """F of images (N, C, H, W) at times ¼ ln σ (N,); y (N,), None for no class."""
        told, size, (high, wide) = self.told(time, y), x.shape[2:], self.patch
        rows, columns = size[0] // high, size[1] // wide
        places = positions(rows, columns, high / wide, x).flatten(0, 1)
        x = self.in_proj(F.unfold(x, self.patch, stride=self.patch).mT)
        for block in self.blocks:
            x = block(x, places, told)
        return F.fold(self.out_proj(self.out_norm(x)).mT, size, self.patch, stride=self.patch)


def build_kdiffusion_transformer(options: dict[str, Any]) -> nn.Module:
    """The network of a card's options."""
    return KDiffusionTransformer(**plain_options(options))
