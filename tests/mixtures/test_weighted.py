"""Weighted sums of class scores, distances to the clean image, and the span of all Bayes gradients."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import mixture_reference as reference
from support import make_mixture
from tangency.errors import NumericsError
from tangency.mixtures import Mixture
from tangency.mixtures.weights import given as given_class
from tangency.mixtures.weights import log_rest, marginal, odds
from tangency.numerics import norms

SIGMAS = (0.0, 0.05, 0.5, 2.0)


def images(mixture: Mixture, n: int = 5, seed: int = 3) -> tuple[Tensor, Tensor]:
    x, y = mixture.sample(n, seed)
    return x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), y


def conditioned(mixture: Mixture, x: Tensor, sigma: float) -> Tensor:
    """E[‖x − x₀‖² | x] of one flat image: distance to each component's posterior mean plus its posterior variance."""
    total = []
    for mean, smooth in zip(mixture.means, reference.dense_covariances(mixture, sigma), strict=True):
        clean = smooth - sigma**2 * torch.eye(len(x), dtype=torch.float64)
        gain = torch.linalg.solve(smooth, clean).T
        centre = mean + gain @ (x - mean)
        total.append((x - centre).square().sum() + (clean - gain @ clean).trace())
    return reference.log_joint(mixture, x, sigma).softmax(0) @ torch.stack(total)


@pytest.mark.parametrize("sigma", SIGMAS[1:])
@pytest.mark.parametrize("isotropic", [True, False])
def test_distance_to_the_clean_image_by_conditioning(isotropic: bool, sigma: float) -> None:
    m = make_mixture(isotropic=isotropic)
    x, _ = images(m)
    expected = torch.stack([conditioned(m, row, sigma) for row in x.flatten(1)])
    torch.testing.assert_close(m.mean_square(x, sigma), expected, rtol=1e-11, atol=1e-13)


def test_distance_to_the_clean_image_without_noise_of_its_own() -> None:
    m = make_mixture()
    m = dataclasses.replace(m, noise=torch.zeros_like(m.noise))
    x, _ = images(m)
    expected = torch.stack([conditioned(m, row, 0.1) for row in x.flatten(1)])
    torch.testing.assert_close(m.mean_square(x, 0.1), expected, rtol=1e-11, atol=1e-13)
    on = m.sample(50, 0)[0]
    assert float((m.mean_square(on, 1e-4) / 1e-8 - 2).abs().max()) < 1e-3  # the rank of its subspaces


@given(st.integers(2, 9), st.integers(1, 3), st.floats(0.01, 3.0), st.booleans(), st.integers(0, 99))
def test_squared_gradients(d: int, rank: int, sigma: float, isotropic: bool, seed: int) -> None:
    m = make_mixture((1, 1, d), 2, 2, min(rank, d - 1), seed=seed, isotropic=isotropic)
    rows = images(m, 3, seed)[0].flatten(1)
    smoothed = m.at(sigma)
    found = smoothed.squared_gradients(rows, smoothed.projections(rows))
    for j, covariance in enumerate(reference.dense_covariances(m, sigma)):
        expected = torch.linalg.solve(covariance, (rows - m.means[j]).T).square().sum(0)
        torch.testing.assert_close(found[:, j], expected, rtol=1e-9, atol=1e-9)


def test_distance_to_the_clean_image_on_average() -> None:
    m = make_mixture((1, 1, 4), classes=2, rank=1)
    clean, _ = m.sample(20_000, 1)
    x = clean + 0.3 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gap = m.mean_square(x, 0.3) - (x - clean).flatten(1).square().sum(1)
    assert abs(float(gap.mean())) < 4.8 * float(gap.std()) / 20_000**0.5
    assert len(m.mean_square(x[:0], 0.3)) == 0


@pytest.mark.parametrize("sigma", SIGMAS)
def test_weighted_score_is_the_weighted_sum_of_class_scores(sigma: float) -> None:
    m = make_mixture(isotropic=False)
    x, _ = images(m)
    weights = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found, joint = m.weighted_score(x, sigma, lambda _, chunk: weights[chunk])
    for i, row in enumerate(x.flatten(1)):
        scores = [reference.gradient(lambda z, c=c: reference.log_density_given(m, z, sigma, c), row) for c in range(3)]
        expected = weights[i] @ torch.stack(scores)
        torch.testing.assert_close(found[i].flatten(), expected, rtol=1e-9, atol=1e-8)
        own = reference.log_joint(m, row, sigma)
        by_class = torch.stack([own[m.component_class == c].logsumexp(0) for c in range(3)])
        torch.testing.assert_close(joint[i], by_class, rtol=1e-11, atol=1e-9)


