"""Products of unit spheres with von Mises–Fisher classes: one block is the sphere, circles are the flat torus.

With noise, p_σ(z | j) of a block is C(κ)/C(r) exp(−(‖z‖² + 1)/2σ²)(2πσ²)^(−b/2), v = κμ_j + z/σ², r = ‖v‖, and
E[z₀ | z, j] = A(r) v/r, A = I_(b/2)/I_(b/2−1): a vMF law times a Gaussian likelihood is a vMF law again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.mixtures.weights import Weigh
from tangency.numerics import complement, unit
from tangency.seeding import Draw
from tangency.worlds.bessel import bessel

_CHUNK = 1024
_ROUNDS = 200  # of rejection; each accepts two thirds or more


@final
@dataclass(frozen=True)
class SphereCore:
    """z = (z_1, …, z_m), z_i on the unit sphere of R^b; z|c ~ Σ_j π_j Π_i vMF(μ_ji, κ_ji).

    Args:
        means: (K, m, b) float64, unit vectors μ_ji.
        kappa: (K, m) float64, concentrations ≥ 0; 0 is the uniform law.
        log_weights: (K,) float64, log π_j; π sums to one over all classes.
        component_class: (K,) int64.
        classes: number of classes.
    """

    means: Tensor
    kappa: Tensor
    log_weights: Tensor
    component_class: Tensor
    classes: int

    @property
    def dimension(self) -> int:
        """n = m·b."""
        return self.means.shape[1] * self.means.shape[2]

    @property
    def intrinsic_dimension(self) -> int:
        """m·(b − 1)."""
        return self.means.shape[1] * (self.means.shape[2] - 1)

    @property
    def singular(self) -> str:
        """A law on spheres has no density in the space around them."""
        return "it lives on spheres"

    @property
    def no_posterior(self) -> str:
        """There always is one: all classes have a density on the same manifold."""
        return ""

    @property
    def _order(self) -> float:
        return self.means.shape[2] / 2 - 1

    def draw(self, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
        """Points, classes, components."""
        cumulative = self.log_weights.exp().cumsum(0)
        chance = draw.of("component").uniform((), torch.float64) * cumulative[-1]
        j = torch.searchsorted(cumulative, chance).clamp(max=len(cumulative) - 1)
        blocks = [
            von_mises_fisher(self.means[j, i], self.kappa[j, i], draw.of("block", i))
            for i in range(self.means.shape[1])
        ]
        return torch.cat(blocks, 1), self.component_class[j], j

    def log_prior(self) -> Tensor:
        """log p(c)."""
        return self._over_classes(self.log_weights[None]).squeeze(0)

    def log_class_joint(self, z: Tensor, sigma: float) -> Tensor:
        """log p_σ(z, c); at σ = 0 of the nearest point of the manifold, with respect to its surface measure."""
        return self._over_classes(torch.cat([self._log_joint(part, sigma)[0] for part in z.split(_CHUNK)]))

    def weighted_score(self, z: Tensor, sigma: float, weigh: Weigh) -> tuple[Tensor, Tensor]:
        """Σ_c w_c ∇ log p_σ(z | c) = Σ_j w_j (E[z₀ | z, j] − z)/σ²; at σ = 0 Σ_j w_j P κ_jμ_j/‖z‖, Σ w = 0."""
        found, joints = [], []
        own = self.component_class
        for start in range(0, len(z), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            joint, ratio = self._log_joint(z[chunk], sigma)
            by_class = self._over_classes(joint)
            weights = weigh(by_class, chunk)[:, own] * (joint - by_class[:, own]).exp()
            pull = weights[:, :, None] * ratio * self.kappa
            blocks = self._blocks(z[chunk])
            towards = torch.einsum("nkm,kmb->nmb", pull, self.means)
            if sigma == 0:
                length = blocks.square().sum(2, keepdim=True).sqrt()
                out = blocks / length
                gradient = (towards - out * (out * towards).sum(2, keepdim=True)) / length
            else:
                total = (weights[:, :, None] * ratio).sum(1) / sigma**2 - weights.sum(1, keepdim=True)
                gradient = (towards + total[:, :, None] * blocks) / sigma**2
            found.append(gradient.flatten(1))
            joints.append(by_class)
        return torch.cat(found), torch.cat(joints)

    def mean_square(self, z: Tensor, sigma: float) -> Tensor:
        """E[‖z − z₀‖² | z] = Σ_j r_j Σ_i ‖z_i‖² + 1 − 2 z_i·E[z_0i | z, j], every ‖z_0i‖ being one."""
        found = []
        for part in z.split(_CHUNK):
            joint, ratio = self._log_joint(part, sigma)
            blocks = self._blocks(part)
            length = blocks.square().sum(2)
            cosine = torch.einsum("nmb,kmb->nkm", blocks, self.means)
            inner = ratio * (self.kappa * cosine + length[:, None] / sigma**2)
            found.append((joint.softmax(1) * (length[:, None] + 1 - 2 * inner).sum(2)).sum(1))
        return torch.cat(found)

    def tangents(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Per block the complement of z_i/‖z_i‖, (N, n, m(b − 1))."""
        m, b = self.means.shape[1:]
        basis = z.new_zeros(len(z), m, b, m, b - 1)
        index = torch.arange(m, device=z.device)
        basis[:, index, :, index] = complement(self._out(z)).transpose(0, 1)
        rank = torch.full((len(z),), m * (b - 1), device=z.device)
        return basis.reshape(len(z), m * b, m * (b - 1)), rank

    def span(self) -> Tensor | None:
        """None: the span {μ_j, z} moves with the point."""
        return None

    def to(self, device: str) -> SphereCore:
        """The same on another device."""
        means, kappa, log_weights, own = (
            t.to(device) for t in (self.means, self.kappa, self.log_weights, self.component_class)
        )
        return SphereCore(means, kappa, log_weights, own, self.classes)

    def _blocks(self, z: Tensor) -> Tensor:
        return z.reshape(len(z), *self.means.shape[1:])

    def _out(self, z: Tensor) -> Tensor:
        blocks = self._blocks(z)
        return unit(blocks.flatten(0, 1)).reshape(blocks.shape)

    def _log_joint(self, z: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        """log π_j p_σ(z | j) (N, K), and A(r)/r of each block (N, K, m) (σ² at σ = 0 cancelled: one).

        r − ‖z‖/σ² and ‖z‖/σ² − (‖z‖² + 1)/2σ² are formed without subtracting large numbers, so σ may be tiny.
        """
        b = self.means.shape[2]
        scaled, _ = bessel(self._order, self.kappa)  # ln I(κ) − κ − ν ln κ
        constant = -self.kappa - scaled
        if sigma == 0:
            cosine = torch.einsum("nmb,kmb->nkm", self._out(z), self.means)
            each = constant - 0.5 * b * math.log(2 * math.pi) + self.kappa * cosine
            return self.log_weights + each.sum(2), torch.ones_like(each)
        blocks = self._blocks(z)
        length = blocks.square().sum(2).clamp(min=1e-300).sqrt()[:, None]  # its derivative at the centre is finite
        cross = self.kappa * torch.einsum("nmb,kmb->nkm", blocks, self.means) / sigma**2
        rho = length / sigma**2
        r = (self.kappa.square() + 2 * cross + rho.square()).clamp(min=1e-300).sqrt()
        beyond = (self.kappa.square() + 2 * cross) / (r + rho).clamp(min=1e-300)
        smoothed, ratio = bessel(self._order, r)
        gaussian = (1 - length).square() / (2 * sigma**2) + 0.5 * b * math.log(2 * math.pi * sigma**2)
        return self.log_weights + (constant + smoothed + beyond - gaussian).sum(2), ratio

    def _over_classes(self, joint: Tensor) -> Tensor:
        groups = [joint[:, self.component_class == c] for c in range(self.classes)]
        return torch.stack([group.logsumexp(1) for group in groups], 1)


def von_mises_fisher(mean: Tensor, kappa: Tensor, draw: Draw) -> Tensor:
    """One point of the unit sphere for each id from vMF(μ, κ), exact, by Wood's rejection (1994).

    Args:
        mean: (N, b) unit vectors.
        kappa: (N,) ≥ 0.
        draw: of N ids; a point depends on its id only.

    Returns:
        (N, b) float64.
    """
    n, b = mean.shape
    limit = (b - 1) / (2 * kappa + (4 * kappa.square() + (b - 1) ** 2).sqrt())
    centre = (1 - limit) / (1 + limit)
    level = kappa * centre + (b - 1) * (1 - centre.square()).log()
    along = torch.full_like(kappa, torch.nan)
    waiting = torch.arange(n, device=mean.device)
    for attempt in range(_ROUNDS):
        if not len(waiting):
            break
        own = Draw(draw.seed, draw.ids[waiting], f"{draw.purpose}/try {attempt}")
        # The first coordinate of a uniform point on the sphere is Beta((b − 1)/2, (b − 1)/2), stretched to [−1, 1].
        beta = (1 + unit(own.of("beta").normal((b,), torch.float64))[:, 0]) / 2
        cut, top, at, k = limit[waiting], level[waiting], centre[waiting], kappa[waiting]
        w = (1 - (1 + cut) * beta) / (1 - (1 - cut) * beta)
        chance = own.of("accept").uniform((), torch.float64).log()
        accepted = k * w + (b - 1) * (1 - at * w).log() - top >= chance
        along[waiting[accepted]] = w[accepted]
        waiting = waiting[~accepted]
    if len(waiting):
        raise NumericsError(f"von Mises–Fisher: no point accepted in {_ROUNDS} rounds at kappa = {kappa[waiting]}.")
    noise = draw.of("side").normal((b,), torch.float64)
    side = unit(noise - (noise * mean).sum(1, keepdim=True) * mean)
    side = unit(side - (side * mean).sum(1, keepdim=True) * mean)  # once more: the first pass cancels near ±μ
    return along[:, None] * mean + (1 - along.square()).clamp(min=0).sqrt()[:, None] * side
