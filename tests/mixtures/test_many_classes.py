"""Mixtures of many classes: what memory holds, single-precision storage, and classes of very few images."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import multivariate_normal

from tangency.errors import DataError
from tangency.mixtures import Mixture, fit_mixture, load_mixture, save_mixture
from tangency.mixtures.budget import BUDGET, affordable, mixture_bytes
from tangency.tangents import MixtureTangents
from tangency.types import LabelledImages

SHAPE = (1, 4, 5)


def compact_and_plain(components: int = 7, rank: int = 3) -> tuple[Mixture, Mixture]:
    """The same mixture in single and in double precision."""
    generator = torch.Generator().manual_seed(0)
    d = math.prod(SHAPE)
    means = torch.rand(components, d, generator=generator)
    loadings = 0.2 * torch.randn(components, d, rank, generator=generator)
    loadings[2, :, 1:] = 0  # of a lower rank
    loadings[4] = loadings[3] @ torch.randn(rank, rank, generator=generator)  # of the same span
    noise = (0.01 + 0.05 * torch.rand(components, 1, generator=generator)).double().expand(components, d)
    weights = torch.rand(components, generator=generator).double()
    log_weights = (weights / weights.sum()).log()
    own = torch.tensor([0, 0, 1, 2, 2, 1, 0])[:components]
    small = Mixture(SHAPE, means, loadings, noise, log_weights, own, 3)
    plain = Mixture(SHAPE, means.double(), loadings.double(), noise.clone(), log_weights, own, 3)
    return small, plain


@pytest.mark.parametrize("values", [1, 100, 8_000_000])
def test_every_closed_form_is_the_same_in_both_storages(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tangency.mixtures.compact._VALUES", values)
    monkeypatch.setattr("tangency.tangents.mixture._VALUES", values)
    small, plain = compact_and_plain()
    assert (small.compact, plain.compact) == (True, False)
    x = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 1, 0])
    for sigma in (0.0, 0.1, 0.5):
        for found, expected in (
            (small.log_joint(x, sigma), plain.log_joint(x, sigma)),
            (small.score(x, sigma), plain.score(x, sigma)),
            (small.score(x, sigma, y), plain.score(x, sigma, y)),
            (small.bayes_direction(x, y, sigma).direction, plain.bayes_direction(x, y, sigma).direction),
            (small.bayes_direction(x, y, sigma).log_norm, plain.bayes_direction(x, y, sigma).log_norm),
        ):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(small.mean_square(x, 0.3), plain.mean_square(x, 0.3), rtol=1e-9, atol=0)
    own, other = MixtureTangents(small), MixtureTangents(plain)
    assert own.which(x).tolist() == other.which(x).tolist()
    assert torch.equal(own.homes(), other.homes())
    a, b = own.at(x), other.at(x)
    assert torch.equal(a.rank, b.rank)
    torch.testing.assert_close(a.project(x), b.project(x))
    torch.testing.assert_close(a.base, b.base)
    torch.testing.assert_close(small.sample(6, 0)[0], plain.sample(6, 0)[0])


def test_densities_are_those_of_scipy(tmp_path) -> None:
    small, _ = compact_and_plain()
    x = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(2))
    rows = x.flatten(1).double().numpy()
    for j in range(7):
        a = small.loadings[j].double()
        covariance = (a @ a.mT + torch.diag(small.noise[j] + 0.04)).numpy()
        expected = multivariate_normal(small.means[j].double().numpy(), covariance).logpdf(rows)
        found = (small.log_joint(x, 0.2) - small.log_weights)[:, j]
        torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-9, atol=1e-9)
    save_mixture(small, tmp_path / "m.safetensors", {})
    again = load_mixture(tmp_path / "m.safetensors")[0]
    assert again.compact
    torch.testing.assert_close(again.score(x, 0.2), small.score(x, 0.2))


def test_a_large_mixture_is_held_in_single_precision_and_fitted_as_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    _, plain = compact_and_plain()
    x, y = plain.sample(300, 0)
    data = LabelledImages(x.float(), y, ("a", "b", "c"), unit_range=False)
    expected = fit_mixture(data, 2, 2)[0]
    monkeypatch.setattr("tangency.mixtures.em._LARGE", 1000)
    found = fit_mixture(data, 2, 2)[0]
    assert (expected.compact, found.compact) == (False, True)
    assert found.noise.untyped_storage().nbytes() < expected.noise.untyped_storage().nbytes()
    torch.testing.assert_close(found.log_density(x, 0.1), expected.log_density(x, 0.1), rtol=1e-4, atol=1e-3)


def test_a_component_is_cut_before_the_rank_and_what_is_cut_is_said() -> None:
    few = affordable(10, 784, 4, 12)
    assert (few.components, few.rank, few.note) == (4, 12, "")
    many = affordable(1000, 12_288, 4, 12)
    assert (many.components, many.rank) == (1, 8)
    assert "1 component of rank 8 a class, not 4 components of rank 12" in many.note
    assert mixture_bytes(1000, 12_288, 1, 8) <= BUDGET < mixture_bytes(1000, 12_288, 1, 9)
    spanned = affordable(1000, 12_288, 4, 12, fullest=4)
    assert (spanned.components, spanned.rank) == (2, 3)
    with pytest.raises(DataError, match=r"--working-size.*choose --score none or"):
        affordable(1000, 150_528, 4, 12)


def test_classes_of_one_two_and_five_images_are_fitted() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 1, 1, 2, 2, 2, 2, 2])
    pixels = torch.rand(8, *SHAPE, generator=generator)
    data = LabelledImages(pixels, labels, ("one", "two", "five"))
    mixture, report = fit_mixture(data, 1, 4)
    assert mixture.bases()[1].tolist() == [0, 1, 4]  # images less one, at most
    assert len(report.history) == 3
    torch.testing.assert_close(mixture.means[0], pixels[0].flatten().double())
    rows = [pixels[labels == c].flatten(1).double() for c in (1, 2)]
    within = sum((r - r.mean(0)).square().sum() for r in rows) / (5 * 20)
    torch.testing.assert_close(mixture.noise[0], within.expand(20))
    assert mixture.log_posterior(pixels, 0.0).argmax(1).tolist() == labels.tolist()
    lone = LabelledImages(pixels[:2], torch.tensor([0, 1]), ("a", "b"))
    assert torch.isfinite(fit_mixture(lone, 1, 2)[0].score(pixels, 0.1)).all()
    with pytest.raises(DataError, match="are equal"):
        fit_mixture(LabelledImages(pixels[:1].expand(2, *SHAPE), torch.tensor([0, 1]), ("a", "b")), 1, 2)
