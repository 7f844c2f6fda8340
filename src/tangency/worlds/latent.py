"""The law of the latent coordinates of a decoder: a mixture of Gaussians for each class."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from tangency.seeding import Draw

_FAR = 7.5  # standard deviations; 6e-13 of a Gaussian in the plane lies beyond


@final
@dataclass(frozen=True)
class LatentMixture:
    """u|c ~ Σ_j π_cj N(μ_cj, L_cj L_cjᵀ), classes equally likely.

    Args:
        means: (C, J, k) float64.
        factors: (C, J, k, k) float64, lower triangular.
        log_weights: (C, J) float64, log π_cj, Σ_j π_cj = 1.
    """

    means: Tensor
    factors: Tensor
    log_weights: Tensor

    @property
    def classes(self) -> int:
        """C."""
        return self.means.shape[0]

    def draw(self, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
        """For each id a point (N, k), its class and its component (N,), counted over all classes."""
        cumulative = (self.log_weights.exp() / self.classes).flatten().cumsum(0)
        chance = draw.of("component").uniform((), torch.float64) * cumulative[-1]
        j = torch.searchsorted(cumulative, chance).clamp(max=len(cumulative) - 1)
        normal = draw.of("latent").normal((self.means.shape[2],), torch.float64)
        factors = self.factors.flatten(0, 1)[j]
        return self.means.flatten(0, 1)[j] + torch.einsum("nab,nb->na", factors, normal), j // self.means.shape[1], j

    def log_joint(self, u: Tensor) -> Tensor:
        """log p(u, c), (N, k) to (N, C)."""
        k = u.shape[1]
        size = self.factors.diagonal(dim1=2, dim2=3).log().sum(2) + 0.5 * k * math.log(2 * math.pi)
        terms = self.log_weights - size - 0.5 * self.distances(u)
        return terms.logsumexp(2) - math.log(self.classes)

    def distances(self, u: Tensor) -> Tensor:
        """Squared Mahalanobis distance of each component, (N, k) to (N, C, J)."""
        away = u[:, None, None] - self.means
        scaled = torch.einsum("cjab,ncjb->ncja", torch.linalg.inv(self.factors), away)
        return scaled.square().sum(3)

    def near(self, u: Tensor) -> Tensor:
        """Whether some component has mass there, (N, k) to (N,)."""
        return (self.distances(u) < _FAR**2).flatten(1).any(1)

    def box(self) -> tuple[Tensor, Tensor]:
        """Corners (k,) of the smallest box that holds all `near` points."""
        reach = _FAR * self.factors.square().sum(3).sqrt()
        return (self.means - reach).amin((0, 1)), (self.means + reach).amax((0, 1))

    def narrowest(self) -> Tensor:
        """The least conditional standard deviation of a component along each axis, (k,)."""
        precision = torch.linalg.inv(self.factors @ self.factors.mT)
        least: Tensor = precision.diagonal(dim1=2, dim2=3).rsqrt().amin((0, 1))
        return least

    def to(self, device: str) -> LatentMixture:
        """The same on another device."""
        moved = {name: getattr(self, name).to(device) for name in ("means", "factors", "log_weights")}
        return replace(self, **moved)
