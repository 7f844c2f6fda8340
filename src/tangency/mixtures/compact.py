"""Low-rank Gaussians N(μ, AAᵀ + ψI) of many classes, smoothed by noise σ, without a copy of A for every σ.

With δ = ψ + σ², M = I + AᵀA/δ = LLᵀ and Fᵀr = L⁻¹Aᵀr/δ the formulas are those of `SmoothedGaussians`; only k × k
matrices depend on σ. Means and loadings are held in single precision and read in double, a few components at a time:
what is computed is exact for the numbers that are held.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from tangency.mixtures.gaussian import latent

_VALUES = 2_000_000  # numbers of means and loadings that are read at once
_KEPT = 4_000_000  # products with images that are kept for the next noise level


@dataclass(frozen=True)
class CompactComponents:
    """K Gaussians before they are smoothed.

    Args:
        means: (K, d) float32.
        loadings: (K, d, k) float32.
        noise: (K,) float64, ψ.
    """

    means: Tensor
    loadings: Tensor
    noise: Tensor
    _last: list[Tensor] = field(default_factory=list, init=False, repr=False, compare=False)

    def parts(self, index: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Numbers, means and loadings (float64) of a few components at a time; of all if there is no index."""
        k_components, d, rank = self.loadings.shape
        chosen = torch.arange(k_components, device=self.means.device) if index is None else index
        for some in torch.split(chosen, max(1, _VALUES // (d * (rank + 1)))):
            yield some, self.means[some].double(), self.loadings[some].double()

    @cached_property
    def products(self) -> tuple[Tensor, Tensor, Tensor]:
        """AᵀA (K, k, k), Aᵀμ (K, k) and ‖μ‖² (K,)."""
        parts = [(a.mT @ a, (a.mT @ m[:, :, None])[:, :, 0], m.square().sum(1)) for _, m, a in self.parts()]
        gram, offset, square = (torch.cat(values) for values in zip(*parts, strict=True))
        return gram, offset, square

    def against(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Aᵀx (N, K, k) and μᵀx (N, K) of images x (N, d); those of the last images are kept, as no σ changes them."""
        if self._last and torch.equal(self._last[0], x):
            return self._last[1], self._last[2]
        inner, crossed = [], []
        for _, means, loadings in self.parts():
            inner.append(torch.matmul(x, loadings).transpose(0, 1))
            crossed.append(x @ means.mT)
        products = torch.cat(inner, 1), torch.cat(crossed, 1)
        self._last[:] = [x.clone(), *products] if products[0].numel() <= _KEPT else []
        return products

    def smoothed(self, sigma: float) -> CompactGaussians:
        """At one noise level σ ≥ 0, in the unit of the data."""
        delta, d = self.noise + sigma**2, self.means.shape[1]
        lower, log_norm = latent(self.products[0] / delta[:, None, None], d * delta.log(), d)
        return CompactGaussians(self, delta, lower, log_norm)


@dataclass(frozen=True)
class CompactGaussians:
    """K Gaussians at one noise level, with the methods of `SmoothedGaussians`.

    Args:
        of: the components.
        delta: (K,), δ.
        lower: (K, k, k), L.
        log_norm: (K,), ½ log|2πΣ|.
    """

    of: CompactComponents
    delta: Tensor
    lower: Tensor
    log_norm: Tensor

    def projections(self, x: Tensor) -> Tensor:
        """Fᵀ(x − μ) for every image and component, (N, d) to (N, K, k)."""
        inner = self.of.against(x)[0] - self.of.products[1]
        solved: Tensor = torch.linalg.solve_triangular(self.lower, inner.permute(1, 2, 0), upper=False)
        return solved.permute(2, 0, 1) / self.delta[:, None]

    def _distances(self, x: Tensor) -> Tensor:
        """‖x − μ‖², (N, K)."""
        return x.square().sum(1)[:, None] - 2 * self.of.against(x)[1] + self.of.products[2]

    def log_density(self, x: Tensor, projections: Tensor) -> Tensor:
        """log N(x; μ_j, Σ_j), (N, d) to (N, K)."""
        return -0.5 * (self._distances(x) / self.delta - projections.square().sum(2)) - self.log_norm

    def combined_gradients(self, x: Tensor, projections: Tensor, weights: Tensor) -> Tensor:
        """Σ_j w_j ∇ log N_j(x), with weights (N, K) of any sign; (N, d). Components of weight 0 are not read."""
        scaled = weights / self.delta
        used = (weights != 0).any(0).nonzero().flatten()
        total = -x * scaled.sum(1, keepdim=True)
        latent = (projections[:, used] * weights[:, used, None]).permute(1, 2, 0)
        latent = torch.linalg.solve_triangular(self.lower[used].mT, latent, upper=True).permute(2, 0, 1)
        latent, done = latent / self.delta[used][:, None], 0
        for some, means, loadings in self.of.parts(used):
            part = latent[:, done : done + len(some)].flatten(1)
            total = total + scaled[:, some] @ means + part @ loadings.transpose(1, 2).flatten(0, 1)
            done += len(some)
        return total

    @property
    def trace(self) -> Tensor:
        """tr Σ⁻¹, (K,)."""
        return self.of.means.shape[1] / self.delta - self._inner.diagonal(dim1=1, dim2=2).sum(1)

    @cached_property
    def _inner(self) -> Tensor:
        """FᵀF = L⁻¹AᵀA L⁻ᵀ/δ², (K, k, k)."""
        half = torch.linalg.solve_triangular(self.lower, self.of.products[0], upper=False)
        inner: Tensor = torch.linalg.solve_triangular(self.lower, half.mT, upper=False)
        return inner / self.delta[:, None, None].square()

    def squared_gradients(self, x: Tensor, projections: Tensor) -> Tensor:
        """‖Σ_j⁻¹(x − μ_j)‖² of every component, (N, d) to (N, K)."""
        corrected = torch.einsum("nkr,krs,nks->nk", projections, self._inner, projections)
        crossed = 2 * projections.square().sum(2) / self.delta
        return self._distances(x) / self.delta.square() - crossed + corrected
