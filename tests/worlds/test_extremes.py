"""Nothing overflows: images far away, at the centre, or exactly on the manifold; noise from 1e-8 to 1e6."""

from __future__ import annotations

import math

import pytest
import torch

from tangency.errors import NumericsError
from worlds.world_cases import NAMES, world_case


@pytest.mark.parametrize("sigma", [1e-8, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize("name", NAMES)
def test_everything_is_finite(name: str, sigma: float) -> None:
    world = world_case(name)
    clean = world.sample(4, 0)
    grey = torch.full_like(clean.x[:1], 0.5)
    x = torch.cat([clean.x, clean.x + 1e6, 1e-9 * clean.x, grey, 0 * grey, grey + 1e-12])
    y = torch.arange(len(x)) % world.classes
    if name == "decoder without noise" and sigma < world.core.finest:
        with pytest.raises(NumericsError, match="latent coordinates, expected at least"):
            world.score(x, sigma)
        return
    direction = world.bayes_direction(x, y, sigma)
    found = {
        "density": world.log_density(x, sigma),
        "density given y": world.log_density_given(x, sigma, y),
        "posterior": world.log_posterior(x, sigma),
        "score": world.score(x, sigma, y),
        "denoised": world.denoise(x, sigma),
        "direction": direction.direction,
        "square": world.mean_square(x, sigma),
    }
    for what, value in found.items():
        assert bool(value.isfinite().all()), what
    assert bool((direction.log_norm < math.inf).all())  # −∞ where the gradient is zero
    assert bool((world.log_posterior(x, sigma) <= 0).all())


@pytest.mark.parametrize("name", ["linear", "sphere", "uneven torus", "distractor"])
def test_much_noise_leaves_the_prior_and_the_mean(name: str) -> None:
    world = world_case(name)
    x = world.sample(4, 0).x
    prior = world.log_prior().expand(4, -1)
    torch.testing.assert_close(world.log_posterior(x, 1e5), prior, rtol=1e-6, atol=1e-6)
    mean = world.denoise(x, 1e5)
    assert float((mean - mean.mean(0)).abs().max()) < 1e-6


@pytest.mark.parametrize("name", ["offset", "circle", "torus", "uneven sphere"])
def test_little_noise_leaves_the_image(name: str) -> None:
    world = world_case(name)
    x = world.sample(20, 0).x
    assert float((world.denoise(x, 1e-6) - x).abs().max()) < 1e-9


@pytest.mark.parametrize("name", ["circle", "torus", "uneven sphere", "offset"])
def test_denoising_off_the_manifold_is_projection(name: str) -> None:
    """As σ → 0, D(x; σ) tends to the nearest point of the manifold."""
    world = world_case(name)
    clean = world.sample(20, 0).x
    normal = world.normal_basis(clean)
    away = torch.einsum("ndk,k->nd", normal, torch.linspace(-1, 1, normal.shape[2], dtype=torch.float64))
    reach = 0.02 * world.embedding.scale
    moved = clean + reach * away.reshape(clean.shape)
    assert float((world.denoise(moved, 1e-5) - clean).abs().max()) < 1e-6
