"""Draws: the moments of von Mises–Fisher laws, and images that depend on their index only."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from scipy.special import ive

from tangency.numerics import unit
from tangency.seeding import Draw
from tangency.worlds import make_world, von_mises_fisher
from worlds.world_averages import none_far
from worlds.world_cases import NAMES, world_case

N = 6000


def drawn(b: int, kappa: float, n: int = N, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    mean = unit(Draw(3, torch.arange(1), f"mean {b}").normal((b,), torch.float64))
    concentration = torch.full((n,), kappa, dtype=torch.float64)
    return mean[0], von_mises_fisher(mean.expand(n, -1), concentration, Draw(seed, torch.arange(n), "test"))


@pytest.mark.parametrize("kappa", [0.0, 0.5, 5.0, 200.0])
@pytest.mark.parametrize("b", [2, 3, 10])
def test_first_and_second_moments(b: int, kappa: float) -> None:
    mean, points = drawn(b, kappa)
    torch.testing.assert_close(points.norm(dim=1), torch.ones(N, dtype=torch.float64), rtol=0, atol=1e-11)
    along = points @ mean
    length = float(ive(b / 2, kappa) / ive(b / 2 - 1, kappa)) if kappa else 0.0
    square = 1 - (b - 1) * length / kappa if kappa else 1 / b
    none_far("mean", points - length * mean)
    none_far("square along the mean", (along.square() - square)[:, None])
    eye = torch.eye(b, dtype=torch.float64)
    moment = square * torch.outer(mean, mean) + (1 - square) / (b - 1) * (eye - torch.outer(mean, mean))
    none_far("second moments", points[:, :, None] * points[:, None, :] - moment)


@pytest.mark.parametrize("kappa", [0.5, 5.0, 200.0])
def test_law_along_the_mean_on_the_sphere(kappa: float) -> None:
    """In R³ the cosine with the mean has the distribution (e^(κt) − e^(−κ))/(e^κ − e^(−κ))."""
    mean, points = drawn(3, kappa)
    along = (points @ mean).numpy()

    def cdf(t):
        return (stats.expon.pdf(kappa * (1 - t)) - math.exp(-2 * kappa)) / (1 - math.exp(-2 * kappa))

    assert stats.kstest(along, cdf).pvalue > 1e-4


@pytest.mark.parametrize("kappa", [0.5, 5.0])
def test_law_on_the_circle(kappa: float) -> None:
    mean, points = drawn(2, kappa)
    angle = torch.atan2(points[:, 1] * mean[0] - points[:, 0] * mean[1], points @ mean)
    assert stats.kstest(angle.numpy(), stats.vonmises(kappa).cdf).pvalue > 1e-4


@pytest.mark.parametrize("kappa", [0.0, 100.0, 1e4, 1e9])
def test_thousands_of_dimensions(kappa: float) -> None:
    mean, points = drawn(4096, kappa, n=8)
    torch.testing.assert_close(points.norm(dim=1), torch.ones(8, dtype=torch.float64), rtol=0, atol=1e-13)
    nu = 2048
    length = 2 * kappa / (2 * nu - 1 + math.sqrt(4 * kappa**2 + (2 * nu + 1) ** 2))  # between Amos's bounds
    assert float((points @ mean).mean()) == pytest.approx(length, abs=0.03)


def test_extreme_concentrations_end() -> None:
    for b in (2, 3, 10):
        for kappa in (1e-12, 1e6, 1e12):
            points = drawn(b, kappa, 200)[1]
            assert points.isfinite().all()


def test_a_point_depends_on_its_id_only() -> None:
    _, many = drawn(5, 3.0, 50)
    torch.testing.assert_close(drawn(5, 3.0, 7)[1], many[:7], rtol=0, atol=0)
    mean = unit(Draw(3, torch.arange(1), "mean 5").normal((5,), torch.float64)).expand(3, -1)
    ids = torch.tensor([40, 2, 17])
    some = von_mises_fisher(mean, torch.full((3,), 3.0, dtype=torch.float64), Draw(1, ids, "test"))
    torch.testing.assert_close(some, many[ids], rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_images_depend_on_their_index_only(name: str) -> None:
    world = world_case(name)
    whole, tail, other = world.sample(9, 3), world.sample(4, 3, start=5), world.sample(9, 4)
    torch.testing.assert_close(tail.x, whole.x[5:], rtol=0, atol=1e-15)
    assert torch.equal(tail.y, whole.y[5:])
    assert torch.equal(tail.component, whole.component[5:])
    assert not torch.equal(other.x, whole.x)
    assert whole.x.dtype == torch.float64
    assert whole.y.dtype == whole.component.dtype == torch.int64


def test_images_do_not_change_at_the_edge_of_a_chunk() -> None:
    world = make_world("torus?rank=1&shape=1x2x3&classes=2")
    whole = world.sample(1030, 0)
    torch.testing.assert_close(world.sample(10, 0, start=1020).x, whole.x[1020:], rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_labels_have_the_prior(name: str) -> None:
    world = world_case(name)
    labels = torch.nn.functional.one_hot(world.sample(4000, 8).y, world.classes)
    none_far("prior", labels - world.log_prior().exp())


@pytest.mark.parametrize("name", ["linear", "linear without noise", "rotated"])
def test_the_mean_image_of_flat_worlds_is_grey(name: str) -> None:
    world = world_case(name)
    weights = world.core.mixture.log_weights.exp()
    assert float((weights @ world.core.mixture.means).abs().max()) < 1e-14
    none_far("mean image", world.sample(4000, 6).x.flatten(1) - 0.5)


@pytest.mark.parametrize("name", ["circle", "sphere", "torus", "uneven torus"])
def test_images_without_noise_are_on_the_manifold(name: str) -> None:
    world = world_case(name)
    z, left = world.embedding.encode(world.sample(50, 2).x.flatten(1))
    assert float(left.abs().max()) < 1e-14
    blocks = z.reshape(50, -1, world.core.means.shape[2])
    torch.testing.assert_close(blocks.norm(dim=2), torch.ones_like(blocks[:, :, 0]), rtol=0, atol=1e-13)


@pytest.mark.parametrize("reference", ["linear", "offset", "rotated", "sphere", "torus", "distractor?shape=1x32x16"])
def test_contrast_is_the_root_mean_square_of_a_pixel(reference: str) -> None:
    """About ½; of the offset world along its subspace, of the distractor on the signal's half."""
    world = make_world(reference)
    x = world.sample(1500, 0).x - 0.5
    if reference == "offset":
        basis, _ = world.tangent_basis(x[:1])
        x = x.flatten(1) @ basis[0] @ basis[0].T
    if world.name.startswith("distractor"):
        upper = world.core.placement[world.sample(1500, 0).component] == 0
        x = x[upper][:, :, :16]
        x = x.square() - world.core.mixture.noise[0, 0]
        assert float(x.mean()) ** 0.5 == pytest.approx(0.1, rel=0.2)
        return
    assert float(x.square().mean()) ** 0.5 == pytest.approx(0.1, rel=0.06)
