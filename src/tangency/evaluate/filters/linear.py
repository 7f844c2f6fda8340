"""Fixed linear filters before a network: x ↦ A x, or m + A (x − m) about a mean."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from tangency.models import Classifier
from tangency.numerics import flat
from tangency.types import Card


class InputFilter(nn.Module):
    """A fixed symmetric matrix A that images pass through, (N, C, H, W) to (N, C, H, W); x itself in this base class.

    It has no parameters, and its buffers follow from the name and the training images, so that neither stands in a
    state dict.

    Args:
        name: what `filter_named` rebuilds it from.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        """A x, dtype of x."""
        return x


class SpectralFilter(InputFilter):
    """m + V diag(g) Vᵀ (x − m) + t (I − V Vᵀ)(x − m): a gain for each principal direction, one for all the others.

    Args:
        name: of the filter.
        mean: m, (d,).
        vectors: V, (d, k) orthonormal columns; kept without a copy, so that filters share it.
        gains: g, (k,).
        tail: t.
    """

    mean: Tensor
    vectors: Tensor
    gains: Tensor

    def __init__(self, name: str, mean: Tensor, vectors: Tensor, gains: Tensor, tail: float = 0.0) -> None:
        super().__init__(name)
        self.tail = tail
        for key, value in (("mean", mean), ("vectors", vectors), ("gains", gains)):
            self.register_buffer(key, value, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Filtered images, (N, C, H, W)."""
        mean, vectors = self.mean.to(x.dtype), self.vectors.to(x.dtype)
        rows = flat(x) - mean
        moved = (rows @ vectors * (self.gains - self.tail).to(x.dtype)) @ vectors.mT
        return (mean + self.tail * rows + moved).reshape(x.shape)


class SeparableFilter(InputFilter):
    """R x Cᵀ of every channel: the same symmetric matrix for all columns, and another for all rows.

    Args:
        name: of the filter.
        columns: R, (H, H).
        rows: C, (W, W).
    """

    columns: Tensor
    rows: Tensor

    def __init__(self, name: str, columns: Tensor, rows: Tensor) -> None:
        super().__init__(name)
        self.register_buffer("columns", columns, persistent=False)
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Filtered images, (N, C, H, W)."""
        filtered: Tensor = self.columns.to(x.dtype) @ x @ self.rows.to(x.dtype).mT
        return filtered


class Filtered(nn.Module):
    """x ↦ net(A x): a network behind a fixed filter, whose input gradients are Aᵀ∇net(A x).

    It is in the mode of the network (`train` and `eval` reach that), and has its card where it is a `Classifier`, with
    the filter's name in the provenance.

    Args:
        filter: A.
        net: maps (N, C, H, W) in [0, 1] to (N, classes) logits; A x may leave [0, 1].

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> halved = Filtered(SeparableFilter("half", 0.5 * torch.eye(2), torch.eye(2)), net)
        >>> x = torch.rand(3, 1, 2, 2)
        >>> torch.equal(halved(x), net(x / 2))
        True
    """

    def __init__(self, filter: InputFilter, net: nn.Module) -> None:
        super().__init__()
        self.filter, self.net = filter, net
        self.training = filter.training = net.training
        self.card: Card | None = None
        if isinstance(net, Classifier):
            provenance = {**net.card.provenance, "filter": filter.name}
            self.card = dataclasses.replace(net.card, provenance=provenance)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] to (N, classes) logits."""
        logits: Tensor = self.net(self.filter(x))
        return logits


def low_pass(n: int, frequencies: int) -> Tensor:
    """Projection on the lowest cosines of the orthonormal DCT-II, (n, n) float64 of rank `frequencies`."""
    place = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    waves = torch.cos(torch.pi * place[:, None] * torch.arange(frequencies, dtype=torch.float64))
    basis = waves / waves.square().sum(0).sqrt()
    return basis @ basis.mT


def gaussian_blur(n: int, sigma: float) -> Tensor:
    """Convolution with exp(−i²/2σ²), |i| ≤ 4σ, of sum 1, the line mirrored at its ends (d c b a | a b c d), (n, n).

    The mirror repeats the pixel at the border, so that the matrix is symmetric and keeps sums. Source: the default of
    `scipy.ndimage.gaussian_filter`.
    """
    radius = int(4 * sigma + 0.5)
    offset = torch.arange(-radius, radius + 1)
    kernel = (-0.5 * (offset.double() / sigma).square()).exp()
    reached = (torch.arange(n)[:, None] + offset) % (2 * n)
    mirrored = torch.where(reached < n, reached, 2 * n - 1 - reached)
    weights = (kernel / kernel.sum()).expand(n, -1)
    return torch.zeros(n, n, dtype=torch.float64).scatter_add_(1, mirrored, weights)
