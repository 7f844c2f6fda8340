"""Slow, obvious laws of images: dense covariances, or sums over a grid on the manifold, all in pixel space.

Nothing here is shared with tangency.worlds but the parameters. With noise ψ a manifold is a mixture of as many round
Gaussians as its grid has nodes; the weights of the nodes are normalised by the grid itself, so no Bessel function
enters. Gradients and Hessians are automatic derivatives of these sums.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from tangency.worlds import DecoderCore, GaussianCore, SphereCore, World

CIRCLE, PAIR, BALL = 320, 152, (88, 176)  # nodes of a circle, of each circle of a torus, of a sphere in R³


@dataclass(frozen=True, eq=False)
class Reference:
    """p(x₀, c) = Σ_k exp(log_weights[k, c]) N(x₀; means[k], covariances[k]), one flat image at a time.

    Args:
        log_weights: (K, classes), −∞ where k is not of class c.
        means: (K, d).
        covariances: (K, d, d), or one variance for all.
    """

    log_weights: Tensor
    means: Tensor
    covariances: Tensor | float

    def log_components(self, x: Tensor, sigma: float) -> Tensor:
        """log N(x; m_k, S_k + σ²I), (K,)."""
        d = len(x)
        if isinstance(self.covariances, float):
            delta = self.covariances + sigma**2
            return -0.5 * ((x - self.means).square().sum(1) / delta + d * math.log(2 * math.pi * delta))
        smooth = self.covariances + sigma**2 * torch.eye(d, dtype=torch.float64)
        away = x - self.means
        distance = (away * torch.linalg.solve(smooth, away)).sum(1)
        return -0.5 * (distance + torch.linalg.slogdet(smooth).logabsdet + d * math.log(2 * math.pi))

    def log_joint(self, x: Tensor, sigma: float) -> Tensor:
        """log p_σ(x, c), (classes,)."""
        return (self.log_weights + self.log_components(x, sigma)[:, None]).logsumexp(0)

    def log_density(self, x: Tensor, sigma: float, y: int | None = None) -> Tensor:
        """log p_σ(x), or log p_σ(x | y)."""
        joint = self.log_joint(x, sigma)
        return joint.logsumexp(0) if y is None else joint[y] - self.log_weights[:, y].logsumexp(0)

    def log_posterior(self, x: Tensor, sigma: float) -> Tensor:
        """log p_σ(c | x), (classes,)."""
        return self.log_joint(x, sigma).log_softmax(0)

    def log_odds(self, x: Tensor, sigma: float, y: int) -> Tensor:
        """log p_σ(y | x)/(1 − p_σ(y | x))."""
        joint = self.log_joint(x, sigma)
        others = [c for c in range(len(joint)) if c != y]
        return joint[y] - joint[others].logsumexp(0)

    def conditioned(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        """E[x₀ | x, k] (K, d) and tr Cov[x₀ | x, k] (K,), by conditioning each Gaussian on x = x₀ + σn."""
        d, away = len(x), x - self.means
        if isinstance(self.covariances, float):
            delta = self.covariances + sigma**2
            spread = d * (self.covariances - self.covariances**2 / delta)
            return self.means + self.covariances / delta * away, torch.full((len(away),), spread, dtype=torch.float64)
        gain = torch.linalg.solve(self.covariances + sigma**2 * torch.eye(d, dtype=torch.float64), self.covariances)
        left = self.covariances - self.covariances @ gain
        return self.means + torch.einsum("kij,ki->kj", gain, away), left.diagonal(dim1=1, dim2=2).sum(1)

    def posterior_mean(self, x: Tensor, sigma: float, y: int | None = None) -> Tensor:
        """E[x₀ | x], or given y, (d,)."""
        return self._weights(x, sigma, y) @ self.conditioned(x, sigma)[0]

    def mean_square(self, x: Tensor, sigma: float) -> Tensor:
        """E[‖x − x₀‖² | x]."""
        centres, spread = self.conditioned(x, sigma)
        return self._weights(x, sigma, None) @ ((x - centres).square().sum(1) + spread)

    def _weights(self, x: Tensor, sigma: float, y: int | None) -> Tensor:
        own = self.log_weights.logsumexp(1) if y is None else self.log_weights[:, y]
        return (own + self.log_components(x, sigma)).softmax(0)


def reference_of(world: World) -> Reference:
    """The reference with the parameters of a world; of spheres only circles, tori of two and S²."""
    if isinstance(world.core, DecoderCore):
        return _decoded(world, world.core)
    return _gaussians(world, world.core) if isinstance(world.core, GaussianCore) else _grid(world, world.core)


def _decoded(world: World, core: DecoderCore, width: float = 0.03) -> Reference:
    """A plain grid over all of the latent plane; weights by torch's own normal laws, pixels layer by layer."""
    latent, net, placed = core.latent, core.decoder, world.embedding
    fine = max(width, placed.noise**0.5)
    reach = [float((latent.means[..., i].abs() + 8 * latent.factors[..., i, :].norm(dim=-1)).max()) for i in (0, -1)]
    axes = [torch.arange(-r, r, fine / 2.4, dtype=torch.float64) for r in reach[: net.inputs]]  # slopes are below 1.6
    nodes = torch.cartesian_prod(*axes).reshape(-1, net.inputs)
    log_weights = []
    for means, factors, log_share in zip(latent.means, latent.factors, latent.log_weights, strict=True):
        laws = [torch.distributions.MultivariateNormal(m, scale_tril=f) for m, f in zip(means, factors, strict=True)]
        log_weights.append(torch.stack([law.log_prob(nodes) for law in laws], 1).add(log_share).logsumexp(1))
    joint = torch.stack(log_weights, 1) - math.log(core.classes)
    joint = joint + sum(math.log(float(axis[1] - axis[0])) for axis in axes)
    kept = joint.logsumexp(1) > -80
    h = nodes[kept]
    for weight, bias in zip(net.weights[:-1], net.biases[:-1], strict=True):
        a = h @ weight.T + bias
        h = a / (1 + (-a).exp())
    points = placed.offset + (h @ net.weights[-1].T + net.biases[-1]) @ placed.basis.T
    return Reference(joint[kept], points, float(placed.noise))


