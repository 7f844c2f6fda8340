"""A classifier read as a density: logits as log p(x, y), their logsumexp as log p(x), and the denoiser that follows."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from tangency.autodiff import undisturbed
from tangency.generation.engine import value_and_gradient
from tangency.generation.objectives import ClassObjective
from tangency.numerics import noise_levels, per_example
from tangency.types import Sigma


class Joint(Protocol):
    """Anything with log p_σ(x, c): a mixture or a world."""

    def log_class_joint(self, x: Tensor, sigma: float) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        ...


class JointLogits(nn.Module):
    """x to log p_σ(x, c): the classifier whose energy is the true log density, and its softmax the Bayes rule.

    Args:
        law: a mixture or a world.
        sigma: noise on the images, ≥ 0, in [0, 1] pixel units.
    """

    def __init__(self, law: Joint, sigma: float = 0.0) -> None:
        super().__init__()
        self.law, self.sigma = law, sigma

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes) in the dtype of x."""
        return self.law.log_class_joint(x, self.sigma).to(x.dtype)


def energy_denoise(model: nn.Module, x: Tensor, sigma: Sigma, y: Tensor | None = None) -> Tensor:
    """x + σ²∇ logsumexp f(x), or x + σ²∇f_y(x): Tweedie's formula with a classifier's own density.

    Equal to D(x; σ), or D(x; σ, y), exactly where f_c(x) = log p_σ(x, c). One forward and one backward pass.

    Args:
        model: maps (N, C, H, W) to logits; left as it was.
        x: (N, C, H, W), noisy.
        sigma: its noise level, one number or (N,).
        y: (N,) classes, or None.

    Returns:
        (N, C, H, W), not clipped.

    Source: Miyasawa 1961; logits as energies: Grathwohl et al., arXiv 1912.03263.

    Example:
        >>> from tangency.worlds import make_world
        >>> world = make_world("linear?rank=3&classes=2&shape=1x8x8")
        >>> x = world.sample(4, seed=0).x
        >>> error = energy_denoise(JointLogits(world, 0.2), x, 0.2) - world.denoise(x, 0.2)
        >>> bool(error.abs().max() < 1e-10)
        True
    """
    levels = per_example(noise_levels(sigma, x).to(x.dtype), x)
    labels = torch.zeros(len(x), dtype=torch.int64, device=x.device) if y is None else y
    with undisturbed(model):
        gradient = value_and_gradient(ClassObjective(model, "energy" if y is None else "logit", labels), x)[1]
    return x.detach() + levels**2 * gradient
