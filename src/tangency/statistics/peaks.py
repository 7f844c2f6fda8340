"""Whether a curve over strengths has a peak between its ends, with networks as the unit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tangency.errors import NumericsError
from tangency.statistics.resamples import Array

FEWEST_NETWORKS = 3  # below which the spread over networks says too little for a test
_DRAWS = 100_000  # of the null: the level is met within .0014 (two standard errors)


@dataclass(frozen=True)
class StrengthMean:
    """The mean over networks at one strength, its interval (NaN below three networks), and each network's value."""

    strength: float
    mean: float
    low: float
    high: float
    each: tuple[float, ...]


@dataclass(frozen=True)
class InteriorPeak:
    """Whether some strength between the ends has a larger mean than both; t, critical and p are NaN with a `reason`.

    The intervals are of one strength each, in units of the curve. That of the peak is of a chosen maximum: its mean
    is too large on average, and only `shown` says that there is a peak.
    """

    shown: bool
    t: float
    critical: float
    p: float
    networks: int
    level: float
    peak: StrengthMean
    ends: tuple[StrengthMean, StrengthMean]
    reason: str | None  # why nothing was tested


def interior_peak(values: Array, strengths: Array, images: Array | None = None, level: float = 0.95) -> InteriorPeak:
    """T = max over interior k of min(t_k0, t_km), t_ke = (x̄_k − x̄_e)/√((v_k + v_e)/S + (z/c)² V_ke), shown if T > c.

    v_k = max(s_k², mean of all s²) over networks, V_ke = C_kk + C_ee − 2 C_ke from `images`. c is the (1 − α) quantile
    of T, simulated (once for each m and S, seeded) under the null that is hardest to keep: the curve rises at once,
    and all strengths but the first are equal. Of all curves without an interior peak (μ_k ≤ max(μ_0, μ_m) for every
    k) and with one spread, T is largest there (or in its mirror image), as it grows with each interior μ_k and falls
    with both ends; on a flat curve it is smaller. z = Φ⁻¹(1 − α/(m − 2)) bounds the quantile of the image part,
    whatever its correlations.

    Test images are common to all strengths: what they do to every strength alike leaves the differences, and what
    they do to single strengths is the same for all networks. Without `images`, the claim is about further networks on
    these images; with it, about further images too.

    Args:
        values: (m, S) estimates of S independently trained networks at each of m ≥ 3 strengths. Networks of one seed
            may resemble each other: a positive correlation over strengths only makes the test more careful.
        strengths: (m,) ascending, the first may be 0.
        images: (m, m) covariance of the image part that networks share (`shared_image_covariance`).
        level: 1 − α of the one-sided test, and of the two-sided intervals.

    Returns:
        The interior strength of the largest T with its test. p = (1 + #{simulated ≥ T})/(1 + 100,000).

    Raises:
        NumericsError: shapes do not fit, strengths do not ascend, or a value is not finite.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=(6, 5))
        >>> peak, plateau = np.array([0.0, 5, 10, 20, 15, 10]), np.array([0.0, 10, 20, 20, 20, 20])
        >>> result = interior_peak(peak[:, None] + noise, np.array([0, 0.1, 0.3, 1, 3, 10]))
        >>> result.shown, result.peak.strength
        (True, 1.0)
        >>> interior_peak(plateau[:, None] + noise, np.array([0, 0.1, 0.3, 1, 3, 10])).shown
        False

    Dunnett, "A multiple comparison procedure for comparing several treatments with a control", JASA 50 (1955), for the
    null; the larger of own and pooled variance in place of the pooled one holds where networks' spreads differ.
    """
    values, strengths = checked(values, strengths, images)
    m, count = values.shape
    if m < 3:
        raise NumericsError(f"interior peak: got {m} strengths, expected 3 or more: one must lie between the ends.")
    reason = undefined(values)
    heights, critical = values.mean(1)[1:-1], math.nan  # without a test, means
    if reason is None:
        critical = critical_value(m, count, level)
        ratio = _normal_quantile(m, level) / critical
        heights = np.minimum(*(_t(values, end, images, ratio) for end in (0, -1)))
    best = 1 + int(heights.argmax())
    first, peak, last = (_mean(i, values, strengths, images, level) for i in (0, best, m - 1))
    if reason is not None:
        return InteriorPeak(False, math.nan, math.nan, math.nan, count, level, peak, (first, last), reason)
    t = float(heights.max())
    draws = _null(m, count)
    p = (1 + len(draws) - int(np.searchsorted(draws, t))) / (1 + len(draws))
    return InteriorPeak(t > critical, t, critical, p, count, level, peak, (first, last), None)


