"""The mixture on the embedded images: what float32 images get, and how good the fit is on held-out ones."""

from __future__ import annotations

import itertools

import pytest
import torch

from tangency.data import load
from tangency.mixtures import FitReport, Mixture, fit_mixture
from tangency.numerics import cosine
from tangency.score import MixtureScore, denoising_error
from tangency.types import Dataset


@pytest.fixture(scope="module")
def fitted() -> tuple[Dataset, Mixture, FitReport]:
    data = load("fashion-mnist-5k")
    return data, *fit_mixture(data.train)


def test_the_likelihood_rose_at_every_step(fitted: tuple[Dataset, Mixture, FitReport]) -> None:
    for curve in fitted[2].history:
        assert all(b > a for a, b in itertools.pairwise(curve))


@pytest.mark.parametrize("sigma", [0.125, 0.25, 0.5])
def test_float32_bayes_directions_equal_float64_on_1000_images(
    fitted: tuple[Dataset, Mixture, FitReport], sigma: float
) -> None:
    data, mixture, _ = fitted
    x, y = data.test.images(), data.test.labels
    single, double = mixture.bayes_direction(x, y, sigma), mixture.bayes_direction(x.double(), y, sigma)
    assert float(cosine(single.direction.double(), double.direction).min()) > 0.9999
    torch.testing.assert_close(single.log_norm, double.log_norm, rtol=0, atol=1e-3)
    if sigma == 0.125:
        assert float(double.log_norm.min()) < -69  # 1 − p_y below 1e-30 is among them


def test_the_naive_difference_of_denoisers_fails_in_float32(fitted: tuple[Dataset, Mixture, FitReport]) -> None:
    data, mixture, _ = fitted
    x, y, sigma = data.test.images(), data.test.labels, 0.25
    naive = (mixture.denoise(x, sigma, y) - mixture.denoise(x, sigma)) / sigma**2
    right = mixture.bayes_direction(x, y, sigma).direction
    found = cosine(naive, right)
    assert int((found.isnan() | (found < 0.99)).sum()) > 300  # why the direction is formed from log-odds


def test_held_out_denoising_beats_one_gaussian_and_the_identity(fitted: tuple[Dataset, Mixture, FitReport]) -> None:
    data, mixture, _ = fitted
    gaussian = MixtureScore(fit_mixture(data.train, components=1, rank=12)[0])
    for sigma, limit in ((0.125, 0.0080), (0.25, 0.0130), (0.5, 0.0175)):
        error = float(denoising_error(MixtureScore(mixture), data.test, sigma).mean())
        assert error < float(denoising_error(gaussian, data.test, sigma).mean())
        assert error < limit < sigma**2


def test_the_bayes_rule_of_the_mixture_classifies(fitted: tuple[Dataset, Mixture, FitReport]) -> None:
    data, mixture, _ = fitted
    right = mixture.log_posterior(data.test.images(), 0.25).argmax(1) == data.test.labels
    assert float(right.double().mean()) > 0.75
