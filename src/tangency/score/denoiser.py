"""The interface of every score model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from tangency.types import Direction, Sigma


@runtime_checkable
class Denoiser(Protocol):
    """D(x; σ) = E[x₀ | x₀ + σ n = x] for images in [0, 1], σ in the same unit, one number or one for each image.

    A foreign range is converted inside the adapter: a network on [−1, 1] is queried at 2σ, and its score doubles.
    Inputs are noisy, hence not confined to [0, 1]. D has the shape and dtype of x, and is differentiable in x for
    networks.
    """

    @property
    def kind(self) -> str:
        """Short name used in specs and reports ("mfa")."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        ...

    @property
    def classes(self) -> int:
        """How many classes it can be given; 0 where it takes no labels."""
        ...

    @property
    def data_range(self) -> tuple[float, float]:
        """What black and white are inside of it; (0, 1) for closed forms, (−1, 1) for most networks."""
        ...

    @property
    def card(self) -> Mapping[str, Any]:
        """Where it comes from and what it was made for; JSON values."""
        ...

    def denoise(self, x: Tensor, sigma: Sigma, y: Tensor | None = None) -> Tensor:
        """D(x; σ), or D(x; σ, y), shape and dtype of x (N, C, H, W)."""
        ...

    def score(self, x: Tensor, sigma: Sigma, y: Tensor | None = None) -> Tensor:
        """s_σ(x) = ∇ log p_σ(x) = (D − x)/σ², or given y; per unit of pixel range."""
        ...

    def bayes_direction(self, x: Tensor, y: Tensor, sigma: Sigma) -> Direction:
        """∇ log p_σ(y | x) as direction and log magnitude."""
        ...
