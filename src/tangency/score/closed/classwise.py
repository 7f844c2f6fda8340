"""What closed forms share that are sums over the classes of their images."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.mixtures.weights import Weigh, given, log_rest, marginal, odds
from tangency.numerics import check_shape, flat, noise_levels, norms, per_example, per_level
from tangency.types import Direction, LabelledImages, Sigma, check_images, check_labels


class ClasswiseScore(ABC):
    """A `Denoiser` whose scores and Bayes directions are Σ_c w_c ∇ log p_σ(x | c), computed in float64.

    Args:
        data: images that it is made from.
        device: where it is computed.
    """

    kind: str
    data_range = (0.0, 1.0)

    def __init__(self, data: LabelledImages, device: str | torch.device) -> None:
        self.shape, self.classes, self.device = data.shape, len(data.classes), torch.device(device)
        self.card = {"kind": self.kind, "data": data.name, "images": len(data)}
        self._names, self._counts = data.classes, data.class_counts

    @abstractmethod
    def _weighted(self, x: Tensor, sigma: float, weigh: Weigh) -> tuple[Tensor, Tensor]:
        """Σ_c w_c ∇ log p_σ(x | c), shape of x float64; and log p_σ(x, c) up to a constant common to all classes."""

    def denoise(self, x: Tensor, sigma: Sigma, y: Tensor | None = None) -> Tensor:
        """D(x; σ), or given y; shape and dtype of x."""
        score = self.score(x.double(), sigma, y)
        return (x.double() + per_example(noise_levels(sigma, x), x) ** 2 * score).to(x.dtype)

    def score(self, x: Tensor, sigma: Sigma, y: Tensor | None = None) -> Tensor:
        """s_σ(x) = (D(x; σ) − x)/σ², or given y; shape and dtype of x."""
        if y is not None:
            self._check_labels(x, y)
        return per_level(self._score, x, sigma, y)

    def bayes_direction(self, x: Tensor, y: Tensor, sigma: Sigma) -> Direction:
        """∇ log p_σ(y | x) as log-odds direction and log magnitude."""
        self._check_labels(x, y)
        if int((self._counts > 0).sum()) < 2:
            raise NumericsError("a Bayes gradient needs images of at least 2 classes.")
        return per_level(self._bayes_direction, x, sigma, y)

    def log_posterior(self, x: Tensor, sigma: float) -> Tensor:
        """log p_σ(c | x), (N, classes) float64: its Bayes rule."""
        return self._weighted(x.double(), sigma, marginal)[1].log_softmax(1)

    def _score(self, x: Tensor, sigma: float, y: Tensor | None) -> Tensor:
        return self._weighted(x, sigma, marginal if y is None else given(y))[0].to(x)

    def _bayes_direction(self, x: Tensor, sigma: float, y: Tensor) -> Direction:
        direction, joint = self._weighted(x, sigma, odds(y))
        return Direction(direction.to(x), norms(direction).log() + log_rest(joint, y))

    def _rows(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, d) float64 on the device of the computation."""
        check_images(x, unit_range=False)
        check_shape(x, self.shape)
        return flat(x).to(self.device, torch.float64)

    def _check_labels(self, x: Tensor, y: Tensor) -> None:
        check_labels(y, len(x), self.classes)
        for c in set(y.tolist()):
            if not self._counts[c]:
                raise NumericsError(f"class '{self._names[c]}' has no images, expected at least 1 to condition on it.")
