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
from typing import Any

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
        if math.isnan(self.low):
            return self._words(self.estimate)
        return f"{self._words(self.estimate)} [{self._words(self.low)}, {self._words(self.high)}]"

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
    values, strengths = _from_zero(values, strengths, images)
    place, weights = _interpolation(strengths)
    first = np.eye(len(strengths))[0]
    if rise is not None:
        gap = _Gap(place, weights - first, _positive("rise", rise))
        return _crossing(f"L(0) + {rise:g}", gap, values, strengths, None, images, level)
    means = values.mean(1)
    best = 1 + int(means[1:].argmax())
    gap = _Gap(place, weights - (first + np.eye(len(strengths))[best]) / 2, 0.0)
    return _crossing("half of the rise", gap, values, strengths, best, images, level)


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
        '0.316 [0.316, 0.316]'
    """
    values, strengths = _from_zero(values, strengths, images)
    place, weights = _interpolation(strengths)
    gap = _Gap(place, np.eye(len(strengths))[0] - weights, _positive("drop", drop))
    return _crossing(f"A(0) − {drop:g}", gap, values, strengths, None, images, level)


def fall_crossing(
    values: Array, strengths: Array, drop: float, images: Array | None = None, level: float = 0.95
) -> Crossing:
    """t₂ of the alignment: the first t past t*, the strength of the largest grid mean L*, with L = L* − Δ.

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
    values, strengths = _from_zero(values, strengths, images)
    place, weights = _interpolation(strengths)
    best = int(values.mean(1).argmax())
    gap = _past(place, weights, best, _positive("drop", drop))
    return _crossing(f"L* − {drop:g} past t*", gap, values, strengths, best, images, level)


@dataclass(frozen=True)
class _Gap:
    """q(t) = weights · values − constant at places (G,) of log t, weights (G, m): positive past the crossing."""

    place: Array
    weights: Array
    constant: float


def _past(place: Array, weights: Array, best: int, drop: float) -> _Gap:
    after = slice(best * _STEPS, None)
    return _Gap(place[after], np.eye(weights.shape[1])[best] - weights[after], drop)


def _crossing(
    target: str,
    gap: _Gap,
    values: Array,
    strengths: Array,
    best: int | None,
    images: Array | None,
    level: float,
) -> Crossing:
    q = gap.weights @ values - gap.constant
    estimate, reason = _first(gap.place, q.mean(1)), undefined(values)
    ends = (math.nan,) * 4
    if q[0].mean() >= 0:  # of half a rise only: the other targets lie off the curve's start
        estimate, reason = math.inf, reason or "no mean exceeds that of strength 0"
        ends = ends if undefined(values) else (-math.inf, math.inf, math.nan, math.nan)
    elif reason is None:
        shared = np.zeros(len(q)) if images is None else np.maximum(0, ((gap.weights @ images) * gap.weights).sum(1))
        ends = _ends(gap.place, q, shared, math.log(strengths[1]), level)
    smallest, largest = float(strengths[1]), float(strengths[-1])
    at, low, high = (_strength(place, smallest) for place in (estimate, *ends[:2]))
    at_best = None if best is None else float(strengths[best])
    return Crossing(target, at, low, high, *ends[2:], smallest, largest, at_best, values.shape[1], level, reason)


def _ends(place: Array, q: Array, shared: Array, start: float, level: float) -> tuple[float, float, float, float]:
    """Places of the low and high end, and the confidences of a crossing before `start` and of none, from q (G, S)."""
    from scipy.special import ndtri, stdtrit

    count = q.shape[1]
    mean, variance = q.mean(1), q.var(1, ddof=1) / count
    t, z = stdtrit(count - 1, (1 + level) / 2), ndtri((1 + level) / 2)
    half = np.sqrt(t**2 * variance + z**2 * shared)
    with np.errstate(divide="ignore"):
        shown = mean / half
    before = int(np.searchsorted(place, start + _SLACK))

    def confidence(end: int) -> float:
        if end == 0:
            return 0.0
        i = int(shown[:end].argmax())
        return _confidence(float(mean[i]), float(variance[i]), float(shared[i]), count - 1)

    return _first(place, mean + half), _first(place, mean - half), confidence(before), 1 - confidence(len(place))


def _confidence(mean: float, variance: float, shared: float, freedom: int) -> float:
    """1 − a for which mean = √(t²_{a} variance + z²_{a} shared) with upper quantiles of a, and its mirror image."""
    from scipy.special import ndtr, stdtrit

    low, high = 0.0, _FARTHEST
    for _ in range(50):
        z = (low + high) / 2
        if math.sqrt(stdtrit(freedom, ndtr(z)) ** 2 * variance + z**2 * shared) < abs(mean):
            low = z
        else:
            high = z
    return float(ndtr(math.copysign(low if low < _FARTHEST - _SLACK else math.inf, mean)))


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


def _interpolation(strengths: Array) -> tuple[Array, Array]:
    """Places (G,) of log t and the weights (G, m) of the grid there."""
    logs = np.log(strengths[1:])
    step = (logs[-1] - logs[0]) / (len(logs) - 1) if len(logs) > 1 else math.log(10)
    nodes = np.concatenate([[logs[0] - step], logs])
    index = np.linspace(0, len(nodes) - 1, _STEPS * (len(nodes) - 1) + 1)
    grid = np.arange(len(nodes))
    weights: Array = np.maximum(0, 1 - np.abs(index[:, None] - grid))
    return np.interp(index, grid, nodes), weights


def _from_zero(values: Array, strengths: Array, images: Array | None) -> tuple[Array, Array]:
    values, strengths = checked(values, strengths, images)
    if len(strengths) < 2 or strengths[0] != 0:
        raise NumericsError(
            f"crossing: got strengths {strengths.tolist()}, expected 0 and at least one positive strength: the target "
            "rests on the curve at 0."
        )
    return values, strengths


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise NumericsError(f"crossing: got {name} {value}, expected a positive difference in units of the curve.")
    return value
