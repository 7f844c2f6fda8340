"""Layers that the networks of k-diffusion share, under the parameter names that its files use.

Every layer can be differentiated forwards and twice: attention is written out, nothing is done in place.

Sources: Karras et al. (2022); Su et al. (2021), rotary embeddings; Crowson et al. (2024), hourglass transformers.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

AUGMENTATIONS = 9  # length of the vector that says how an image was augmented in training
_EPS = 1e-6


class FourierFeatures(nn.Module):
    """Cosines and sines of 2π W v at random frequencies W that belong to the weights.

    Args:
        inputs: length of v.
        width: of the output, even.
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
    """`rms_normed` with a scale computed from the conditioning."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, width, bias=False)

    def forward(self, x: Tensor, conditioning: Tensor) -> Tensor:
        """Tokens (N, L, width) and conditioning (N, features) to tokens."""
        return rms_normed(x, self.linear(conditioning)[:, None] + 1)


class FeedForward(nn.Module):
    """x + W₂ (a · GELU(b)), (a, b) = W₁ norm(x); the norm depends on the conditioning unless `features` is 0."""

    def __init__(self, width: int, hidden: int, features: int) -> None:
        super().__init__()
        self.norm = TunedRMSNorm(width, features) if features else RMSNorm(width)
        self.up_proj = nn.Linear(width, 2 * hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, *conditioning: Tensor) -> Tensor:
        """Tokens (…, width) to the same."""
        values, gates = self.up_proj(self.norm(x, *conditioning)).chunk(2, dim=-1)
        change: Tensor = self.down_proj(values * F.gelu(gates))
        return x + change


class MappingNetwork(nn.Module):
    """The sum of embeddings to the conditioning of the layers."""

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
    """Base of the transformers: noise level, class, and "not augmented" to the conditioning of the layers.

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

    def conditioning(self, time: Tensor, y: Tensor | None) -> Tensor:
        """(N, width) of times (N,) and classes (N,), None for no class."""
        total = self.time_in_proj(self.time_emb(time[:, None]))
        total = total + self.aug_in_proj(self.aug_emb(time.new_zeros(len(time), AUGMENTATIONS)))
        if self.class_emb is not None:
            nothing = self.class_emb.num_embeddings - 1
            labels = torch.full_like(time, nothing, dtype=torch.int64) if y is None else y
            total = total + self.class_emb(labels)
        mapped: Tensor = self.mapping(total)
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


class Attention(nn.Module):
    """x + attention over all places; subclasses turn and scale queries and keys by their places."""

    factor = 1.0  # of the products of queries and keys

    def __init__(self, width: int, head: int, features: int) -> None:
        super().__init__()
        self.heads = width // head
        self.norm = TunedRMSNorm(width, features)
        self.qkv_proj = nn.Linear(width, 3 * width, bias=False)
        self.add_placing(head)
        self.out_proj = nn.Linear(width, width, bias=False)

    @abstractmethod
    def add_placing(self, head: int) -> None:
        """Make the parameters of `placed`, for heads of so many channels."""

    @abstractmethod
    def placed(self, x: Tensor, places: Tensor) -> Tensor:
        """Queries or keys (N, heads, L, E), turned and scaled by their places (L, 2)."""

    def forward(self, x: Tensor, places: Tensor, conditioning: Tensor) -> Tensor:
        """Tokens (N, L, width) at places (L, 2)."""
        qkv = self.qkv_proj(self.norm(x, conditioning)).reshape(*x.shape[:2], 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        joined = attend(self.placed(q, places), self.placed(k, places), v, self.factor)
        total: Tensor = x + self.out_proj(joined.transpose(1, 2).flatten(2))
        return total


class Layer(nn.Module):
    """Attention, where there is one, and a feed-forward block."""

    def __init__(self, attention: nn.Module | None, feed_forward: FeedForward) -> None:
        super().__init__()
        self.self_attn, self.ff = attention, feed_forward

    def forward(self, x: Tensor, places: Tensor, conditioning: Tensor) -> Tensor:
        """Tokens (N, L, width) to the same."""
        x = x if self.self_attn is None else self.self_attn(x, places, conditioning)
        tokens: Tensor = self.ff(x, conditioning)
        return tokens
