"""A mixture of Gaussians of any rank as the law of a world."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from tangency.mixtures import Mixture
from tangency.mixtures.weights import Weigh
from tangency.seeding import Draw

_NEAR = 1e-4  # σ at which the nearest component of a singular mixture is looked up, relative to the loadings


@final
@dataclass(frozen=True)
class GaussianCore:
    """z|c ~ Σ_j π_j N(μ_j, A_jA_jᵀ + Ψ_j).

    Args:
        mixture: of shape (1, 1, n), or the shape of the images.
        whole: whether the manifold is all of R^n (a full-rank mixture that is embedded in a larger space), rather than
            the span of the loadings of the component at hand.
        placement: (K,) int64, which half each component's signal is in; None where there are no halves.
    """

    mixture: Mixture
    whole: bool = False
    placement: Tensor | None = None

    @property
    def dimension(self) -> int:
        """n."""
        return self.mixture.dimension

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.mixture.classes

    @property
    def intrinsic_dimension(self) -> int:
        """Largest rank of a component, or n."""
        return self.dimension if self.whole else int(self._bases[1].max())

    @cached_property
    def _noiseless(self) -> bool:
        return not bool((self.mixture.noise > 0).all())

    @property
    def singular(self) -> str:
        """Components without noise have singular covariances."""
        return "its components are Gaussians on lower-dimensional subspaces" if self._noiseless else ""

    @property
    def no_posterior(self) -> str:
        """On different subspaces the posterior is 0 or 1 on each and undefined elsewhere."""
        return "its classes live on different subspaces, off which no class has any density" if self._noiseless else ""

    @cached_property
    def _bases(self) -> tuple[Tensor, Tensor]:
        return self.mixture.bases()

    def draw(self, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
        """Points, classes, components."""
        z, j = self.mixture.draw(draw)
        return z, self.mixture.component_class[j], j

    def log_prior(self) -> Tensor:
        """log p(c)."""
        return self.mixture.log_prior()

    def log_class_joint(self, z: Tensor, sigma: float) -> Tensor:
        """log p_σ(z, c)."""
        return self.mixture.log_class_joint(self._images(z), sigma)

    def weighted_score(self, z: Tensor, sigma: float, weigh: Weigh) -> tuple[Tensor, Tensor]:
        """Σ_c w_c ∇ log p_σ(z | c)."""
        score, joint = self.mixture.weighted_score(self._images(z), sigma, weigh)
        return score.reshape(z.shape), joint

    def mean_square(self, z: Tensor, sigma: float) -> Tensor:
        """E[‖z − z₀‖² | z]."""
        return self.mixture.mean_square(self._images(z), sigma)

    def component(self, z: Tensor) -> Tensor:
        """Component of the largest responsibility as σ → 0, (N,)."""
        sigma = _NEAR * float(self.mixture.loadings.abs().max()) if self._noiseless else 0.0
        return self.mixture.log_joint(self._images(z), sigma).argmax(1)

    def tangents(self, z: Tensor, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        """span A_j of the component with the largest responsibility over all classes, or all of R^n."""
        if self.whole:
            eye = torch.eye(self.dimension, dtype=dtype, device=z.device)
            return eye.expand(len(z), -1, -1), torch.full((len(z),), self.dimension, device=z.device)
        bases, ranks = self._bases
        component = self.component(z)
        return bases.to(dtype)[component], ranks[component]

    def span(self) -> Tensor | None:
        """span{A_j, μ_j − μ_l}; None where the noise differs between components and the identity does not hold."""
        noise = self.mixture.noise
        return self.mixture.span() if bool((noise == noise[0, 0]).all()) else None

    def to(self, device: str) -> GaussianCore:
        """The same on another device."""
        placement = None if self.placement is None else self.placement.to(device)
        return replace(self, mixture=self.mixture.to(device), placement=placement)

    def _images(self, z: Tensor) -> Tensor:
        return z.reshape(len(z), *self.mixture.shape)


def equal_mixture(
    shape: tuple[int, int, int], means: Tensor, loadings: Tensor, noise: float, component_class: Tensor
) -> Mixture:
    """A mixture of equally likely components with one noise variance for all: means (K, n), loadings (K, n, rank)."""
    k = len(means)
    return Mixture(
        shape=shape,
        means=means,
        loadings=loadings,
        noise=torch.full(means.shape, noise, dtype=torch.float64),
        log_weights=torch.full((k,), -math.log(k), dtype=torch.float64),
        component_class=component_class,
        classes=int(component_class.max()) + 1,
    )
