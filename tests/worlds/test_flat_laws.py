"""Flat worlds: one subspace for all classes, and the negative controls in which Theorem 2 fails as it must."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from support import make_mixture
from tangency.numerics import energy_fraction, norms, per_example
from tangency.seeding import Draw
from tangency.worlds import GaussianCore, World, make_world
from worlds.world_averages import noisy
from worlds.world_cases import world_case
from worlds.world_checks import CHECKS

SIGMAS = (1e-3, 0.01, 0.03, 0.1, 0.5, 2.0)


def images(world: World, sigma: float, n: int = 20) -> tuple[Tensor, Tensor]:
    return noisy(world, sigma, n)[1], world.sample(n, 21).y


def turned_by(found: Tensor, true: Tensor) -> float:
    """Sine of the largest angle between two subspaces with orthonormal bases, (I − P₁)U₂."""
    return float(torch.linalg.matrix_norm(found - true @ (true.mT @ found), 2))


@pytest.mark.parametrize("sigma", [0.0, *SIGMAS])
@pytest.mark.parametrize(
    "reference", ["linear", "linear?rank=3&classes=2&shape=3x6x6&embedding=orthogonal", "linear?noise=0"]
)
def test_bayes_gradient_of_one_subspace_is_tangent_everywhere(reference: str, sigma: float) -> None:
    world = make_world(reference)
    x, y = images(world, max(sigma, 0.05))
    gradient = world.bayes_direction(x, y, sigma).direction.flatten(1)
    u = world.embedding.basis
    assert float((norms(gradient - gradient @ u @ u.T) / norms(gradient)).max()) < 1e-12
    basis, _ = world.tangent_basis(x)
    assert float(energy_fraction(basis, gradient).min()) > 1 - 1e-12
    assert turned_by(basis[0], u) < 1e-14


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("name", ["linear", "thick sphere", "torus", "linear without noise"])
def test_normal_score_is_the_same_for_all_classes(name: str, sigma: float) -> None:
    """−(I − UUᵀ)(x − ½)/(ψ + σ²)."""
    world = world_case(name)
    x, _ = images(world, 0.1)
    u = world.embedding.basis
    away = (x - 0.5).flatten(1)
    expected = -(away - away @ u @ u.T) / (world.embedding.noise + sigma**2)
    for label in range(world.classes):
        score = world.score(x, sigma, torch.full((len(x),), label)).flatten(1)
        normal = score - score @ u @ u.T
        assert float((normal - expected).abs().max() / expected.abs().max()) < 1e-12


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("name", ["offset", "thick offset"])
def test_bayes_gradient_of_offset_classes_is_the_offsets_over_the_noise(name: str, sigma: float) -> None:
    """Σ_c w_c offset_c/(ψ + σ²), wholly normal; w_y = 1, the others −p_c/(1 − p_y)."""
    world = world_case(name)
    x, y = images(world, sigma)
    found = world.bayes_direction(x, y, sigma).direction
    own = torch.nn.functional.one_hot(y, world.classes)
    others = world.log_posterior(x, sigma).masked_fill(own.bool(), -torch.inf).softmax(1)
    offsets = world.embedding.scale * world.core.mixture.means @ world.embedding.basis.T
    expected = (own - others) @ offsets / (world.embedding.noise + sigma**2)
    assert float((norms(found.flatten(1) - expected) / norms(expected)).max()) < 1e-10
    basis, _ = world.tangent_basis(x)
    assert float(energy_fraction(basis, found).max()) < 1e-18


def test_offsets_are_as_long_as_asked_for() -> None:
    for distance in (0.5, 2.0):
        world = make_world(f"offset?distance={distance}&shape=1x6x6&rank=4")
        along = world.core.mixture.loadings[0].square().sum(0).sqrt()  # standard deviations along the subspace
        lengths = norms(world.core.mixture.means)
        assert (lengths / along[0]).tolist() == pytest.approx([distance] * 3)


def test_bayes_gradient_of_rotated_classes_is_mostly_normal_and_grows_as_one_over_the_noise() -> None:
    world = make_world("rotated?rank=3&classes=3&shape=1x5x6")
    length = []
    for sigma in (1e-3, 1e-2, 0.1):
        x, y = world.sample(100, 21).x, world.sample(100, 21).y
        direction = world.bayes_direction(x, y, sigma).direction
        basis, _ = world.tangent_basis(x)
        normal = 1 - energy_fraction(basis, direction)
        assert float(normal.mean()) > 0.5
        length.append(float(norms(direction).median()))
    assert length[0] / length[1] == pytest.approx(100, rel=0.05)
    assert length[1] / length[2] > 30


@pytest.mark.parametrize("angle", [10, 25, 60, 90])
def test_normal_share_of_two_rotated_classes_is_the_fourth_power_of_the_cosine(angle: int) -> None:
    world = make_world(f"rotated?rank=3&classes=2&shape=1x5x6&angle={angle}")
    found = world.sample(100, 21)
    basis, _ = world.tangent_basis(found.x)
    normal = 1 - energy_fraction(basis, world.bayes_direction(found.x, found.y, 1e-5).direction)
    expected = math.cos(math.radians(angle)) ** 4
    assert float((normal - expected).abs().max()) < 1e-5
    first, second = world.core.mixture.loadings
    assert torch.linalg.svdvals(first.T @ second).tolist() == pytest.approx([expected**0.5] * 3, abs=1e-12)


@pytest.mark.parametrize("name", ["offset", "rotated"])
def test_tangents_of_the_negative_controls_are_those_of_the_images_own_component(name: str) -> None:
    world = world_case(name)
    found = world.sample(60, 7)
    basis, _ = world.tangent_basis(found.x)
    for one, component in zip(basis, found.component.tolist(), strict=True):
        loadings = world.embedding.basis @ world.core.mixture.loadings[component]
        assert turned_by(one, torch.linalg.qr(loadings).Q) < 1e-12


def test_tangents_of_uneven_components_without_noise_are_those_of_the_images_own() -> None:
    """Also where another component is far wider: what counts is the limit of no noise."""
    mixture = make_mixture((1, 1, 15))
    widths = torch.tensor([1, 0.02, 1, 0.1, 3, 0.02], dtype=torch.float64)[:, None, None]
    mixture = dataclasses.replace(
        mixture, loadings=mixture.loadings * widths, noise=torch.zeros_like(mixture.noise), means=0 * mixture.means
    )
    core = GaussianCore(mixture)
    z, _, component = core.draw(Draw(0, torch.arange(200), "uneven"))
    assert torch.equal(core.component(z), component)


def test_parallel_subspaces_are_parallel_and_turned_ones_are_not() -> None:
    parallel, turned = (world_case(name).core.mixture.loadings for name in ("offset", "rotated"))
    assert turned_by(parallel[0], parallel[1]) < 1e-14
    assert turned_by(turned[0], turned[1]) == pytest.approx((1 - math.cos(math.radians(15)) ** 4) ** 0.5)


@pytest.mark.parametrize("reference", ["sphere", "torus", "sphere?noise=0.01"])
def test_a_curved_world_has_no_span(reference: str) -> None:
    with pytest.raises(ValueError, match="no fixed subspace"):
        make_world(reference).bayes_span()


@pytest.mark.parametrize("name", ["linear", "offset", "rotated", "distractor"])
def test_the_span_has_as_many_dimensions_as_it_needs(name: str) -> None:
    """Its dimension is the rank of the Bayes gradients at many points."""
    world = world_case(name)
    x, y = images(world, 0.3, 300)
    gradient = world.bayes_direction(x, y, 0.3).direction
    rank = int(torch.linalg.matrix_rank((gradient / per_example(norms(gradient), gradient)).flatten(1), rtol=1e-9))
    assert rank <= world.bayes_span().shape[1]
    assert rank == {"linear": 3, "offset": 2, "rotated": 6, "distractor": 9}[name]


def test_a_smaller_span_does_not_hold_the_gradients() -> None:
    world = world_case("linear")
    x, y = images(world, 0.1)
    with pytest.raises(AssertionError, match="outside the span"):
        CHECKS["bayes_span"](Smaller(), None, x, y, 0.1)


class Smaller:
    """The linear world with one direction of its span forgotten."""

    def bayes_span(self) -> Tensor:
        return world_case("linear").bayes_span()[:, 1:]

    def bayes_direction(self, x: Tensor, y: Tensor, sigma: float):
        return world_case("linear").bayes_direction(x, y, sigma)
