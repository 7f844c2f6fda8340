"""The empirical and the Gaussian score against dense definitions."""

from __future__ import annotations

import math

import pytest
import torch

from tangency.errors import DataError, NumericsError
from tangency.mixtures import Mixture
from tangency.numerics import flat
from tangency.score import Denoiser, EmpiricalScore, GaussianScore
from tangency.score.closed import empirical as module
from tangency.score.closed.gaussian import check_dimension
from tangency.types import LabelledImages

SHAPE = (2, 3, 5)
D = 30
SIGMAS = (0.05, 0.3, 2.0)


def images(n: int = 41, classes: int = 3, seed: int = 0) -> LabelledImages:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(n, *SHAPE, generator=generator)
    return LabelledImages(pixels, torch.arange(n) % classes, tuple("abc"[:classes]))


def queries(n: int = 7, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(9)).to(dtype)


def brute(data: LabelledImages, x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Weights of every image by the definition, one query at a time, (N, images)."""
    rows = [-(flat(data.images()).double() - q.flatten()).square().sum(1) / (2 * sigma**2) for q in x.double()]
    return torch.stack(rows).softmax(1)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_empirical_denoiser_is_a_weighted_mean_of_images(sigma: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IMAGES", 4)
    monkeypatch.setattr(module, "_QUERIES", 3)
    data, x = images(), queries()
    score = EmpiricalScore(data)
    weights = brute(data, x, sigma)
    expected = (weights @ flat(data.images()).double()).reshape(x.shape)
    torch.testing.assert_close(score.denoise(x, sigma), expected, atol=1e-11, rtol=0)
    torch.testing.assert_close(score.score(x, sigma), (expected - x) / sigma**2, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(score.effective_images(x, sigma), 1 / weights.square().sum(1), rtol=1e-9, atol=0)
    y = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    own = weights * (data.labels[None] == y[:, None])
    expected = ((own / own.sum(1, keepdim=True)) @ flat(data.images()).double()).reshape(x.shape)
    torch.testing.assert_close(score.denoise(x, sigma, y), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("sigma", [0.2, 1.0])
def test_the_empirical_score_is_that_of_a_mixture_of_points(sigma: float) -> None:
    data, x = images(12), queries()
    mixture = Mixture(
        shape=SHAPE,
        means=flat(data.images()).double(),
        loadings=torch.zeros(12, D, 1, dtype=torch.float64),
        noise=torch.zeros(12, D, dtype=torch.float64),
        log_weights=torch.full((12,), -math.log(12), dtype=torch.float64),
        component_class=data.labels,
        classes=3,
    )
    score, y = EmpiricalScore(data), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    torch.testing.assert_close(score.score(x, sigma), mixture.score(x, sigma))
    found, expected = score.bayes_direction(x, y, sigma), mixture.bayes_direction(x, y, sigma)
    torch.testing.assert_close(found.direction, expected.direction)
    torch.testing.assert_close(found.log_norm, expected.log_norm)
    posterior = mixture.log_posterior(x, sigma).exp()
    total = sum(posterior[:, c, None, None, None] * score.score(x, sigma, torch.full((7,), c)) for c in range(3))
    torch.testing.assert_close(total, score.score(x, sigma))


def test_the_effective_number_of_images_collapses_with_the_noise() -> None:
    """5,000 normal points in 10 dimensions: THEORY has 3036, 257, 4.8, 1.0 at σ = 2, 1, 0.5, 0.2."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(5000, 1, 2, 5, generator=generator)
    data = LabelledImages(points, torch.zeros(5000, dtype=torch.int64), ("a",), unit_range=False)
    score = EmpiricalScore(data)
    fresh = torch.randn(500, 1, 2, 5, generator=generator).double()
    for sigma, expected in ((2.0, 3036), (1.0, 257), (0.5, 4.8), (0.2, 1.0)):
        found = score.effective_images(fresh, sigma)
        assert float(found.median()) == pytest.approx(expected, rel=0.1)
        assert 1 <= float(found.min()) <= float(found.max()) <= 5000


def test_little_noise_gives_the_nearest_image() -> None:
    data = images()
    x = data.images(slice(4, 9)).double() + 1e-4
    torch.testing.assert_close(EmpiricalScore(data).denoise(x, 1e-3), data.images(slice(4, 9)).double())


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_gaussian_score_is_whitening_with_the_covariance(sigma: float) -> None:
    data, x = images(200), queries()
    rows = flat(data.images()).double()
    covariance = torch.cov(rows.mT, correction=0) + sigma**2 * torch.eye(D, dtype=torch.float64)
    expected = -torch.linalg.solve(covariance, (flat(x) - rows.mean(0)).mT).mT.reshape(x.shape)
    score = GaussianScore(data)
    torch.testing.assert_close(score.score(x, sigma), expected, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(score.denoise(x, sigma), x + sigma**2 * expected, atol=1e-10, rtol=0)


def test_its_bayes_gradient_is_that_of_the_linear_discriminant() -> None:
    data, x, sigma = images(200), queries(), 0.3
    rows = flat(data.images()).double()
    means = torch.stack([rows[data.labels == c].mean(0) for c in range(3)])
    centred = rows - means[data.labels]
    within = centred.mT @ centred / 200 + sigma**2 * torch.eye(D, dtype=torch.float64)
    prior = torch.bincount(data.labels) / 200
    y = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    inputs = x.clone().requires_grad_(True)
    laws = [torch.distributions.MultivariateNormal(m, within) for m in means]
    joint = torch.stack([law.log_prob(flat(inputs)) for law in laws], 1) + prior.double().log()
    expected = torch.autograd.grad(joint.log_softmax(1).gather(1, y[:, None]).sum(), inputs)[0]
    found = GaussianScore(data).bayes_direction(x, y, sigma)
    length = found.direction.flatten(1).norm(dim=1)
    gradient = found.direction * (found.log_norm.exp() / length)[:, None, None, None]
    torch.testing.assert_close(gradient, expected, atol=1e-9, rtol=1e-7)


def test_constant_pixels_and_clean_images_do_no_harm() -> None:
    data = images(50)
    data.pixels[:, 0, 0] = 0.25
    score = GaussianScore(data)
    assert bool(score.score(queries(), 0.0).isfinite().all())
    assert bool(score.denoise(queries(dtype=torch.float32), 0.1).isfinite().all())


@pytest.mark.parametrize("make", [EmpiricalScore, GaussianScore])
def test_both_keep_the_contract(make) -> None:
    score = make(images())
    assert isinstance(score, Denoiser)
    x, y = queries(dtype=torch.float32), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    for found in (score.denoise(x, 0.3), score.score(x, 0.3, y), score.bayes_direction(x, y, 0.3).direction):
        assert found.dtype == torch.float32
        assert found.shape == x.shape
    torch.testing.assert_close(score.score(x, 0.3)[4:5], score.score(x[4:5], 0.3), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(score.denoise(x, 0.3), x + 0.09 * score.score(x, 0.3), atol=1e-6, rtol=0)


@pytest.mark.parametrize("make", [EmpiricalScore, GaussianScore])
def test_bad_input(make) -> None:
    data = images()
    score, x = make(data), queries()
    for sigma in (-0.1, math.nan, math.inf):
        with pytest.raises(NumericsError, match="sigma: got"):
            score.score(x, sigma)
    with pytest.raises(NumericsError, match="expected \\(N, 2, 3, 5\\)"):
        score.score(x[:, :1], 0.1)
    with pytest.raises(NumericsError, match="NaN or infinite"):
        score.score(x * math.nan, 0.1)
    with pytest.raises(DataError, match="expected 0 to 2"):
        score.score(x, 0.1, torch.full((7,), 3))
    lonely = LabelledImages(data.pixels, data.labels % 2, ("a", "b", "c"))
    with pytest.raises(NumericsError, match="class 'c' has no images"):
        make(lonely).score(x, 0.1, torch.full((7,), 2))


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(NumericsError, match="a density only when"):
        EmpiricalScore(images()).score(queries(), 0.0)
    with pytest.raises(NumericsError, match="at least 2"):
        GaussianScore(images(1))
    same = LabelledImages(torch.full((4, *SHAPE), 0.5), torch.arange(4) % 3, ("a", "b", "c"))
    with pytest.raises(NumericsError, match="all images are equal"):
        GaussianScore(same)
    wide = LabelledImages(torch.zeros(2, 3, 64, 64), torch.tensor([0, 1]), ("a", "b"))
    with pytest.raises(NumericsError, match=r"got images of 12,288 values \(3×64×64\).*at most 4,096.*-size 36,"):
        GaussianScore(wide)
    for shape, side in (((1, 65, 65), 64), ((3, 40, 80), 26), ((1, 100, 150), 52), ((4, 50, 50), 32)):
        with pytest.raises(NumericsError, match=f"--working-size {side},"):
            check_dimension(shape)
        least = min(shape[1:])
        sides = [round(side * own / least) for own in shape[1:]]
        assert shape[0] * math.prod(sides) <= 4096 < shape[0] * (side + 1) ** 2 * max(shape[1:]) / least
    with pytest.raises(NumericsError, match="got no images"):
        EmpiricalScore(images().subset(slice(0, 0)))
