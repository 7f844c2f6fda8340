"""The strength at which a curve over strengths first reaches a level, with networks as the unit.

Between the strengths of the grid a curve is linear in log t. Strength 0 stands one mean step of log t before the
smallest positive strength t_min; as that place is a convention, every crossing before t_min is given as "< t_min".

The interval inverts a test at every t: for each network q(t) is its interpolated curve minus its own target, and t is
left out where the mean of q is shown to be below or above 0, half-width √(t²_{S−1} s²_q/S + z² wᵀ C w) with the
weights w of the contrast and the covariance C of the image part that networks share. So the low end is the first t
that is not shown to lie before the crossing, and the high end the first that is shown to lie past it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np

from tangency.errors import NumericsError
from tangency.statistics.peaks import checked, undefined
from tangency.statistics.resamples import Array

_STEPS = 64  # points at which the test is inverted between two strengths; in between the bound is taken as linear
_SLACK = 1e-9  # of log t: rounding
_FARTHEST = 8.0  # standard normal quantile beyond which confidence is 1


@dataclass(frozen=True)
class Crossing:
    """A strength with its interval: 0 stands for "< t_min", ∞ for "not reached", NaN for what a `reason` explains.

    `below` and `not_reached` are confidences (1 − one-sided p) in [0, 1] that the crossing lies before the smallest
    positive strength, and that there is none on the grid.
    """

    target: str
    estimate: float
    low: float
    high: float
    below: float
    not_reached: float
    smallest: float
    largest: float
    best: float | None  # strength of the largest grid mean, where the target rests on it
    networks: int
    level: float
    reason: str | None

    def __str__(self) -> str:
        estimate, low, high = map(self._words, (self.estimate, self.low, self.high))
        return estimate if math.isnan(self.low) or estimate == low == high else f"{estimate} [{low}, {high}]"

    def to_json(self) -> dict[str, Any]:
        """The fields, ends without a number in words, and null for what is not defined."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        ends = {name: self._plain(values[name]) for name in ("estimate", "low", "high")}
        masses = {name: None if math.isnan(values[name]) else values[name] for name in ("below", "not_reached")}
        return {**values, **ends, **masses}

    def _plain(self, value: float) -> float | str | None:
        if math.isnan(value):
            return None
        return value if math.isfinite(value) and value > 0 else self._words(value)

    def _words(self, value: float) -> str:
        if value == 0:
            return f"< {self.smallest:g}"
        return "not reached" if math.isinf(value) else f"{value:.3g}"


def rise_crossing(
    values: Array, strengths: Array, rise: float | None = None, images: Array | None = None, level: float = 0.95
) -> Crossing:
    """t₁: the first t at which the curve reaches ½(L(0) + L*), or L(0) + Δ.

    L* is the largest grid mean. It is chosen on the same networks, each of which then gives its own value there: with
    several equal maxima L* is too large by up to half a standard error or so, which costs one percent of coverage.
    To choose it anew without each network in turn costs more.

    Args:
        values: (m, S) estimates L of S networks (seeds) at each of m ≥ 2 strengths.
        strengths: (m,) ascending, the first 0.
        rise: Δ > 0 in units of L, or None for half of the rise to L*.
        images: (m, m) covariance of the image part that networks share (`shared_image_covariance`); without it the
            interval is about further networks on these images.
        level: of the two-sided interval.

    Returns:
        The crossing. Below three networks it is a point only. Where no mean exceeds that of strength 0 there is no
        half of a rise: "not reached", with nothing left out of the interval.

    Raises:
        NumericsError: shapes do not fit, strengths do not ascend from 0, or Δ is not positive.

    Example:
        >>> shifts = np.array([-1.0, 0, 1])  # of three networks
        >>> curve = np.array([0.0, 0, 4, 8])[:, None] + np.array([0.0, 0, 1, 1])[:, None] * shifts
        >>> str(rise_crossing(curve, np.array([0, 0.1, 1, 10]), rise=2))
        '0.316 [0.203, 1.32]'
        >>> str(rise_crossing(curve[:, :2], np.array([0, 0.1, 1, 10])))
        '1.15'
    """
    curves = _Curves.of(values, strengths, images, level)
    if rise is not None:
        gap = _Gap(curves.place, curves.weights - curves.at(0), _positive("rise", rise))
        return curves.crossing(f"L(0) + {rise:g}", None, gap, [gap], gap)
    best = 1 + int(curves.values[1:].mean(1).argmax())
    gap = _Gap(curves.place, curves.weights - (curves.at(0) + curves.at(best)) / 2, 0.0)
    return curves.crossing("half of the rise", best, gap, [gap], gap)


