"""Bessel functions against fifty digits."""

from __future__ import annotations

import mpmath
import pytest
import torch

from tangency.worlds.bessel import bessel

ORDERS = (0, 0.5, 1, 2.5, 7, 31, 59.5, 60, 511, 2047)
ARGUMENTS = (0.0, 1e-300, 1e-12, 1e-3, 0.1, 1.0, 3.59, 3.61, 10.0, 29.9, 75.0, 500.0, 2040.0, 1e4, 1e6, 1e8)


def exact(order: float, r: float) -> tuple[mpmath.mpf, mpmath.mpf]:
    """ln[I_ν(r) e^(−r) r^(−ν)] and I_(ν+1)(r)/(r I_ν(r))."""
    if r == 0:
        return -order * mpmath.log(2) - mpmath.loggamma(order + 1), 1 / mpmath.mpf(2 * order + 2)
    value, following, r = mpmath.besseli(order, r), mpmath.besseli(order + 1, r), mpmath.mpf(r)
    return mpmath.log(value) - r - order * mpmath.log(r), following / value / r


def slopes(order: float, r: float) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Their derivatives, by I_ν' = I_(ν+1) + ν/r I_ν: with q the ratio r q − 1, and (1 − (2ν + 2) q)/r − r q²."""
    q, r = exact(order, r)[1], mpmath.mpf(r)
    if r < 1e-9:
        return r * q - 1, -r / (4 * (order + 1) ** 2 * (order + 2))
    return r * q - 1, (1 - (2 * order + 2) * q) / r - r * q**2


@pytest.fixture(autouse=True)
def _fifty_digits():
    with mpmath.workdps(50):
        yield


def relative(found: torch.Tensor, expected: list[mpmath.mpf], least: float) -> float:
    """Largest error relative to what is expected, where that is above `least`, else to `least`."""
    pairs = zip(found.tolist(), expected, strict=True)
    return max(float(abs(value - true) / max(least, abs(true))) for value, true in pairs)


@pytest.mark.parametrize("order", ORDERS)
def test_values_to_twelve_digits(order: float) -> None:
    log_scaled, ratio, _ = bessel(order, torch.tensor(ARGUMENTS, dtype=torch.float64))
    true = [exact(order, r) for r in ARGUMENTS]
    assert relative(log_scaled, [value for value, _ in true], 1.0) < 1e-12
    assert relative(ratio, [value for _, value in true], 1e-300) < 1e-14


@pytest.mark.parametrize("order", ORDERS)
def test_the_distance_of_a_from_one_keeps_its_digits(order: float) -> None:
    """r(1 − A(r)) where A rounds to one: at r = 1e16 nothing would be left of 1 − A by subtraction."""
    arguments = (0.0, 1e-3, 1.0, 75.0, 2040.0, 1e4, 1e6, 1e8, 1e12, 1e16, 1e20)
    found = bessel(order, torch.tensor(arguments, dtype=torch.float64))[2]
    true = [mpmath.mpf(r) * (1 - mpmath.mpf(r) * exact(order, r)[1]) for r in arguments if r <= 1e8]
    true += [order + 0.5 - (order**2 - mpmath.mpf(1) / 4) / (2 * mpmath.mpf(r)) for r in arguments if r > 1e8]
    assert relative(found, true, 1e-300) < 2e-9
    assert relative(found[7:], true[7:], 1e-300) < 1e-12


@pytest.mark.parametrize("order", ORDERS)
def test_derivatives_are_right_from_zero_on(order: float) -> None:
    r = torch.tensor(ARGUMENTS, dtype=torch.float64, requires_grad=True)
    for part in (0, 1):
        (found,) = torch.autograd.grad(bessel(order, r)[part].sum(), r)
        assert found.isfinite().all()
        expected = [slopes(order, value)[part] for value in ARGUMENTS]
        # small derivatives are differences of larger numbers: relative to r q ≤ 1, and to q/(r + 1)
        scale = [1.0] * len(ARGUMENTS) if part == 0 else [float(exact(order, a)[1]) / (1 + a) for a in ARGUMENTS]
        for value, true, size in zip(found.tolist(), expected, scale, strict=True):
            assert abs(value - float(true)) < 1e-10 * size


def test_second_derivatives_are_finite() -> None:
    r = torch.tensor(ARGUMENTS, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(bessel(0.5, r)[0].sum(), r, create_graph=True)
    assert torch.autograd.grad(first.sum(), r)[0].isfinite().all()


def test_scipy_underflows_where_this_does_not() -> None:
    from scipy.special import ive

    assert ive(2047, 10.0) == 0
    assert bessel(2047, torch.tensor([10.0], dtype=torch.float64))[0].isfinite().all()


def test_shapes_are_kept() -> None:
    r = torch.rand(2, 3, 4, dtype=torch.float64)
    log_scaled, ratio, gap = bessel(1, r)
    assert log_scaled.shape == ratio.shape == gap.shape == r.shape
    torch.testing.assert_close(log_scaled[1, 2, 3], bessel(1, r[1, 2, 3])[0])
