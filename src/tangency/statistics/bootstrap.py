"""The paired bootstrap over images: one set of resamples, shared by every measure of every trial."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tangency.errors import NumericsError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its percentile interval.

    Args:
        mean: the estimate on the images themselves; NaN where no image has a value.
        low, high: ends of the interval.
        n: images that have a value.
        degenerate: images that have none.
    """

    mean: float
    low: float
    high: float
    n: int
    degenerate: int = 0

    @staticmethod
    def of(draws: Array, n: int, degenerate: int = 0, level: float = 0.95) -> Estimate:
        """From `draws` (1 + B,): the estimate first, then its bootstrap replicates."""
        replicates = draws[1:][np.isfinite(draws[1:])]
        if not np.isfinite(draws[0]) or not len(replicates):  # an infinite ratio is no number either
            return Estimate(float("nan"), float("nan"), float("nan"), 0, n + degenerate)
        low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
        return Estimate(float(draws[0]), float(low), float(high), n, degenerate)


class PairedBootstrap:
    """Resamples images with replacement, the same ones for everything that it is asked.

    All results are "draws" of length 1 + B: the statistic on the images themselves, then on each resample. Draws of
    two trials may be subtracted or divided: their differences are paired.

    Args:
        images: how many there are, N ≥ 1.
        replicates: B.
        seed: of the resamples.

    Example:
        >>> boot = PairedBootstrap(100, replicates=500)
        >>> values = np.arange(100.0)
        >>> estimate = Estimate.of(boot.mean(values), 100)
        >>> estimate.low < estimate.mean == 49.5 < estimate.high
        True
    """

    def __init__(self, images: int, replicates: int = 2000, seed: int = 0) -> None:
        if images < 1 or replicates < 1:
            raise NumericsError(
                f"bootstrap: got {images} images and {replicates} replicates, expected at least 1 of each."
            )
        rng = np.random.default_rng(seed)
        resampled = rng.multinomial(images, np.full(images, 1 / images), size=replicates)
        self.counts: Array = np.vstack([np.ones((1, images)), resampled])  # (1 + B, N)

    def sums(self, values: Array) -> Array:
        """Sum over each resample, (..., N) to (..., 1 + B); NaN counts as zero."""
        return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0) @ self.counts.T

    def mean(self, values: Array) -> Array:
        """Mean over the images that have a finite value, (..., N) to (..., 1 + B); NaN where none has."""
        return _ratio(self.sums(values), self.sums(np.isfinite(values).astype(float)))

    def pooled_ratio(self, numerator: Array, denominator: Array) -> Array:
        """Σ numerator / Σ denominator over images where both are finite, (..., N) to (..., 1 + B)."""
        usable = np.isfinite(numerator) & np.isfinite(denominator)
        return _ratio(self.sums(np.where(usable, numerator, 0)), self.sums(np.where(usable, denominator, 0)))

    def pooled_kappa(self, fraction: Array, rank: Array, dimension: int) -> Array:
        """κ = [Σ(1 − F²)/Σ(d − k)] / [ΣF²/Σk], (..., N) to (..., 1 + B); chance exactly 1.

        Pooling unit gradients keeps κ unbiased; the mean of per-image ratios is not (its null mean is k/(k − 2)).
        """
        usable = np.isfinite(fraction)
        tangent = self.sums(np.where(usable, fraction, 0))
        normal = self.sums(np.where(usable, 1 - fraction, 0))
        k = self.sums(np.where(usable, rank, 0))
        other = self.sums(np.where(usable, dimension - rank, 0))
        with np.errstate(divide="ignore", invalid="ignore"):  # ∞ where no gradient has a tangent part
            return _ratio(normal, other) / _ratio(tangent, k)


def _ratio(numerator: Array, denominator: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return numerator / np.where(denominator == 0, np.nan, denominator)
