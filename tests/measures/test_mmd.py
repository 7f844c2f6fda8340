"""The variance of the unbiased kernel distance: exactly unbiased on finite laws, and against the spread of draws."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.perceptual.mmd import Discrepancy, discrepancy


def plain(a: Tensor, b: Tensor) -> float:
    """The distance by its definition, one pair after the other."""

    def k(f: Tensor, g: Tensor) -> float:
        return float((f @ g / len(f) + 1) ** 3)

    own_a = [k(f, g) for f, g in itertools.permutations(a, 2)]
    own_b = [k(f, g) for f, g in itertools.permutations(b, 2)]
    across = [k(f, g) for f, g in itertools.product(a, b)]
    return sum(own_a) / len(own_a) + sum(own_b) / len(own_b) - 2 * sum(across) / len(across)


@pytest.mark.parametrize("counts", [(4, 5), (5, 4), (4, 4)])
@pytest.mark.parametrize("same", [True, False])
def test_variance_is_unbiased_on_a_law_of_two_points(counts: tuple[int, int], same: bool) -> None:
    """Every sample of a law with two atoms, weighted by its chance: E[V] is Var T, and E[T] the distance itself."""
    atoms = torch.tensor([[1.0, 0.2, -0.4], [-0.3, 0.9, 0.5]], dtype=torch.float64)
    p, q = 0.3, 0.3 if same else 0.8
    n, m = counts
    value, square, variance = 0.0, 0.0, 0.0
    for i, j in itertools.product(range(n + 1), range(m + 1)):  # how often the first atom is drawn on each side
        chance = math.comb(n, i) * p**i * (1 - p) ** (n - i) * math.comb(m, j) * q**j * (1 - q) ** (m - j)
        a, b = (atoms[torch.tensor([0] * c + [1] * (size - c))] for c, size in ((i, n), (j, m)))
        found = discrepancy(a, b)
        assert found.value == pytest.approx(plain(a, b), abs=1e-12)
        value += chance * found.value
        square += chance * found.value**2
        variance += chance * (found.first_order + found.second_order)
    kernel = (atoms @ atoms.mT / 3 + 1) ** 3
    difference = torch.tensor([p - q, q - p], dtype=torch.float64)
    assert value == pytest.approx(float(difference @ kernel @ difference), abs=1e-12)
    assert variance == pytest.approx(square - value**2, rel=1e-9)


def draws(n: int, m: int, width: int, shift: float, tail: float, count: int = 2000) -> list[Discrepancy]:
    """Pairs of samples: normal directions whose length varies by the image, moved by `shift`."""
    g = torch.Generator().manual_seed(0)

    def rows(count: int) -> Tensor:
        length = 1 + tail * torch.rand(count, 1, generator=g, dtype=torch.float64)
        return torch.randn(count, width, generator=g, dtype=torch.float64) * length

    return [discrepancy(rows(n) + shift, rows(m)) for _ in range(count)]


@pytest.mark.parametrize(
    ("n", "m", "width", "shift", "tail"),
    [
        pytest.param(100, 100, 20, 0.0, 0.0, id="one law"),
        pytest.param(100, 100, 20, 0.05, 0.0, id="near", marks=pytest.mark.slow),
        pytest.param(60, 60, 20, 0.4, 0.0, id="away"),
        pytest.param(80, 120, 6, 0.0, 0.5, id="one law of heavier tails, unequal counts", marks=pytest.mark.slow),
        pytest.param(80, 120, 6, 0.1, 0.5, id="near, of heavier tails", marks=pytest.mark.slow),
        pytest.param(80, 120, 6, 0.8, 0.5, id="away, of heavier tails", marks=pytest.mark.slow),
        pytest.param(80, 120, 2, 0.0, 0.0, id="one law of few directions", marks=pytest.mark.slow),
    ],
)
def test_standard_error_is_the_spread_of_draws(n: int, m: int, width: int, shift: float, tail: float) -> None:
    found = draws(n, m, width, shift, tail)
    values = torch.tensor([one.value for one in found])
    variances = torch.tensor([one.first_order + one.second_order for one in found])
    errors = torch.tensor([one.standard_error for one in found])
    assert 0.93 < float(errors.mean() / values.std()) < 1.07
    assert 0.90 < float(variances.mean() / values.var()) < 1.10
    assert float(errors.min()) > 0


def test_a_negative_variance_is_bounded_by_the_second_order() -> None:
    """Under one law the first order is noise around 0: the error stays above √(0.3 V₂)."""
    found = [one for one in draws(40, 40, 2, 0.0, 0.0, 200) if one.first_order + one.second_order < 0]
    assert found
    assert all(one.standard_error >= (0.299 * one.second_order) ** 0.5 for one in found)


def test_it_does_not_depend_on_order_or_sides() -> None:
    a, b = torch.randn(1100, 7), torch.randn(620, 7) + 0.3
    one, other = discrepancy(a, b), discrepancy(b, a)
    assert one.value == pytest.approx(other.value, rel=1e-9)
    assert one.first_order == pytest.approx(other.first_order, rel=1e-7)
    assert one.second_order == pytest.approx(other.second_order, rel=1e-9)
    turned = discrepancy(a.flip(0), b)
    assert turned.first_order == pytest.approx(one.first_order, rel=1e-7)


def test_directions_are_those_of_the_spectrum() -> None:
    """With a small spread about a mean the kernel is linear: six equal directions count as six."""
    g = torch.Generator().manual_seed(3)
    a, b = (1e-3 * torch.randn(900, 6, generator=g, dtype=torch.float64) for _ in range(2))
    assert discrepancy(a, b).directions == pytest.approx(6, rel=0.05)


def test_equal_rows_have_no_error() -> None:
    same = torch.full((10, 3), 0.7)
    found = discrepancy(same, same)
    assert (found.first_order, found.second_order) == (0, 0)
    assert math.isnan(found.standard_error)


def test_three_rows_are_refused() -> None:
    with pytest.raises(NumericsError, match="at least 4"):
        discrepancy(torch.zeros(3, 2), torch.zeros(9, 2))
