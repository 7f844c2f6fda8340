"""Worlds of networks crossed with images, with known truth, and how often intervals hold it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from tangency.statistics import CrossedEstimate, crossed_difference, crossed_log_ratio, crossed_mean
from tangency.statistics.resamples import Array

Kind = Literal["levels", "differences", "log ratios"]
LEVEL = 3.0
Z = float(special.ndtri(0.975))


@dataclass(frozen=True)
class Cell:
    """One world.

    Args:
        kind: of the estimate.
        share: of the image variance that is common to networks.
        ratio: network sd / image standard error of one network.
        networks: S.
        images: N.
        skewed: images are log-normal (skewness 6.2), not normal.
    """

    kind: Kind
    share: float
    ratio: float
    networks: int
    images: int = 200
    skewed: bool = False


def noise(rng: np.random.Generator, cell: Cell) -> Array:
    """Image effects and their interactions with networks, (S, N): mean 0, variance 1 for each network."""

    def draw(*size: int) -> Array:
        if not cell.skewed:
            return rng.normal(size=size)
        return (rng.lognormal(size=size) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e)

    common, own = draw(cell.images), draw(cell.networks, cell.images)
    mixed: Array = np.sqrt(cell.share) * common + np.sqrt(1 - cell.share) * own
    return mixed


def one(rng: np.random.Generator, cell: Cell) -> tuple[CrossedEstimate, float, Array]:
    """The interval of one draw of networks and images, the truth, and the table that a level is the mean of."""
    effect = cell.ratio / np.sqrt(cell.images) * rng.normal(size=(cell.networks, 1))
    table = LEVEL + effect + noise(rng, cell)
    if cell.kind == "levels":
        return crossed_mean(table), LEVEL, table
    if cell.kind == "differences":  # what is common by image and by seed is three times as large, and cancels
        both = 3 * rng.normal(size=cell.images) + 3 * rng.normal(size=(cell.networks, 1))
        return crossed_difference(table + both, both), LEVEL, table
    spread = 0.5  # of an image over the network's mean; the networks' logs move with the image s.e. of the log ratio
    above = np.exp(spread * effect) * (1 + spread * (table - LEVEL - effect))
    below = 1 + 0.1 * rng.normal(size=(cell.networks, cell.images))
    return crossed_log_ratio(2 * above, below, floor=0.01), float(np.log(2)), table


def rivals(found: CrossedEstimate, table: Array) -> dict[str, tuple[float, float]]:
    """Mean and half-width of plain t over networks, and of a level by its images alone, in two ways."""
    each, networks = np.array(found.each), found.networks
    t = float(special.stdtrit(networks - 1, 0.975) * each.std(ddof=1) / np.sqrt(networks))
    level, of_images, root = float(table.mean()), table.mean(0), table.shape[1] ** 0.5
    return {
        "plain t": (found.mean, t),
        "image interval of the mean": (level, Z * float(of_images.std(ddof=1)) / root),
        "mean of image intervals": (level, Z * float(table.std(1, ddof=1).mean()) / root),
    }


def draws(cell: Cell, repetitions: int, seed: int = 0) -> Iterator[tuple[CrossedEstimate, float, Array]]:
    rng = np.random.default_rng(seed)
    for _ in range(repetitions):
        yield one(rng, cell)


def coverage(cell: Cell, repetitions: int) -> dict[str, float]:
    """Share of repetitions in which each interval holds the truth."""
    held: Counter[str] = Counter()
    for found, truth, table in draws(cell, repetitions):
        held["crossed"] += found.low <= truth <= found.high
        for name, (mean, half) in rivals(found, table).items():
            held[name] += abs(mean - (truth if name == "plain t" else LEVEL)) <= half
    return {name: count / repetitions for name, count in held.items()}
