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
        """Empty, since there always is one: all classes have a density on the same manifold."""
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
        return self._over_classes(torch.cat([self._smoothed(part, sigma).log_joint for part in torch.split(z, _CHUNK)]))

    def weighted_score(self, z: Tensor, sigma: float, weigh: Weigh) -> tuple[Tensor, Tensor]:
        """Σ_c w_c ∇ log p_σ(z | c) = Σ_j w_j (E[z₀ | z, j] − z)/σ²; at σ = 0 Σ_j w_j P κ_jμ_j/‖z‖, Σ w = 0.

        With u = z/‖z‖ of a block, E[z₀ | z, j] − z = q κ (I − uuᵀ)μ_j + [(1 − ‖z‖) − (1 − A cos φ)]u, q = A/r, φ the
        angle between v and z: no part of it is a small difference of large numbers.
        """
        scores, joints = [], []
        own = self.component_class
        for start in range(0, len(z), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            smoothed = self._smoothed(z[chunk], sigma)
            by_class = self._over_classes(smoothed.log_joint)
            weights = weigh(by_class, chunk)[:, own] * (smoothed.log_joint - by_class[:, own]).exp()
            out, length = smoothed.out, smoothed.length
            pull = torch.einsum("nkm,kmb->nmb", weights[:, :, None] * smoothed.pull * self.kappa, self.means)
            along = pull - out * (out * pull).sum(2, keepdim=True)
            if sigma == 0:
                gradient = along / length[:, :, None]
            else:
                short = ((1 - length) * weights.sum(1, keepdim=True)) / sigma**2
                radial = short - (weights[:, :, None] * smoothed.deficit).sum(1)
                gradient = along + radial[:, :, None] * out
            scores.append(gradient.flatten(1))
            joints.append(by_class)
        return torch.cat(scores), torch.cat(joints)

    def mean_square(self, z: Tensor, sigma: float) -> Tensor:
        """E[‖z − z₀‖² | z] = Σ_j r_j Σ_i (1 − ‖z_i‖)² + 2‖z_i‖(1 − A cos φ), every ‖z_0i‖ being one."""
        squares = []
        for part in torch.split(z, _CHUNK):
            smoothed = self._smoothed(part, sigma)
            length = smoothed.length[:, None]
            each = (1 - length).square() + 2 * length * sigma**2 * smoothed.deficit
            squares.append((smoothed.log_joint.softmax(1) * each.sum(2)).sum(1))
        return torch.cat(squares)

    def tangents(self, z: Tensor, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        """Per block the complement of z_i/‖z_i‖, (N, n, m(b − 1))."""
        m, b = self.means.shape[1:]
        basis = z.new_zeros(len(z), m, b, m, b - 1)
        index = torch.arange(m, device=z.device)
        out = unit(self._blocks(z).flatten(0, 1)).reshape(len(z), m, b)
        basis[:, index, :, index] = complement(out).transpose(0, 1)
        rank = torch.full((len(z),), m * (b - 1), device=z.device)
        return basis.reshape(len(z), m * b, m * (b - 1)).to(dtype), rank

    def span(self) -> Tensor | None:
        """None: the span {μ_j, z} moves with the point."""
        return None

    def to(self, device: str) -> SphereCore:
        """The same on another device."""
        tensors = self.means, self.kappa, self.log_weights, self.component_class
        means, kappa, log_weights, own = (tensor.to(device) for tensor in tensors)
        return SphereCore(means, kappa, log_weights, own, self.classes)

    def _blocks(self, z: Tensor) -> Tensor:
        return z.reshape(len(z), *self.means.shape[1:])

    def _smoothed(self, z: Tensor, sigma: float) -> _ComponentsAt:
        """Everything about the components at z and σ; r − ‖z‖/σ² and the like are formed without large differences."""
        b, kappa = self.means.shape[2], self.kappa
        blocks = self._blocks(z)
        length = blocks.square().sum(2).clamp(min=1e-300).sqrt()  # its derivative at the centre is finite
        out = blocks / length[:, :, None] if sigma else unit(blocks.flatten(0, 1)).reshape(blocks.shape)
        cosine = torch.einsum("nmb,kmb->nkm", out, self.means)
        constant = -kappa - bessel(self._order, kappa)[0]  # ν ln κ − ln I(κ)
        if sigma == 0:
            each = constant - 0.5 * b * math.log(2 * math.pi) + kappa * cosine
            ones = torch.ones_like(each)
            return _ComponentsAt(self.log_weights + each.sum(2), ones, 0 * ones, out, length)
        rho = length[:, None] / sigma**2
        cross = 2 * kappa * cosine * rho
        r = (kappa.square() + cross + rho.square()).clamp(min=1e-300).sqrt()
        beyond = (kappa.square() + cross) / (r + rho)
        scaled, ratio, gap = bessel(self._order, r)
        gaussian = (1 - length[:, None]).square() / (2 * sigma**2) + 0.5 * b * math.log(2 * math.pi * sigma**2)
        joint = self.log_weights + (constant + scaled + beyond - gaussian).sum(2)
        # 1 − A cos φ = (1 − A) + A (1 − cos φ), over σ²
        heading = (kappa * cosine + rho) / r
        turned = kappa.square() * (1 - cosine.square()) / (r.square() * (1 + heading))
        turned = torch.where(heading > 0, turned, 1 - heading)
        deficit = gap / (r * sigma**2) + r * ratio * turned / sigma**2
        return _ComponentsAt(joint, ratio / sigma**2, deficit, out, length)

    def _over_classes(self, joint: Tensor) -> Tensor:
        groups = [joint[:, self.component_class == c] for c in range(self.classes)]
        return torch.stack([group.logsumexp(1) for group in groups], 1)


@dataclass(frozen=True)
class _ComponentsAt:
    """Components seen from n points.

    Args:
        log_joint: (n, K), log π_j p_σ(z | j).
        pull: (n, K, m), A(r)/(rσ²); one at σ = 0.
        deficit: (n, K, m), (1 − A(r) cos φ)/σ².
        out: (n, m, b), z_i/‖z_i‖.
        length: (n, m), ‖z_i‖.
    """

    log_joint: Tensor
    pull: Tensor
    deficit: Tensor
    out: Tensor
    length: Tensor


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
