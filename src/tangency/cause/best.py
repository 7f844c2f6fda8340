"""An arm minus the best of its shams, with an interval that no choice of the best makes too narrow; and its power."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tangency.errors import NumericsError
from tangency.statistics import CrossedEstimate
from tangency.statistics.resamples import Array

# a, b (S, N) and `level` to the interval of what a has over b, such as `crossed_difference`
Difference = Callable[..., CrossedEstimate]
SEED_SDS = 3.0  # that a difference must have beside an interval above zero


@dataclass(frozen=True)
class OverBest:
    """own − max over shams, θ = min over shams of own − sham.

    Args:
        mean: the smallest of the estimated differences; where shams tie it is too small on average.
        low, high: ends of the interval of θ; NaN for one network.
        best: the sham of the smallest difference.
        each: sham to own − sham with its own interval, one at a time.
    """

    mean: float
    low: float
    high: float
    best: str
    each: Mapping[str, CrossedEstimate]


def over_best(own: Array, shams: Mapping[str, Array], difference: Difference, level: float = 0.95) -> OverBest:
    """Interval [min low_j, min high_j] of own − best sham: low_j at `level`, high_j at 1 − (1 − level)/k.

    The lower end needs no correction for k shams (intersection-union): it lies above θ only if low_j lies above the
    true difference of the best sham itself. The upper one does, since every high_j has to lie above θ: Bonferroni.
    Nothing is pooled over shams, whose networks may spread by different amounts.

    Args:
        own: (S, N) of S networks on N images, row s of all of the same seed.
        shams: name to (S, N).
        difference: what is compared, with its interval.
        level: coverage, in (0, 1).

    Raises:
        NumericsError: no shams.

    Example:
        >>> from tangency.statistics import crossed_difference
        >>> noise = np.random.default_rng(0).normal(size=(3, 5, 200))
        >>> shams = {"dct": noise[1] + 1, "random": noise[2]}
        >>> result = over_best(noise[0] + 3, shams, crossed_difference)
        >>> result.best, round(result.mean), result.low > 1.5
        ('dct', 2, True)

    Source: Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24 (1982), for the lower
    end; tests/cause/test_best.py has the coverage.
    """
    if not shams:
        raise NumericsError("over best: got no shams, expected at least one that an arm is compared with.")
    each = {name: difference(own, sham, level=level) for name, sham in shams.items()}
    upper = [difference(own, sham, level=1 - (1 - level) / len(shams)).high for sham in shams.values()]
    best = min(each, key=lambda name: each[name].mean)
    if each[best].unit == "images":  # one network says nothing of its recipe
        return OverBest(each[best].mean, math.nan, math.nan, best, each)
    return OverBest(each[best].mean, min(e.low for e in each.values()), min(upper), best, each)


def seed_sd(own: Array, sham: Array) -> float:
    """√((s²_own + s²_sham)/2) of the levels (S,) of the networks of two arms; NaN below two networks.

    Example:
        >>> seed_sd(np.array([1.0, 3.0]), np.array([0.0, 0.0]))
        1.0
    """
    if len(own) < 2 or len(sham) < 2:
        return math.nan
    return math.sqrt((float(own.var(ddof=1)) + float(sham.var(ddof=1))) / 2)


def smallest_found(
    estimate: CrossedEstimate, sd: float, shams: int = 1, *, power: float = 0.8, level: float = 0.95
) -> float:
    """The true difference to each sham at which the rule (low > 0 and mean ≥ 3 sd) holds with this probability.

    With the spread that was seen: the difference at which t with S − 1 degrees of freedom exceeds its quantile as
    often, δ² = ν²·V_net + (1 + z_p/z)²·z²·V_image, or 3 sd + z_p √(V_net + V_image + V(3 sd)), whichever is larger. p
    is 1 − (1 − power)/shams, as the rule has to hold for every sham.

    Args:
        estimate: of own − sham; only its spread counts.
        sd: of the networks' levels, as of `seed_sd`.
        shams: k.
        power: in (½, 1).
        level: of the interval.

    Returns:
        ≥ 0, in the unit of the difference; NaN for fewer than two networks.

    Source: Owen, "The power of Student's t-test", JASA 60 (1965), for ν; the image part is ours.
    """
    from scipy.special import ndtri

    count = estimate.networks
    if count < 2:
        return math.nan
    share = 1 - (1 - power) / shams
    network = float(np.var(estimate.each, ddof=1)) / count
    t, z, above = _t(count, level), float(ndtri((1 + level) / 2)), float(ndtri(share))
    image = max(0.0, (estimate.mean - estimate.low) ** 2 - t * t * network) / z**2  # its share of the half-width
    interval = math.sqrt(_noncentral(count, level, share) ** 2 * network + (z + above) ** 2 * image)
    chosen = SEED_SDS * sd
    of_sd = chosen**2 / (4 * (count - 1))  # both arms have S − 1 degrees of freedom
    return max(interval, chosen + above * math.sqrt(network + image + of_sd))


def _t(networks: int, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(networks - 1, (1 + level) / 2))


@lru_cache(maxsize=64)
def _noncentral(networks: int, level: float, power: float) -> float:
    """ν at which a noncentral t of S − 1 degrees of freedom exceeds the quantile of `level` with this probability."""
    from scipy.optimize import brentq
    from scipy.special import nctdtr

    t = _t(networks, level)
    return float(brentq(lambda nu: 1 - nctdtr(networks - 1, nu, t) - power, 0.0, 20 * t))
