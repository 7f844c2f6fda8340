"""Score and Bayes gradient of whatever gives D."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from tangency.errors import NumericsError
from tangency.numerics import noise_levels, norms, per_example
from tangency.types import Direction, Sigma


def positive_levels(sigma: Sigma, x: Tensor, kind: str) -> Tensor:
    """σ of each image, (N,) float64; raises where one is 0, at which only a density of its own has a score."""
    levels = noise_levels(sigma, x)
    if not bool((levels > 0).all()):
        raise NumericsError(
            f"sigma: got 0, expected a noise level > 0: the data of '{kind}' have no density of their own, it knows "
            "only noisy ones."
        )
    return levels


class ScoreOfDenoiser(ABC):
    """s = (D − x)/σ² and ∇ log p_σ(y|x) = (D_y − D)/σ², for whatever gives D."""

    kind: str

    @abstractmethod
    def denoise(self, x: Tensor, sigma: Sigma, y: Tensor | None = None) -> Tensor:
        """D(x; σ) or D(x; σ, y); x itself where σ = 0."""

    def score(self, x: Tensor, sigma: Sigma, y: Tensor | None = None) -> Tensor:
        """s_σ(x) = (D − x)/σ², or given y."""
        levels = positive_levels(sigma, x, self.kind)
        return (self.denoise(x, levels, y) - x) / per_example(levels, x).to(x.dtype) ** 2

    def bayes_direction(self, x: Tensor, y: Tensor, sigma: Sigma) -> Direction:
        """∇ log p_σ(y | x) = (D(x; σ, y) − D(x; σ))/σ²: a difference of two answers, not exact.

        `tangency.score.bayes_gradient` also tells how much of it is to be believed.
        """
        levels = positive_levels(sigma, x, self.kind)
        difference = self.denoise(x, levels, y) - self.denoise(x, levels)
        return Direction(difference, norms(difference).double().log() - 2 * levels.log())
