"""Seeds first, then images: intervals that hold for a way of training, not for one network."""

from __future__ import annotations

import numpy as np

from tangency.errors import NumericsError
from tangency.statistics.resamples import Array

FEW_SEEDS = 5  # below which each seed is shown beside the interval: too few to resample


class SeedBootstrap:
    """Resamples seeds with replacement on top of a paired bootstrap over images, the same seeds for every statistic.

    Replicate b of a cell is the mean over seeds s₁ … s_S, drawn with replacement, of replicate b of each: seeds
    are resampled first, then images, which all seeds and all models share. Draws of two cells may be subtracted.
    With S seeds the between-seed part of the variance is (S − 1)/S of its unbiased estimate: with fewer than five,
    show each seed as well.

    Args:
        seeds: S ≥ 1.
        replicates: B, as of the draws.
        seed: of the resamples.

    Example:
        >>> draws = np.stack([np.full(501, 1.0), np.full(501, 3.0)])  # two networks without spread over images
        >>> means = SeedBootstrap(2, 500).mean(draws)
        >>> float(means[0]), sorted(set(means.tolist()))
        (2.0, [1.0, 2.0, 3.0])
    """

    def __init__(self, seeds: int, replicates: int, seed: int = 0) -> None:
        if seeds < 1 or replicates < 1:
            raise NumericsError(
                f"seed bootstrap: got {seeds} seeds and {replicates} replicates, expected at least 1 of each."
            )
        drawn = np.random.default_rng(seed).multinomial(seeds, np.full(seeds, 1 / seeds), size=replicates)
        self.weights: Array = np.vstack([np.ones((1, seeds)), drawn]).T / seeds  # (S, 1 + B)

    def mean(self, draws: Array) -> Array:
        """Draws (S, 1 + B) of one statistic for each seed to those of their mean, (1 + B,)."""
        if draws.shape != self.weights.shape:
            raise NumericsError(f"seed bootstrap: got draws {draws.shape}, expected {self.weights.shape}.")
        means: Array = (draws * self.weights).sum(0)
        return means
