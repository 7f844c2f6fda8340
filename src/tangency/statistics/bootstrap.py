"""The paired bootstrap over images: one set of resamples, shared by every measure of every trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tangency.errors import NumericsError
from tangency.statistics.intervals import bca_interval, percentile_interval
from tangency.statistics.pooled import Statistic, evaluate, ratio
from tangency.statistics.resamples import KEPT, Array, Parts, Resamples


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

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
    def of(
        draws: Array,
        n: int,
        degenerate: int = 0,
        level: float = 0.95,
        leave_one_out: Array | None = None,
        fewest: int = 1,
    ) -> Estimate:
        """From `draws` (1 + B,): the estimate first, then its bootstrap replicates.

        The interval is the percentile one; with `leave_one_out` (N,), the estimate without each image, it is BCa. Of
        fewer than `fewest` images there is none: its ends are NaN.
        """
        # an infinite ratio is no number either
        if not np.isfinite(draws[0]) or not np.isfinite(draws[1:]).any():
            return Estimate(float("nan"), float("nan"), float("nan"), 0, n + degenerate)
        if n < fewest:
            return Estimate(float(draws[0]), float("nan"), float("nan"), n, degenerate)
        if leave_one_out is None:
            low, high = percentile_interval(draws, level)
        else:
            low, high = bca_interval(draws, leave_one_out, level)
        return Estimate(float(draws[0]), low, high, n, degenerate)


class PairedBootstrap:
    """Resamples images with replacement, the same ones for all statistics.

    All results are "draws" of length 1 + B: the statistic on the images themselves, then on each resample. Draws of
    two trials may be subtracted or divided: their differences are paired. Counts of many images are made anew, block
    by block, for each question, so that memory does not grow with the number of images; ask much at once (`evaluate`).

    Args:
        images: how many there are, N ≥ 1.
        replicates: B.
        seed: of the resamples, ≥ 0.
        kept: bytes of counts that may be kept between questions; it changes time and memory, not results.

    Example:
        >>> boot = PairedBootstrap(100, replicates=500)
        >>> values = np.arange(100.0)
        >>> estimate = Estimate.of(boot.mean(values), 100)
        >>> estimate.low < estimate.mean == 49.5 < estimate.high
        True
    """

    def __init__(self, images: int, replicates: int = 2000, seed: int = 0, kept: int = KEPT) -> None:
        if images < 1 or replicates < 1:
            raise NumericsError(
                f"bootstrap: got {images} images and {replicates} replicates, expected at least 1 of each."
            )
        self.resamples = Resamples(images, replicates, seed, kept)

    @property
    def counts(self) -> Array:
        """How often each image occurs in each resample, (1 + B, N); as large as that."""
        return np.concatenate([weights for _, weights in self.resamples.blocks()], axis=1)

    def evaluate(self, statistics: Sequence[Statistic]) -> list[Array]:
        """Draws (1 + B,) of each statistic, all in one pass, medians in another."""
        return evaluate(self.resamples, statistics)

    def sums(self, values: Array) -> Array:
        """Sum over each resample, (..., N) to (..., 1 + B); NaN counts as zero."""
        return self._sums(values, lambda where: _finite(values[..., where]))

    def mean(self, values: Array) -> Array:
        """Mean over the images that have a finite value, (..., N) to (..., 1 + B); NaN where none has."""

        def parts(where: slice) -> Array:
            block = values[..., where]
            return np.stack([_finite(block), np.isfinite(block).astype(float)])

        total, number = self._sums(values, parts)
        return ratio(total, number)

    def pooled_ratio(self, numerator: Array, denominator: Array) -> Array:
        """Σ numerator / Σ denominator over images where both are finite, (..., N) to (..., 1 + B)."""

        def parts(where: slice) -> Array:
            above, below = numerator[..., where], denominator[..., where]
            usable = np.isfinite(above) & np.isfinite(below)
            return np.stack([np.where(usable, above, 0), np.where(usable, below, 0)])

        above, below = self._sums(numerator, parts)
        return ratio(above, below)

    def pooled_kappa(self, fraction: Array, rank: Array, dimension: int) -> Array:
        """κ = [Σ(1 − F²)/Σ(d − k)] / [ΣF²/Σk], (..., N) to (..., 1 + B); chance exactly 1.

        Pooling unit gradients keeps κ unbiased; the mean of per-image ratios is not (its null mean is k/(k − 2)).
        """

        def parts(where: slice) -> Array:
            f, k = np.broadcast_arrays(fraction[..., where], rank[..., where])
            usable = np.isfinite(f)
            return np.stack([np.where(usable, part, 0) for part in (1 - f, dimension - k, f, k)])

        normal, other, tangent, ranks = self._sums(fraction, parts)
        with np.errstate(divide="ignore", invalid="ignore"):  # ∞ where no gradient has a tangent part
            return ratio(normal, other) / ratio(tangent, ranks)

    def _sums(self, values: Array, parts: Parts) -> Array:
        if values.shape[-1] != self.resamples.images:
            raise NumericsError(
                f"bootstrap: got values of {values.shape[-1]} images, expected those of {self.resamples.images}."
            )
        return self.resamples.accumulate(parts)


def _finite(values: Array) -> Array:
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