def _gaussians(world: World, core: GaussianCore) -> Reference:
    mixture, placed = core.mixture, world.embedding
    eye = torch.eye(world.dimension, dtype=torch.float64)
    u = eye if placed.basis is None else placed.basis
    inner = mixture.loadings @ mixture.loadings.mT + torch.diag_embed(mixture.noise)
    own = torch.arange(mixture.classes) == mixture.component_class[:, None]
    return Reference(
        log_weights=torch.where(own, mixture.log_weights[:, None], -torch.inf),
        means=placed.offset + placed.scale * mixture.means @ u.T,
        covariances=placed.scale**2 * u @ inner @ u.T + placed.noise * eye,
    )


def _grid(world: World, core: SphereCore) -> Reference:
    m, b = core.means.shape[1:]
    nodes, log_area = _sphere_nodes(b, m)  # (n, b), (n,)
    angle = torch.einsum("nb,kmb->kmn", nodes, core.means)
    raw = core.kappa[:, :, None] * angle + log_area
    block = raw - raw.logsumexp(2, keepdim=True)  # log probability of every node of every block
    index = torch.tensor(list(itertools.product(range(len(nodes)), repeat=m)))  # (n^m, m)
    each = core.log_weights[:, None] + sum(block[:, i, index[:, i]] for i in range(m))  # (components, n^m)
    own = [each[core.component_class == c].logsumexp(0) for c in range(core.classes)]
    points = nodes[index].flatten(1)
    placed = world.embedding
    return Reference(torch.stack(own, 1), placed.offset + placed.scale * points @ placed.basis.T, float(placed.noise))


def _sphere_nodes(b: int, m: int) -> tuple[Tensor, Tensor]:
    if b == 2:
        n = CIRCLE if m == 1 else PAIR
        angle = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
        return torch.stack([angle.cos(), angle.sin()], 1), torch.zeros(n, dtype=torch.float64)
    assert b == 3, "grids only for circles and spheres in R³"
    height, weight = (torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(BALL[0]))
    angle = 2 * math.pi * torch.arange(BALL[1], dtype=torch.float64) / BALL[1]
    radius = (1 - height.square()).sqrt()
    nodes = torch.stack([torch.outer(radius, angle.cos()), torch.outer(radius, angle.sin())], 2)
    nodes = torch.cat([nodes, height[:, None, None].expand(-1, BALL[1], 1)], 2)
    return nodes.reshape(-1, 3), weight.log().repeat_interleave(BALL[1])


def gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Gradient of a scalar function of one flat image."""
    x = x.detach().clone().requires_grad_(True)
    return torch.autograd.grad(function(x), x)[0]


def hessian(reference: Reference, x: Tensor, sigma: float) -> Tensor:
    """∇² log p_σ of one flat image, (d, d); kept, since several checks ask for it."""
    return _hessian(reference, tuple(x.tolist()), sigma)


@cache
def _hessian(reference: Reference, pixels: tuple[float, ...], sigma: float) -> Tensor:
    x = torch.tensor(pixels, dtype=torch.float64)
    return torch.autograd.functional.hessian(lambda z: reference.log_density(z, sigma), x)