def shared_image_covariance(values: Array) -> Array:
    """C_kl = (cov_i(x̄_ki, x̄_li) − Σ_si r_ksi r_lsi/(S (S − 1)(N − 1)))/N, the part of means that images give to all.

    x̄_ki is the mean over networks of image i at strength k, r what is left of a value without its network's and its
    image's mean. What images do to single networks is thus taken out: it is in the spread over networks already.

    Args:
        values: (m, S ≥ 2, N ≥ 2) values of the same images, or influences of an estimate; images with a NaN are left
            out for all.

    Returns:
        (m, m), in squared units of the values; a diagonal entry may fall slightly below 0 by chance.

    Raises:
        NumericsError: fewer than two networks or usable images.

    Example:
        >>> images = np.arange(5.0)
        >>> values = np.stack([np.stack([images, images + 1]), np.stack([2 * images, 2 * images - 7])])
        >>> (5 * shared_image_covariance(values)).tolist()  # the covariance of (i, 2 i) over i
        [[2.5, 5.0], [5.0, 10.0]]
    """
    values = np.asarray(values, dtype=float)
    if values.ndim == 3:
        values = values[:, :, np.isfinite(values).all((0, 1))]
    if values.ndim != 3 or values.shape[1] < 2 or values.shape[2] < 2:
        raise NumericsError(
            f"shared image covariance: got {values.shape} usable values, expected (strengths, networks, images) with "
            "at least 2 networks and 2 images."
        )
    _, count, n = values.shape
    centred = values - values.mean(2, keepdims=True)
    common = centred.mean(1)
    rest = (centred - common[:, None]).reshape(len(values), -1)
    covariance: Array = (common @ common.T - rest @ rest.T / (count * (count - 1))) / ((n - 1) * n)
    return covariance


def checked(values: Array, strengths: Array, images: Array | None) -> tuple[Array, Array]:
    """Values (m, S) and strengths (m,) as floats, or what does not fit, with `images` (m, m)."""
    values, strengths = np.asarray(values, dtype=float), np.asarray(strengths, dtype=float)
    if values.ndim != 2 or strengths.shape != values.shape[:1]:
        raise NumericsError(
            f"curve over strengths: got values {values.shape} for strengths {strengths.shape}, expected "
            "(strengths, networks) and (strengths,)."
        )
    if not (np.isfinite(values).all() and np.isfinite(strengths).all()) or (np.diff(strengths) <= 0).any():
        raise NumericsError(
            f"curve over strengths: got strengths {strengths.tolist()}, expected ascending ones, each once, and a "
            "finite value of each network; leave out the strengths or networks that have none."
        )
    if images is not None and images.shape != 2 * strengths.shape:
        raise NumericsError(f"curve over strengths: got images {images.shape}, expected {2 * strengths.shape}.")
    return values, strengths


def undefined(values: Array) -> str | None:
    """Why networks (m, S) allow no claim about further ones, or None."""
    count = values.shape[1]
    if count < FEWEST_NETWORKS:
        return f"{count} network{'s' * (count != 1)} a strength: at least {FEWEST_NETWORKS} are needed"
    if not np.ptp(values, axis=1).any():  # a variance of copies is rounding, not always 0
        return "the networks of each strength are equal: copies of one network say nothing of further ones"
    return None


def critical_value(strengths: int, networks: int, level: float = 0.95) -> float:
    """The quantile of T under the hardest null, for m strengths and S networks each."""
    return float(_null(strengths, networks)[math.ceil(level * _DRAWS)])


def _mean(i: int, values: Array, strengths: Array, images: Array | None, level: float) -> StrengthMean:
    """Mean ± √(t²_{S−1} s²/S + z² C) at strength i."""
    from scipy.special import ndtri, stdtrit

    row, half = values[i], math.nan
    if undefined(values) is None:
        t, z = stdtrit(len(row) - 1, (1 + level) / 2), ndtri((1 + level) / 2)
        shared = 0.0 if images is None else max(0.0, float(images[i, i]))
        half = math.sqrt(t**2 * row.var(ddof=1) / len(row) + z**2 * shared)
    mean = float(row.mean())
    return StrengthMean(float(strengths[i]), mean, mean - half, mean + half, tuple(row.tolist()))


def _t(values: Array, end: int, images: Array | None, ratio: float) -> Array:
    """t of each interior strength against one end, (m − 2,)."""
    means, used = values.mean(1), _variances(values.var(1, ddof=1))
    variance = (used[1:-1] + used[end]) / values.shape[1]
    if images is not None:
        shared = np.diag(images) + images[end, end] - 2 * images[end]
        variance = variance + ratio**2 * np.maximum(0, shared[1:-1])
    t: Array = (means[1:-1] - means[end]) / np.sqrt(variance)
    return t


def _variances(own: Array) -> Array:
    """The larger of a strength's variance and their mean, (..., m).

    Half of each has the same power, but where spreads differ by 8 it shows up to 9 % of the plateaus as peaks (S = 3,
    m = 7), this 8 %; the own variance alone 14 % (m = 6), and the mean alone 15 %.
    """
    used: Array = np.maximum(own, own.mean(-1, keepdims=True))
    return used


def _normal_quantile(strengths: int, level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(1 - (1 - level) / (strengths - 2)))


@lru_cache(maxsize=64)
def _null(strengths: int, networks: int) -> Array:
    """T of curves that rise at once and are flat from then on, sorted, (100,000,): t against the first is no bound."""
    rng = np.random.default_rng([strengths, networks])
    means = rng.normal(size=(_DRAWS, strengths - 1)) / math.sqrt(networks)
    used = _variances(rng.chisquare(networks - 1, size=(_DRAWS, strengths)) / (networks - 1))
    t = (means[:, :-1] - means[:, -1:]) / np.sqrt((used[:, 1:-1] + used[:, -1:]) / networks)
    return np.sort(t.max(1))