def drop_crossing(
    values: Array, strengths: Array, drop: float, images: Array | None = None, level: float = 0.95
) -> Crossing:
    """t₂ of the accuracy: the first t at which the curve reaches A(0) − δ from above.

    Args:
        values: (m, S) accuracies A of S networks (seeds) at each of m ≥ 2 strengths.
        strengths: (m,) ascending, the first 0.
        drop: δ > 0 in units of A.
        images: (m, m) covariance of the image part that networks share (`shared_image_covariance`).
        level: of the two-sided interval.

    Returns:
        The crossing; below three networks a point only.

    Raises:
        NumericsError: shapes do not fit, strengths do not ascend from 0, or δ is not positive.

    Example:
        >>> curve = np.array([0.9, 0.9, 0.8, 0.6])[:, None] + np.array([-0.01, 0.0, 0.01])
        >>> str(drop_crossing(curve, np.array([0, 0.1, 1, 10]), drop=0.05))
        '0.316'
    """
    curves = _Curves.of(values, strengths, images, level)
    gap = _Gap(curves.place, curves.at(0) - curves.weights, _positive("drop", drop))
    return curves.crossing(f"A(0) − {drop:g}", None, gap, [gap], gap)


def fall_crossing(
    values: Array, strengths: Array, drop: float, images: Array | None = None, level: float = 0.95
) -> Crossing:
    """t₂ of the alignment: the first t past t*, the strength of the largest grid mean L*, with L = L* − Δ.

    Where t* lies is not known: every strength counts as t* whose mean is not shown (at the same level, in pairs) to be
    below L*. The low end is the first t that is not shown to lie before the crossing for one of them, the high end
    the first past all of them that is shown to lie past it. With the strength of the largest mean as if it were the
    peak, intervals of a small drop from a flat peak hold the crossing in as few as two cases of three. After several
    equal maxima L* is too large, and intervals of .95 hold the crossing in .92 where ten networks are alike.

    Args:
        values: (m, S) estimates L of S networks (seeds) at each of m ≥ 2 strengths.
        strengths: (m,) ascending, the first 0.
        drop: Δ > 0 in units of L.
        images: (m, m) covariance of the image part that networks share (`shared_image_covariance`).
        level: of the two-sided interval.

    Returns:
        The crossing; below three networks a point only.

    Raises:
        NumericsError: shapes do not fit, strengths do not ascend from 0, or Δ is not positive.

    Example:
        >>> curve = np.array([0.0, 8, 8, 0])[:, None] + np.array([0.0, 2, 0, 0])[:, None] * np.array([0.9, 1.0, 1.1])
        >>> crossing = fall_crossing(curve, np.array([0, 0.1, 1, 10]), drop=6)
        >>> str(crossing), crossing.best
        ('3.16 [2.74, 3.65]', 0.1)
    """
    curves = _Curves.of(values, strengths, images, level)
    _positive("drop", drop)
    best = int(curves.values.mean(1).argmax())
    peaks = curves.not_below(best)

    def fall(peak: int, start: int) -> _Gap:
        after = slice(start * _STEPS, None)
        return _Gap(curves.place[after], curves.at(peak) - curves.weights[after], drop)

    before = [fall(peak, peak) for peak in peaks]
    return curves.crossing(f"L* − {drop:g} past t*", best, fall(best, best), before, fall(best, max(peaks)))


@dataclass(frozen=True)
class _Gap:
    """q(t) = weights · values − constant at places (G,) of log t, weights (G, m): positive past the crossing."""

    place: Array
    weights: Array
    constant: float


@dataclass(frozen=True)
class _Test:
    """The mean of q over networks at each place (G,), its half-width, and the variances that make it."""

    place: Array
    mean: Array
    half: Array
    variance: Array
    shared: Array
    freedom: int

    def end(self, side: int) -> float:
        """The first place not shown to lie before the crossing (side 1), or shown to lie past it (−1)."""
        return _first(self.place, self.mean + side * self.half)

    def confidence(self, until: float = math.inf) -> float:
        """The largest confidence that q > 0 at a place up to `until`."""
        end = int(np.searchsorted(self.place, until + _SLACK))
        if end == 0:
            return 0.0
        i = int((self.mean[:end] / np.maximum(self.half[:end], 1e-290)).argmax())
        return _confidence(float(self.mean[i]), float(self.variance[i]), float(self.shared[i]), self.freedom)


