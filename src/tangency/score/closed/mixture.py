"""The closed-form score of a mixture of factor analysers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor

from tangency.errors import NumericsError
from tangency.mixtures import Mixture
from tangency.numerics import per_level
from tangency.types import Direction, Sigma


@final
class MixtureScore:
    """A `Denoiser` that is exact for its mixture, at any σ ≥ 0, clean images included.

    Example:
        >>> from tangency.data import load
        >>> from tangency.mixtures import fit_mixture
        >>> data = load("fashion-mnist-5k")
        >>> score = MixtureScore(fit_mixture(data.train, components=1, rank=2, max_steps=2)[0])
        >>> score.denoise(data.test.images(slice(0, 2)), 0.25).shape
        torch.Size([2, 1, 28, 28])
    """

    kind = "mfa"
    data_range = (0.0, 1.0)

    def __init__(self, mixture: Mixture, card: Mapping[str, Any] | None = None) -> None:
        self.mixture, self.shape, self.classes = mixture, mixture.shape, mixture.classes
        self.card = {"kind": self.kind, "components": len(mixture.means), **(card or {})}

    def denoise(self, x: Tensor, sigma: Sigma, y: Tensor | None = None) -> Tensor:
        """D(x; σ) or D(x; σ, y)."""
        return per_level(self.mixture.denoise, x, sigma, y)

    def score(self, x: Tensor, sigma: Sigma, y: Tensor | None = None) -> Tensor:
        """s_σ(x) or s_σ(x | y)."""
        return per_level(self.mixture.score, x, sigma, y)

    def bayes_direction(self, x: Tensor, y: Tensor, sigma: Sigma) -> Direction:
        """∇ log p_σ(y | x)."""
        if self.classes < 2:
            raise NumericsError("a Bayes gradient needs at least 2 classes, got a mixture of 1.")
        return per_level(lambda x, sigma, y: self.mixture.bayes_direction(x, y, sigma), x, sigma, y)

    def log_posterior(self, x: Tensor, sigma: float) -> Tensor:
        """log p_σ(c | x), (N, classes) float64: the mixture's Bayes rule."""
        return self.mixture.log_posterior(x, sigma)
