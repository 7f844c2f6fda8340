"""Tangent spaces and control subspaces: orthonormality, known spans, ranks."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import fft, stats

from support import make_mixture
from tangency.errors import NumericsError
from tangency.numerics import dct_basis
from tangency.tangents import MixtureTangents, TangentSpace, pca_basis
from tangency.types import LabelledImages


@pytest.mark.parametrize(("shape", "k"), [((1, 5, 7), 12), ((3, 5, 7), 10), ((2, 3, 2), 11)])
def test_dct_basis_is_orthonormal_and_starts_with_the_constant(shape: tuple[int, int, int], k: int) -> None:
    basis = dct_basis(shape, k)
    torch.testing.assert_close(basis.T @ basis, torch.eye(k, dtype=torch.float64))
    first = basis[:, 0].reshape(shape)
    assert float(first[0].std()) < 1e-12
    assert float(first[0].mean()) == pytest.approx(1 / math.sqrt(shape[1] * shape[2]))


def test_dct_basis_is_scipys_dct_of_the_lowest_frequencies() -> None:
    basis = dct_basis((1, 6, 6), 5).T.reshape(5, 6, 6)
    spectra = fft.dctn(basis.numpy(), axes=(1, 2), norm="ortho")
    places = [tuple(divmod(int(abs(s).argmax()), 6)) for s in spectra]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2)]
    assert abs(spectra).max(axis=(1, 2)) == pytest.approx(1.0)


def test_pca_basis_equals_the_svd_of_centred_images() -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(50, 2, 3, 5, generator=generator) * torch.linspace(0.1, 1, 30).reshape(2, 3, 5)
    data = LabelledImages(pixels, torch.zeros(50, dtype=torch.int64), ("a",))
    rows = pixels.flatten(1).double()
    _, _, v = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    basis = pca_basis(data, 4)
    torch.testing.assert_close((v[:4] @ basis).abs(), torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-6)


def test_ranks_out_of_range_are_refused() -> None:
    with pytest.raises(NumericsError, match="expected 1 to 34"):
        dct_basis((1, 5, 7), 35)
    with pytest.raises(NumericsError, match="rank: got up to 4"):
        TangentSpace.shared(dct_basis((1, 5, 7), 3), torch.tensor([2, 4]))
    one = LabelledImages(torch.rand(1, 1, 5, 7), torch.tensor([0]), ("a",))
    with pytest.raises(NumericsError, match="at least 2"):
        pca_basis(one, 2)


def test_a_space_splits_a_vector_and_an_image_has_its_own_rank() -> None:
    space = TangentSpace.shared(dct_basis((1, 5, 7), 6), torch.tensor([6, 2, 1]))
    x = torch.randn(3, 1, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inside, outside = space.project(x), space.reject(x)
    torch.testing.assert_close(inside + outside, x)
    assert float((inside.flatten(1) * outside.flatten(1)).sum(1).abs().max()) < 1e-12
    torch.testing.assert_close(space.fraction(x), inside.flatten(1).square().sum(1) / x.flatten(1).square().sum(1))
    constant = torch.ones_like(x)
    torch.testing.assert_close(space.fraction(constant), torch.ones(3, dtype=torch.float64))
    assert space.cut(torch.tensor([3, 3, 3])).rank.tolist() == [3, 2, 1]


def test_on_directions_are_unit_tangent_and_isotropic() -> None:
    space = TangentSpace.shared(dct_basis((1, 5, 7), 3), torch.full((4000,), 3))
    noise = torch.randn(4000, 1, 5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    on = space.on_direction(noise)
    torch.testing.assert_close(on.flatten(1).norm(dim=1), torch.ones(4000, dtype=torch.float64))
    assert float(space.reject(on).abs().max()) < 1e-12
    along = torch.einsum("ndk,nd->nk", space.basis, on.flatten(1))
    for axis in along.T:  # the square of one coordinate of a uniform unit vector is Beta(1/2, (k − 1)/2)
        assert stats.kstest(axis.square().numpy(), stats.beta(0.5, 1.0).cdf).pvalue > 1e-3


def test_random_gradients_have_the_beta_null() -> None:
    k, d, n = 6, 35, 5000
    space = TangentSpace.shared(dct_basis((1, 5, 7), k), torch.full((n,), k))
    g = torch.randn(n, 1, 5, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert stats.kstest(space.fraction(g).numpy(), stats.beta(k / 2, (d - k) / 2).cdf).pvalue > 1e-3


def test_mixture_tangents_contain_the_loadings_of_the_responsible_component() -> None:
    mixture = make_mixture(rank=3)
    x, _ = mixture.sample(11, 0)
    space = MixtureTangents(mixture).at(x)
    columns = mixture.loadings[mixture.component(x)][:, :, 1].reshape(x.shape)
    torch.testing.assert_close(space.fraction(columns), torch.ones(11, dtype=torch.float64))
    assert space.rank.tolist() == [3] * 11
    assert MixtureTangents(mixture).at(x.float()).basis.dtype == torch.float32


def test_spaces_that_end_earlier_are_joined_to_wider_ones() -> None:
    def space(width: int) -> TangentSpace:
        basis = torch.eye(6)[:, :width].expand(2, 6, width)
        return TangentSpace(basis, torch.tensor([1, 2]), torch.ones(2, width + 1), residual=torch.ones(2))

    for parts in ((2, 4), (4, 2)):
        whole = TangentSpace.concatenate([space(width) for width in parts])
        assert (whole.basis.shape, whole.spectrum.shape, whole.residual.shape) == ((4, 6, 4), (4, 5), (4,))
        for place, width in enumerate(parts):
            own = slice(2 * place, 2 * place + 2)
            torch.testing.assert_close(whole.basis[own, :, :width], space(width).basis)
            assert float(whole.basis[own, :, width:].abs().sum() + whole.spectrum[own, width + 1 :].abs().sum()) == 0
