"""Per-example algebra: identities, the zero rule, extreme magnitudes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tangency.errors import NumericsError
from tangency.numerics import coefficients, cosine, energy_fraction, masked_orthonormal, norms, project, unit


def basis(n: int, d: int, k: int, seed: int = 0) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(n, d, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))[0]


def test_projections_are_those_of_the_sum_over_coordinates() -> None:
    made = torch.Generator().manual_seed(0)
    x = torch.randn(5, 2, 3, 7, generator=made, dtype=torch.float64)
    u = torch.linalg.qr(torch.randn(5, 42, 4, generator=made, dtype=torch.float64)).Q
    inside = torch.einsum("ndk,nek,ne->nd", u, u, x.flatten(1))
    torch.testing.assert_close(project(u, x), inside.reshape(x.shape), rtol=0, atol=1e-12)
    torch.testing.assert_close(coefficients(u, x), torch.einsum("ndk,nd->nk", u, x.flatten(1)), rtol=0, atol=1e-12)
    assert project(u[:1], x).shape == x.shape  # one basis for all


@given(st.integers(2, 40), st.integers(1, 12), st.integers(0, 99))
def test_projector_identities(d: int, k: int, seed: int) -> None:
    k = min(k, d - 1)
    u = basis(3, d, k, seed)
    x = torch.randn(3, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 1))
    p = project(u, x)
    torch.testing.assert_close(project(u, p), p)  # P² = P
    torch.testing.assert_close(norms(x) ** 2, norms(p) ** 2 + norms(x - p) ** 2)
    torch.testing.assert_close(energy_fraction(u, x), (norms(p) / norms(x)) ** 2)
    eye = torch.eye(d, dtype=torch.float64).expand(1, d, d).reshape(d, d)
    matrix = torch.stack([project(u[:1], row[None])[0] for row in eye])
    torch.testing.assert_close(matrix, matrix.T)  # Pᵀ = P
    assert float(matrix.trace()) == pytest.approx(k)


@pytest.mark.parametrize("scale", [1e-37, 1e-20, 1.0, 1e20, 1e37])
def test_directions_survive_extreme_magnitudes(scale: float) -> None:
    x = torch.tensor([[3.0, 4.0, 0.0]])
    torch.testing.assert_close(unit(x * scale), x / 5)
    torch.testing.assert_close(norms(x * scale), torch.tensor([5 * scale]))
    torch.testing.assert_close(cosine(x * scale, x), torch.ones(1))


def test_a_zero_vector_has_no_direction_and_spoils_no_neighbour() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    assert unit(x).isnan().all(1).tolist() == [True, False]
    assert cosine(x, torch.ones(2, 2)).isnan().tolist() == [True, False]
    assert norms(x).tolist() == [0.0, 1.0]


def test_rank_deficient_columns_are_dropped() -> None:
    columns = torch.zeros(2, 7, 3, dtype=torch.float64)
    columns[0, :2, 0] = torch.tensor([1.0, 2.0])
    columns[0, :2, 1] = torch.tensor([2.0, 4.0])
    columns[1] = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, rank = masked_orthonormal(columns)
    assert rank.tolist() == [1, 3]
    assert float(u[0].square().sum()) == pytest.approx(1.0)
    torch.testing.assert_close(u[1].T @ u[1], torch.eye(3, dtype=torch.float64))


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(NumericsError, match=r"\(2, 3\) and \(2, 4\)"):
        cosine(torch.ones(2, 3), torch.ones(2, 4))
