"""The conditional law of an image under a mixture, given linear measurements: exact means and draws."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.generation.operators import Operator
from tangency.generation.seeds import choose
from tangency.mixtures import Mixture
from tangency.numerics import flat
from tangency.seeding import Draw
from tangency.types import check_labels
from tangency.worlds import GaussianCore, World


@dataclass(frozen=True)
class _Component:
    """One component given measurements r = A x + τ n: its evidence, and its law of the latent z."""

    log_evidence: Tensor  # (N,)
    latent: Tensor  # (N, k)
    lower: Tensor  # (N, k, k), L with LLᵀ = I + AᵀS⁻¹A


class Conditional:
    """p(x | A x + τ n = r) of a mixture: E, and draws. With a mask it is inpainting, with pooling super-resolution.

    Every component stays Gaussian: z | r by Woodbury's identity with S = A Ψ Aᵀ + τ²I diagonal, x = μ + L z + ε, and
    components are weighed by their evidence N(r; Aμ, A(LLᵀ + Ψ)Aᵀ + τ²I).

    Args:
        mixture: with noise Ψ > 0, or τ > 0.
        operator: A.
        measured: r, (N, C, h, w).
        y: (N,) classes that are known, or None.
        noise: τ ≥ 0, pixel units.

    Example:
        >>> from tangency.generation.operators import Mask
        >>> from tangency.worlds import make_world
        >>> mixture = pixel_mixture(make_world("linear?rank=3&classes=2&shape=1x8x8"))
        >>> x, _ = mixture.sample(4, seed=0)
        >>> keep = torch.ones(1, 1, 8, 8, dtype=torch.bool)
        >>> bool((Conditional(mixture, Mask(keep), x).mean() - x).abs().max() < 1e-10)
        True
    """

    def __init__(
        self, mixture: Mixture, operator: Operator, measured: Tensor, y: Tensor | None = None, noise: float = 0.0
    ) -> None:
        if noise == 0 and not bool((mixture.noise > 0).all()):
            raise NumericsError(
                "conditional: a mixture without noise has singular measurements, expected noise τ > 0, or a mixture of "
                "images that have some."
            )
        self.mixture, self.operator, self.noise = mixture, operator, noise
        self.measured = measured.to(mixture.means)
        k, d = mixture.means.shape
        self._psi = mixture.noise.reshape(k, *mixture.shape)
        self._means = operator.apply(mixture.means.reshape(k, *mixture.shape))
        self._variance = operator.variance(self._psi) + noise**2
        self._known = operator.seen(self.measured).expand_as(self.measured)
        self._parts = [self._given(j) for j in range(k)]
        joint = mixture.log_weights + torch.stack([part.log_evidence for part in self._parts], 1)
        if y is not None:
            check_labels(y, len(measured), mixture.classes)
            joint = joint.masked_fill(mixture.component_class != y.to(joint.device)[:, None], -torch.inf)
        self.responsibilities = joint.softmax(1)

    def mean(self) -> Tensor:
        """E[x | r], the estimate of least squared error, (N, C, H, W) float64."""
        mean = torch.zeros(len(self.measured), *self.mixture.shape).to(self.mixture.means)
        for j, part in enumerate(self._parts):
            mean = mean + self.responsibilities[:, j, None, None, None] * self._image(j, part.latent)
        return mean

    def draw(self, draw: Draw) -> Tensor:
        """An image for each r, exactly from p(x | r), (N, C, H, W) float64."""
        chosen = choose(self.responsibilities, draw.of("component"))
        z = draw.of("latent").normal((self.mixture.loadings.shape[2],), torch.float64)
        pixels = draw.of("noise").normal(self.mixture.shape, torch.float64)
        errors = draw.of("error").normal(self.measured.shape[1:], torch.float64)
        samples = torch.zeros_like(pixels)
        for j in torch.unique(chosen).tolist():
            part = self._parts[j]
            turned = torch.linalg.solve_triangular(part.lower.mT, z[:, :, None], upper=True).squeeze(2)
            own = self._psi[j].sqrt() * pixels
            # Matheron's rule: a draw of the noise, corrected by the error of its measurement
            drawn = self._image(j, part.latent + turned, own, self.operator.apply(own) + self.noise * errors)
            samples = torch.where((chosen == j)[:, None, None, None], drawn, samples)
        return samples

    def _weights(self, j: int) -> Tensor:
        """S⁻¹ of the measured entries, zero elsewhere, (N, C, h, w)."""
        return self._known / self._variance[j]

    def _measured_loadings(self, j: int) -> Tensor:
        """A L, (k, C, h, w)."""
        rank = self.mixture.loadings.shape[2]
        return self.operator.apply(self.mixture.loadings[j].mT.reshape(rank, *self.mixture.shape))

    def _given(self, j: int) -> _Component:
        loadings, weights = flat(self._measured_loadings(j)), flat(self._weights(j))  # (k, m), (N, m)
        residual = flat(self.measured - self._means[j])
        rank = len(loadings)
        squares = (loadings[:, None] * loadings[None]).reshape(rank * rank, -1)
        inner = (weights @ squares.mT).reshape(-1, rank, rank) + torch.eye(rank).to(loadings)
        lower = torch.linalg.cholesky(inner)
        projected = (weights * residual) @ loadings.mT
        latent = torch.cholesky_solve(projected[:, :, None], lower).squeeze(2)
        distance = (weights * residual.square()).sum(1) - (projected * latent).sum(1)
        log_det = 2 * lower.diagonal(dim1=1, dim2=2).log().sum(1)
        log_det = log_det + (flat(self._known) * (2 * math.pi * flat(self._variance[j : j + 1])).log()).sum(1)
        return _Component(-0.5 * (distance + log_det), latent, lower)

    def _image(self, j: int, z: Tensor, own: Tensor | None = None, measured: Tensor | None = None) -> Tensor:
        """μ + L z + ε + ΨAᵀS⁻¹(r − A(μ + L z) − its measurement), for noise ε of its own or none."""
        plain = (self.mixture.means[j] + z @ self.mixture.loadings[j].mT).reshape(-1, *self.mixture.shape)
        left = self.measured - self.operator.apply(plain)
        if measured is not None:
            left = left - measured
        moved = self._psi[j] * self.operator.adjoint(self._weights(j) * left)
        return plain + moved if own is None else plain + own + moved


def pixel_mixture(world: World) -> Mixture:
    """A world of Gaussians as a mixture of images: offset + scale U (μ + L z + √Ψ n) + √ψ n.

    Raises:
        NumericsError: another core, such as a sphere.
    """
    core, placed = world.core, world.embedding
    if not isinstance(core, GaussianCore):
        raise NumericsError(
            f"{world.name}: is no mixture of Gaussians, expected linear, offset, rotated, fitted or distractor, whose "
            "conditional laws are formulas."
        )
    inner = core.mixture
    k, n = inner.means.shape
    means = placed.offset + placed.scale * placed.lift(inner.means)
    noise = torch.full((k, world.dimension), placed.noise, dtype=torch.float64, device=means.device)
    loadings = inner.loadings
    if placed.basis is None:
        noise = noise + placed.scale**2 * inner.noise
    else:
        loadings = torch.cat([loadings, torch.diag_embed(inner.noise.sqrt())], 2)
    loadings = torch.stack([placed.scale * placed.lift(each.mT).mT for each in loadings])
    return dataclasses.replace(inner, shape=world.shape, means=means, loadings=loadings, noise=noise)
