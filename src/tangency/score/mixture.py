"""The closed-form score of a mixture of factor analysers."""

from __future__ import annotations

from typing import final

from torch import Tensor

from tangency.errors import NumericsError
from tangency.mixtures import Mixture
from tangency.types import Direction


@final
class MixtureScore:
    """A `Denoiser` whose every answer is exact for its mixture, at any σ ≥ 0, clean images included.

    Example:
        >>> from tangency.data import load
        >>> from tangency.mixtures import fit_mixture
        >>> data = load("fashion-mnist-5k")
        >>> score = MixtureScore(fit_mixture(data.train, components=1, rank=2, max_steps=2)[0])
        >>> score.denoise(data.test.images(slice(0, 2)), 0.25).shape
        torch.Size([2, 1, 28, 28])
    """

    kind = "mfa"

    def __init__(self, mixture: Mixture) -> None:
        self.mixture = mixture

    def denoise(self, x: Tensor, sigma: float, y: Tensor | None = None) -> Tensor:
        """D(x; σ) or D(x; σ, y)."""
        return self.mixture.denoise(x, sigma, y)

    def score(self, x: Tensor, sigma: float, y: Tensor | None = None) -> Tensor:
        """s_σ(x) or s_σ(x | y)."""
        return self.mixture.score(x, sigma, y)

    def bayes_direction(self, x: Tensor, y: Tensor, sigma: float) -> Direction:
        """∇ log p_σ(y | x)."""
        if self.mixture.classes < 2:
            raise NumericsError("a Bayes gradient needs at least 2 classes, got a mixture of 1.")
        return self.mixture.bayes_direction(x, y, sigma)
