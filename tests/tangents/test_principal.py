"""Principal directions: the randomised ones against exact eigenvectors and against spectra that are known."""

from __future__ import annotations

import math

import pytest
import torch

from tangency.errors import NumericsError
from tangency.numerics import dct_basis
from tangency.tangents import pca_basis, principal_axes
from tangency.tangents.principal import _SAMPLE
from tangency.types import LabelledImages


def images_of(pixels: torch.Tensor) -> LabelledImages:
    return LabelledImages(pixels, torch.zeros(len(pixels), dtype=torch.int64), ("a",), unit_range=False)


def sine(a: torch.Tensor, b: torch.Tensor) -> float:
    """Sine of the largest angle between two subspaces of equal dimension."""
    return float(torch.linalg.matrix_norm(a - b @ (b.mT @ a), 2))


def known(n: int, shape: tuple[int, int, int], deviations: list[float], noise: float) -> LabelledImages:
    """n images that vary by these deviations along the lowest cosines, about a mean, with white noise."""
    generator = torch.Generator().manual_seed(0)
    axes = dct_basis(shape, len(deviations))
    # standardised coefficients, so that the sample has the very covariance that is meant
    z = torch.randn(n, len(deviations), generator=generator, dtype=torch.float64)
    z = torch.linalg.qr(z - z.mean(0)).Q * math.sqrt(n)
    rows = 0.5 + (z * torch.tensor(deviations, dtype=torch.float64)) @ axes.mT
    rows = rows + noise * torch.randn(rows.shape, generator=generator, dtype=torch.float64)
    return images_of(rows.float().reshape(n, *shape))


def test_random_projection_finds_the_exact_eigenvectors(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    scale = torch.linspace(0, 3, 600).neg().exp().reshape(3, 10, 20)  # a spectrum that falls slowly
    data = images_of(torch.randn(300, 3, 10, 20, generator=generator) * scale + 0.3)
    exact = pca_basis(data, 12)
    monkeypatch.setattr("tangency.tangents.principal._DENSE", 10)
    monkeypatch.setattr("tangency.tangents.principal._VALUES", 6000)
    found = pca_basis(data, 12)
    torch.testing.assert_close(found.mT @ found, torch.eye(12, dtype=torch.float64))
    assert sine(exact, found) < 0.05
    rows = data.images().flatten(1).double()
    variance = [float(((rows - rows.mean(0)) @ basis).square().sum()) for basis in (exact, found)]
    assert 1 - 1e-4 < variance[1] / variance[0] <= 1 + 1e-12


def test_it_finds_the_axes_of_a_known_spectrum_in_their_order() -> None:
    deviations = [2.0, 1.6, 1.3, 1.0, 0.8]
    found = pca_basis(known(80, (3, 64, 64), deviations, 1e-4), 5)
    axes = dct_basis((3, 64, 64), 5)
    torch.testing.assert_close((axes.mT @ found).abs(), torch.eye(5, dtype=torch.float64), rtol=0, atol=1e-3)


def test_many_large_images_are_looked_at_in_a_fixed_random_subset(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[int] = set()
    monkeypatch.setattr("tangency.tangents.principal._DENSE", 10)
    data = known(_SAMPLE + 200, (1, 6, 6), [1.0, 0.7], 0.02)

    def images(self: LabelledImages, index: torch.Tensor) -> torch.Tensor:
        asked.update(index.tolist())
        return self.pixels[index]

    monkeypatch.setattr(LabelledImages, "images", images)
    found = pca_basis(data, 2)
    assert len(asked) == _SAMPLE
    assert sine(dct_basis((1, 6, 6), 2), found) < 0.02
    torch.testing.assert_close(pca_basis(data, 2), found, rtol=0, atol=0)


def test_fewer_images_than_directions_give_an_orthonormal_basis_that_holds_their_span() -> None:
    data = known(4, (3, 40, 40), [1.0, 0.5, 0.3], 0.0)
    found = pca_basis(data, 8)
    torch.testing.assert_close(found.mT @ found, torch.eye(8, dtype=torch.float64))
    rows = data.images().flatten(1).double()
    centred = rows - rows.mean(0)
    assert float((centred - (centred @ found) @ found.mT).norm() / centred.norm()) < 1e-5


@pytest.mark.parametrize("dense", [4096, 10])
def test_axes_have_the_mean_and_the_variances_of_the_images(dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    data = images_of(torch.randn(30, 2, 6, 7, generator=generator) * torch.linspace(0.1, 1, 7) + 0.3)
    monkeypatch.setattr("tangency.tangents.principal._DENSE", dense)
    monkeypatch.setattr("tangency.tangents.principal._COLUMNS", 11)
    axes = principal_axes(data, 12)
    rows = data.images().flatten(1).double()
    centred = rows - rows.mean(0)
    _, singular, vectors = torch.linalg.svd(centred, full_matrices=False)
    torch.testing.assert_close(axes.mean, rows.mean(0))
    torch.testing.assert_close(axes.variances, singular[:12].square() / 30)
    assert axes.total == pytest.approx(float(centred.square().sum() / 30))
    torch.testing.assert_close((vectors[:12] @ axes.vectors).abs(), torch.eye(12, dtype=torch.float64))


def test_large_images_that_repeat_have_zero_axes_beyond_their_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tangency.tangents.principal._DENSE", 10)
    axes = principal_axes(images_of(torch.rand(3, 1, 4, 5).repeat(4, 1, 1, 1)), 6)
    gram = axes.vectors.mT @ axes.vectors
    torch.testing.assert_close(gram, torch.diag(torch.tensor([1.0, 1, 0, 0, 0, 0], dtype=torch.float64)))
    with pytest.raises(NumericsError, match="expected at least 2"):
        principal_axes(images_of(torch.rand(1, 1, 4, 5)), 2)
