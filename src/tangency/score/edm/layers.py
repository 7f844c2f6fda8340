"""Layers of DDPM++, NCSN++ and ADM, under the parameter names that published files use.

Every layer can be differentiated forwards and twice: attention is written out, nothing is done in place.

Sources: Song et al. (2021), Dhariwal and Nichol (2021), Karras et al. (2022), Appendix F.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_GROUPS, _GROUP_WIDTH = 32, 4  # most groups of a normalisation, fewest channels of a group
_LONGEST_PERIOD = 10_000.0
_FOURIER_SCALE = 16.0


@dataclass(frozen=True)
class BlockStyle:
    """How the residual blocks of the networks differ.

    Args:
        embedded: width of the embedding of noise level and class.
        dropout: between the convolutions.
        eps: of normalisation.
        taps: filter that halves and doubles the size, along one axis.
        gain: factor of every sum of a residual branch and its skip.
        scale_and_shift: whether the embedding scales activations, too, or is only added.
        project: whether a skip that changes size is convolved even if its width stays.
        head_width: channels of an attention head; 0 for one head.
    """

    embedded: int
    dropout: float
    eps: float
    taps: tuple[float, ...] = (1, 1)
    gain: float = 1.0
    scale_and_shift: bool = True
    project: bool = False
    head_width: int = 0


def normalisation(channels: int, eps: float) -> nn.GroupNorm:
    """Group normalisation with 32 groups, or fewer of at least four channels."""
    return nn.GroupNorm(max(1, min(_GROUPS, channels // _GROUP_WIDTH)), channels, eps)


class ResampledConv2d(nn.Module):
    """Convolution after a filter that halves or doubles the size.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel: size of the convolution, odd; 0 for the filter alone.
        up: double the size.
        down: halve the size.
        taps: the filter along one axis, of even length.
        fused: when halving, filter after the convolution and pad once for both.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        up: bool = False,
        down: bool = False,
        taps: tuple[float, ...] = (1, 1),
        fused: bool = False,
    ) -> None:
        super().__init__()
        self.out_channels, self.up, self.down, self.fused = out_channels, up, down, fused
        self.weight: nn.Parameter | None = None
        self.bias: nn.Parameter | None = None
        if kernel:
            self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel, kernel))
            self.bias = nn.Parameter(torch.zeros(out_channels))
            nn.init.xavier_uniform_(self.weight)
        self.pad, self.filter_pad = kernel // 2, (len(taps) - 1) // 2
        line = torch.tensor(taps, dtype=torch.float32) / sum(taps)
        self.register_buffer("resample_filter", torch.outer(line, line)[None, None] if up or down else None)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        early = self.down and not self.fused
        if self.up:
            x = F.conv_transpose2d(x, 4 * self._filters(x), stride=2, padding=self.filter_pad, groups=x.shape[1])
        if early:
            x = F.conv2d(x, self._filters(x), stride=2, padding=self.filter_pad, groups=x.shape[1])
        if self.weight is not None:
            x = F.conv2d(x, self.weight, self.bias, padding=self.pad + (self.filter_pad if self.fused else 0))
        if self.down and not early:
            x = F.conv2d(x, self._filters(x), stride=2, groups=x.shape[1])
        return x

    def _filters(self, x: Tensor) -> Tensor:
        """The filter once for each channel, (C, 1, taps, taps)."""
        kernel: Tensor = self.get_buffer("resample_filter")
        return kernel.expand(x.shape[1], -1, -1, -1)


