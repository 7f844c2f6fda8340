"""Low-rank Gaussians N(μ, AAᵀ + diag Ψ) smoothed by noise σ, many at once, in O(d·k) each.

With Δ = Ψ + σ²I, M = I + AᵀΔ⁻¹A = LLᵀ and F = Δ⁻¹A L⁻ᵀ (Woodbury):
Σ⁻¹r = Δ⁻¹r − F Fᵀr,  rᵀΣ⁻¹r = rᵀΔ⁻¹r − ‖Fᵀr‖²,  log|Σ| = Σ log Δ + 2 Σ log L_ii.
M ≥ I, so a loading matrix of any rank, zero columns included, is safe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def latent(gram: Tensor, log_det: Tensor, d: int) -> tuple[Tensor, Tensor]:
    """L (K, k, k) and ½ log|2πΣ| (K,), from AᵀΔ⁻¹A (K, k, k), Σ log Δ (K,) and the dimension d."""
    lower = torch.linalg.cholesky(torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device) + gram)
    log_det = log_det + 2 * lower.diagonal(dim1=1, dim2=2).log().sum(1)
    return lower, 0.5 * (log_det + d * math.log(2 * math.pi))


@dataclass(frozen=True)
class SmoothedGaussians:
    """K Gaussians at one noise level, prepared for products with a batch of images.

    Args:
        means: (K, d).
        precision: (K, d), the diagonal of Δ⁻¹.
        factors: (K, d, k), F.
        log_norm: (K,), ½ log|2πΣ|.
    """

    means: Tensor
    precision: Tensor
    factors: Tensor
    log_norm: Tensor

    @staticmethod
    def prepare(means: Tensor, loadings: Tensor, noise: Tensor, sigma: float) -> SmoothedGaussians:
        """From μ (K, d), A (K, d, k), Ψ (K, d) and σ ≥ 0 (same unit as the data)."""
        precision = 1 / (noise + sigma**2)
        weighted = loadings * precision[:, :, None]
        lower, log_norm = latent(loadings.mT @ weighted, -precision.log().sum(1), means.shape[1])
        factors = torch.linalg.solve_triangular(lower, weighted.mT, upper=False).mT
        return SmoothedGaussians(means, precision, factors, log_norm)

    def projections(self, x: Tensor) -> Tensor:
        """Fᵀ(x − μ) for every image and component, (N, d) to (N, K, k)."""
        k_components, d, rank = self.factors.shape
        flat_factors = self.factors.transpose(0, 1).reshape(d, k_components * rank)
        offset = torch.einsum("kd,kdr->kr", self.means, self.factors)
        return (x @ flat_factors).reshape(-1, k_components, rank) - offset

    def log_density(self, x: Tensor, projections: Tensor) -> Tensor:
        """log N(x; μ_j, Σ_j), (N, d) to (N, K)."""
        weighted = self.means * self.precision
        distance = x.square() @ self.precision.mT - 2 * x @ weighted.mT + (self.means * weighted).sum(1)
        return -0.5 * (distance - projections.square().sum(2)) - self.log_norm

    def combined_gradients(self, x: Tensor, projections: Tensor, weights: Tensor) -> Tensor:
        """Σ_j w_j ∇ log N_j(x) = −Σ_j w_j Σ_j⁻¹(x − μ_j), with weights (N, K) of any sign; (N, d)."""
        k_components, d, rank = self.factors.shape
        flat_factors = self.factors.transpose(0, 1).reshape(d, k_components * rank)
        normal_part = weights @ (self.means * self.precision) - x * (weights @ self.precision)
        tangent_part = (weights[:, :, None] * projections).reshape(-1, k_components * rank) @ flat_factors.mT
        return normal_part + tangent_part

    @property
    def trace(self) -> Tensor:
        """tr Σ⁻¹, (K,)."""
        return self.precision.sum(1) - self.factors.square().sum((1, 2))

    def squared_gradients(self, x: Tensor, projections: Tensor) -> Tensor:
        """‖Σ_j⁻¹(x − μ_j)‖² = ‖Δ⁻¹r‖² − 2 (Fᵀr)·(FᵀΔ⁻¹r) + ‖F Fᵀr‖² of every component, (N, d) to (N, K)."""
        weighted = self.factors * self.precision[:, :, None]
        k_components, d, rank = self.factors.shape
        inner = (x @ weighted.transpose(0, 1).reshape(d, -1)).reshape(-1, k_components, rank)
        inner = inner - torch.einsum("kd,kdr->kr", self.means, weighted)
        gram = torch.einsum("kdr,kds->krs", self.factors, self.factors)
        square = self.precision.square()
        plain = x.square() @ square.mT - 2 * x @ (self.means * square).mT + (self.means.square() * square).sum(1)
        corrected = torch.einsum("nkr,krs,nks->nk", projections, gram, projections)
        return plain - 2 * (projections * inner).sum(2) + corrected
