"""Layers that the networks of k-diffusion share, under the parameter names that its files use.

Every layer can be differentiated forwards and twice: attention is written out, nothing is done in place.

Sources: Karras et al. (2022); Su et al. (2021), rotary embeddings; Crowson et al. (2024), hourglass transformers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

AUGMENTATIONS = 9  # length of the vector that told the network, in training, how an image was augmented
_EPS = 1e-6


class FourierFeatures(nn.Module):
    """Cosines and sines of 2π W v at random frequencies W that belong to the weights.

    Args:
        inputs: length of v.
        width: of the answer, even.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(width // 2, inputs))

    def forward(self, v: Tensor) -> Tensor:
        """(N, inputs) to (N, width)."""
        angles = 2 * math.pi * v @ self.get_buffer("weight").T
        return torch.cat([angles.cos(), angles.sin()], dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """softmax(scale · q kᵀ) v over the last two axes, (…, L, E) each; softmax in float32 or higher."""
    logits = scale * q @ k.mT
    weights = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1).to(v.dtype)
    return weights @ v


def rms_normed(x: Tensor, scale: Tensor) -> Tensor:
    """x scale / √(mean x² + 10⁻⁶), the mean over the last axis."""
    return x * (scale * (x.square().mean(-1, keepdim=True) + _EPS).rsqrt())


class RMSNorm(nn.Module):
    """`rms_normed` with a learnt scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) to the same."""
        return rms_normed(x, self.scale)


class TunedRMSNorm(nn.Module):
    """`rms_normed` with a scale that the conditioning decides."""

    def __init__(self, width: int, told: int) -> None:
        super().__init__()
        self.linear = nn.Linear(told, width, bias=False)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """Tokens (N, L, width) and conditioning (N, told) to tokens."""
        return rms_normed(x, self.linear(told)[:, None] + 1)


class FeedForward(nn.Module):
    """x + W₂ (a · GELU(b)), (a, b) = W₁ norm(x); the norm told of the conditioning, or not where `told` is 0."""

    def __init__(self, width: int, hidden: int, told: int) -> None:
        super().__init__()
        self.norm = TunedRMSNorm(width, told) if told else RMSNorm(width)
        self.up_proj = nn.Linear(width, 2 * hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, *told: Tensor) -> Tensor:
        """Tokens (…, width) to the same."""
        values, gates = self.up_proj(self.norm(x, *told)).chunk(2, dim=-1)
        return x + self.down_proj(values * F.gelu(gates))


class MappingNetwork(nn.Module):
    """The sum of embeddings to what the layers are told."""

    def __init__(self, depth: int, width: int, hidden: int) -> None:
        super().__init__()
        self.in_norm, self.out_norm = RMSNorm(width), RMSNorm(width)
        self.blocks = nn.ModuleList(FeedForward(width, hidden, 0) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width) to the same."""
        x = self.in_norm(x)
        for block in self.blocks:
            x = block(x)
        normed: Tensor = self.out_norm(x)
        return normed


class Conditioning(nn.Module):
    """Base of the transformers: noise level, class, and "not augmented" to what the layers are told.

    Args:
        width: of the embeddings.
        depth, hidden: of the mapping network.
        classes: rows of the table of classes, the last for "no class"; 0 for no table.
    """

    def __init__(self, width: int, depth: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.time_emb, self.aug_emb = FourierFeatures(1, width), FourierFeatures(AUGMENTATIONS, width)
        self.time_in_proj = nn.Linear(width, width, bias=False)
        self.aug_in_proj = nn.Linear(width, width, bias=False)
        self.class_emb = nn.Embedding(classes, width) if classes else None
        self.mapping = MappingNetwork(depth, width, hidden)

    def told(self, time: Tensor, y: Tensor | None) -> Tensor:
        """(N, width) of times (N,) and classes (N,), None for no class."""
        found = self.time_in_proj(self.time_emb(time[:, None]))
        found = found + self.aug_in_proj(self.aug_emb(time.new_zeros(len(time), AUGMENTATIONS)))
        if self.class_emb is not None:
            nothing = self.class_emb.num_embeddings - 1
            labels = torch.full_like(time, nothing, dtype=torch.int64) if y is None else y
            found = found + self.class_emb(labels)
        mapped: Tensor = self.mapping(found)
        return mapped


def positions(height: int, width: int, aspect: float, like: Tensor) -> Tensor:
    """(height, width, 2) centres of squares in the largest box of that shape within [−1, 1]².

    Args:
        height, width: in squares.
        aspect: height of a square over its width.
        like: tensor whose dtype and device are taken.
    """
    ratio = width / (height * aspect)
    top, left = min(1.0, 1 / ratio), min(1.0, ratio)
    lines = [
        bound * ((2 * torch.arange(count, dtype=like.dtype, device=like.device) + 1) / count - 1)
        for bound, count in ((top, height), (left, width))
    ]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1)


def split_heads(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """(N, L, 3 width) to queries, keys and values (N, heads, L, E)."""
    q, k, v = qkv.reshape(*qkv.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
    return q, k, v


def joined_heads(x: Tensor) -> Tensor:
    """(N, heads, L, E) to (N, L, width)."""
    return x.transpose(1, 2).flatten(2)


class Layer(nn.Module):
    """Attention, where there is one, and a feed-forward block."""

    def __init__(self, attention: nn.Module | None, feed_forward: FeedForward) -> None:
        super().__init__()
        self.self_attn, self.ff = attention, feed_forward

    def forward(self, x: Tensor, places: Tensor, told: Tensor) -> Tensor:
        """Tokens (N, L, width) to the same."""
        x = x if self.self_attn is None else self.self_attn(x, places, told)
        found: Tensor = self.ff(x, told)
        return found
