"""Curved manifolds: what noise does to scores and Bayes gradients at second order, and to the local dimension."""

from __future__ import annotations

import torch

from tangency.numerics import unit
from tangency.theory.claims import Claim, slope, zero_claim
from tangency.theory.identities import at, jacobian_of
from tangency.worlds import SphereCore, World, make_world

TOPIC = "curvature"


def curvature(seed: int = 0) -> list[Claim]:
    """All claims about curved worlds."""
    return [*_pull(seed), *_leakage(seed), *_eigenvalues(), *_dimension(seed)]


def _radial(world: World, x: torch.Tensor) -> torch.Tensor:
    """Outward unit normal at each image, (N, d); the sphere is centred at ½."""
    return unit(x.flatten(1) - world.embedding.offset)


def _pull(seed: int) -> list[Claim]:
    """A uniform sphere of dimension k: s_σ(x) → −(k/2) x/R² on it, half its mean curvature vector."""
    k, claims = 9, []
    world = make_world(f"sphere?shape=1x8x8&rank={k}&concentration=0&classes=2")
    radius = world.embedding.scale
    x = world.sample(8, seed).x
    for sigma, tolerance in ((0.03, 0.02), (0.003, 2e-4)):
        inwards = (world.score(x, sigma * radius).flatten(1) * _radial(world, x)).sum(1) * radius
        name, measured = f"{at(world, sigma)} radii", float(inwards.mean())
        title = "the score on a uniform sphere is −k/2 along the radius"
        claims.append(Claim(TOPIC, title, name, -k / 2, measured, tolerance))
    return claims


def _leakage(seed: int) -> list[Claim]:
    """Normal part of ∇ log-odds on the unit sphere of R^d: (σ²/2){(d−1)Δ[κ μ·x] − Δ[κ²(1 − (μ·x)²)]} + O(σ⁴)."""
    world = make_world("sphere?shape=1x8x8&rank=7&classes=2&concentration=3")
    core, radius = world.core, world.embedding.scale
    assert isinstance(core, SphereCore)
    sample = world.sample(64, seed)
    z, _ = world.embedding.encode(sample.x.flatten(1))
    cosine = torch.einsum("nb,kb->nk", z, core.means[:, 0])
    kappa = core.kappa[:, 0]
    terms = (core.dimension - 1) * kappa * cosine - kappa.square() * (1 - cosine.square())
    own, other = (terms.gather(1, label[:, None]).squeeze(1) for label in (sample.y, 1 - sample.y))
    errors, shares, sigmas = [], [], [0.01, 0.02, 0.04]
    for sigma in sigmas:
        law = sigma**2 / 2 * (own - other)
        direction = world.bayes_direction(sample.x, sample.y, sigma * radius).direction.flatten(1) * radius
        normal = (direction * _radial(world, sample.x)).sum(1)
        errors.append(float((normal - law).abs().max() / law.abs().max()))
        shares.append(float((normal.square() / direction.square().sum(1)).mean().sqrt()))
    title = "normal part of the Bayes gradient on a sphere against its law, relative"
    return [
        zero_claim(TOPIC, title, f"{at(world, sigmas[0])} radii", errors[0], 0.01),
        Claim(TOPIC, "the error of that law falls as σ², slope", world.name, 2.0, slope(sigmas, errors), 0.1),
        Claim(TOPIC, "‖normal part‖/‖gradient‖ falls as σ², slope", world.name, 2.0, slope(sigmas, shares), 0.1),
    ]


def _eigenvalues() -> list[Claim]:
    """Jacobian of the denoiser on a uniform sphere: A(r)/(rσ²) along it, A'(r)/σ² across, r = 1/σ²."""
    world = make_world("sphere?shape=1x6x6&rank=9&concentration=0&classes=2")
    sigma, radius = 0.1, world.embedding.scale
    x = world.sample(1, 0).x
    rows = x.flatten()

    def denoised(z: torch.Tensor) -> torch.Tensor:
        return world.denoise(z.reshape(1, *world.shape), sigma * radius).flatten()

    jacobian = jacobian_of(denoised, rows)
    basis = world.tangent_basis(x)[0][0]
    outwards = _radial(world, x)[0]
    along = float((basis.mT @ jacobian @ basis).trace() / basis.shape[1])
    across = float(outwards @ jacobian @ outwards)
    name = f"{at(world, sigma)} radii"
    return [
        Claim(TOPIC, "denoiser Jacobian along the sphere", name, 0.956, along, 1e-3),
        Claim(TOPIC, "denoiser Jacobian across the sphere", name, 0.043, across, 1e-3),
    ]


def _dimension(seed: int) -> list[Claim]:
    """E‖x − x₀‖²/σ² tends to the dimension of the manifold, at points of it (at noisy ones its mean is d)."""
    claims, sigma = [], 1e-3
    for reference in ("linear?rank=5&noise=0", "sphere?rank=6", "torus?rank=4", "rotated?rank=4"):
        name, _, options = reference.partition("?")
        world = make_world(f"{name}?shape=1x8x8&{options}")
        measured = float(world.local_dimension(world.sample(200, seed).x, sigma).mean())
        title = "local dimension E‖x − x₀‖²/σ² at images of the world"
        claims.append(Claim(TOPIC, title, at(world, sigma), world.intrinsic_dimension, measured, 0.01))
    return claims