def test_weights_see_the_density_and_the_place_of_their_images() -> None:
    """Also behind the first 1024 images."""
    m = make_mixture((1, 1, 3), classes=2, rank=1)
    x, y = images(m, 1100)
    seen = []

    def weigh(joint: Tensor, chunk: slice) -> Tensor:
        seen.extend(range(1100)[chunk])
        torch.testing.assert_close(joint, m.log_class_joint(x[chunk], 0.1))
        return given_class(y)(joint, chunk)

    found, _ = m.weighted_score(x, 0.1, weigh)
    assert seen == list(range(1100))
    torch.testing.assert_close(found[1030:], m.score(x[1030:], 0.1, y[1030:]))
    empty, joint = m.weighted_score(x[:0], 0.1, marginal)
    assert empty.shape == (0, 1, 1, 3)
    assert joint.shape == (0, 2)


def test_named_weights() -> None:
    joint = torch.tensor([[0.2, 0.5, 0.3], [0.9, 0.1, 0.0]], dtype=torch.float64).log() - 700
    y, whole = torch.tensor([1, 0]), slice(0, 2)
    assert given_class(y)(joint, whole).tolist() == [[0, 1, 0], [1, 0, 0]]
    torch.testing.assert_close(marginal(joint, whole)[0], torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64))
    expected = torch.tensor([[-0.4, 1, -0.6], [1, -1, 0]], dtype=torch.float64)
    torch.testing.assert_close(odds(y)(joint, whole), expected)
    torch.testing.assert_close(log_rest(joint, y).exp(), torch.tensor([0.5, 0.1], dtype=torch.float64))
    sure = torch.tensor([[0.0, -800.0, -810.0]], dtype=torch.float64)
    assert float(log_rest(sure, torch.tensor([0]))) == pytest.approx(-800, abs=1e-4)


def test_span_holds_loadings_differences_and_bayes_gradients() -> None:
    m = make_mixture((1, 5, 6), rank=2)
    m = dataclasses.replace(m, noise=torch.full_like(m.noise, 0.01))
    span = m.span()
    assert span.shape == (30, 6 * 2 + 5)
    torch.testing.assert_close(span.T @ span, torch.eye(17, dtype=torch.float64))

    def outside(rows: Tensor) -> float:
        return float((norms(rows - rows @ span @ span.T) / norms(rows)).max())

    assert outside(m.loadings.mT.flatten(0, 1)) < 1e-12
    assert outside(m.means[1:] - m.means[:1]) < 1e-12
    x, y = images(m, 20)
    for sigma in SIGMAS:
        assert outside(m.bayes_direction(x, y, sigma).direction.flatten(1)) < 1e-12
        assert outside(m.score(x, sigma, y).flatten(1)) > 0.01  # the score itself is not in it


@pytest.mark.parametrize("isotropic", [True, False])
def test_span_does_not_hold_gradients_of_components_with_noise_of_their_own(isotropic: bool) -> None:
    m = make_mixture((1, 5, 6), isotropic=isotropic)
    x, y = images(m, 20)
    rows, span = m.bayes_direction(x, y, 0.05).direction.flatten(1), m.span()
    assert float((norms(rows - rows @ span @ span.T) / norms(rows)).max()) > 0.01


def test_span_of_equal_and_of_single_components() -> None:
    m = make_mixture()
    same = dataclasses.replace(m, means=m.means[:1].expand(6, -1), loadings=torch.zeros_like(m.loadings))
    assert same.span().shape == (15, 0)
    pair = dataclasses.replace(m, loadings=m.loadings[:1].expand(6, -1, -1).clone())
    assert pair.span().shape == (15, 2 + 5)


def test_mixtures_without_noise_need_some() -> None:
    m = make_mixture()
    m = dataclasses.replace(m, noise=torch.zeros_like(m.noise))
    x, y = images(m)
    for call in (lambda: m.score(x, 0.0), lambda: m.bayes_direction(x, y, 0.0), lambda: m.mean_square(x, 0.0)):
        with pytest.raises(NumericsError, match="singular"):
            call()
    assert m.score(x, 0.1).isfinite().all()
