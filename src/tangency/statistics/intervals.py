"""Percentile and BCa intervals from bootstrap draws."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from tangency.statistics.resamples import Array

Interval = Literal["percentile", "bca"]


class WithInterval:
    """A number that is written with its interval: f"{estimate:.2f}" is "0.12 [0.10, 0.14]", "–" where it is undefined.

    Example:
        >>> from tangency.statistics import CrossedEstimate
        >>> estimate = CrossedEstimate(0.25, 0.2046, 0.3, 1, "images", (0.25,))
        >>> f"{estimate:.2f}", str(estimate)
        ('0.25 [0.20, 0.30]', '0.25 [0.205, 0.3]')
    """

    mean: Any
    low: Any
    high: Any

    def __format__(self, spec: str) -> str:
        """Each of its numbers by `spec`; with three significant digits where it is empty."""
        numbers = [None if each is None or np.isnan(each) else each for each in (self.mean, self.low, self.high)]
        mean, low, high = ("–" if each is None else format(each, spec or ".3g") for each in numbers)
        return mean if numbers[0] is None else f"{mean} [{low}, {high}]"

    def __str__(self) -> str:
        return format(self, "")


def percentile_interval(draws: Array, level: float = 0.95) -> tuple[float, float]:
    """Quantiles of the finite replicates that follow the estimate, draws (1 + B,)."""
    replicates = draws[1:][np.isfinite(draws[1:])]
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bca_interval(draws: Array, leave_one_out: Array, level: float = 0.95) -> tuple[float, float]:
    """Bias-corrected and accelerated interval of an estimate with its replicates, draws (1 + B,).

    The quantiles are Φ(z₀ + (z₀ + z)/(1 − a(z₀ + z))), with z₀ = Φ⁻¹(share of replicates below the estimate, half of
    those equal to it counted) and a the `acceleration` of `leave_one_out` (N,).

    Efron, "Better bootstrap confidence intervals", JASA 82 (1987). Where all replicates lie on one side, or a is not
    defined, there is nothing to correct with, and the percentile interval is returned.

    Example:
        >>> from tangency.statistics import Mean, PairedBootstrap
        >>> values = np.random.default_rng(0).exponential(size=60)
        >>> draws = PairedBootstrap(60).mean(values)
        >>> low, high = bca_interval(draws, Mean(values).leave_one_out())
        >>> percentile = percentile_interval(draws)
        >>> low > percentile[0] and high > percentile[1]  # both ends follow the long tail
        True
    """
    from scipy.special import ndtr, ndtri

    replicates = draws[1:][np.isfinite(draws[1:])]
    below = float(((replicates < draws[0]).mean() + (replicates <= draws[0]).mean()) / 2)
    a = acceleration(leave_one_out)
    if not 0 < below < 1 or not np.isfinite(a):
        return percentile_interval(draws, level)
    z0 = ndtri(below)
    z = z0 + ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    low, high = np.quantile(replicates, ndtr(z0 + z / (1 - a * z)))
    return float(low), float(high)


def acceleration(leave_one_out: Array) -> float:
    """a = Σ(θ̄ − θ₍ᵢ₎)³ / (6 [Σ(θ̄ − θ₍ᵢ₎)²]^{3/2}) of the jackknife values (N,); NaN ones are left out."""
    values = leave_one_out[np.isfinite(leave_one_out)]
    if not len(values):
        return float("nan")
    deviations = values.mean() - values
    scale = float(np.abs(deviations).max())
    if scale == 0:
        return float("nan")
    deviations = deviations / scale
    return float((deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5))
