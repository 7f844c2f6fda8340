"""Modified Bessel functions of the first kind in the two forms that von Mises–Fisher laws need, stable at any order.

scipy's `ive` underflows at orders in the thousands; here nothing does. The uniform expansion of Debye (DLMF 10.41)
starts at an order of at least 60, where eight terms reach double precision; the recurrence of the ratios, contracting
downwards, leads down to the order at hand. Everything is a tensor operation, differentiable, on any device.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import torch
from torch import Tensor

_LEAST_ORDER = 60.0  # of the expansion
_STEPS = 12  # of the recurrence at least; they remove the rounding error of the expansion at small arguments
_TERMS = 9
_FAR = 100.0  # times the order, above which A(r) is so near to one that 1 − A(r) is computed separately


@cache
def _debye() -> tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]:
    """Coefficients of U_k and V_k − U_k (DLMF 10.41.9) in powers of p, k = 0 … _TERMS − 1.

    The difference is computed separately, since it vanishes with p while U and V tend to one.
    """
    u: list[Fraction] = [Fraction(1)]
    v: list[Fraction] = [Fraction(1)]
    coefficients = []
    for _ in range(_TERMS):
        coefficients.append((tuple(map(float, u)), tuple(float(a - b) for a, b in zip(v, u, strict=True))))
        derivative = [i * c for i, c in enumerate(u)][1:]
        following = [Fraction(0)] * (len(u) + 3)
        for i, c in enumerate(derivative):
            following[i + 2] += c / 2
            following[i + 4] -= c / 2
        for i, c in enumerate(u):
            following[i + 1] += c / (8 * (i + 1))
            following[i + 3] -= 5 * c / (8 * (i + 3))
        v = list(following)
        for i, c in enumerate(u):
            v[i + 1] -= c / 2
            v[i + 3] += c / 2
        for i, c in enumerate(derivative):
            v[i + 2] -= c
            v[i + 4] += c
        u = following
    return tuple(coefficients)


def _series(coefficients: list[tuple[float, ...]], p: Tensor, order: float) -> Tensor:
    """Σ_k W_k(p)/order^k by Horner's rule."""
    total = torch.zeros_like(p)
    for polynomial in reversed(coefficients):
        value = torch.zeros_like(p)
        for c in reversed(polynomial):
            value = value * p + c
        total = total / order + value
    return total


def bessel(order: float, r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """ln[I_ν(r) e^(−r) r^(−ν)], A(r)/r and r (1 − A(r)) with A = I_(ν+1)/I_ν: finite and smooth from r = 0 on.

    Args:
        order: ν ≥ 0.
        r: any shape, float64, ≥ 0.

    Returns:
        Three tensors of the shape of r, each with a relative error near that of a float64, the last one also where A(r)
        rounds to one.

    Example:
        >>> log_scaled, ratio, gap = bessel(0.5, torch.tensor([1.0], dtype=torch.float64))  # I_½(1) = √(2/π) sinh 1
        >>> round(float(log_scaled), 9), round(float(ratio), 9), round(float(gap), 9)  # A(1) = coth 1 − 1
        (-1.064351991, 0.313035285, 0.686964715)
    """
    top = max(order, _LEAST_ORDER)
    top = order + math.ceil(top - order)
    ratio = _first_ratio(top + _STEPS, r)
    for n in range(_STEPS):
        ratio = 1 / (2 * (top + _STEPS - n) + r.square() * ratio)
    root = (top**2 + r.square()).sqrt()
    u = _series([polynomial for polynomial, _ in _debye()], top / root, top)
    # ln[I_N e^(−r) r^(−N)]: √(N² + r²) − r without the subtraction, and r^N cancelled against z^N
    log_scaled = (
        top**2 / (root + r) - top * (top + root).log() - 0.5 * math.log(2 * math.pi) - 0.5 * root.log() + u.log()
    )
    gap = _first_gap(top, r)
    for n in range(round(top - order)):
        ratio = 1 / (2 * (top - n) + r.square() * ratio)
        log_scaled = log_scaled - ratio.log()
        h = 2 * (top - n) - gap
        gap = h * r / (r + h)
    return log_scaled, ratio, torch.where(r > _FAR * top, gap, r - r.square() * ratio)


def _first_gap(order: float, r: Tensor) -> Tensor:
    """r (1 − A(r)) at a large order and larger r: A = √(N² + r²)/r · ΣV/ΣU − N/r without the subtraction from one."""
    root, excess = _expansion(order, r)
    return order - order**2 / (r + root) - root * excess


def _expansion(order: float, r: Tensor) -> tuple[Tensor, Tensor]:
    """√(N² + r²), and (ΣV − ΣU)/ΣU of the uniform expansion."""
    root = (order**2 + r.square()).sqrt()
    u, shift = (_series([pair[i] for pair in _debye()], order / root, order) for i in (0, 1))
    return root, shift / u


def _first_ratio(order: float, r: Tensor) -> Tensor:
    """I_(N+1)(r)/(r I_N(r)) at a large order: (I'_N/I_N − N/r)/r with I'_N/I_N = √(N² + r²)/r · ΣV/ΣU.

    At small r, where that cancels, Amos's bound is close enough for the recurrence to remove the rest.
    """
    root, excess = _expansion(order, r)
    expanded = 1 / (root + order) + root * excess / r.square().clamp(min=1e-300)
    bound = 1 / (order + 0.5 + ((order + 1.5) ** 2 + r.square()).sqrt())
    return torch.where(r > 0.05 * order, expanded, bound)
