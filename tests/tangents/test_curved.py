"""Curved steps stay on a manifold that straight ones leave."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.tangents import (
    AutoencoderTangents,
    ConvAutoencoder,
    DenoiserTangents,
    Ground,
    KrylovOptions,
    TangentEstimator,
    WorldTangents,
    curved_path,
    open_tangents,
    store_tangents,
)
from tangency.worlds import load_dataset, make_world

RADIUS = 0.8  # contrast · √d
WORLD = make_world("sphere?shape=1x4x4&rank=3&contrast=0.2")


def start(estimator: TangentEstimator) -> tuple[Tensor, Tensor]:
    """Images and unit vectors in their tangent spaces."""
    x = WORLD.sample(5, seed=0).x
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    return x, estimator.at(x).on_direction(noise)


def away(x: Tensor) -> Tensor:
    """Distance from the sphere."""
    return ((x - 0.5).flatten(1).norm(dim=1) - RADIUS).abs()


def test_a_walk_on_a_sphere_is_an_arc() -> None:
    exact = WorldTangents(WORLD)
    x, u = start(exact)
    half = math.pi * RADIUS / 2
    ends = curved_path(exact, x, u, [half, 2 * half], substeps=400)
    torch.testing.assert_close(ends[0] - 0.5, RADIUS * u, atol=0.01, rtol=0)  # a quarter of the great circle
    torch.testing.assert_close(ends[1] - 0.5, 0.5 - x, atol=0.02, rtol=0)  # and the antipode
    errors = [float(away(curved_path(exact, x, u, [half], n)[0]).mean()) for n in (4, 8, 16, 32)]
    slopes = [math.log2(a / b) for a, b in pairwise(errors)]
    assert min(slopes) > 0.8  # first order
    straight = float(math.hypot(RADIUS, half) - RADIUS)
    torch.testing.assert_close(away(x + half * u), torch.full((5,), straight, dtype=x.dtype))
    assert errors[0] < straight / 3


def test_one_edge_is_the_straight_step() -> None:
    exact = WorldTangents(WORLD)
    x, u = start(exact)
    torch.testing.assert_close(curved_path(exact, x, u, [0.3], substeps=1)[0], x + 0.3 * u)


def test_a_denoiser_brings_the_walk_back() -> None:
    estimator = DenoiserTangents(WORLD, KrylovOptions(sigma=0.05, rank=3))
    x, u = start(estimator)
    (end,) = curved_path(estimator, x, u, [1.0], substeps=4)
    assert float(away(end).max()) < 0.12
    assert float(away(x + u).min()) > 0.4
    assert float((end - x).flatten(1).norm(dim=1).max()) <= 1 + 1e-9  # a path of length 1 ends nearer than that


def test_an_autoencoder_walks_along_its_decoder() -> None:
    torch.manual_seed(0)
    net = ConvAutoencoder((1, 4, 4), latent=3, widths=(4,))
    estimator = AutoencoderTangents(net, (1, 4, 4), rank=2)
    x = torch.rand(3, 1, 4, 4)
    u = estimator.at(x).on_direction(torch.ones_like(x))
    (end,) = curved_path(estimator, x, u, [0.1], substeps=2)
    assert float((end - x).flatten(1).norm(dim=1).max()) <= 0.1 + 1e-6
    torch.testing.assert_close(estimator.retract(x), net.decode(net.encode(x)).detach())


def test_walks_that_cannot_be_are_refused(tmp_path: object) -> None:
    data = load_dataset("world:sphere?shape=1x4x4&rank=3&train=50&test=10")
    stored = store_tangents(open_tangents("pca?rank=2", Ground(data)), data.test, str(tmp_path))
    x = data.test.images()
    with pytest.raises(NumericsError, match="known at their own images only"):
        curved_path(stored, x, x, [1.0])
    exact = WorldTangents(WORLD)
    for lengths, substeps in (([2.0, 1.0], 4), ([0.0], 4), ([1.0, 1.0], 4), ([math.nan], 4), ([1.0], 0)):
        with pytest.raises(NumericsError, match="expected them to rise from 0"):
            curved_path(exact, x, x, lengths, substeps)


def test_an_image_without_a_direction_is_nan_and_alone() -> None:
    exact = WorldTangents(WORLD)
    x, u = start(exact)
    u[2] = torch.nan
    ends = curved_path(exact, x, u, [0.2, 0.4])
    assert ends[1].isnan().flatten(1).any(1).tolist() == [False, False, True, False, False]
    whole = curved_path(exact, x[:2], u[:2], [0.2, 0.4])[1]
    torch.testing.assert_close(ends[1][:2], whole)
