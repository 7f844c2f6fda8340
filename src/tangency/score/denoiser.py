"""The contract that every score model keeps."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from tangency.types import Direction


@runtime_checkable
class Denoiser(Protocol):
    """D(x; σ) = E[x₀ | x₀ + σ n = x] for images in [0, 1], σ in the same unit.

    A foreign range is converted inside the adapter: a network on [−1, 1] is queried at 2σ, and its score doubles.
    Inputs are noisy, hence not confined to [0, 1].
    """

    @property
    def kind(self) -> str:
        """Short name that stands in specs and reports ("mfa")."""
        ...

    def denoise(self, x: Tensor, sigma: float, y: Tensor | None = None) -> Tensor:
        """D(x; σ), or D(x; σ, y), shape and dtype of x (N, C, H, W)."""
        ...

    def score(self, x: Tensor, sigma: float, y: Tensor | None = None) -> Tensor:
        """s_σ(x) = ∇ log p_σ(x) = (D − x)/σ², or given y; per unit of pixel range."""
        ...

    def bayes_direction(self, x: Tensor, y: Tensor, sigma: float) -> Direction:
        """∇ log p_σ(y | x) as direction and log magnitude."""
        ...
