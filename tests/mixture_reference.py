"""The slow obvious mixture: dense covariances, densities by scipy's definition, gradients by automatic differentiation.

Nothing here is shared with tangency.mixtures but the parameters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tangency.mixtures import Mixture


def dense_covariances(mixture: Mixture, sigma: float) -> list[Tensor]:
    d = mixture.means.shape[1]
    eye = torch.eye(d, dtype=torch.float64)
    return [a @ a.T + torch.diag(psi) + sigma**2 * eye for a, psi in zip(mixture.loadings, mixture.noise, strict=True)]


def log_joint(mixture: Mixture, x: Tensor, sigma: float) -> Tensor:
    """log π_j N(x; μ_j, Σ_j) of one flat image, (K,)."""
    values = []
    for j, covariance in enumerate(dense_covariances(mixture, sigma)):
        r = x - mixture.means[j]
        distance = r @ torch.linalg.solve(covariance, r)
        log_det = torch.linalg.slogdet(covariance).logabsdet
        values.append(mixture.log_weights[j] - 0.5 * (distance + log_det + len(x) * math.log(2 * math.pi)))
    return torch.stack(values)


def log_density(mixture: Mixture, x: Tensor, sigma: float) -> Tensor:
    return log_joint(mixture, x, sigma).logsumexp(0)


def log_density_given(mixture: Mixture, x: Tensor, sigma: float, y: int) -> Tensor:
    own = mixture.component_class == y
    return log_joint(mixture, x, sigma)[own].logsumexp(0) - mixture.log_weights[own].logsumexp(0)


def log_posterior(mixture: Mixture, x: Tensor, sigma: float, y: int) -> Tensor:
    joint = log_joint(mixture, x, sigma)
    return joint[mixture.component_class == y].logsumexp(0) - joint.logsumexp(0)


def log_odds(mixture: Mixture, x: Tensor, sigma: float, y: int) -> Tensor:
    joint, own = log_joint(mixture, x, sigma), mixture.component_class == y
    return joint[own].logsumexp(0) - joint[~own].logsumexp(0)


def posterior_mean(mixture: Mixture, x: Tensor, sigma: float, y: int | None = None) -> Tensor:
    """E[x₀ | x] by Gaussian conditioning of each component: x₀ ~ N(μ, S), x = x₀ + σn, no score involved."""
    joint = log_joint(mixture, x, sigma)
    if y is not None:
        joint = joint.masked_fill(mixture.component_class != y, -torch.inf)
    means = []
    for j, covariance in enumerate(dense_covariances(mixture, sigma)):
        clean = covariance - sigma**2 * torch.eye(len(x), dtype=torch.float64)
        means.append(mixture.means[j] + clean @ torch.linalg.solve(covariance, x - mixture.means[j]))
    return joint.softmax(0) @ torch.stack(means)


def gradient(function, x: Tensor) -> Tensor:
    """Gradient of a scalar function of one flat image by automatic differentiation."""
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(function(x), x)[0]
