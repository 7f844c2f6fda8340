"""What curvature does to scores, denoisers and Bayes gradients: laws of spheres and tori as σ → 0."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tangency.numerics import energy_fraction, norms
from tangency.worlds import World, make_world
from worlds.world_cases import world_case

UNIFORM = "sphere?rank=9&concentration=0&classes=2&shape=1x4x4"


def on_manifold(world: World, n: int = 5) -> tuple[Tensor, Tensor]:
    """Clean images and their coordinates of order one."""
    x = world.sample(n, 0).x
    return x, world.embedding.encode(x.flatten(1))[0]


def inner(world: World, gradient: Tensor) -> Tensor:
    """A gradient with respect to the coordinates of order one, (N, n)."""
    return world.embedding.scale * gradient.flatten(1) @ world.embedding.basis


@pytest.mark.parametrize(
    ("sigma", "expected", "tolerance"), [(0.1, -4.42048, 1e-5), (0.03, -4.493, 1e-3), (1e-3, -4.5, 1e-5)]
)
def test_score_of_a_uniform_sphere_is_half_its_mean_curvature(sigma: float, expected: float, tolerance: float) -> None:
    """s → −(k/2) z, k = 9, σ in units of the radius."""
    world = make_world(UNIFORM)
    x, z = on_manifold(world)
    score = inner(world, world.score(x, sigma * world.embedding.scale))
    assert (score * z).sum(1).tolist() == pytest.approx([expected] * 5, abs=tolerance)
    assert float((score - (score * z).sum(1, keepdim=True) * z).abs().max()) < 1e-8


def test_score_of_a_uniform_torus_is_half_its_mean_curvature_in_every_circle() -> None:
    world = make_world("torus?rank=4&concentration=0&classes=2&shape=1x4x4")
    x, z = on_manifold(world)
    score = inner(world, world.score(x, 1e-3 * world.embedding.scale))
    torch.testing.assert_close(score, -z / 2, rtol=1e-5, atol=1e-7)


def test_bayes_gradient_of_equal_classes_is_zero() -> None:
    world = make_world(UNIFORM)
    x, _ = on_manifold(world)
    for sigma in (0.0, 0.1):
        found = world.bayes_direction(x, torch.zeros(5, dtype=torch.int64), sigma)
        assert float(found.direction.abs().max()) < 1e-12
        assert float(found.log_norm.max()) < -25


def leakage(world: World, z: Tensor, sigma: float) -> Tensor:
    """(σ²/2){k Δ[κ μ·z] − Δ[κ²(1 − (μ·z)²)]}, class 0 over class 1, k the dimension of the sphere."""
    kappa, cosine = world.core.kappa[:, 0], z @ world.core.means[:, 0].T
    value = world.intrinsic_dimension * kappa * cosine - kappa**2 * (1 - cosine**2)
    return sigma**2 / 2 * (value[:, 0] - value[:, 1])


def leak(world: World, x: Tensor, z: Tensor, sigma: float) -> Tensor:
    direction = world.bayes_direction(x, torch.zeros(len(x), dtype=torch.int64), sigma * world.embedding.scale)
    return (inner(world, direction.direction) * z).sum(1)


def test_normal_part_of_the_bayes_gradient_follows_the_leakage_law() -> None:
    """Two von Mises–Fisher classes on S⁷: the ratio to the law differs from one by O(σ²)."""
    world = make_world("sphere?rank=7&classes=2&shape=1x4x4")
    x, z = on_manifold(world, 20)
    off = [float((leak(world, x, z, s) / leakage(world, z, s) - 1).abs().median()) for s in (0.1, 0.03, 0.01)]
    assert off[0] < 0.15
    assert off[2] < 1e-3
    assert off[0] / off[1] == pytest.approx((0.1 / 0.03) ** 2, rel=0.2)
    assert off[1] / off[2] == pytest.approx(9, rel=0.2)


def test_tangent_part_of_the_bayes_gradient_is_that_of_the_densities() -> None:
    """∇ log q₀/q₁ = P κ(μ₀ − μ₁) in the limit, and exactly at σ = 0."""
    world = make_world("sphere?rank=7&classes=2&shape=1x4x4")
    x, z = on_manifold(world)
    difference = world.core.kappa[0] * (world.core.means[0, 0] - world.core.means[1, 0])
    tangent = difference - (z @ difference)[:, None] * z
    zero = torch.zeros(5, dtype=torch.int64)
    torch.testing.assert_close(inner(world, world.bayes_direction(x, zero, 0.0).direction), tangent)
    near = inner(world, world.bayes_direction(x, zero, 1e-4 * world.embedding.scale).direction)
    torch.testing.assert_close(near, tangent, rtol=1e-5, atol=1e-6)


def test_denoiser_of_a_sphere_has_the_known_eigenvalues() -> None:
    """d = 10, σ = .1 radii: tangent A(r)/(rσ²) = .956 nine times, normal A'(r)/σ² = .043 once, and zeros."""
    world = make_world(UNIFORM)
    x, _ = on_manifold(world)
    found = torch.autograd.functional.jacobian(
        lambda v: world.denoise(v.reshape(1, 1, 4, 4), 0.1 * world.embedding.scale).flatten(), x[0].flatten()
    )
    values = torch.linalg.eigvalsh(found)
    assert values[-9:].tolist() == pytest.approx([0.956] * 9, abs=5e-4)
    assert float(values[-10]) == pytest.approx(0.043, abs=5e-4)
    assert float(values[:-10].abs().max()) < 1e-14


