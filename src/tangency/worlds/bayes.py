"""The Bayes rule of a world as a classifier, and its risk."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tangency.errors import NumericsError
from tangency.seeding import Draw
from tangency.worlds.world import World

_Z95 = 1.959963984540054


class BayesClassifier(nn.Module):
    """x to log p_σ(c | x): no classifier has a smaller error on a world (at σ = 0, or on images with noise σ).

    Computed in float64 whatever the dtype of the images, so that its gradients are exact where float32 logits saturate;
    what the classes share off the manifold is not part of the computation. Differentiable any number of times.

    Args:
        world: the world whose Bayes rule this is.
        sigma: standard deviation of the noise on its input, ≥ 0, in [0, 1] pixel units.

    Example:
        >>> from tangency.worlds import make_world
        >>> world = make_world("linear?rank=3&classes=2&shape=1x8x8")
        >>> BayesClassifier(world, 0.1)(world.sample(5, seed=0).x).shape
        torch.Size([5, 2])
    """

    def __init__(self, world: World, sigma: float = 0.0) -> None:
        super().__init__()
        self.world, self.sigma = world, sigma

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes) log-probabilities, in the dtype of x."""
        return self.world.log_posterior(x, self.sigma).to(x.dtype)


@dataclass(frozen=True)
class Risk:
    """The least error that any classifier can have, with a 95 % interval: E[1 − max_c p(c | x)] over n images."""

    mean: float
    low: float
    high: float
    n: int


def bayes_risk(world: World, sigma: float = 0.0, n: int = 20_000, seed: int = 0) -> Risk:
    """Bayes risk by Monte Carlo over images from the world (with noise σ), without drawing labels.

    1 − max_c p(c | x) has the mean of the 0–1 loss and a smaller variance. Normal interval, since summands are bounded.

    Example:
        >>> from tangency.worlds import make_world
        >>> risk = bayes_risk(make_world("linear?rank=3&classes=2&shape=1x8x8"), n=1000)
        >>> 0 <= risk.low <= risk.mean <= risk.high <= 0.5
        True
    """
    if n < 2:
        raise NumericsError(f"bayes_risk: got n = {n}, expected at least 2.")
    total = square = 0.0
    for start in range(0, n, 4096):
        x = world.sample(min(4096, n - start), seed, start).x
        if sigma > 0:
            x = x + sigma * Draw(seed, torch.arange(start, start + len(x)), "risk").normal(world.shape, torch.float64)
        risk = -torch.expm1(world.log_posterior(x, sigma).amax(1))
        total, square = total + float(risk.sum()), square + float(risk.square().sum())
    mean = total / n
    half = _Z95 * math.sqrt(max(square / n - mean**2, 0.0) / (n - 1))
    return Risk(mean, max(mean - half, 0.0), min(mean + half, 1.0), n)