class ResidualBlock(nn.Module):
    """Two convolutions conditioned on noise level and class, a skip, and self-attention if `attention`.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        style: what all blocks of the network share.
        up: double the size.
        down: halve the size.
        attention: attend at the end; without effect if `out_channels` are fewer than those of one head.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style: BlockStyle,
        up: bool = False,
        down: bool = False,
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.style, self.out_channels = style, out_channels
        resampled = up or down
        self.norm0 = normalisation(in_channels, style.eps)
        self.conv0 = ResampledConv2d(in_channels, out_channels, 3, up, down, style.taps)
        self.affine = nn.Linear(style.embedded, out_channels * (2 if style.scale_and_shift else 1))
        self.norm1 = normalisation(out_channels, style.eps)
        self.conv1 = ResampledConv2d(out_channels, out_channels, 3)
        self.skip: ResampledConv2d | None = None
        if resampled or in_channels != out_channels:
            kernel = int(style.project or in_channels != out_channels)
            self.skip = ResampledConv2d(in_channels, out_channels, kernel, up, down, style.taps)
        self.heads = 0 if not attention else out_channels // style.head_width if style.head_width else 1
        if self.heads:
            self.norm2 = normalisation(out_channels, style.eps)
            self.qkv = ResampledConv2d(out_channels, 3 * out_channels, 1)
            self.proj = ResampledConv2d(out_channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(N, C, H, W) and the embedding (N, E) to (N, C', H', W')."""
        h = self.conv0(F.silu(self.norm0(x)))
        conditioning = self.affine(embedding)[:, :, None, None]
        if self.style.scale_and_shift:
            scale, shift = conditioning.chunk(2, dim=1)
            h = F.silu((1 + scale) * self.norm1(h) + shift)
        else:
            h = F.silu(self.norm1(h + conditioning))
        h = self.conv1(F.dropout(h, self.style.dropout, self.training))
        x = self.style.gain * (h + (x if self.skip is None else self.skip(x)))
        if self.heads:
            x = self.style.gain * (x + self.proj(attend(self.qkv(self.norm2(x)), self.heads)))
        return x


def attend(qkv: Tensor, heads: int) -> Tensor:
    """Self-attention over pixels, softmax in float32 or higher.

    Args:
        qkv: (N, 3C, H, W); of a head's channels every first, second, third is a query, key, value.
        heads: number of heads, a divisor of C.
    """
    n, channels, height, width = len(qkv), qkv.shape[1] // 3, *qkv.shape[2:]
    q, k, v = qkv.reshape(n * heads, channels // heads, 3, height * width).unbind(2)
    logits = torch.einsum("ncq,nck->nqk", q, k / math.sqrt(channels // heads))
    weights = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(2).to(v.dtype)
    return torch.einsum("nqk,nck->ncq", weights, v).reshape(n, channels, height, width)


class PositionalEmbedding(nn.Module):
    """Cosines and sines of t at frequencies from 1 down to 1/10000.

    Args:
        width: even; half of it are frequencies.
        endpoint: whether 1/10000 itself is one of them.
        sine_first: order of the two halves.
    """

    def __init__(self, width: int, endpoint: bool = False, sine_first: bool = False) -> None:
        super().__init__()
        self.frequencies, self.steps, self.sine_first = width // 2, max(1, width // 2 - int(endpoint)), sine_first

    def forward(self, time: Tensor) -> Tensor:
        """(N,) to (N, width)."""
        ladder = torch.arange(self.frequencies, dtype=time.dtype, device=time.device) / self.steps
        return _waves(time[:, None] * _LONGEST_PERIOD**-ladder, self.sine_first)


class FourierEmbedding(nn.Module):
    """Sines and cosines of 2π f t at random frequencies f that belong to the weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("freqs", _FOURIER_SCALE * torch.randn(width // 2))

    def forward(self, time: Tensor) -> Tensor:
        """(N,) to (N, width)."""
        return _waves(time[:, None] * (2 * math.pi * self.get_buffer("freqs")), sine_first=True)


def _waves(angles: Tensor, sine_first: bool) -> Tensor:
    parts = [angles.cos(), angles.sin()]
    return torch.cat(parts[::-1] if sine_first else parts, dim=1)


def one_hot(y: Tensor | None, classes: int, like: Tensor) -> Tensor:
    """(N, classes) in dtype and device of `like` (N, …); zero throughout where y is None."""
    if y is None:
        return like.new_zeros(len(like), classes)
    return F.one_hot(y, classes).to(like)
