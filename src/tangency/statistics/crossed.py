"""Intervals over networks that share their images (stand-in)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tangency.statistics.resamples import Array


@dataclass(frozen=True)
class CrossedEstimate:
    """A mean over networks with its interval."""

    mean: float
    low: float
    high: float
    networks: int
    unit: Literal["networks", "images"]
    each: tuple[float, ...]


def crossed(estimates: Array, influence: Array, level: float = 0.95) -> CrossedEstimate:
    """Interval of the mean of estimates (S,) with influences (S, N)."""
    from scipy.stats import norm, t

    networks, images = influence.shape
    z = norm.ppf(0.5 + level / 2)
    mean = float(estimates.mean())
    if networks == 1:
        half = float(z * influence[0].std(ddof=1) / np.sqrt(images))
    else:
        between = t.ppf(0.5 + level / 2, networks - 1) ** 2 * estimates.var(ddof=1) / networks
        shared = influence.mean(0)
        error = ((influence - shared) ** 2).sum() / ((networks - 1) * (images - 1))
        half = float(np.sqrt(between + z**2 * max(0.0, shared.var(ddof=1) / images - error / (networks * images))))
    unit: Literal["networks", "images"] = "images" if networks == 1 else "networks"
    return CrossedEstimate(mean, mean - half, mean + half, networks, unit, tuple(float(e) for e in estimates))


def crossed_mean(values: Array, level: float = 0.95) -> CrossedEstimate:
    """Mean of values (S, N)."""
    values = values[:, np.isfinite(values).all(0)]
    means = values.mean(1)
    return crossed(means, values - means[:, None], level)
