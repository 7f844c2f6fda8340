"""Slow: coverage of crossed intervals over shared image variance, network spread and few networks, and who fails."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import product

import pytest
from crossed_worlds import IMAGES, Cell, Kind, coverage

from tangency.statistics import PairedBootstrap, SeedBootstrap, percentile_interval
from tangency.statistics.resamples import Array

pytestmark = pytest.mark.slow
REPETITIONS = 4000
KINDS: tuple[Kind, ...] = ("levels", "differences", "log ratios")
GRID = list(product((0.0, 0.5, 0.9), (0.0, 2.0, 6.0), (3, 5, 10)))


@cache
def measured(cell: Cell) -> Counter[str]:
    return coverage(cell, REPETITIONS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("share", "ratio", "networks"), GRID)
def test_crossed_intervals_cover(kind: Kind, share: float, ratio: float, networks: int) -> None:
    assert 0.93 <= measured(Cell(kind, share, ratio, networks))["crossed"] <= 0.98


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("networks", [3, 5, 10])
def test_crossed_intervals_cover_with_skewed_images(kind: Kind, networks: int) -> None:
    for ratio in (0.0, 2.0, 6.0):
        assert 0.93 <= measured(Cell(kind, 0.9, ratio, networks, skewed=True))["crossed"] <= 0.98