@pytest.mark.parametrize(
    "name",
    ["linear without noise", "offset", "rotated", "circle", "sphere", "torus", "uneven sphere", "uneven torus"],
)
def test_local_dimension_tends_to_that_of_the_manifold(name: str) -> None:
    world = world_case(name)
    found = world.local_dimension(world.sample(1500, 3).x, 1e-3)
    assert float((found - world.intrinsic_dimension).abs().max()) < 0.05


def test_local_dimension_of_noisy_images_is_that_of_the_pixels() -> None:
    """At σ far below the thickness √ψ every direction counts."""
    world = world_case("linear")
    assert float((world.local_dimension(world.sample(50, 0).x, 1e-5) - world.dimension).abs().max()) < 1e-3


@pytest.mark.parametrize("name", ["circle", "sphere", "torus", "uneven torus"])
def test_bayes_gradient_at_zero_noise_is_tangent_and_the_limit(name: str) -> None:
    world = world_case(name)
    found = world.sample(20, 4)
    basis, _ = world.tangent_basis(found.x)
    exact = world.bayes_direction(found.x, found.y, 0.0)
    assert float(energy_fraction(basis, exact.direction).min()) > 1 - 1e-12
    near = world.bayes_direction(found.x, found.y, 1e-5)
    error = norms(near.direction - exact.direction) / norms(exact.direction)
    assert float(error.max()) < 1e-4
    torch.testing.assert_close(near.log_norm, exact.log_norm, rtol=1e-4, atol=1e-4)


def test_bayes_gradient_off_the_manifold_at_zero_noise_is_that_of_the_nearest_point() -> None:
    world = world_case("sphere")
    x, _ = on_manifold(world)
    doubled = 0.5 + 2 * (x - 0.5)
    y = torch.zeros(5, dtype=torch.int64)
    torch.testing.assert_close(world.log_posterior(doubled, 0.0), world.log_posterior(x, 0.0))
    half = world.bayes_direction(doubled, y, 0.0).direction
    torch.testing.assert_close(2 * half, world.bayes_direction(x, y, 0.0).direction)
    basis, again = world.tangent_basis(x)[0], world.tangent_basis(doubled)[0]
    torch.testing.assert_close(basis @ basis.mT, again @ again.mT)
