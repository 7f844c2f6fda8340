"""Unbiased squared maximum mean discrepancy of the kernel k(f, g) = (fᵀg/D + 1)³, and its standard error.

T = mean k(x, x′) + mean k(y, y′) − 2 mean k(x, y) over pairs of different rows is a U-statistic. With Hoeffding's
decomposition, g(x) = E k(x, X′) − E k(x, Y), h(y) = E k(y, Y′) − E k(X, y) and k̃ the kernel less what each of its
arguments alone explains,

    Var T = 4 Var g/n + 4 Var h/m  +  2 E k̃_xx²/(n(n − 1)) + 2 E k̃_yy²/(m(m − 1)) + 4 E k̃_xy²/(nm).

The first two terms (first order) are 0 where both samples are of one law. Then T is degenerate, and a jackknife, which
sees one row at a time, doubles the variance. Each expectation is estimated without bias by means over tuples of
different rows (Sutherland, "Unbiased estimators for the variance of MMD estimators", arXiv 1906.02104, for n = m).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.errors import NumericsError

FEWEST_ROWS = 4  # a side: products of two pairs of different rows
_AT_ONCE = 500
_SPECTRUM_ROWS = 1000
_ROUNDING = 1e-14  # of the kernel, below which rows are taken for equal


@dataclass(frozen=True)
class Discrepancy:
    """Unbiased estimates of the squared discrepancy and of its variance.

    Args:
        value: 0 in expectation for two samples of one law; it may be negative.
        first_order, second_order: terms of the variance of `value`, whose sum is unbiased. The first is 0 in
            expectation under one law, so that it (and the sum) may be negative.
        directions: how many directions of equal weight spread as the kernel does, (Σλ²)²/Σλ⁴ of its centred spectrum;
            at least 1.
    """

    value: float
    first_order: float
    second_order: float
    directions: float

    @property
    def standard_error(self) -> float:
        """√max(V + c V₂, 0.3 V₂), V the unbiased variance and V₂ its second order; NaN unless V₂ > 0 (equal rows).

        The variance is at least V₂. But near one law the noise of the first order is as large as V₂, at any number of
        rows, so that V itself may be negative and its root is too small on average: by 5 % where 20 directions span
        the features, by 30 % for one. The bound and c = 0.75/(directions + 0.6) make up for it: they are such that for
        normal directions, under one law, near it and away, the mean is within 6 % of the true standard deviation from
        three directions on, and within 10 % for one. With few rows of heavy tails it is still too small, as any
        estimated variance is there.
        """
        if not self.second_order > 0:
            return float("nan")
        raised = self.first_order + self.second_order * (1 + 0.75 / (self.directions + 0.6))
        return math.sqrt(max(raised, 0.3 * self.second_order))


def discrepancy(a: Tensor, b: Tensor) -> Discrepancy:
    """Of rows (N, D) and (M, D), at least 4 of each; computed in float64."""
    if min(len(a), len(b)) < FEWEST_ROWS or a.dim() != 2 or a.shape[1:] != b.shape[1:]:
        raise NumericsError(
            f"discrepancy: got {tuple(a.shape)} and {tuple(b.shape)}, expected (N, D) and (M, D) of equal D, "
            f"N and M at least {FEWEST_ROWS}."
        )
    a, b = a.double(), b.double()
    # A constant taken from the kernel changes neither estimate, and saves their differences from cancellation.
    constant = float((a.mean(0) @ b.mean(0) / a.shape[1] + 1) ** 3)
    own_a, own_b, cross = _own(a, constant), _own(b, constant), _cross(a, b, constant)
    n, m = len(a), len(b)
    second = 2 * own_a.residual / (n * (n - 1)) + 2 * own_b.residual / (m * (m - 1)) + 4 * cross.residual / (n * m)
    first = 4 * _projected(own_a, cross) / n + 4 * _projected(own_b, cross.turned) / m
    if max(abs(first), abs(second)) <= (_ROUNDING * constant) ** 2:
        first = second = 0.0
    return Discrepancy(own_a.mean + own_b.mean - 2 * cross.mean, first, second, _directions(a, b))


@dataclass(frozen=True)
class _Own:
    """Sums of the kernel over ordered pairs of different rows of one sample: by row (N,), and of its square."""

    rows: Tensor
    square: float

    @property
    def mean(self) -> float:
        """E k(x, x′)."""
        return float(self.rows.sum()) / _falling(len(self.rows), 2)

    @property
    def chain(self) -> float:
        """E k(x, x′) k(x, x″)."""
        return (float(self.rows.square().sum()) - self.square) / _falling(len(self.rows), 3)

    @property
    def apart(self) -> float:
        """(E k(x, x′))²: pairs that share no row."""
        whole = float(self.rows.sum()) ** 2 - 4 * float(self.rows.square().sum()) + 2 * self.square
        return whole / _falling(len(self.rows), 4)

    @property
    def residual(self) -> float:
        """E k̃_xx²."""
        return self.square / _falling(len(self.rows), 2) - 2 * self.chain + self.apart


@dataclass(frozen=True)
class _Cross:
    """Sums of the kernel over pairs of the two samples: by row of each, (N,) and (M,), and of its square."""

    rows: Tensor
    columns: Tensor
    square: float

    @property
    def turned(self) -> _Cross:
        """With the samples in the other order."""
        return _Cross(self.columns, self.rows, self.square)

    @property
    def mean(self) -> float:
        """E k(x, y)."""
        return float(self.rows.sum()) / (len(self.rows) * len(self.columns))

    @property
    def chain(self) -> float:
        """E k(x, y) k(x, y′)."""
        whole = float(self.rows.square().sum()) - self.square
        return whole / (len(self.rows) * _falling(len(self.columns), 2))

    @property
    def apart(self) -> float:
        """(E k(x, y))²."""
        squares = float(self.rows.square().sum() + self.columns.square().sum())
        whole = float(self.rows.sum()) ** 2 - squares + self.square
        return whole / (_falling(len(self.rows), 2) * _falling(len(self.columns), 2))

    @property
    def residual(self) -> float:
        """E k̃_xy²."""
        plain = self.square / (len(self.rows) * len(self.columns))
        return plain - self.chain - self.turned.chain + self.apart


def _projected(own: _Own, cross: _Cross) -> float:
    """Var g: E g² − (E g)², g(x) = E k(x, X′) − E k(x, Y)."""
    n, m = len(cross.rows), len(cross.columns)
    shared = float(own.rows @ cross.rows)
    chain = shared / (_falling(n, 2) * m)
    apart = (float(own.rows.sum()) * float(cross.rows.sum()) - 2 * shared) / (_falling(n, 3) * m)
    return (own.chain - 2 * chain + cross.chain) - (own.apart - 2 * apart + cross.apart)


def _falling(n: int, factors: int) -> float:
    """n (n − 1) … of so many factors."""
    return float(math.prod(n - less for less in range(factors)))


def _blocks(a: Tensor, b: Tensor, constant: float) -> Iterator[Tensor]:
    """The kernel less the constant, some rows at a time: it is never held whole."""
    for rows in torch.split(a, _AT_ONCE):
        yield (rows @ b.mT / a.shape[1] + 1) ** 3 - constant


def _own(a: Tensor, constant: float) -> _Own:
    diagonal = (a.square().sum(1) / a.shape[1] + 1) ** 3 - constant
    rows, square = [], 0.0
    for block in _blocks(a, a, constant):
        rows.append(block.sum(1))
        square += float(block.square().sum())
    return _Own(torch.cat(rows) - diagonal, square - float(diagonal.square().sum()))


def _cross(a: Tensor, b: Tensor, constant: float) -> _Cross:
    rows, columns, square = [], a.new_zeros(len(b)), 0.0
    for block in _blocks(a, b, constant):
        rows.append(block.sum(1))
        columns += block.sum(0)
        square += float(block.square().sum())
    return _Cross(torch.cat(rows), columns, square)


def _directions(a: Tensor, b: Tensor) -> float:
    """(Σλ²)²/Σλ⁴ within the samples, by cycles of two and of four different rows, of at most 1,000 rows a side."""
    two, four = 0.0, 0.0
    for side in (a, b):
        side = side[:: -(-len(side) // _SPECTRUM_ROWS)]
        kernel, n = (side @ side.mT / side.shape[1] + 1) ** 3, len(side)
        kernel = kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()
        kernel.fill_diagonal_(0)
        square = kernel.square()
        two += float(square.sum()) / _falling(n, 2) / 2
        cycles = (kernel @ kernel).square().sum() - 2 * square.sum(1).square().sum() + square.square().sum()
        four += float(cycles) / _falling(n, 4) / 2
    return max(1.0, two**2 / four) if four > 0 else float("inf")
