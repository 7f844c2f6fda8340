"""Rank correlation over the trials of a study."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tangency.errors import NumericsError
from tangency.statistics.resamples import Array

_PERMUTATIONS = 9999


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's ρ over n trials, its interval, and a two-sided permutation p-value; NaN where it is undefined."""

    rho: float
    low: float
    high: float
    p: float
    n: int


def spearman(x: Array, y: Array, seed: int = 0, level: float = 0.95) -> RankCorrelation:
    """Spearman's ρ of two measures over trials, from draws (T, 1 + B) of one paired bootstrap.

    Each replicate resamples trials as well as images, so the interval holds both kinds of uncertainty; with ten
    trials it is wide, as it must be. p permutes the trials: (1 + #{|ρ_perm| ≥ |ρ|}) / (1 + 9999).
    """
    if x.shape != y.shape or x.ndim != 2:
        raise NumericsError(f"spearman: got shapes {x.shape} and {y.shape}, expected equal (trials, 1 + replicates).")
    finite = np.isfinite(x[:, 0]) & np.isfinite(y[:, 0])
    x, y = x[finite], y[finite]
    trials = len(x)
    if trials < 3 or np.ptp(x[:, 0]) == 0 or np.ptp(y[:, 0]) == 0:
        return RankCorrelation(float("nan"), float("nan"), float("nan"), float("nan"), trials)
    rng = np.random.default_rng(seed)
    rho = float(_row_spearman(x[:, :1].T, y[:, :1].T)[0])
    chosen = rng.integers(trials, size=(x.shape[1] - 1, trials))
    columns = np.arange(1, x.shape[1])[:, None]
    replicates = _row_spearman(x[chosen, columns], y[chosen, columns])
    low, high = np.nanquantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    shuffled = rng.permuted(np.tile(y[:, 0], (_PERMUTATIONS, 1)), axis=1)
    null = _row_spearman(np.tile(x[:, 0], (_PERMUTATIONS, 1)), shuffled)
    p = float((1 + (np.abs(null) >= abs(rho) - 1e-12).sum()) / (1 + _PERMUTATIONS))
    return RankCorrelation(rho, float(low), float(high), p, trials)


def _row_spearman(x: Array, y: Array) -> Array:
    """Pearson correlation of average ranks, row by row, (R, T) × (R, T) to (R,); NaN where a row is constant."""
    from scipy.stats import rankdata

    a, b = rankdata(x, axis=1), rankdata(y, axis=1)
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations: Array = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return correlations
