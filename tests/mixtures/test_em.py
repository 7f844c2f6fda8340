"""Fitting: monotone likelihood, recovery of a known mixture, awkward classes, seeds."""

from __future__ import annotations

import itertools

import pytest
import torch

from support import make_mixture
from tangency.errors import DataError, NumericsError
from tangency.mixtures import fit_mixture
from tangency.types import LabelledImages


def drawn(n: int = 600, seed: int = 0, **kwargs: object) -> tuple[object, LabelledImages]:
    mixture = make_mixture(classes=2, **kwargs)
    x, y = mixture.sample(n, seed)
    return mixture, LabelledImages(x, y, ("a", "b"))


@pytest.mark.parametrize("noise", ["isotropic", "diagonal"])
@pytest.mark.parametrize("seed", range(4))
def test_log_likelihood_rises_at_every_step(noise: str, seed: int) -> None:
    _, data = drawn(isotropic=noise == "isotropic", seed=seed)
    _, report = fit_mixture(data, 3, 2, noise=noise, seed=seed, tolerance=1e-9, max_steps=40)
    for curve in report.history:
        assert len(curve) > 5
        assert all(b >= a - 1e-9 * abs(a) for a, b in itertools.pairwise(curve)), curve


@pytest.mark.parametrize("isotropic", [True, False])
def test_a_known_mixture_is_recovered(isotropic: bool) -> None:
    true, data = drawn(6000, noise=0.003, isotropic=isotropic)
    fitted, _ = fit_mixture(data, 2, 2, noise="isotropic" if isotropic else "diagonal", tolerance=1e-7)
    held_out, labels = true.sample(3000, 9)
    best, found = (float(m.log_density(held_out, 0.0).mean()) for m in (true, fitted))
    assert found > best - 0.1
    assert (
        float((fitted.log_posterior(held_out, 0.0).argmax(1) == labels).double().mean())
        > float((true.log_posterior(held_out, 0.0).argmax(1) == labels).double().mean()) - 0.01
    )
    error = ((fitted.denoise(held_out, 0.2) - true.denoise(held_out, 0.2)) ** 2).mean()
    assert float(error) < 1e-4


def test_one_component_isotropic_is_the_closed_form_ppca() -> None:
    x = torch.randn(400, 1, 2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x * torch.linspace(0.2, 1.5, 8, dtype=torch.float64).reshape(1, 1, 2, 4)
    data = LabelledImages(x, torch.zeros(400, dtype=torch.int64), ("only",))
    fitted, _ = fit_mixture(data, 1, 3, tolerance=1e-12, max_steps=2000)
    values, vectors = torch.linalg.eigh(torch.cov(x.flatten(1).T, correction=0))
    psi = values[:5].mean()
    covariance = fitted.loadings[0] @ fitted.loadings[0].T + fitted.noise[0].diag()
    top = vectors[:, 5:]
    expected = top @ (values[5:] - psi).diag() @ top.T + psi * torch.eye(8, dtype=torch.float64)
    torch.testing.assert_close(covariance, expected, rtol=1e-4, atol=1e-5)


def test_identical_images_and_more_components_than_clusters_do_not_break_the_fit() -> None:
    x = torch.rand(40, 1, 3, 5, generator=torch.Generator().manual_seed(0))
    x[5:20] = x[4]
    data = LabelledImages(x, torch.zeros(40, dtype=torch.int64), ("only",))
    fitted, report = fit_mixture(data, 8, 3)
    assert len(fitted.log_weights) + report.dropped == 8
    for tensor in (fitted.means, fitted.loadings, fitted.noise, fitted.log_weights):
        assert tensor.isfinite().all()
    assert float(fitted.log_weights.exp().sum()) == pytest.approx(1)


def test_the_fit_depends_on_its_seed_only() -> None:
    _, data = drawn()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = fit_mixture(data, 2, 2, seed=3)[0]
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(first.means, fit_mixture(data, 2, 2, seed=3)[0].means)


def test_bad_requests_are_named() -> None:
    _, data = drawn(20)
    with pytest.raises(NumericsError, match="rank: got 15 for images of 15 pixels"):
        fit_mixture(data, 1, 15)
    with pytest.raises(DataError, match="at least 40"):
        fit_mixture(data, 20, 2)
    constant = LabelledImages(torch.full((9, 1, 3, 5), 0.5), torch.zeros(9, dtype=torch.int64), ("grey",))
    with pytest.raises(DataError, match="all images of a class are equal"):
        fit_mixture(constant, 1, 2)


@pytest.mark.parametrize(("images", "components"), [(2, 1), (8, 4)])
def test_a_class_of_very_few_images_keeps_a_component(images: int, components: int) -> None:
    _, data = drawn()
    place = torch.tensor([0.1, 0.3, 0.6, 0.9]).repeat_interleave(2)[:images].reshape(-1, 1, 1, 1)
    jitter = 0.01 * torch.rand(images, *data.shape, generator=torch.Generator().manual_seed(0))
    few = LabelledImages(
        torch.cat([data.pixels[data.labels == 0].float(), place + jitter]),
        torch.cat([data.labels[data.labels == 0], torch.ones(images, dtype=torch.int64)]),
        data.classes,
    )
    mixture, _ = fit_mixture(few, components, 2)
    assert set(mixture.component_class.tolist()) == {0, 1}
    assert float(mixture.log_weights.logsumexp(0)) == pytest.approx(0, abs=1e-9)
    direction = mixture.bayes_direction(few.pixels[-images:], few.labels[-images:], 0.25)
    assert bool(direction.direction.isfinite().all())


def test_labels_beyond_the_classes_and_nan_pixels_are_named() -> None:
    _, data = drawn(30)
    beyond = LabelledImages(data.pixels, data.labels.index_fill(0, torch.tensor([3]), 2), data.classes)
    with pytest.raises(DataError, match=r"values from 0 to 2, expected 0 to 1 \(2 classes\)"):
        fit_mixture(beyond, 1, 2)
    spoiled = LabelledImages(data.pixels.index_fill(0, torch.tensor([3]), torch.nan), data.labels, data.classes)
    with pytest.raises(NumericsError, match=r"infinite pixels in images \[3\]"):
        fit_mixture(spoiled, 1, 2)
