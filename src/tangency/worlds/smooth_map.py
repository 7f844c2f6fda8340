"""A small smooth network from a few coordinates to some more, with its derivatives written out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

_AT_ONCE = 8192


@final
@dataclass(frozen=True)
class SmoothMap:
    """g(u): linear layers with SiLU between them, infinitely differentiable.

    Args:
        weights: (out, in) float64 of each layer.
        biases: (out,) float64 of each layer.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @property
    def inputs(self) -> int:
        """k."""
        return self.weights[0].shape[1]

    @property
    def outputs(self) -> int:
        """n."""
        return self.weights[-1].shape[0]

    def values(self, u: Tensor) -> Tensor:
        """g(u), (N, k) to (N, n)."""
        parts = [self._values(part) for part in torch.split(u, _AT_ONCE)]
        return torch.cat(parts)

    def _values(self, h: Tensor) -> Tensor:
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = functional.silu(h @ weight.mT + bias)
        return h @ self.weights[-1].mT + self.biases[-1]

    def jet(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """g (N, n), its Jacobian (N, n, k), and its second derivatives (N, n, k, k)."""
        n, k = u.shape
        value = u
        first = torch.eye(k, dtype=u.dtype, device=u.device).expand(n, -1, -1)
        second = u.new_zeros(n, k, k, k)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            value = value @ weight.mT + bias
            first = torch.einsum("oi,nia->noa", weight, first)
            second = torch.einsum("oi,niab->noab", weight, second)
            if i == len(self.weights) - 1:
                break
            gate = value.sigmoid()
            slope = gate * (1 + value * (1 - gate))
            bend = gate * (1 - gate) * (2 + value * (1 - 2 * gate))
            second = slope[..., None, None] * second + bend[..., None, None] * first[..., :, None] * first[..., None, :]
            first = slope[..., None] * first
            value = value * gate
        return value, first, second

    def to(self, device: str) -> SmoothMap:
        """The same on another device."""
        return SmoothMap(tuple(w.to(device) for w in self.weights), tuple(b.to(device) for b in self.biases))
