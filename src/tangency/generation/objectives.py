"""What gradient ascent raises: a function of images (N, C, H, W) to one number for each, (N,)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.autodiff import check_logits, log_odds, scalar
from tangency.errors import NumericsError, unknown_name
from tangency.numerics import flat, noise_levels
from tangency.types import Sigma, check_labels

Objective = Callable[[Tensor], Tensor]

# log p(y|x) = −softplus(−log-odds): unlike logits minus their logsumexp, its gradient does not cancel where p_y is near
# 1; unlike the log-odds' it still vanishes there, as that of the cross-entropy should.
_NAMED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": lambda logits, y: F.logsigmoid(log_odds(logits, y)),
    "log_odds": log_odds,
    "logit": lambda logits, y: scalar("logit_y", logits, y),
    "margin": lambda logits, y: scalar("margin", logits, y),
    "energy": lambda logits, y: logits.logsumexp(1),
}
UNLABELLED = frozenset({"energy"})


@dataclass(frozen=True)
class ClassObjective:
    """A number of a classifier's logits for the class y of each image.

    "cross_entropy" is log p(y|x), the cross-entropy with its sign turned; "log_odds" log p_y/(1 − p_y), of the same
    direction without its vanishing length; "logit" f_y; "margin" f_y less the largest other logit; "energy"
    logsumexp f, which reads logits as log p(x, y) and needs no class.

    Args:
        model: maps (N, C, H, W) to (N, classes) logits.
        name: one of `OBJECTIVES`.
        y: (N,) int64, the class of each image; of no meaning for "energy".

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> ClassObjective(net, "log_odds", torch.tensor([0, 2]))(torch.rand(2, 1, 2, 2)).shape
        torch.Size([2])
    """

    model: nn.Module
    name: str
    y: Tensor

    def __post_init__(self) -> None:
        if self.name not in _NAMED:
            raise NumericsError(unknown_name("objective", self.name, _NAMED))

    def __call__(self, x: Tensor) -> Tensor:
        """(N,), differentiable."""
        logits = check_logits(self.model(x), len(x))
        check_labels(self.y, len(x), logits.shape[1], "target classes")
        return _NAMED[self.name](logits, self.y)


@dataclass(frozen=True)
class WithLikelihood:
    """objective(x) − ‖x − observed‖²/(2σ²): maximal where an image is both likely and near what was observed.

    Args:
        prior: an objective that stands for log p(x), such as a classifier's energy.
        observed: (N, C, H, W), an image with Gaussian noise.
        sigma: its standard deviation, > 0, one number or (N,).
    """

    prior: Objective
    observed: Tensor
    sigma: Sigma

    def __post_init__(self) -> None:
        if not bool((noise_levels(self.sigma, self.observed) > 0).all()):
            raise NumericsError("sigma: got 0, expected a noise level > 0 for a likelihood.")

    def __call__(self, x: Tensor) -> Tensor:
        """(N,), differentiable."""
        levels = noise_levels(self.sigma, x).to(x.dtype)
        return self.prior(x) - flat(x - self.observed).square().sum(1) / (2 * levels**2)


@dataclass(frozen=True)
class WithoutVariation:
    """objective(x) − weight · Σ|differences of neighbouring pixels|: a hand-made prior that images are flat.

    It is off by default everywhere, since pictures then show it and not the classifier.

    Args:
        objective: what is raised otherwise.
        weight: ≥ 0, per unit of total variation.
    """

    objective: Objective
    weight: float

    def __call__(self, x: Tensor) -> Tensor:
        """(N,), differentiable."""
        return self.objective(x) - self.weight * total_variation(x)


def total_variation(x: Tensor) -> Tensor:
    """Σ |x_{i+1,j} − x_ij| + |x_{i,j+1} − x_ij|, (N, C, H, W) to (N,)."""
    return x.diff(dim=2).abs().sum((1, 2, 3)) + x.diff(dim=3).abs().sum((1, 2, 3))


def predicted(model: nn.Module, x: Tensor) -> Tensor:
    """The class of the largest logit, (N,) int64."""
    with torch.no_grad():
        return check_logits(model(x), len(x)).argmax(1)
