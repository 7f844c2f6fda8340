"""Tangent spaces from differences of denoisers, beside those of the Jacobian and beside the truth."""

from __future__ import annotations

import pytest
import torch

from tangency.errors import NumericsError
from tangency.score import FunctionScore
from tangency.tangents import (
    DenoiserDifferences,
    DenoiserTangents,
    DifferenceOptions,
    KrylovOptions,
    TangentSpace,
    WorldTangents,
    space_agreement,
)
from tangency.worlds import World, make_world

IMAGES = 8


def angles(world: World, sigma: float, **options: object) -> float:
    """Mean angle to the true tangent spaces in degrees, over clean images."""
    x = world.sample(IMAGES, 0).x
    k = world.intrinsic_dimension
    own = DenoiserDifferences(world, DifferenceOptions(sigma=sigma, rank=k, **options)).at(x)
    return float(space_agreement(own, WorldTangents(world).at(x)).mean.mean())


@pytest.mark.parametrize(
    ("reference", "coarse", "fine", "below"),
    [
        ("linear?shape=1x8x8&rank=4&noise=0", 0.1, 0.01, 1e-3),
        ("sphere?shape=1x8x8&rank=3", 0.1, 0.01, 1.5),
        ("torus?shape=1x8x8&rank=2", 0.1, 0.01, 2.5),
        ("decoder?latent=1&size=8&noise=1e-7", 0.1, 0.01, 1.0),
    ],
)
def test_the_true_space_is_found_as_sigma_falls(reference: str, coarse: float, fine: float, below: float) -> None:
    world = make_world(reference)
    far, near = angles(world, coarse), angles(world, fine)
    assert near <= far + 1e-3
    assert near < below


def test_noise_of_the_images_hides_the_space_below_its_own_size() -> None:
    """J is ψ/(ψ + σ²) off the manifold: at σ far below √ψ differences are random, while J's leading vectors are not."""
    world = make_world("fitted?size=14&components=2&rank=4&images=400")
    x = world.sample(IMAGES, 0).x
    truth, psi = WorldTangents(world).at(x), float(world.core.mixture.noise[0, 0])
    assert psi**0.5 > 4 * 0.02
    shares = {}
    for sigma in (0.4, 0.02):
        own = DenoiserDifferences(world, DifferenceOptions(sigma, 4, samples=32)).at(x)
        exact = DenoiserTangents(world, KrylovOptions(sigma=sigma, rank=4)).at(x)
        pairs = space_agreement(own, truth), space_agreement(exact, truth)
        shares[sigma] = [float(pair.overlap.mean()) for pair in pairs]
    assert shares[0.4][0] > 0.88
    assert shares[0.02][0] < 4 / 196 + 0.05
    assert shares[0.02][1] > 0.999


def test_curvature_tilts_one_sided_differences_in_the_first_order_of_sigma_and_central_ones_in_a_higher() -> None:
    """On a sphere D(x + σn) − D(x) has a part along x of ‖Pn‖²σ²/2; with −n it cancels."""
    world = make_world("sphere?shape=1x8x8&rank=3")
    one = [angles(world, sigma) for sigma in (0.04, 0.02)]
    both = [angles(world, sigma, central=True) for sigma in (0.04, 0.02)]
    assert 1.6 < one[0] / one[1] < 2.5
    assert both[0] / both[1] > 3
    assert both[0] < 0.25 * one[0]


def test_many_differences_give_the_eigenspace_and_the_eigenvalues_of_the_jacobian() -> None:
    world = make_world("linear?shape=1x6x6&rank=3")
    x = world.sample(4, 1).x
    jacobian = DenoiserTangents(world, KrylovOptions(sigma=0.05, rank=3)).at(x)
    own = DenoiserDifferences(world, DifferenceOptions(sigma=0.05, rank=3, samples=400)).at(x)
    assert float(space_agreement(own, jacobian).largest.max()) < 5
    torch.testing.assert_close(own.spectrum[:, :3], jacobian.spectrum[:, :3], rtol=0.15, atol=0)


def test_it_is_the_left_singular_vectors_of_the_differences() -> None:
    """Against the slow version, an image and a difference at a time."""
    from tangency.seeding import Draw

    world = make_world("sphere?shape=1x5x5&rank=3")
    x, sigma = world.sample(3, 2).x, 0.1
    own = DenoiserDifferences(world, DifferenceOptions(sigma, 3, samples=7, seed=5)).at(x, torch.tensor([4, 9, 2]))
    for i, number in enumerate((4, 9, 2)):
        noise = Draw(5, torch.tensor([number]), "denoiser-differences").normal((7, 1, 5, 5), torch.float64)[0]
        centre = world.denoise(x[i : i + 1], sigma)
        columns = [(world.denoise(x[i : i + 1] + sigma * n, sigma) - centre).flatten() / sigma for n in noise]
        vectors, values, _ = torch.linalg.svd(torch.stack(columns, 1) / 7**0.5, full_matrices=False)
        expected = TangentSpace(vectors[None, :, :3], torch.tensor([3]))
        found = TangentSpace(own.basis[i : i + 1], own.rank[i : i + 1])
        assert float(space_agreement(found, expected).largest) < 1e-5
        torch.testing.assert_close(own.spectrum[i], values, rtol=1e-8, atol=1e-12)
        assert float(own.residual[i]) == pytest.approx(float((x[i] - centre[0]).norm()))


def test_its_cost_is_what_it_says_and_no_derivative_is_needed() -> None:
    world, asked = make_world("linear?shape=1x5x5&rank=3"), []

    def denoise(x: torch.Tensor, sigma: torch.Tensor, y: None) -> torch.Tensor:
        asked.append(len(x))
        return torch.from_numpy(world.denoise(x, sigma).detach().numpy().copy())  # breaks every graph

    score = FunctionScore(denoise, world.shape, data_range=(0.0, 1.0), kind="opaque")
    x = world.sample(2, 0).x
    for central, evaluations in ((False, 13), (True, 25)):
        asked.clear()
        estimator = DenoiserDifferences(score, DifferenceOptions(rank=3, central=central))
        estimator.at(x)
        assert sum(asked) == 2 * evaluations == 2 * estimator.evaluations


def test_faulty_requests_are_refused() -> None:
    world = make_world("linear?shape=1x4x4&rank=3")
    with pytest.raises(NumericsError, match="2 differences span no 3 directions"):
        DenoiserDifferences(world, DifferenceOptions(rank=3, samples=2))
    with pytest.raises(NumericsError, match="finite noise level"):
        DifferenceOptions(sigma=0.0)
    with pytest.raises(NumericsError, match="expected 1 to 15"):
        DenoiserDifferences(world, DifferenceOptions(rank=16))
