"""The score contract and its held-out quality."""

from __future__ import annotations

import pytest
import torch

from support import make_mixture
from tangency.errors import NumericsError
from tangency.score import Denoiser, MixtureScore, denoising_error
from tangency.types import LabelledImages


def drawn(n: int = 400) -> tuple[MixtureScore, LabelledImages]:
    mixture = make_mixture(classes=2, noise=0.004)
    x, y = mixture.sample(n, 0)
    return MixtureScore(mixture), LabelledImages(x.float(), y, ("a", "b"))


def test_mixture_score_keeps_the_contract() -> None:
    score, data = drawn(5)
    assert isinstance(score, Denoiser)
    x, y = data.images(), data.labels
    for label in (None, y):
        s = score.score(x, 0.2, label)
        torch.testing.assert_close(score.denoise(x, 0.2, label), x + 0.2**2 * s, rtol=1e-4, atol=1e-5)
        assert s.shape == x.shape
        assert s.dtype == x.dtype


def test_score_points_back_to_the_data() -> None:
    score, data = drawn()
    x = data.images()
    n = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    inner = (score.score(x + 0.5 * n, 0.5) * n).flatten(1).sum(1).mean()
    assert float(inner) < 0  # a score with the wrong sign would point along the noise


def test_denoising_error_lies_between_the_least_possible_and_the_identity() -> None:
    score, data = drawn()
    exact = denoising_error(score, data, 0.25)
    assert exact.shape == (400,)
    assert float(exact.mean()) < 0.25**2 / 2
    assert float(denoising_error(score, data, 0.25, conditional=True).mean()) <= float(exact.mean())

    class Identity:
        kind = "identity"

        def denoise(self, x: torch.Tensor, sigma: float, y: torch.Tensor | None = None) -> torch.Tensor:
            return x

    identity = denoising_error(Identity(), data, 0.25)
    assert float(identity.mean()) == pytest.approx(0.25**2, rel=0.02)


def test_denoising_error_does_not_depend_on_the_batch() -> None:
    score, data = drawn(30)
    torch.testing.assert_close(denoising_error(score, data, 0.1, batch=7), denoising_error(score, data, 0.1))


def test_denoising_error_follows_the_device_of_the_score(device: str) -> None:
    score, data = drawn(30)
    there = denoising_error(MixtureScore(score.mixture.to(device)), data, 0.1, device=device, conditional=True)
    torch.testing.assert_close(there, denoising_error(score, data, 0.1, conditional=True))


def test_no_noise_and_one_class_are_refused() -> None:
    score, data = drawn(5)
    with pytest.raises(NumericsError, match="positive noise level"):
        denoising_error(score, data, 0.0)
    lonely = MixtureScore(make_mixture(classes=1))
    x, y = lonely.mixture.sample(3, 0)
    with pytest.raises(NumericsError, match="at least 2 classes"):
        lonely.bayes_direction(x, y, 0.1)