@dataclass(frozen=True)
class _Curves:
    """Values (m, S) over strengths (m,), and the weights (G, m) of the grid at places (G,) of log t."""

    values: Array
    strengths: Array
    images: Array
    level: float
    place: Array
    weights: Array

    @classmethod
    def of(cls, values: Array, strengths: Array, images: Array | None, level: float) -> Self:
        values, strengths = checked(values, strengths, images)
        if len(strengths) < 2 or strengths[0] != 0:
            raise NumericsError(
                f"crossing: got strengths {strengths.tolist()}, expected 0 and at least one positive strength: the "
                "target rests on the curve at 0."
            )
        shared = np.zeros(2 * strengths.shape) if images is None else images
        return cls(values, strengths, shared, level, *_interpolation(tuple(strengths[1:].tolist())))

    def at(self, i: int) -> Array:
        """Weights of one strength of the grid, (m,)."""
        weights: Array = np.eye(len(self.strengths))[i]
        return weights

    def test(self, gap: _Gap) -> _Test:
        from scipy.special import ndtri, stdtrit

        count = self.values.shape[1]
        q = gap.weights @ self.values - gap.constant
        variance = q.var(1, ddof=1) / count
        shared = np.maximum(0, ((gap.weights @ self.images) * gap.weights).sum(1))
        t, z = stdtrit(count - 1, (1 + self.level) / 2), ndtri((1 + self.level) / 2)
        half = np.sqrt(t**2 * variance + z**2 * shared)
        return _Test(gap.place, q.mean(1), half, variance, shared, count - 1)

    def not_below(self, best: int) -> list[int]:
        """The strengths whose mean is not shown to be below that of `best`, itself among them."""
        if undefined(self.values) is not None:
            return [best]
        test = self.test(_Gap(self.place, self.at(best) - np.eye(len(self.strengths)), 0.0))
        return np.flatnonzero(test.mean <= test.half).tolist()

    def crossing(self, target: str, best: int | None, point: _Gap, before: list[_Gap], past: _Gap) -> Crossing:
        """The crossing of `point`, with the lowest low end of the gaps `before` and the high end of `past`."""
        mean = point.weights @ self.values.mean(1) - point.constant
        estimate, reason = _first(point.place, mean), undefined(self.values)
        ends = (math.nan,) * 4
        if mean[0] >= 0:  # of half a rise only: the other targets lie off the curve's start
            estimate, ends = math.inf, ends if reason else (-math.inf, math.inf, *ends[2:])
            reason = reason or "no mean exceeds that of strength 0"
        elif reason is None:
            first = [self.test(gap) for gap in before]
            last = first[0] if past is before[0] else self.test(past)
            below = max(test.confidence(math.log(self.strengths[1])) for test in first)
            ends = (min(test.end(1) for test in first), last.end(-1), below, 1 - last.confidence())
        smallest, largest = float(self.strengths[1]), float(self.strengths[-1])
        at, low, high = (_strength(place, smallest) for place in (estimate, *ends[:2]))
        at_best, count = None if best is None else float(self.strengths[best]), self.values.shape[1]
        return Crossing(target, at, low, high, *ends[2:], smallest, largest, at_best, count, self.level, reason)


def _confidence(mean: float, variance: float, shared: float, freedom: int) -> float:
    """1 − a for which mean = √(t²_{a} variance + z²_{a} shared) with upper quantiles of a, and its mirror image."""
    from scipy.special import ndtr, stdtrit

    low, high = 0.0, _FARTHEST
    for _ in range(30):
        z = (low + high) / 2
        if math.sqrt(stdtrit(freedom, ndtr(z)) ** 2 * variance + z**2 * shared) < abs(mean):
            low = z
        else:
            high = z
    return float(ndtr(math.copysign(low if low < _FARTHEST - 1e-6 else math.inf, mean)))


def _first(place: Array, curve: Array) -> float:
    """The first place where a curve (G,), linear between places, is at least 0; ∞ where it never is."""
    past = np.flatnonzero(curve >= 0)
    if not len(past):
        return math.inf
    i = int(past[0])
    if i == 0:
        return float(place[0])
    share = -curve[i - 1] / (curve[i] - curve[i - 1])
    return float(place[i - 1] + share * (place[i] - place[i - 1]))


def _strength(place: float, smallest: float) -> float:
    return 0.0 if place < math.log(smallest) - _SLACK else math.exp(place)


@lru_cache(maxsize=16)
def _interpolation(positive: tuple[float, ...]) -> tuple[Array, Array]:
    """Places (G,) of log t and the weights (G, m) there of a grid of 0 and these strengths."""
    logs = np.log(positive)
    step = (logs[-1] - logs[0]) / (len(logs) - 1) if len(logs) > 1 else math.log(10)
    nodes = np.concatenate([[logs[0] - step], logs])
    index = np.linspace(0, len(nodes) - 1, _STEPS * (len(nodes) - 1) + 1)
    grid = np.arange(len(nodes))
    weights: Array = np.maximum(0, 1 - np.abs(index[:, None] - grid))
    return np.interp(index, grid, nodes), weights


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise NumericsError(f"crossing: got {name} {value}, expected a positive difference in units of the curve.")
    return value
