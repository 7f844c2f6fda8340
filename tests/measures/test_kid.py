"""The unbiased kernel distance against torchmetrics, and its expectation under one law."""

from __future__ import annotations

import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from tangency.data import load
from tangency.errors import NumericsError
from tangency.perceptual.kid import alexnet_features, kid
from tangency.perceptual.lpips import LPIPS


def features(n: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(n, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + shift


def test_it_is_that_of_torchmetrics() -> None:
    a, b = features(1000, 0), features(1000, 1, 0.2)
    assert kid(a, b, "made up").value == pytest.approx(float(poly_mmd(a, b)), rel=1e-9)


def test_one_law_gives_zero_within_the_error_and_two_do_not() -> None:
    """Of normal features the variance is known: a jackknife over blocks gave 1.46 times its root."""
    found = [kid(features(1000, 2 * i), features(1200, 2 * i + 1), "made up") for i in range(8)]
    second, fourth, sixth = 20 / 20**2, 20 * 22 / 20**4, 20 * 22 * 24 / 20**6  # moments of ‖x‖²/D²
    residual = 9 * second + 45 * fourth + 15 * sixth - 9 * second**2 - 2 * 9 * (fourth - second**2)  # E k̃²
    spread = (2 * residual) ** 0.5 * (1 / 1000 + 1 / 1200)
    assert 0.8 < sum(f.standard_error for f in found) / 8 / spread < 1.2
    z = torch.tensor([f.value / f.standard_error for f in found])
    assert float(z.abs().max()) < 4
    assert min(f.value for f in found) < 0 < max(f.value for f in found)  # unbiased: not a squared norm
    other = kid(features(1000, 0), features(1000, 1, 0.3), "made up")
    assert other.value > 5 * other.standard_error
    assert other.counts == (1000, 1000)


def test_features_that_do_not_vary_are_refused() -> None:
    with pytest.raises(NumericsError, match="the same for every picture"):
        kid(torch.full((1000, 4), 0.3), torch.full((1000, 4), 0.3), "made up")


def test_few_pictures_are_refused() -> None:
    with pytest.raises(NumericsError, match="at least 1000 a side"):
        kid(features(999, 0), features(1000, 1), "made up")
    with pytest.raises(NumericsError, match="the same width"):
        kid(features(1000, 0), features(1000, 1)[:, :5], "made up")


def test_features_of_pictures_do_not_depend_on_the_batch() -> None:
    x, lpips = load("fashion-mnist-5k").test.images(slice(0, 5)), LPIPS()
    together = alexnet_features(x, lpips)
    assert together.shape == (5, 1152)
    torch.testing.assert_close(alexnet_features(x[3:4], lpips), together[3:4], rtol=1e-4, atol=1e-5)
